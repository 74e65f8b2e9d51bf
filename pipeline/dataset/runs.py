"""Runs of the pipeline on a dataset: their keys, inputs, results and fields."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..store import RunStore, StoreError
from ..tree import Tree
from .fields import (
    GROUND_TRUTH,
    GROUND_TRUTH_LABELS,
    REFINED,
    TRANSCRIPT_LABELS,
    declare,
    save_light_view,
)
from .labels import Clip, labels
from .reviews import carry_reviews, update_labels

if TYPE_CHECKING:
    import fiftyone as fo

logger = logging.getLogger(__name__)

RUN_METHOD = "action100m/annotate_videos"
# A file in a run's folder: the App has no way to end an operator that runs.
_STOP = "stop"


class RunKeyError(ValueError):
    """A run key that cannot be used; the message says why and what to do."""


def check_run_key(dataset: fo.Dataset, key: str, resume: bool = False) -> None:
    """Make sure that a run can be stored under ``key``.

    Args:
        resume: whether an existing run of that key is to go on

    Raises:
        RunKeyError: the key is no identifier, is taken, or (``resume``) is no run of this project
    """
    if not key or not key.isidentifier() or key.startswith("_"):
        raise RunKeyError(
            f"the run key {key!r} cannot name fields: use letters, digits and _, "
            "not starting with a digit or _"
        )
    if dataset.has_run(key):
        if dataset.get_run_info(key).config.method != RUN_METHOD:
            raise RunKeyError(
                f"the run key {key!r} is taken by a run of another kind; choose another"
            )
        if not resume:
            raise RunKeyError(f"the run key {key!r} is taken: choose another, or resume that run")
        return
    if resume:
        raise RunKeyError(
            f"there is no run {key!r} to resume; runs of this dataset: "
            f"{', '.join(run_keys(dataset)) or 'none'}"
        )
    taken = set(dataset.get_field_schema()) & set(run_fields(key))
    if taken or key in (GROUND_TRUTH, GROUND_TRUTH_LABELS):
        raise RunKeyError(
            f"the run key {key!r} is taken: the dataset has the field(s) "
            f"{', '.join(sorted(taken)) or f'{key}_*'} already; choose another"
        )


def run_fields(key: str) -> dict[str, tuple[str, str]]:
    """The sample fields of a run: (kind, description) by name."""
    return {
        f"{key}_tree": ("dict", f"the whole tree of run {key} with all captions"),
        **{
            f"{key}_{name}": ("labels", f"{name.replace('_', ', ')} of the segments of run {key}")
            for name in REFINED
        },
        f"{key}_error": ("string", f"why run {key} failed on this video"),
    }


def run_keys(dataset: fo.Dataset) -> list[str]:
    """The keys of the runs that :func:`start_run` registered on the dataset."""
    return [
        key for key in dataset.list_runs() if dataset.get_run_info(key).config.method == RUN_METHOD
    ]


def start_run(dataset: fo.Dataset, key: str, config: Mapping[str, Any]) -> None:
    """Register a run with its configuration, or bring a resumed run's configuration up to date."""
    run_config = dataset.init_run(method=RUN_METHOD, **config)
    if dataset.has_run(key):
        dataset.update_run_config(key, run_config)
    else:
        dataset.register_run(key, run_config)
    declare(dataset, run_fields(key))
    save_light_view(dataset)


def request_stop(folder: Path) -> None:
    """Ask whoever works on the run in this folder to stop; what is finished stays."""
    (folder / _STOP).touch()


def is_stopped(folder: Path) -> bool:
    """Whether somebody asked for the run to stop."""
    return (folder / _STOP).exists()


def forget_stop(folder: Path) -> None:
    """The run begins, or has ended."""
    (folder / _STOP).unlink(missing_ok=True)


@contextmanager
def locked_run(folder: Path) -> Iterator[bool]:
    """Keep everybody else from working on a run: nothing of it changes meanwhile.

    This is the lock that the stages hold on the run's files, which ends with its process, however
    that ends; a file that a killed process left behind locks nothing.

    Yields:
        whether that is so; False while somebody works on the run
    """
    if not folder.is_dir():
        yield True  # a run makes its folder first
        return
    try:
        store = RunStore(folder)
    except StoreError:
        yield True  # the stages begin with this, too: nobody can work there
        return
    with ExitStack() as held:
        try:
            held.enter_context(store.lock())
            ours = True
        except StoreError:
            ours = False
        yield ours


@dataclass(frozen=True)
class RunInput:
    """A sample to annotate: its id, its video, and the metadata that helps to refine."""

    sample_id: str
    video_uid: str
    path: Path
    metadata: dict[str, Any] | None


def run_folder(dataset: fo.Dataset, key: str) -> Path:
    """Where a run's files are: beside the media that FiftyOne keeps, so that updates spare them."""
    import fiftyone as fo

    return Path(fo.config.default_dataset_dir).expanduser() / dataset.name / "runs" / key


def run_inputs(samples: fo.SampleCollection) -> list[RunInput]:
    """What there is to annotate in a dataset or view.

    A video's uid is the sample's ``video_uid``, or else its file's stem.

    Raises:
        ValueError: there is nothing, some of it is no video, or two samples share a uid
    """
    if samples.media_type != "video":
        raise ValueError(f"these samples are of media type {samples.media_type}; choose videos")
    inputs: dict[str, RunInput] = {}
    for sample in samples.iter_samples():
        uid = _value(sample, "video_uid") or Path(sample.filepath).stem
        if uid in inputs:
            raise ValueError(
                f"two samples are both video {uid!r} ({inputs[uid].path} and {sample.filepath}); "
                "choose one of them, or set their video_uid"
            )
        # Of a clips or frames view, the id of the sample that the clip is from.
        sample_id = getattr(sample, "sample_id", None) or sample.id
        inputs[uid] = RunInput(sample_id, uid, Path(sample.filepath), _known_metadata(sample))
    if not inputs:
        raise ValueError("there is no video to annotate; select some, or clear the view's filters")
    return list(inputs.values())


def _known_metadata(sample: fo.Sample) -> dict[str, Any] | None:
    """The sample's facts as a row of Action100M's schema has them; None if it has none."""
    known = {
        name: _value(sample, name) for name in ("title", "description", "view_count", "like_count")
    }
    uploaded = _value(sample, "upload_date")
    known["upload_date"] = uploaded.strftime("%Y%m%d") if uploaded else None
    lines = _value(sample, TRANSCRIPT_LABELS)
    known["transcript"] = [
        {"time": str(line["start"]), "text": line.label}
        for line in (lines.detections if lines else ())
        if line.has_attribute("start")
    ] or None
    return known if any(known.values()) else None


def _value(sample: fo.Sample, name: str) -> Any:
    return sample[name] if sample.has_field(name) else None


def save_run(
    dataset: fo.Dataset,
    key: str,
    trees: Iterable[Tree],
    failures: Mapping[str, str],
    sample_ids: Mapping[str, str],
    results: Mapping[str, Any],
) -> str:
    """Store a run's trees and failures on the samples and its results on the run.

    What people said of segments in the trees that are replaced is carried over, see
    ``reviews.carry_reviews``; the results get ``reviews_set_aside``, how many wait by
    ``video_uid``. Until all is stored the run counts as going on.

    Args:
        key: of a run that was started
        trees: what the run made
        failures: a reason per ``video_uid``; those samples get the tag ``<key>_failed``
        sample_ids: the sample of each ``video_uid``
        results: models, timings, counts; plain JSON data

    Returns:
        a sentence on the reviews that wait for their segments, also logged; "" if none does

    Raises:
        RunKeyError: there is no such run any longer
    """
    folder = run_folder(dataset, key)
    with locked_run(folder):
        if not dataset.has_run(key):
            raise RunKeyError(
                f"the run {key!r} was deleted or renamed while it began; what it has made is in "
                f"{folder}, and goes on when that key is run again"
            )
        waiting = _save_samples(dataset, key, trees, failures, sample_ids)
        dataset.add_dynamic_sample_fields()
        told = {**results, "reviews_set_aside": waiting}
        dataset.save_run_results(key, dataset.init_run_results(key, **told), overwrite=True)
        save_light_view(dataset)
    note = _waiting_reviews(key, sum(waiting.values()))
    if note:
        logger.warning("Run %s: %s", key, note)
    return note


def _save_samples(
    dataset: fo.Dataset,
    key: str,
    trees: Iterable[Tree],
    failures: Mapping[str, str],
    sample_ids: Mapping[str, str],
) -> dict[str, int]:
    """Store trees and failures; returns how many reviews wait, by ``video_uid``."""
    import fiftyone as fo

    waiting: dict[str, int] = {}
    tag = f"{key}_failed"
    for tree in trees:
        if tree.video_uid not in sample_ids:
            continue
        sample = dataset[sample_ids[tree.video_uid]]
        if sample.metadata is None:
            sample.metadata = fo.VideoMetadata.build_for(sample.filepath)
        clip = Clip(sample.metadata.frame_rate, sample.metadata.total_frame_count)
        stored = carry_reviews(_stored_field(dataset, sample.id, f"{key}_tree"), tree)
        if aside := stored.get("set_aside"):
            waiting[tree.video_uid] = len(aside)
        sample[f"{key}_tree"] = stored
        corrected = Tree.from_dict(stored)
        for name in REFINED:
            sample[f"{key}_{name}"] = labels(corrected, clip, name)
        update_labels(sample, key, (node for node in stored["nodes"] if "review" in node))
        sample[f"{key}_error"] = None
        sample.tags = [t for t in sample.tags if t != tag]
        sample.save()
    for video_uid, reason in failures.items():
        sample = dataset[sample_ids[video_uid]]
        sample[f"{key}_error"] = reason
        sample.tags = [*(t for t in sample.tags if t != tag), tag]
        sample.save()
    return waiting


def _stored_field(dataset: fo.Dataset, sample_id: str, name: str) -> Any:
    """A sample's field as the database has it: samples in memory can be older."""
    from bson import ObjectId

    collection = dataset._sample_collection
    return (collection.find_one({"_id": ObjectId(sample_id)}, {name: 1}) or {}).get(name)


def _waiting_reviews(key: str, count: int) -> str:
    if not count:
        return ""
    reviews = "1 review is" if count == 1 else f"{count:,} reviews are"
    return (
        f"{reviews} set aside in {key}_tree, since the trees no longer have their segments or "
        "texts; a tree that has them again brings them back"
    )
