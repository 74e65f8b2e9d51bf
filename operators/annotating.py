"""What the operators that run the pipeline share: the form, the run, its progress and its end."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path

import fiftyone.operators as foo
from fiftyone.operators import types
from fiftyone.operators.executor import ExecutionResult
from fiftyone.operators.message import GeneratedMessage, MessageType

from ..pipeline import child, devices, presets, runner
from ..pipeline import dataset as datasets
from . import forms
from .work import Output

# What FiftyOne may keep as a secret and the models' servers need.
_SECRETS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ACTION100M_BASE_URL", "HF_TOKEN")

# Fields of the form that change the preset: the stage, the option, what to say of it. The values
# that they begin with are the preset's, which are the paper's unless it says otherwise.
_FIELDS = {
    "embed_model": ("embed", "model", "V-JEPA 2: a name on the hub, or a folder"),
    "embed_stride": ("embed", "stride", "Sampled frames between windows; 16 halves the work"),
    "min_duration": ("segment", "min_duration", "Seconds that both parts of a cut have to last"),
    "caption_backend": ("caption", "backend", "Who runs the model that sees"),
    "caption_model": ("caption", "model", "As the hub or the server calls it"),
    "caption_base_url": ("caption", "base_url", "Of an OpenAI-compatible server, ending in /v1"),
    "caption_frames": ("caption", "frames", "Evenly spaced frames of each segment, at most"),
    "refine_backend": ("refine", "backend", "Who runs the model that refines"),
    "refine_model": ("refine", "model", "As the hub or the server calls it"),
    "refine_base_url": ("refine", "base_url", "Of an OpenAI-compatible server, ending in /v1"),
    "refine_rounds": ("refine", "rounds", "A draft, and how often it is refined"),
}
_WITHOUT_A_MODEL = {"embed": "measured", "caption": "measured", "refine": "extractive"}
_BACKENDS = {"openai": "A server", "vllm": "vLLM on this machine", "transformers": "This process"}
_DEFAULTS = {"embed_stride": 8, "min_duration": 0.5, "caption_frames": 32, "refine_rounds": 3}

# Of Action100M: segments of a minute of video; of those, how many are leaves and how many refined.
_SEGMENTS, _LEAVES, _REFINED = 85, 0.5, 0.28
# Seconds that a form waits for a server or the hub, and for which it believes what they said.
_PATIENCE, _BELIEVED = 5.0, 60.0


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
        for name in ("failed", "missing"):
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


def config_of(name, label, description, icon):
    """The configuration of such an operator."""
    return foo.OperatorConfig(
        name=name,
        label=label,
        description=description,
        icon=icon,
        dynamic=True,
        execute_as_generator=True,
        allow_immediate_execution=True,
        allow_delegated_execution=True,
    )


def _absolute(preset):
    """A preset's file by its absolute path: servers and workers have other working directories."""
    return str(Path(preset).absolute()) if Path(preset).suffix in (".yaml", ".yml") else preset


# -- the form ----------------------------------------------------------------------------------


def pipeline_inputs(ctx, inputs, stages, done):
    """Build the form: the target, the run key, the preset, what to change of it, the estimate."""
    _use_secrets(ctx)
    target = forms.target_input(ctx, inputs, done)
    key_prop, made = _run_key_input(ctx, inputs)
    preset = _preset_input(ctx, inputs, stages, made)
    if preset is None:
        return
    key, resume = ctx.params.get("run_key"), bool(ctx.params.get("resume"))
    if key:
        try:
            _check_key(ctx.dataset, key, preset, resume)
        except datasets.RunKeyError as error:
            forms.refuse(key_prop, error)
    _devices_input(ctx, inputs)
    if target is not None:
        estimate = _estimate(target, preset, stages)
        inputs.view("estimate", types.Notice(label=estimate))


def _use_secrets(ctx):
    """What FiftyOne keeps for us, where this process has none: presets name the variable alone."""
    for name in _SECRETS:
        if not os.environ.get(name) and (secret := ctx.secrets.get(name)):
            os.environ[name] = secret


def _run_key_input(ctx, inputs):
    """Ask for the run key; returns its field, and the run's configuration if it is to go on."""
    existing = datasets.run_keys(ctx.dataset)
    so_far = f". Runs so far: {', '.join(existing)}" if existing else ""
    prop = inputs.str(
        "run_key",
        required=True,
        label="Run key",
        description=f"Names the run and its fields{so_far}",
    )
    key, resume = ctx.params.get("run_key"), bool(ctx.params.get("resume"))
    if key and (key in existing or resume):
        inputs.bool(
            "resume",
            default=False,
            label="Go on with this run",
            description="Keep what it has, do what is missing or has failed",
        )
        if key in existing:
            inputs.view("state", types.Notice(label=_state(ctx.dataset, key)))
            if resume:
                return prop, ctx.dataset.get_run_info(key).config
    return prop, None


def _state(dataset, key):
    """How far a run is, in a sentence."""
    preset = dataset.get_run_info(key).config.preset
    results = dataset.load_run_results(key)
    if results is None:
        return f"Run {key}, made with {preset}, has been started and has no results yet."
    failed = f", {len(results.failed)} failed" if results.failed else ""
    return (
        f"Run {key}, made with {preset}: {forms.of_many(len(results.done), 'video')} done{failed}; "
        f"last it ran {', '.join(results.seconds)}."
    )


def _preset_input(ctx, inputs, stages, made):
    """Ask for the preset and its changes; returns it, or None as long as none can be used."""
    choices = types.DropdownView()
    for name in presets.names():
        choices.add_choice(name, label=name, description=presets.load(name).description)
    prop = inputs.str(
        "preset",
        # None is the default: what a run is made with is chosen, never assumed. A run that goes on
        # has been made with one.
        required=made is None,
        default=made and _preset_of(made),
        label="Preset",
        description="Which models fill the roles; or the absolute path of a YAML file of your own",
        view=types.AutocompleteView(
            choices=choices.choices, allow_user_input=True, allow_clearing=False
        ),
    )
    name = ctx.params.get("preset") or (made and _preset_of(made))
    if not name:
        return None
    try:
        before = presets.load(name)
        fields = _change_inputs(ctx, inputs, before, stages)
        preset = presets.load(name, _changes(ctx.params, before, made))
        runner.check(preset, ())
    except presets.PresetError as error:
        forms.refuse(prop, error)
        return None
    for stage, reason in _obstacles(preset, stages).items():
        field = next(
            (fields[n] for n in (f"{stage}_base_url", f"{stage}_model") if n in fields), prop
        )
        if reason is None:
            note = f"Still finding out whether {stage}'s model can be had."
            inputs.view(f"{stage}_waiting", types.Notice(label=note))
        else:
            forms.refuse(field, reason)
    return preset


def _preset_of(made):
    """What a run was made with, as ``presets.load`` takes it."""
    return getattr(made, "preset_file", made.preset)


def _change_inputs(ctx, inputs, preset, stages):
    """Offer to change the preset's options; returns the fields by name."""
    inputs.bool(
        "change",
        default=False,
        label="Change the preset for this run",
        description="Other models, servers or thresholds",
    )
    if not ctx.params.get("change"):
        return {}
    fields = {}
    for name, (stage, option, description) in _FIELDS.items():
        config = getattr(preset, stage)
        backend = ctx.params.get(f"{stage}_backend") or config.get("backend")
        modelless = backend == _WITHOUT_A_MODEL.get(stage)
        if stage not in stages or not _applies(stage, option, backend, modelless):
            continue
        default = config.get(option, _DEFAULTS.get(name))
        label = f"{stage.capitalize()}: {option.replace('_', ' ')}"
        common = {"label": label, "description": description, "default": default}
        if option == "backend":
            offered = types.DropdownView()
            for value, meaning in _BACKENDS.items():
                offered.add_choice(value, label=value, description=meaning)
            without = _WITHOUT_A_MODEL[stage]
            offered.add_choice(without, label=without, description="No model: measures")
            fields[name] = inputs.str(name, view=offered, **common)
        elif isinstance(_DEFAULTS.get(name), int):
            fields[name] = inputs.int(name, min=1, **common)
        elif isinstance(_DEFAULTS.get(name), float):
            fields[name] = inputs.float(name, min=0.1, **common)
        else:
            fields[name] = inputs.str(name, **common)
        if option == "base_url":
            _connection_input(ctx, inputs, stage, preset)
    return fields


def _applies(stage, option, backend, modelless):
    if option in ("model", "stride", "rounds"):
        return not modelless
    return backend == "openai" if option == "base_url" else True


def _connection_input(ctx, inputs, stage, preset):
    """Offer to test the connection: the server's models are listed."""
    name = f"{stage}_test"
    inputs.bool(
        name, default=False, label="Test the connection", description="Lists the server's models"
    )
    if not ctx.params.get(name):
        return
    from ..pipeline.chat import ChatError
    from ..pipeline.chat.server import served_models

    config = getattr(preset, stage)
    try:
        address = ctx.params.get(f"{stage}_base_url") or config.get("base_url", "")
        models = served_models(address, config.get("key", "OPENAI_API_KEY"))
        label = f"It answers. Its models: {', '.join(models[:20]) or 'it does not list them'}."
        inputs.view(f"{name}_found", types.Notice(label=label))
    except (ChatError, presets.PresetError) as error:
        forms.block(inputs, f"{name}_failed", error)


def _changes(params, preset, made=None):
    """What a call changes of its preset, as ``presets.load`` takes it."""
    changes = list(params.get("changes") or getattr(made, "changes", None) or ())
    if not params.get("change"):
        return changes
    for name, (stage, option, _) in _FIELDS.items():
        value = params.get(name)
        # A backend that is named anew would forget the preset's own options.
        if value not in (None, "") and value != getattr(preset, stage).get(option):
            changes.append(f"{stage}.{option}={value}")
    return changes


_checks = ThreadPoolExecutor(4, thread_name_prefix="checks")
_asked = {}


def _obstacles(preset, stages):
    """Why a stage cannot run here, by stage; None for one that is still being found out.

    Servers and the hub are asked in threads, and believed for a minute: a form is built anew with
    each key that is pressed.
    """
    found = {}
    if reason := runner.obstacle(preset, "gpu"):
        found["gpu"] = reason
    for stage in stages:
        key = stage, str(getattr(preset, stage))
        asked, future = _asked.get(key, (0.0, None))
        if future is None or (future.done() and time.monotonic() - asked > _BELIEVED):
            future = _checks.submit(runner.obstacle, preset, stage)
            _asked[key] = time.monotonic(), future
        try:
            if reason := future.result(timeout=_PATIENCE):
                found[stage] = reason
        except NotYet:
            found[stage] = None
    return found


def _devices_input(ctx, inputs):
    """Offer the GPUs, if there are any, with their free memory."""
    gpus = devices.found()
    if not gpus:
        return
    there = "; ".join(
        f"{number}: {gpu.name}, {gpu.free:.0f} of {gpu.memory:.0f} GiB free"
        for number, gpu in enumerate(gpus)
    )
    prop = inputs.str(
        "devices",
        default="all",
        label="GPUs",
        description=f"all, or numbers with commas between them. {there}",
    )
    if wrong := _wrong_devices(ctx.params.get("devices"), len(gpus)):
        forms.refuse(prop, wrong)


def _wrong_devices(chosen, count):
    if chosen in (None, "", "all"):
        return ""
    numbers = [word.strip() for word in chosen.split(",")]
    if all(word.isdecimal() and int(word) < count for word in numbers):
        return ""
    return f"{chosen!r} names no GPUs; write all, or numbers from 0 to {count - 1} with commas"


def _estimate(target, preset, stages):
    """What there is to do, in a sentence."""
    count = target.count()
    seconds = [s for s in target.values("metadata.duration") if s]
    if not seconds:
        return f"{forms.of_many(count, 'video')}, whose lengths are not known yet."
    minutes = sum(seconds) / len(seconds) * count / 60
    segments = minutes * _SEGMENTS
    requests = 0.0
    if "caption" in stages and preset.caption["backend"] in _BACKENDS:
        requests += segments * (2 + _LEAVES)
    if "refine" in stages and preset.refine["backend"] in _BACKENDS:
        requests += segments * _REFINED * preset.refine.get("rounds", 3)
    asked = f" and {requests:,.0f} requests to models" if requests else ""
    return (
        f"About {minutes:,.1f} minutes of video, {segments:,.0f} segments{asked}, "
        "less what the run has already."
    )


def _check_key(dataset, key, preset, resume):
    datasets.check_run_key(dataset, key, resume)
    if resume and (made_with := dataset.get_run_info(key).config.preset) != preset.name:
        raise datasets.RunKeyError(
            f"the run {key!r} was made with preset {made_with!r}; choose that preset, "
            "or another run key"
        )


# -- the run -----------------------------------------------------------------------------------


class _Run:
    """One execution: the call's parameters, and what came of it."""

    def __init__(self, ctx, stages):
        _use_secrets(ctx)
        params = ctx.params
        self.dataset, self.key, self.stages = ctx.dataset, params["run_key"], stages
        resume = bool(params.get("resume"))
        made = None
        if resume and self.dataset.has_run(self.key):
            made = self.dataset.get_run_info(self.key).config
        self.preset = params.get("preset") or _preset_of(made)
        self.changes = _changes(params, presets.load(self.preset), made)
        preset = presets.load(self.preset, self.changes)
        _check_key(self.dataset, self.key, preset, resume)
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
        datasets.save_run(
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
            "missing": missing,
        }

    def immediately(self, ctx):
        """Yield what the App shows while the run goes on and when it has ended."""
        for progress in self.steps():
            yield ctx.ops.set_progress(label=_label(progress), progress=self.share(progress))
        yield ctx.ops.reload_dataset()
        doubtful = self.output["failed"] or self.output.get("missing")
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
