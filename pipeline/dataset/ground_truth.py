"""Action100M's own annotations as samples of a dataset."""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..ahead import look_ahead
from ..parquet import Row
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
from .labels import Clip, label_document, transcript_document, transcript_lines

if TYPE_CHECKING:
    import fiftyone as fo
    from pymongo import UpdateOne

# Probing is a process of ffprobe's for each video; more at a time than there are cores gain little.
_PROBES = max(2, min(8, os.cpu_count() or 1))


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


def describe_dataset(name: str) -> str | None:
    """How many samples and runs a dataset has, in words; None if there is no such dataset."""
    import fiftyone as fo

    if not fo.dataset_exists(name):
        return None
    dataset = fo.load_dataset(name)
    runs = [*dataset.list_runs(), *dataset.list_brain_runs(), *dataset.list_evaluations()]
    count = f"{len(dataset)} samples and {len(runs)} runs"
    return f"{count} ({', '.join(runs)})" if runs else count


def load_dataset(name: str) -> fo.Dataset:
    """The dataset of that name; ValueError with the names that exist if there is none."""
    import fiftyone as fo

    if not fo.dataset_exists(name):
        existing = ", ".join(fo.list_datasets()) or "none"
        raise ValueError(f"there is no dataset {name!r}; datasets here: {existing}")
    return fo.load_dataset(name)


def add_ground_truth(
    dataset: fo.Dataset,
    trees: Iterable[Tree | Row],
    videos: Mapping[str, str | os.PathLike[str]],
    clip_duration: float | None = None,
    label_kinds: Literal["gpt", "all", "none"] = "gpt",
    batch_size: int = 16,
) -> LoadSummary:
    """Add a sample for each tree whose video is on disk, or update the sample that is there.

    Samples are written in batches as they are made, so that a run that is killed leaves those
    before it, and memory is bounded by the batch. Videos are probed in parallel.

    Each video gets its sample. What cannot be read of it - the file, the row, the date - is said in
    the field ``load_error``, the sample has the tag ``load_failed``, and what can be read is
    stored; error and tag go when a later call can read it all. Of a sample that is there, what
    cannot be read now stays as it was.

    Args:
        dataset: the samples of other videos, runs, tags and fields of the user's own are kept
        trees: with their metadata; rows as :func:`parquet.read_videos` gives them say what could
            not be read
        videos: the file of each ``video_uid``
        clip_duration: seconds of each video that the files hold; None = as long as they are
        label_kinds: "gpt" makes label fields of the refined texts, "all" of the raw captions too
            (``plm_action``, ``plm_caption``, ``llama3_caption``), "none" of nothing
        batch_size: samples that are written at a time

    Raises:
        ValueError: the dataset has fields of other kinds, or is not one of videos
    """
    summary = LoadSummary()
    names = {"gpt": REFINED, "all": tuple(LABEL_TEXTS), "none": ()}[label_kinds]
    declare(dataset, {**_FACT_FIELDS, **_label_fields(names)})
    save_light_view(dataset)
    known = {
        uid: sample_id
        for uid, sample_id in zip(*dataset.values(["video_uid", "id"]), strict=True)
        if uid is not None
    }

    def probe(row: Row) -> fo.VideoMetadata | ValueError:
        try:
            return _video_metadata(Path(videos[row.tree.video_uid]).absolute())
        except ValueError as error:
            return error

    with closing(look_ahead(probe, _first_of_each(trees), _PROBES, 2 * _PROBES)) as probed:
        samples = (
            _prepared(row, Path(videos[row.tree.video_uid]).absolute(), found, clip_duration, names)
            for row, found in probed
        )
        while batch := list(islice(samples, batch_size)):
            added = _write(dataset, batch, known)
            for sample in batch:
                if sample.problems:
                    summary.failed[sample.uid] = "; ".join(sample.problems)
                else:
                    (summary.added if sample.uid in added else summary.updated).append(sample.uid)
    return summary


def _first_of_each(trees: Iterable[Tree | Row]) -> Iterator[Row]:
    """The trees as rows, without those of a video that came before: a mirror can list one twice."""
    seen: set[str] = set()
    for each in trees:
        row = each if isinstance(each, Row) else Row(each)
        if row.tree.video_uid not in seen:
            seen.add(row.tree.video_uid)
            yield row


@dataclass
class _Prepared:
    """A sample before it is written: its values by field, and what could not be read of it."""

    uid: str
    values: dict[str, Any]
    problems: list[str]


def _prepared(
    row: Row,
    path: Path,
    metadata: fo.VideoMetadata | ValueError,
    clip_duration: float | None,
    names: Iterable[str],
) -> _Prepared:
    tree, problems = row.tree, []
    values: dict[str, Any] = {"filepath": str(path), "video_uid": tree.video_uid}
    if row.problem:
        problems.append(row.problem)
    values |= _facts(tree, problems)
    whole = bool(tree.segments) or not row.problem
    if whole:
        values["tree_depth"] = tree.depth
        values[f"{GROUND_TRUTH}_tree"] = plain(tree)
    if isinstance(metadata, ValueError):
        problems.append(str(metadata))
        return _Prepared(tree.video_uid, values, problems)
    values["metadata"] = metadata
    if whole and names:
        clip = Clip(metadata.frame_rate, metadata.total_frame_count, clip_duration)
        for name in names:
            values[_label_field(name)] = label_document(tree, clip, name)
        values[TRANSCRIPT_LABELS] = transcript_document(tree, clip)
    return _Prepared(tree.video_uid, values, problems)


def _facts(tree: Tree, problems: list[str]) -> dict[str, Any]:
    """The sample's plain fields; a fact of a wrong kind is left out and said in ``problems``."""
    facts = tree.metadata or {}
    values: dict[str, Any] = {"full_video_url": f"https://www.youtube.com/watch?v={tree.video_uid}"}
    for name, kind in (("title", str), ("description", str), *dict.fromkeys(_COUNTS, int).items()):
        value = facts.get(name)
        if value is None or isinstance(value, kind):
            values[name] = value
        elif kind is int and isinstance(value, float) and value.is_integer():
            values[name] = int(value)  # as pandas writes counts of which some are null
        else:
            problems.append(f"its {name} is {value!r:.40}")
    uploaded = facts.get("upload_date")
    if not uploaded:
        values["upload_date"] = None
    elif (day := _date(uploaded)) is not None:
        values["upload_date"] = day
    else:
        problems.append(f"its upload_date is {uploaded!r:.40}, no day as YYYYMMDD")
    # The root's end is the truth; the metadata's duration can be wrong by 10 %.
    seconds = tree.duration or facts.get("duration")
    values["full_video_duration"] = float(seconds) if seconds else None
    values["transcript"] = " ".join(text for _, text in transcript_lines(tree)) or None
    return values


_COUNTS = ("view_count", "like_count")


def _date(text: object) -> date | None:
    match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", str(text), re.ASCII)
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None


def _write(dataset: fo.Dataset, batch: list[_Prepared], known: dict[str, str]) -> set[str]:
    """Write samples; returns the ids of the videos that are new, and adds theirs to ``known``."""
    import fiftyone as fo

    new = [sample for sample in batch if sample.uid not in known]
    if new:
        ids = dataset.add_samples(
            [fo.Sample(filepath=each.values["filepath"], video_uid=each.uid) for each in new],
            expand_schema=False,
            progress=False,
        )
        known.update(zip((each.uid for each in new), ids, strict=True))
    _set_values(dataset, batch, known)
    return {sample.uid for sample in new}


def _set_values(dataset: fo.Dataset, batch: list[_Prepared], known: Mapping[str, str]) -> None:
    """Set the samples' values; one whose values cannot be stored goes without its tree and labels.

    That is one of more than 16 MB, MongoDB's limit: about 11,000 nodes.

    Each sample is one change of the database, which therefore has all of it or nothing. FiftyOne's
    public ways take several times as long: ``add_samples`` and ``sample.save()`` make an object of
    each label, twice, and ``set_values`` writes the whole sample again for each field.
    """
    from pymongo.errors import PyMongoError

    if any(sample.problems for sample in batch):
        declare(dataset, {_ERROR: ("string", "what could not be read when the sample was made")})
    schema = dataset.get_field_schema()
    try:
        dataset._bulk_write(
            [_update(sample, known[sample.uid], schema) for sample in batch],
            ids=[known[sample.uid] for sample in batch],
        )
    except (ValueError, OverflowError, PyMongoError) as error:
        if len(batch) > 1:
            for sample in batch:
                _set_values(dataset, [sample], known)
            return
        (sample,) = batch
        if f"{GROUND_TRUTH}_tree" not in sample.values:
            raise  # not because of its size
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        sample.problems.append(f"its annotations cannot be stored: {reason:.200}")
        light = {"filepath", "metadata", *_FACT_FIELDS} - {f"{GROUND_TRUTH}_tree"}
        sample.values = {name: value for name, value in sample.values.items() if name in light}
        _set_values(dataset, batch, known)


def _update(sample: _Prepared, sample_id: str, schema: Mapping[str, Any]) -> UpdateOne:
    """The change that stores a sample's values, and marks it with its problems or as without."""
    from bson import ObjectId
    from pymongo import UpdateOne

    values = dict(sample.values)
    if _ERROR in schema:
        values[_ERROR] = "; ".join(sample.problems) or None
    stored = {
        # Trees and labels are as they are stored already.
        name: value if isinstance(value, dict) else schema[name].to_mongo(value)
        for name, value in values.items()
    }
    stored["last_modified_at"] = datetime.now(UTC)
    mark = "$addToSet" if sample.problems else "$pull"
    return UpdateOne({"_id": ObjectId(sample_id)}, {"$set": stored, mark: {"tags": _FAILED}})


def _video_metadata(path: Path) -> fo.VideoMetadata:
    """A file's facts as ``fiftyone.VideoMetadata.build_for`` gives them.

    That starts ffprobe, which takes many times as long as opening the file; it is asked only where
    the file's index does not tell everything, as that of an MP4 does.

    Raises:
        ValueError: it is no video that can be read
    """
    import fiftyone as fo

    try:
        metadata = _indexed_metadata(path) or fo.VideoMetadata.build_for(str(path))
    except Exception as error:  # ffprobe's failures surface as several types
        raise ValueError(
            f"{path} cannot be read as a video; delete it and download it again"
        ) from error
    if not metadata.frame_rate or not metadata.total_frame_count:
        raise ValueError(f"{path} has no frames; delete it and download it again")
    return metadata


def _indexed_metadata(path: Path) -> fo.VideoMetadata | None:
    """The same out of the file's index, or None if that leaves anything open."""
    import av
    import fiftyone as fo

    with av.open(str(path)) as container:
        if len(container.streams.video) != 1:
            return None
        stream = container.streams.video[0]
        rate, duration, unit = stream.average_rate, stream.duration, stream.time_base
        if not (stream.frames and rate and duration and unit) or "rotate" in stream.metadata:
            return None
        return fo.VideoMetadata(
            size_bytes=container.size,
            mime_type=mimetypes.guess_type(path)[0],
            frame_width=stream.width,
            frame_height=stream.height,
            frame_rate=float(rate),
            total_frame_count=stream.frames,
            duration=round(float(duration * unit), 6),  # as ffprobe prints it
            encoding_str=stream.codec_context.codec_tag,
        )


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
    return {TRANSCRIPT_LABELS: ("lines", "the transcript's lines"), **found} if found else {}
