"""Action100M's own annotations as samples of a dataset."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..tree import Tree
from .fields import (
    GROUND_TRUTH,
    GROUND_TRUTH_LABELS,
    LABEL_TEXTS,
    REFINED,
    TRANSCRIPT_LABELS,
    declare,
    plain,
    save_light_view,
)
from .labels import Clip, labels, transcript_labels, transcript_lines

if TYPE_CHECKING:
    import fiftyone as fo


@dataclass
class LoadSummary:
    """What :func:`add_ground_truth` did; ``failed`` has a reason per video."""

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def open_dataset(name: str, overwrite: bool = False) -> fo.Dataset:
    """The persistent dataset of that name, made if there is none; ``overwrite`` empties it."""
    import fiftyone as fo

    if fo.dataset_exists(name) and not overwrite:
        return fo.load_dataset(name)
    dataset = fo.Dataset(name, persistent=True, overwrite=overwrite)
    # Left alone, the App writes every label over the picture; a person can check more of them.
    dataset.app_config.active_fields = fo.ActiveFields(paths=["tags", "title"])
    dataset.save()
    return dataset


def load_dataset(name: str) -> fo.Dataset:
    """The dataset of that name; ValueError with the names that exist if there is none."""
    import fiftyone as fo

    if not fo.dataset_exists(name):
        existing = ", ".join(fo.list_datasets()) or "none"
        raise ValueError(f"there is no dataset {name!r}; datasets here: {existing}")
    return fo.load_dataset(name)


def add_ground_truth(
    dataset: fo.Dataset,
    trees: Iterable[Tree],
    videos: Mapping[str, str | os.PathLike[str]],
    clip_duration: float | None = None,
    label_kinds: Literal["gpt", "all", "none"] = "gpt",
    batch_size: int = 50,
) -> LoadSummary:
    """Add a sample for each tree whose video is on disk, or update the sample that is there.

    A video that cannot be read gets a sample too, without new labels: its reason is in the field
    ``load_error``, its tag is ``load_failed``, and both go when a later call can read it.

    Args:
        dataset: the samples of other videos, runs, tags and fields of the user's own are kept
        trees: with their metadata
        videos: the file of each ``video_uid``
        clip_duration: seconds of each video that the files hold; None = as long as they are
        label_kinds: "gpt" makes label fields of the refined texts, "all" of the raw captions too
            (``plm_action``, ``plm_caption``, ``llama3_caption``), "none" of nothing
        batch_size: samples that are written at a time
    """
    import fiftyone as fo

    summary = LoadSummary()
    names = {"gpt": REFINED, "all": tuple(LABEL_TEXTS), "none": ()}[label_kinds]
    declare(dataset, {**_FACT_FIELDS, **_label_fields(names)})
    existing = dict(zip(dataset.values("video_uid"), dataset.values("id"), strict=True))
    batch: list[fo.Sample] = []

    def flush() -> None:
        dataset.add_samples(batch, dynamic=True, progress=False)
        batch.clear()

    seen: set[str] = set()
    for tree in trees:
        if tree.video_uid in seen:
            continue  # a mirror can list a video twice
        seen.add(tree.video_uid)
        path = Path(videos[tree.video_uid]).absolute()
        known = existing.get(tree.video_uid)
        sample = dataset[known] if known else fo.Sample(filepath=str(path))
        sample.filepath = str(path)
        _fill_facts(sample, tree)
        try:
            metadata = _video_metadata(path)
        except ValueError as error:
            summary.failed[tree.video_uid] = str(error)
            _mark(sample, str(error))
        else:
            sample.metadata = metadata
            clip = Clip(metadata.frame_rate, metadata.total_frame_count, clip_duration)
            for name in names:
                sample[_label_field(name)] = labels(tree, clip, name)
            if names:
                sample[TRANSCRIPT_LABELS] = transcript_labels(tree, clip)
            _mark(sample, None)
            (summary.updated if known else summary.added).append(tree.video_uid)
        if known:
            sample.save()
        else:
            batch.append(sample)
            if len(batch) == batch_size:
                flush()
    if batch:
        flush()
    dataset.add_dynamic_sample_fields()
    save_light_view(dataset)
    return summary


def _video_metadata(path: Path) -> fo.VideoMetadata:
    import fiftyone as fo

    try:
        metadata = fo.VideoMetadata.build_for(str(path))
    except Exception as error:  # ffprobe's failures surface as several types
        raise ValueError(
            f"{path} cannot be read as a video; delete it and download it again"
        ) from error
    if not metadata.frame_rate or not metadata.total_frame_count:
        raise ValueError(f"{path} has no frames; delete it and download it again")
    return metadata


def _fill_facts(sample: fo.Sample, tree: Tree) -> None:
    facts = tree.metadata or {}
    sample["video_uid"] = tree.video_uid
    for name in ("title", "description", "view_count", "like_count"):
        sample[name] = facts.get(name)
    sample["full_video_url"] = f"https://www.youtube.com/watch?v={tree.video_uid}"
    sample["upload_date"] = _date(facts.get("upload_date"))
    # The root's end is the truth; the metadata's duration can be wrong by 10 %.
    seconds = tree.duration or facts.get("duration")
    sample["full_video_duration"] = float(seconds) if seconds else None
    sample["transcript"] = " ".join(text for _, text in transcript_lines(tree)) or None
    sample["tree_depth"] = tree.depth
    sample[f"{GROUND_TRUTH}_tree"] = plain(tree)


def _mark(sample: fo.Sample, reason: str | None) -> None:
    """Note on the sample why its video cannot be read, or that it can."""
    if reason is not None or sample.has_field(_ERROR):
        sample[_ERROR] = reason
    sample.tags = [tag for tag in sample.tags if tag != _FAILED] + ([_FAILED] if reason else [])


def _date(text: str | None) -> date | None:
    try:
        return datetime.strptime(text or "", "%Y%m%d").date()
    except ValueError:
        return None


_ERROR, _FAILED = "load_error", "load_failed"

_FACT_FIELDS: Mapping[str, tuple[str, str]] = {
    "video_uid": ("string", "YouTube id"),
    "title": ("string", "the video's title"),
    "description": ("string", "the uploader's description"),
    "full_video_url": ("string", "where the whole video is"),
    "upload_date": ("date", "day of the upload"),
    "view_count": ("int", "views when the dataset was made"),
    "like_count": ("int", "likes when the dataset was made"),
    "full_video_duration": ("float", "seconds of the whole video; the file may be a shorter clip"),
    "transcript": ("string", "the whole transcript without times"),
    "tree_depth": ("int", "deepest level of the ground truth's tree"),
    f"{GROUND_TRUTH}_tree": ("dict", "the ground truth's whole tree with all captions"),
}


def _label_field(name: str) -> str:
    """The field of a kind of text: the refined ones begin with ``gpt``, the raw ones with ``plm``
    or ``llama3`` by themselves."""
    return f"{GROUND_TRUTH_LABELS}_{name}" if name in REFINED else name


def _label_fields(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    found = {
        _label_field(name): ("labels", f"{name.replace('_', ', ')} of the ground truth's segments")
        for name in names
    }
    return {TRANSCRIPT_LABELS: ("labels", "the transcript's lines"), **found} if found else {}
