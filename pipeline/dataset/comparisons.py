"""A run's trees held against the ground truth's: metrics on the samples, agreement by node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ..metrics import (
    BOUNDARY_TOLERANCE,
    Comparison,
    Side,
    best_matches,
    compare,
    token_f1,
)
from ..report import comparison_text, format_range, one_line
from ..tree import Segment, Tree
from .errors import InputError
from .fields import GROUND_TRUTH, declare
from .runs import run_keys
from .trees import stored_trees, video_sample_ids

if TYPE_CHECKING:
    import fiftyone as fo
    from pymongo import UpdateOne

COMPARISON_METHOD = "action100m/compare_with_ground_truth"

# The tables of so many videos are kept with the comparison; the command `compare` prints them all.
_TABLES = 5
_TABLE_WIDTH = 140
# Videos that are read and written together.
_AT_A_TIME = 32

_METRICS: Mapping[str, tuple[str, Callable[[Comparison], float | None]]] = {
    "boundary_precision": (
        "share of the run's boundaries that the ground truth has",
        lambda c: c.boundaries.precision,
    ),
    "boundary_recall": (
        "share of the ground truth's boundaries that the run has",
        lambda c: c.boundaries.recall,
    ),
    "boundary_f1": ("F1 of the boundaries", lambda c: c.boundaries.f1),
    "reference_iou": (
        "mean temporal IoU of the ground truth's segments with their best match",
        lambda c: c.reference_overlap.mean,
    ),
    "prediction_iou": (
        "mean temporal IoU of the run's segments with their best match",
        lambda c: c.prediction_overlap.mean,
    ),
    "action_f1": ("token F1 of the brief actions of matched segments", lambda c: c.text.action_f1),
    "summary_f1": (
        "token F1 of the brief summaries of matched segments",
        lambda c: c.text.summary_f1,
    ),
}


def comparison_key(key: str) -> str:
    """The key under which the comparison of a run is registered: a run has one at most."""
    return f"{key}_comparison"


def comparison_fields(key: str) -> dict[str, tuple[str, str]]:
    """The sample fields of the comparison of a run: (kind, description) by name."""
    return {
        **{f"{key}_{name}": ("float", text) for name, (text, _) in _METRICS.items()},
        f"{key}_agreement": ("dict", f"how run {key} agrees with the ground truth, by node"),
    }


@dataclass
class ComparisonResults:
    """What :func:`compare_with_ground_truth` found.

    Attributes:
        compared: how many videos
        means: over the videos, by the name of the metric; None where no video has it
        tables: "Time range | reference | prediction" of the first videos, by ``video_uid``
        rows: the same as plain data: ``video``, ``time``, ``reference``, ``prediction``, ``iou``
        skipped: why not, by sample id
    """

    compared: int = 0
    means: dict[str, float | None] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, str]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)


def check_comparison(dataset: fo.Dataset, key: str, tolerance: float = BOUNDARY_TOLERANCE) -> None:
    """Make sure that a run can be compared.

    Raises:
        InputError: there is no such run, no ground truth, or the fields' names are taken
    """
    keys = run_keys(dataset)
    if key not in keys:
        has = f"there are {', '.join(keys)}" if keys else "make one with annotate_videos"
        raise InputError("run_key", f"there is no run {key!r}; {has}")
    if not dataset.has_sample_field(f"{GROUND_TRUTH}_tree"):
        raise InputError("run_key", "the dataset has no ground truth to compare with")
    if not 0 <= tolerance < float("inf"):
        raise InputError("tolerance", f"{tolerance:g} s is not 0 s or more")
    own = comparison_key(key)
    if not dataset.has_run(own) or dataset.get_run_info(own).config.method != COMPARISON_METHOD:
        check_new_comparison(dataset, key)


def check_new_comparison(dataset: fo.Dataset, key: str) -> None:
    """Raise InputError if other things have the names of the comparison of a run of that key."""
    if dataset.has_run(comparison_key(key)):
        raise InputError("run_key", f"the key {comparison_key(key)!r} is taken by another run")
    if taken := set(dataset.get_field_schema()) & set(comparison_fields(key)):
        raise InputError(
            "run_key", f"the dataset has the field(s) {', '.join(sorted(taken))} already"
        )


def compare_with_ground_truth(
    samples: fo.SampleCollection,
    key: str,
    tolerance: float = BOUNDARY_TOLERANCE,
    on_video: Callable[[int], None] | None = None,
) -> ComparisonResults:
    """Compare a run with the ground truth, video by video.

    Each sample gets the metrics as ``<key>_boundary_f1`` and so on, and ``<key>_agreement``:
    ``{"reference": nodes, "prediction": nodes}``, where ``nodes`` has for each ``node_id`` of that
    tree its best match in the other, ``{"match": node_id or None, "iou": 0 to 1, "text": 0 to 1 or
    None}`` (``text``: token F1 of the two nodes' brief texts). An earlier comparison of the run is
    replaced on these samples. It is registered as a FiftyOne run of key ``<key>_comparison``.

    Args:
        tolerance: seconds that two boundaries may be apart and still be the same
        on_video: called after each video with the number of those that are done

    Raises:
        InputError: see :func:`check_comparison`
    """
    dataset = samples._root_dataset
    check_comparison(dataset, key, tolerance)
    declare(dataset, comparison_fields(key))
    schema = dataset.get_field_schema()
    ids = video_sample_ids(samples)
    results = ComparisonResults()
    values: dict[str, list[float]] = {name: [] for name in _METRICS}
    for at in range(0, len(ids), _AT_A_TIME):
        chunk = ids[at : at + _AT_A_TIME]
        references = dict(stored_trees(dataset.select(chunk), GROUND_TRUTH, metadata=True))
        predictions = dict(stored_trees(dataset.select(chunk), key))
        changes = []
        for number, sample_id in enumerate(chunk, at + 1):
            reference, prediction = references.get(sample_id), predictions.get(sample_id)
            if reference is None or prediction is None:
                missing = "ground truth" if reference is None else f"tree of run {key}"
                results.skipped[sample_id] = f"it has no {missing}"
            else:
                found = compare(reference, prediction, tolerance)
                results.compared += 1
                if len(results.tables) < _TABLES:
                    results.tables[reference.video_uid] = comparison_text(found, _TABLE_WIDTH)
                    results.rows += _rows(found)
                measured = {name: get(found) for name, (_, get) in _METRICS.items()}
                for name, value in measured.items():
                    if value is not None:
                        values[name].append(value)
                stored: dict[str, Any] = {f"{key}_{k}": value for k, value in measured.items()}
                stored[f"{key}_agreement"] = _agreement(reference, prediction)
                changes.append(_change(sample_id, stored, schema))
            if on_video is not None:
                on_video(number)
        if changes:
            dataset._bulk_write(changes, ids=chunk)
    results.means = {
        name: round(fmean(found), 4) if found else None for name, found in values.items()
    }
    _register(dataset, key, tolerance, results)
    return results


def _rows(comparison: Comparison) -> list[dict[str, str]]:
    return [
        {
            "video": comparison.video_uid,
            "time": format_range(row.reference.start, row.reference.end),
            "reference": _said(row.reference),
            "prediction": _said(row.prediction),
            "iou": f"{row.iou:.2f}",
        }
        for row in comparison.rows
    ]


def _said(side: Side | None) -> str:
    texts = (one_line(side.action), one_line(side.summary)) if side is not None else ()
    return ": ".join(filter(None, texts)) or "–"


def _change(sample_id: str, stored: Mapping[str, Any], schema: Mapping[str, Any]) -> UpdateOne:
    from bson import ObjectId
    from pymongo import UpdateOne

    values = {name: schema[name].to_mongo(value) for name, value in stored.items()}
    values["last_modified_at"] = datetime.now(UTC)
    return UpdateOne({"_id": ObjectId(sample_id)}, {"$set": values})


def _agreement(reference: Tree, prediction: Tree) -> dict[str, dict[str, Any]]:
    return {
        "reference": _node_agreement(reference, prediction),
        "prediction": _node_agreement(prediction, reference),
    }


def _node_agreement(tree: Tree, other: Tree) -> dict[str, Any]:
    matches = best_matches(tree, other)
    found = {}
    for segment in tree.segments:
        match, iou = matches.get(segment.node_id, (None, 0.0))
        text = None if match is None else _text_agreement(segment, other[match])
        found[segment.node_id] = {"match": match, "iou": round(iou, 4), "text": text}
    return found


def _text_agreement(a: Segment, b: Segment) -> float | None:
    """The mean token F1 of those brief texts that both nodes have; None where they share none."""
    pairs = zip(_briefs(a), _briefs(b), strict=True)
    scores = [token_f1(first, second) for first, second in pairs if first and second]
    return round(fmean(scores), 4) if scores else None


def _briefs(s: Segment) -> tuple[str | None, str | None]:
    if s.gpt is None:
        return s.plm_action, s.plm_caption
    return s.text("action", "brief"), s.text("summary", "brief")


def _register(dataset: fo.Dataset, key: str, tolerance: float, results: ComparisonResults) -> None:
    own = comparison_key(key)
    config = dataset.init_run(
        method=COMPARISON_METHOD, reference=GROUND_TRUTH, prediction=key, tolerance=tolerance
    )
    if dataset.has_run(own):
        dataset.update_run_config(own, config)
    else:
        dataset.register_run(own, config)
    stored = dataset.init_run_results(own, **asdict(results))
    dataset.save_run_results(own, stored, overwrite=True)
