"""What a person says of a run's segment by hand: flags, tags, corrected texts.

They are kept in the run's tree, as the node's ``review`` with who and when, and in the labels that
the run made of that segment. The ground truth is never changed.
"""

import getpass
from collections.abc import Mapping, Sequence
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

FLAG = "flagged"


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
    if not sample.has_field(field) or not sample[field]:
        raise ReviewError(f"This sample has no tree of a run {key!r}.")
    tree = deepcopy(dict(sample[field]))
    node = next((n for n in tree["nodes"] if n["node_id"] == node_id), None)
    if node is None:
        raise ReviewError("The run's tree has changed meanwhile; read it again with Reload.")

    earlier = node.get("review") or {}
    before = dict(earlier.get("before") or {})
    for path, text in zip(_paths(node), (action, actor), strict=False):
        if text is not None:
            _correct(node, path, text.strip(), before)
    tags = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
    node["review"] = {
        "flagged": flagged,
        "tags": tags,
        "before": before,
        "by": by,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    sample[field] = tree
    _update_labels(sample, key, node, dropped={FLAG, *(earlier.get("tags") or ())})
    sample.save()


def _paths(node: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Where the texts are that can be corrected: the action, and of a refined node the actor."""
    if node.get("gpt"):
        return ("gpt", "action", "brief"), ("gpt", "action", "actor")
    return (("plm_action",),)


def _correct(node: dict, path: tuple[str, ...], text: str, before: dict) -> None:
    """Set a text, and remember in ``before`` what the model had written there."""
    holder = node
    for name in path[:-1]:
        if holder.get(name) is None:
            holder[name] = {}
        holder = holder[name]
    current = holder.get(path[-1])
    if text == (current or ""):
        return
    if not text:
        raise ReviewError("A text cannot be empty; write N/A where nothing is to be seen.")
    field = ".".join(path)
    if before.setdefault(field, current) == text:
        del before[field]  # as the model had it
    holder[path[-1]] = text


def _update_labels(sample, key: str, node: Mapping[str, Any], dropped: set[str]) -> None:
    """Bring the labels of this node up to date; other tags that they carry stay."""
    from ..pipeline import dataset as datasets

    review = node["review"]
    said = [*([FLAG] if review["flagged"] else []), *review["tags"]]
    for name, path in datasets.LABEL_TEXTS.items():
        field = f"{key}_{name}"
        labels = sample[field] if sample.has_field(field) else None
        for detection in (labels.detections if labels else None) or ():
            if not detection.has_attribute("node_id") or detection["node_id"] != node["node_id"]:
                continue
            text: Any = node
            for part in path:
                text = (text or {}).get(part)
            if text is not None:
                detection.label = text
            kept = [tag for tag in detection.tags if tag not in dropped]
            detection.tags = [*kept, *(tag for tag in said if tag not in kept)]
