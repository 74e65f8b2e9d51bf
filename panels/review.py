"""Saves what a person says of a run's segment in the panel; how it is kept, and outlives the run's
being done again, is in ``pipeline/dataset/reviews.py``. The ground truth is never changed.
"""

import getpass
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any


class ReviewError(ValueError):
    """What cannot be saved; the message is for the person who tried."""


def user_name(ctx) -> str:
    """Who calls: the App's user where it knows one, else the account that the server runs under."""
    user = ctx.user
    for name in ("name", "email", "id"):
        if value := getattr(user, name, None):
            return str(value)
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def save_review(
    sample,
    key: str,
    node_id: str,
    *,
    by: str,
    flagged: bool,
    tags: Sequence[str],
    action: str | None,
    actor: str | None,
) -> None:
    """Save on the sample what somebody says of a segment of the run ``key``.

    Args:
        by: who says so
        flagged, tags: replace what was said before
        action, actor: correct the brief texts; None leaves them as they are. A node that was not
            refined has no actor, and its action is ``plm_action``

    Raises:
        ReviewError: the tree or the node is not there, is the ground truth, or a text is empty
    """
    from ..pipeline import dataset as datasets

    field = f"{key}_tree"
    if key == datasets.GROUND_TRUTH:
        raise ReviewError("The ground truth is never changed; flag or correct a run's segment.")
    sample.reload()  # a run of another process may have replaced the tree that is in memory
    if not sample.has_field(field) or not sample[field]:
        raise ReviewError(f"This sample has no tree of a run {key!r}.")
    tree = deepcopy(dict(sample[field]))
    node = next((n for n in tree["nodes"] if n["node_id"] == node_id), None)
    if node is None:
        raise ReviewError("The run's tree has changed meanwhile; read it again with Reload.")

    earlier = node.get("review") or {}
    before = dict(earlier.get("before") or {})
    for name, text in zip(_corrigible(node), (action, actor), strict=False):
        if text is None or text.strip() == (datasets.node_text(node, name) or ""):
            continue
        if not text.strip():
            raise ReviewError("A text cannot be empty; write N/A where nothing is to be seen.")
        datasets.correct_text(node, name, text.strip(), before)
    node["review"] = {
        "flagged": flagged,
        "tags": list(dict.fromkeys(tag.strip() for tag in tags if tag.strip())),
        "before": before,
        "by": by,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    sample[field] = tree
    dropped = {datasets.FLAG, *(earlier.get("tags") or ())}
    datasets.update_labels(sample, key, [node], dropped)
    sample.save()


def _corrigible(node: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that can be corrected: the action, and of a refined node the actor."""
    return ("gpt.action.brief", "gpt.action.actor") if node.get("gpt") else ("plm_action",)
