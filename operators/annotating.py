"""What the operators that run the pipeline share: the run, its progress and its end."""

from pathlib import Path

import fiftyone.operators as foo
from fiftyone.operators import types
from fiftyone.operators.executor import ExecutionResult
from fiftyone.operators.message import GeneratedMessage, MessageType

from ..pipeline import child, presets, runner
from ..pipeline import dataset as datasets
from . import forms
from .annotating_form import changes_of, check_key, pipeline_inputs, preset_of, use_secrets
from .work import Output


class PipelineOperator(foo.Operator):
    """Runs stages of the pipeline on videos and stores what comes of it as a run of the dataset.

    Attributes:
        stages: that it runs
        done: what becomes of the videos, for people
    """

    stages = presets.STAGES
    done = "annotated"

    def resolve_input(self, ctx):
        inputs = types.Object()
        pipeline_inputs(ctx, inputs, self.stages, self.done)
        view = types.View(label=self.config.label, submit_button_label="Run")
        return types.Property(inputs, view=view)

    def execute(self, ctx):
        # What is wrong with the call is an error before anything starts, not in mid-stream.
        run = _Run(ctx, self.stages)
        if not ctx.delegated:
            return run.immediately(ctx)
        for progress in run.steps():
            ctx.set_progress(progress=run.share(progress), label=_label(progress))
        return run.output

    def resolve_output(self, ctx):
        if not ctx.results:
            return None  # the App has shown the summary in passing
        outputs = types.Object()
        outputs.str("summary", label="Result")
        for name in ("failed", "warnings"):
            if ctx.results.get(name):
                outputs.list(name, types.String(), label=name.capitalize())
        return types.Property(outputs, view=types.View(label=self.config.label))

    def __call__(self, samples, run_key, preset=None, resume=None, delegate=False, changes=()):
        """Run the stages from Python and wait for them; each operator's class has an example.

        Args:
            samples: a dataset, or a view of the videos
            run_key: names the run and its fields, ``<run_key>_tree`` first of all
            preset: a preset's name, or the path of a YAML file; a run that goes on has its own
            resume: whether the run is to go on; None = if no preset is given
            delegate: whether to queue the work for ``fiftyone delegated launch``
            changes: of the preset, like "refine.model=NAME"; a run that goes on has its own
        """
        params = {
            "run_key": run_key,
            "preset": preset and _absolute(preset),
            "resume": preset is None if resume is None else resume,
            "changes": list(changes),
        }
        return forms.call(self, samples, params, delegate)


def _absolute(preset):
    """A preset's file by its absolute path: servers and workers have other working directories."""
    return str(Path(preset).absolute()) if Path(preset).suffix in (".yaml", ".yml") else preset


class _Run:
    """One execution: the call's parameters, and what came of it."""

    def __init__(self, ctx, stages):
        use_secrets(ctx)
        params = ctx.params
        self.dataset, self.key, self.stages = ctx.dataset, params["run_key"], stages
        resume = bool(params.get("resume"))
        made = None
        if resume and self.dataset.has_run(self.key):
            made = self.dataset.get_run_info(self.key).config
        self.preset = params.get("preset") or preset_of(made)
        self.changes = changes_of(params, presets.load(self.preset), made)
        preset = presets.load(self.preset, self.changes)
        check_key(self.dataset, self.key, preset, resume)
        self.inputs = datasets.run_inputs(ctx.target_view())
        self.folder = datasets.run_folder(self.dataset, self.key)
        chosen = params.get("devices")
        self.environment = (
            {"CUDA_VISIBLE_DEVICES": chosen} if chosen not in (None, "", "all") else {}
        )
        config = {
            "preset": preset.name,
            "preset_file": self.preset,
            "changes": self.changes,
            "configuration": preset.to_dict(),
            "models": runner.check(preset, ()),
            "folder": str(self.folder),
        }
        datasets.start_run(self.dataset, self.key, config)
        self.output = {}

    def steps(self):
        """Yield the progress; at the end the run is on the samples."""
        videos = [runner.Video(i.video_uid, i.path, i.metadata) for i in self.inputs]
        datasets.forget_stop(self.folder)
        work = child.annotate_in_child(
            videos, self.preset, self.folder, self.stages, self.changes, self.environment
        )
        try:
            while True:
                try:
                    progress = next(work)
                except StopIteration as end:
                    summary = end.value
                    break
                if datasets.is_stopped(self.folder):
                    self.output = {
                        "summary": "stopped; run it again with the same run key to go on",
                        "failed": [],
                    }
                    return
                yield progress
        finally:
            work.close()
            datasets.forget_stop(self.folder)
        self._save(summary)

    def _save(self, summary):
        failures = {uid: failure["reason"] for uid, failure in summary["failed"].items()}
        set_aside = datasets.save_run(
            self.dataset,
            self.key,
            runner.read_parts(self.folder, set(summary["done"])),
            failures,
            {i.video_uid: i.sample_id for i in self.inputs},
            summary,
        )
        missing = [
            f"{uid}: {each['texts']} texts of {stage} are missing: {each['reason']}"
            for uid, stages in summary["unfilled"].items()
            for stage, each in stages.items()
        ]
        seconds = ", ".join(f"{stage} {s:.0f} s" for stage, s in summary["seconds"].items())
        self.output = {
            "summary": (
                f"{forms.of_many(len(summary['done']), 'video')} done "
                f"({len(summary['reused'])} of them before), {len(failures)} failed, "
                f"{summary['nodes']:,} segments; {seconds}"
            ),
            "failed": list(failures.values()),
            "warnings": [*missing, set_aside] if set_aside else missing,
        }

    def immediately(self, ctx):
        """Yield what the App shows while the run goes on and when it has ended."""
        for progress in self.steps():
            yield ctx.ops.set_progress(label=_label(progress), progress=self.share(progress))
        yield ctx.ops.reload_dataset()
        doubtful = self.output["failed"] or self.output.get("warnings")
        variant = "warning" if doubtful else "success"
        yield ctx.ops.notify(f"{self.key}: {self.output['summary']}", variant=variant)
        if doubtful:
            yield GeneratedMessage(MessageType.SUCCESS, ExecutionResult, Output(self.output))

    def share(self, progress):
        """How much of the whole run is done, 0 to 1, the stages taken as equally long."""
        stage = self.stages.index(progress.stage)
        return (stage + progress.done / progress.total) / len(self.stages)


def _label(progress):
    failed = f", {progress.failed} failed" if progress.failed else ""
    rate = progress.texts / max(progress.elapsed, 0.1)
    texts = f", {progress.texts} texts ({rate:.2g} a second)" if progress.texts else ""
    left = "" if progress.remaining is None else f", {progress.remaining:.0f} s left"
    return f"{progress.stage}: video {progress.done} of {progress.total}{failed}{texts}{left}"
