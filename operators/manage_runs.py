"""Operator ``manage_runs``: what a run was made with, its view, stopping it, its name, its end."""

import json

import fiftyone.operators as foo
from fiftyone.operators import types

from ..pipeline import dataset as datasets
from . import forms

_ACTIONS = {
    "info": ("Show what it was made with", "Configuration, models, timings, failures, files"),
    "load": ("Load its view", "Opens the samples that have its results"),
    "stop": ("Stop it", "What is finished stays; it goes on when it is run again"),
    "rename": ("Rename it", "With its fields, files, tags, comparison and in saved views"),
    "delete": ("Delete it", "With its fields, files, tags, comparison and saved views"),
}


class ManageRuns(foo.Operator):
    """Shows, loads, stops, renames and deletes annotation runs and comparisons."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="manage_runs",
            label="Manage annotation runs",
            description=(
                "Show what a run was made with, load its view, stop it, rename it, or delete it "
                "without a trace"
            ),
            icon="history",
            dynamic=True,
            view_target=False,
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        manage_runs_inputs(ctx, inputs)
        view = types.View(label="Manage runs", submit_button_label="Do it")
        return types.Property(inputs, view=view)

    def resolve_placement(self, ctx):
        return forms.placement(self)

    def execute(self, ctx):
        action, key = ctx.params.get("action", "info"), ctx.params["run_key"]
        dataset = ctx.dataset
        if action == "rename":
            datasets.rename_run(dataset, key, ctx.params["new_key"])
            ctx.ops.clear_view()  # it may name a field that is called otherwise now
            ctx.ops.reload_dataset()
            return {"summary": f"run {key} is now {ctx.params['new_key']}"}
        if action == "stop":
            ended = datasets.stop_run(dataset, key)
            now = "is not going on now" if ended else "stops as soon as it can"
            return {"summary": f"run {key} {now}; what is finished stays"}
        if action == "load":
            view = datasets.run_view(dataset, key)
            ctx.ops.set_view(view=view)
            return {"summary": f"{forms.of_many(len(view), 'video')} of run {key}"}
        about = datasets.describe_run(dataset, key)
        if action == "delete":
            datasets.delete_run(dataset, key)
            ctx.ops.clear_view()  # it may name a field that is no more
            ctx.ops.reload_dataset()
            return {"summary": f"run {key} deleted: {_extent(about)}"}
        return {"summary": f"run {key}: {_extent(about)}", **_facts(about)}

    def resolve_output(self, ctx):
        outputs = types.Object()
        outputs.str("summary", label="Result")
        if ctx.params.get("action", "info") == "info":
            facts = forms.table(name="What", value="Value")
            outputs.list("facts", types.Object(), label="Run", view=facts)
            if ctx.results.get("failed"):
                failed = forms.table(video="Video", reason="Reason")
                outputs.list("failed", types.Object(), label="Failed", view=failed)
        return types.Property(outputs, view=types.View(label="Manage runs"))

    def __call__(self, samples, action, run_key, new_key=None):
        """Manage a run from Python.

        Args:
            samples: the dataset
            action: "info", "load", "stop", "rename" or "delete", which asks no more questions
            run_key: of an annotation run or of a comparison
            new_key: of a run that is renamed

        Returns:
            what is known of the run ("info"; a ``RunDescription``), the view of its samples
            ("load"), or None; "stop" returns when the run has ended, or after 10 s

        Example::

            import fiftyone as fo
            import fiftyone.operators as foo

            manage_runs = foo.get_operator("@action100m/action100m-fiftyone/manage_runs")
            dataset = fo.load_dataset("action100m")
            print(manage_runs(dataset, "info", "baseline").results["seconds"])
            manage_runs(dataset, "rename", "baseline", "first_try")
        """
        dataset = samples._root_dataset
        params = {"action": action, "run_key": run_key, "new_key": new_key, "confirm": True}
        forms.call(self, dataset, params)
        dataset.reload()
        if action == "info":
            return datasets.describe_run(dataset, run_key)
        return datasets.run_view(dataset, run_key) if action == "load" else None


def manage_runs_inputs(ctx, inputs):
    """Build the form: the run, what to do with it, and what that needs."""
    keys = datasets.managed_keys(ctx.dataset)
    key = forms.run_input(ctx, inputs, keys, "An annotation run or a comparison")
    action = ctx.params.get("action", "info")
    choices = types.RadioGroup()
    for name, (label, description) in _ACTIONS.items():
        choices.add_choice(name, label=label, description=description)
    what = inputs.str(
        "action", default="info", label="Do", description="What to do with it", view=choices
    )
    if action not in _ACTIONS:
        forms.refuse(what, f"{action!r} is none of {', '.join(_ACTIONS)}")
    if not key or not keys:
        return
    forms.checked(inputs, lambda: datasets.check_managed(ctx.dataset, key))
    if key not in keys:
        return
    if action == "stop":
        forms.checked(inputs, lambda: datasets.check_stop(ctx.dataset, key))
    if action in ("rename", "delete"):
        forms.checked(inputs, lambda: datasets.check_at_rest(ctx.dataset, key))
    if action == "rename":
        inputs.str(
            "new_key", required=True, label="New key", description="Names the run and its fields"
        )
        if new_key := ctx.params.get("new_key"):
            forms.checked(inputs, lambda: datasets.check_new_key(ctx.dataset, key, new_key))
    if action == "delete":
        _confirm_input(ctx, inputs, key)


def _confirm_input(ctx, inputs, key):
    about = datasets.describe_run(ctx.dataset, key)
    inputs.view("warning", types.Notice(label=f"This will delete {_extent(about)}."))
    confirm = inputs.bool(
        "confirm", default=False, label="Delete", description="Nothing brings it back"
    )
    if not ctx.params.get("confirm"):
        forms.refuse(confirm, "tick this to delete the run")


def _extent(about):
    """What there is of a run, in words."""
    parts = [
        f"the results of {forms.of_many(about.videos, 'video')}",
        forms.of_many(len(about.fields), "field"),
    ]
    if about.reviews:
        parts.append(f"what people said of {forms.of_many(about.reviews, 'segment')}")
    if about.folder is not None:
        parts.append(f"{about.size / 1e6:.1f} MB of files in {about.folder}")
    if about.comparison is not None:
        parts.append("its comparison")
    if about.saved_views:
        parts.append(f"the saved view(s) {', '.join(about.saved_views)}")
    return ", ".join(parts)


def _facts(about):
    """A run's description as rows of tables; every value a text."""
    facts = {
        "made by": about.made_by,
        "made at": f"{about.made_at:%Y-%m-%d %H:%M} UTC" if about.made_at else "",
        "state": "going on" if about.going_on else "",
        "fields": ", ".join(about.fields),
        "folder": str(about.folder or ""),
        **about.config,
        **{name: value for name, value in about.results.items() if name not in _NO_FACTS},
    }
    return {
        "facts": [
            {"name": name, "value": _text(value)}
            for name, value in facts.items()
            if value not in (None, "", {}, [])
        ],
        "failed": [{"video": uid, "reason": reason} for uid, reason in about.failed.items()],
    }


# What a table has no room for, or another one has.
_NO_FACTS = ("failed", "tables", "rows", "skipped")
# So many of a long list are told.
_TOLD = 8


def _text(value):
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        more = [f"{len(value) - _TOLD:,} more"] if len(value) > _TOLD else []
        return ", ".join([*map(_text, value[:_TOLD]), *more])
    if isinstance(value, dict) and all(isinstance(v, (int, float, str)) for v in value.values()):
        return ", ".join(f"{name}: {_text(v)}" for name, v in value.items())
    return json.dumps(value, ensure_ascii=False)
