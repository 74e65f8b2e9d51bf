"""The form of the operators that run the pipeline, and what a call's parameters mean."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet

from fiftyone.operators import types

from ..pipeline import dataset as datasets
from ..pipeline import devices, presets, runner
from . import forms

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


def pipeline_inputs(ctx, inputs, stages, done):
    """Build the form: the target, the run key, the preset, what to change of it, the estimate."""
    use_secrets(ctx)
    target = forms.target_input(ctx, inputs, done)
    key_prop, made = _run_key_input(ctx, inputs)
    preset = _preset_input(ctx, inputs, stages, made)
    if preset is None:
        return
    key, resume = ctx.params.get("run_key"), bool(ctx.params.get("resume"))
    if key:
        try:
            check_key(ctx.dataset, key, preset, resume)
        except datasets.RunKeyError as error:
            forms.refuse(key_prop, error)
    _devices_input(ctx, inputs)
    if target is not None:
        estimate = _estimate(target, preset, stages)
        inputs.view("estimate", types.Notice(label=estimate))


def use_secrets(ctx):
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
        default=made and preset_of(made),
        label="Preset",
        description="Which models fill the roles; or the absolute path of a YAML file of your own",
        view=types.AutocompleteView(
            choices=choices.choices, allow_user_input=True, allow_clearing=False
        ),
    )
    name = ctx.params.get("preset") or (made and preset_of(made))
    if not name:
        return None
    try:
        before = presets.load(name)
        fields = _change_inputs(ctx, inputs, before, stages)
        preset = presets.load(name, changes_of(ctx.params, before, made))
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


def preset_of(made):
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


def changes_of(params, preset, made=None):
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


def check_key(dataset, key, preset, resume):
    """RunKeyError for a run key that the call cannot have, or not with this preset."""
    datasets.check_run_key(dataset, key, resume)
    if resume and (made_with := dataset.get_run_info(key).config.preset) != preset.name:
        raise datasets.RunKeyError(
            f"the run {key!r} was made with preset {made_with!r}; choose that preset, "
            "or another run key"
        )
