"""What the operators share: the button, the target, the trees, refusals, tables; calls from Python.

A text that comes from data is shown as text only: never as HTML, as an option, or as a path.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import fiftyone.operators as foo
from fiftyone.operators import types

from ..pipeline import dataset as datasets


def placement(operator):
    """A button above the grid, which opens the operator's form."""
    button = types.Button(label=operator.config.label, icon=operator.config.icon, prompt=True)
    return types.Placement(types.Places.SAMPLES_GRID_SECONDARY_ACTIONS, button)


def refuse(prop, reason):
    """Mark a field of the form as wrong, with a sentence."""
    prop.invalid, prop.error_message = True, str(reason)


def checked(inputs, check):
    """What ``check()`` returns; None, with the field in red, where it raises an InputError."""
    try:
        return check()
    except datasets.InputError as error:
        prop = inputs.properties.get(error.field)
        refuse(prop or block(inputs, error.field, error), error)
        return None


def block(inputs, name, reason):
    """Say what is wrong with the whole form, which cannot be submitted then."""
    inputs.view(f"{name}_error", types.Error(label=str(reason)))
    prop = inputs.str(name, view=types.HiddenView())
    refuse(prop, reason)
    return prop


def target_input(ctx, inputs, done):
    """Offer the selection, the view and the dataset; returns the chosen one, or None if it is
    empty or holds no videos.

    Args:
        done: what becomes of the videos, like "annotated"
    """
    target = ctx.target_view()  # asks FiftyOne for the selector, too
    if target.media_type == "video" and (count := target.count()):
        label = f"{count} video{'s' if count > 1 else ''} will be {done}."
        inputs.view("target_note", types.Notice(label=label))
        return target
    block(
        inputs,
        "target",
        f"There is no video to be {done}: select some, or clear the view's filters.",
    )
    return None


def tree_input(ctx, inputs, label="Trees", description="Whose trees: the ground truth or a run"):
    """Ask for the ground truth or a run; returns its name, or None as long as there is none."""
    names = datasets.tree_names(ctx.dataset)
    choices = types.DropdownView()
    for name in names:
        choices.add_choice(name, label=tree_label(name))
    inputs.str(
        "tree",
        default=names[0] if names else datasets.GROUND_TRUTH,
        label=label,
        description=description,
        view=choices,
    )
    tree = ctx.params.get("tree") or (names[0] if names else datasets.GROUND_TRUTH)
    checked(inputs, lambda: datasets.check_tree(ctx.dataset, tree))
    return tree if tree in names else None


def tree_label(name):
    """What people call the trees of that name."""
    return "Ground truth" if name == datasets.GROUND_TRUTH else f"Run {name}"


def table(**columns):
    """How a list is shown as a table: the columns' labels by their names."""
    view = types.TableView()
    for name, label in columns.items():
        view.add_column(name, label=label)
    return view


def of_many(count, what):
    """ "1 video", "2 videos"."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def call(operator, samples, params, delegate=False):
    """Execute an operator from Python and wait for it, in notebooks too.

    Args:
        samples: a dataset, a view, or None for an operator that needs neither
        params: those that are None are left out
        delegate: whether to queue the work for ``fiftyone delegated launch``

    Returns:
        what the operator returned; None of one that shows its progress

    Raises:
        ExecutionError: an input was refused, or the work failed
    """
    context = {"request_delegation": delegate}
    if samples is not None:
        context["view"] = samples.view()
    params = {name: value for name, value in params.items() if value is not None}

    def execute():
        return foo.execute_operator(operator.uri, context, params=params).result

    if not _in_a_loop():
        return execute()
    with ThreadPoolExecutor(1) as thread:  # a notebook's loop runs already: FiftyOne needs another
        return thread.submit(execute).result()


def _in_a_loop():
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def run_input(ctx, inputs, keys, description):
    """Ask for one of the runs of these keys; returns its key, or None as long as there is none."""
    choices = types.DropdownView()
    for key in keys:
        choices.add_choice(key, label=key)
    default = keys[-1] if len(keys) == 1 else None
    inputs.str(
        "run_key",
        required=True,
        default=default,
        label="Run",
        description=description,
        view=choices,
    )
    if not keys:
        block(inputs, "run", "This dataset has no runs: make one with annotate_videos.")
    return ctx.params.get("run_key") or default
