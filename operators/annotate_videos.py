"""Operator ``annotate_videos``: the pipeline on the selected samples, the view or the dataset."""

from pathlib import Path

import fiftyone.operators as foo
from fiftyone.operators import types
from fiftyone.operators.executor import ExecutionResult
from fiftyone.operators.message import GeneratedMessage, MessageType

from ..pipeline import child, presets, runner
from ..pipeline import dataset as datasets
from . import forms
from .work import Output


class AnnotateVideos(foo.Operator):
    """Makes a Tree-of-Captions of each video and stores it as a run of the dataset."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="annotate_videos",
            label="Annotate videos with Trees-of-Captions",
            description=(
                "Embed, segment, caption and refine the selected videos, the view or the dataset, "
                "and store the trees as a run beside the ground truth"
            ),
            icon="account_tree",
            dynamic=True,
            execute_as_generator=True,
            allow_immediate_execution=True,
            allow_delegated_execution=True,
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        annotate_videos_inputs(ctx, inputs)
        view = types.View(label="Annotate videos", submit_button_label="Annotate")
        return types.Property(inputs, view=view)

    def resolve_placement(self, ctx):
        return types.Placement(
            types.Places.SAMPLES_GRID_SECONDARY_ACTIONS,
            types.Button(label="Annotate videos", icon="account_tree", prompt=True),
        )

    def execute(self, ctx):
        # What is wrong with the call is an error before anything starts, not in mid-stream.
        run = _Run(ctx)
        if not ctx.delegated:
            return run.immediately(ctx)
        for progress in run.steps():
            ctx.set_progress(progress=_share(progress), label=_label(progress))
        return run.output

    def resolve_output(self, ctx):
        if not ctx.results:
            return None  # the App has shown the summary in passing
        outputs = types.Object()
        outputs.str("summary", label="Result")
        if ctx.results.get("failed"):
            outputs.list("failed", types.String(), label="Failed")
        return types.Property(outputs, view=types.View(label="Annotate videos"))

    def __call__(self, samples, run_key, preset, resume=False, delegate=False):
        """Annotate videos from Python.

        Args:
            samples: a dataset, or a view of the videos to annotate
            run_key: names the run and its fields, ``<run_key>_tree`` first of all
            preset: a preset's name, or the path of a YAML file
            resume: whether ``run_key`` names a run that is to go on
            delegate: whether to queue the work for ``fiftyone delegated launch``

        Example::

            import fiftyone as fo
            import fiftyone.operators as foo

            annotate_videos = foo.get_operator("@action100m/action100m-fiftyone/annotate_videos")
            dataset = fo.load_dataset("action100m")
            annotate_videos(dataset.take(4), "baseline", "embedded")
        """
        params = {"run_key": run_key, "preset": _absolute(preset), "resume": resume}
        return forms.call(self, samples, params, delegate)


def _absolute(preset):
    """A preset's file by its absolute path: servers and workers have other working directories."""
    return str(Path(preset).absolute()) if Path(preset).suffix in (".yaml", ".yml") else preset


def annotate_videos_inputs(ctx, inputs):
    """Build the form: the target, the preset and the run key."""
    forms.target_input(ctx, inputs, "annotated")
    preset = _preset_input(ctx, inputs)
    _run_key_input(ctx, inputs, preset)


def _preset_input(ctx, inputs):
    """Ask for the preset; returns it, or None as long as there is none that can be used."""
    choices = types.DropdownView()
    for name in presets.names():
        choices.add_choice(name, label=name, description=presets.load(name).description)
    prop = inputs.str(
        "preset",
        required=True,  # none is the default: what a run is made with is chosen, never assumed
        label="Preset",
        description="Which models fill the roles; or the absolute path of a YAML file of your own",
        view=types.AutocompleteView(
            choices=choices.choices, allow_user_input=True, allow_clearing=False
        ),
    )
    if not ctx.params.get("preset"):
        return None
    try:
        preset = presets.load(ctx.params["preset"])
        runner.check(preset, ())
    except presets.PresetError as error:
        forms.refuse(prop, error)
        return None
    return preset


def _run_key_input(ctx, inputs, preset):
    existing = datasets.run_keys(ctx.dataset)
    so_far = f". Runs so far: {', '.join(existing)}" if existing else ""
    prop = inputs.str(
        "run_key",
        required=True,
        label="Run key",
        description=f"Names the run and its fields{so_far}",
    )
    key, resume = ctx.params.get("run_key"), bool(ctx.params.get("resume"))
    if not key or preset is None:
        return
    if key in existing or resume:
        inputs.bool(
            "resume",
            default=False,
            label="Go on with this run",
            description="Keep what it has, do what is missing or has failed",
        )
    try:
        _check_key(ctx.dataset, key, preset, resume)
    except datasets.RunKeyError as error:
        forms.refuse(prop, error)


def _check_key(dataset, key, preset, resume):
    datasets.check_run_key(dataset, key, resume)
    if resume and (made_with := dataset.get_run_info(key).config.preset) != preset.name:
        raise datasets.RunKeyError(
            f"the run {key!r} was made with preset {made_with!r}; choose that preset, "
            "or another run key"
        )


class _Run:
    """One execution: the call's parameters, and what came of it."""

    def __init__(self, ctx):
        self.dataset = ctx.dataset
        self.key = ctx.params["run_key"]
        self.preset = ctx.params["preset"]
        preset = presets.load(self.preset)
        _check_key(self.dataset, self.key, preset, bool(ctx.params.get("resume")))
        self.inputs = datasets.run_inputs(ctx.target_view())
        config = {
            "preset": preset.name,
            "configuration": preset.to_dict(),
            "models": runner.check(preset, ()),
            "folder": str(datasets.run_folder(self.dataset, self.key)),
        }
        datasets.start_run(self.dataset, self.key, config)
        self.output = {}

    def steps(self):
        """Yield the progress; at the end the run is on the samples."""
        videos = [runner.Video(i.video_uid, i.path, i.metadata) for i in self.inputs]
        folder = datasets.run_folder(self.dataset, self.key)
        summary = yield from child.annotate_in_child(videos, self.preset, folder)
        failures = {uid: failure["reason"] for uid, failure in summary["failed"].items()}
        datasets.save_run(
            self.dataset,
            self.key,
            runner.read_parts(folder, set(summary["done"])),
            failures,
            {i.video_uid: i.sample_id for i in self.inputs},
            summary,
        )
        self.output = {
            "summary": (
                f"{len(summary['done'])} videos done ({len(summary['reused'])} of them before), "
                f"{len(failures)} failed, {summary['nodes']} segments"
            ),
            "failed": list(failures.values()),
        }

    def immediately(self, ctx):
        """Yield what the App shows while the run goes on and when it has ended."""
        for progress in self.steps():
            yield ctx.ops.set_progress(label=_label(progress), progress=_share(progress))
        yield ctx.ops.reload_dataset()
        variant = "warning" if self.output["failed"] else "success"
        yield ctx.ops.notify(f"{self.key}: {self.output['summary']}", variant=variant)
        if self.output["failed"]:
            yield GeneratedMessage(MessageType.SUCCESS, ExecutionResult, Output(self.output))


def _share(progress):
    """How much of the whole run is done, 0 to 1, the stages taken as equally long."""
    stage = presets.STAGES.index(progress.stage)
    return (stage + progress.done / progress.total) / len(presets.STAGES)


def _label(progress):
    failed = f", {progress.failed} failed" if progress.failed else ""
    texts = f", {progress.texts} texts" if progress.texts else ""
    left = "" if progress.remaining is None else f", {progress.remaining:.0f} s left"
    return f"{progress.stage}: video {progress.done} of {progress.total}{failed}{texts}{left}"
