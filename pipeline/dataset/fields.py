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


#: What each label carries beside its text and frames.
_OF_SEGMENTS = ("node_id", "parent_id", "level", "tier", "start", "end", "truncated")
_OF_LINES = ("start", "end", "truncated")


def declare(dataset: fo.Dataset, wanted: Mapping[str, tuple[str, str]]) -> None:
    """Add the fields that are missing, each with a description for the App's sidebar.

    Args:
        wanted: (kind, description) by name; the kind "labels" is of segments, "lines" of a
            transcript

    Raises:
        ValueError: the dataset holds no videos, or has a field of that name and another kind
    """
    import fiftyone as fo
    from fiftyone.core.odm import create_field

    types: dict[str, tuple[type, dict[str, Any]]] = {
        "string": (fo.StringField, {}),
        "int": (fo.IntField, {}),
        "float": (fo.FloatField, {}),
        "date": (fo.DateField, {}),
        "dict": (fo.DictField, {}),
        "labels": (fo.EmbeddedDocumentField, {"embedded_doc_type": fo.TemporalDetections}),
        "lines": (fo.EmbeddedDocumentField, {"embedded_doc_type": fo.TemporalDetections}),
    }
    attributes: dict[str, type] = {
        **dict.fromkeys(("node_id", "parent_id", "tier"), fo.StringField),
        **dict.fromkeys(("start", "end"), fo.FloatField),
        "level": fo.IntField,
        "truncated": fo.BooleanField,
    }
    if dataset.media_type is None:
        dataset.media_type = "video"
    if dataset.media_type != "video":
        raise ValueError(
            f"the dataset {dataset.name!r} is one of media type {dataset.media_type}, not video; "
            "choose another name"
        )
    schema = dataset.get_field_schema(flat=True)
    for name, (kind, description) in wanted.items():
        ftype, options = types[kind]
        carried = {"labels": _OF_SEGMENTS, "lines": _OF_LINES}.get(kind, ())
        if name not in schema:
            if carried:  # all at once: each change of the schema takes FiftyOne 20 ms
                label = create_field(
                    "",
                    fo.EmbeddedDocumentField,
                    embedded_doc_type=fo.TemporalDetection,
                    fields=[create_field(each, attributes[each]) for each in carried],
                )
                options["fields"] = [create_field("detections", fo.ListField, subfield=label)]
            dataset.add_sample_field(name, ftype, description=description, **options)
            continue
        if not isinstance(schema[name], ftype):
            raise ValueError(
                f"the dataset {dataset.name!r} has a field {name!r} of another kind "
                f"({type(schema[name]).__name__}); rename the field, or choose another dataset"
            )
        for attribute in carried:
            path = f"{name}.detections.{attribute}"
            if path not in schema:
                dataset.add_sample_field(path, attributes[attribute])


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
