"""The fields of a dataset: their names, types and descriptions, and the view without labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..tree import Tree

if TYPE_CHECKING:
    import fiftyone as fo

GROUND_TRUTH = "ground_truth"
GROUND_TRUTH_LABELS = "gpt"
TRANSCRIPT_LABELS = "transcript_segments"
LIGHT_VIEW = "light"

#: The text of a segment that each label field holds, by the end of the field's name.
LABEL_TEXTS: Mapping[str, tuple[str, ...]] = {
    "summary_brief": ("gpt", "summary", "brief"),
    "summary_detailed": ("gpt", "summary", "detailed"),
    "action_brief": ("gpt", "action", "brief"),
    "action_detailed": ("gpt", "action", "detailed"),
    "action_actor": ("gpt", "action", "actor"),
    "plm_action": ("plm_action",),
    "plm_caption": ("plm_caption",),
    "llama3_caption": ("llama3_caption",),
}
REFINED = tuple(name for name, path in LABEL_TEXTS.items() if path[0] == "gpt")


def declare(dataset: fo.Dataset, wanted: Mapping[str, tuple[str, str]]) -> None:
    """Add the fields that are missing, each with a description for the App's sidebar."""
    import fiftyone as fo

    types: dict[str, tuple[type, dict[str, Any]]] = {
        "string": (fo.StringField, {}),
        "int": (fo.IntField, {}),
        "float": (fo.FloatField, {}),
        "date": (fo.DateField, {}),
        "dict": (fo.DictField, {}),
        "labels": (fo.EmbeddedDocumentField, {"embedded_doc_type": fo.TemporalDetections}),
    }
    if dataset.media_type is None:
        dataset.media_type = "video"
    schema = dataset.get_field_schema()
    for name, (kind, description) in wanted.items():
        if name not in schema:
            ftype, options = types[kind]
            dataset.add_sample_field(name, ftype, description=description, **options)


def plain(tree: Tree) -> dict[str, Any]:
    """What a ``*_tree`` field holds: the row without the metadata, which the sample has."""
    row = tree.to_dict()
    return {"video_uid": row["video_uid"], "nodes": row["nodes"]}


def save_light_view(dataset: fo.Dataset) -> None:
    """Save the view ``light``: everything but the label fields, so that the grid is fast."""
    import fiftyone as fo

    heavy = list(dataset.get_field_schema(embedded_doc_type=fo.TemporalDetections))
    dataset.save_view(
        LIGHT_VIEW,
        dataset.exclude_fields(heavy),
        description="Without label fields: opens fast. The panel shows the trees all the same.",
        overwrite=True,
    )
