"""Trees and FiftyOne datasets: samples, label fields, runs. The only module that imports fiftyone.

Each tree lives whole in one ``DictField`` (``ground_truth_tree``, ``<run key>_tree``), which the
App does not send to the grid. Its refined texts are also ``TemporalDetections``, one field per kind
of text, for what people filter, clip and evaluate by; the saved view ``light`` leaves those fields
out, since the grid sends every label field that it can see.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tree import Segment, Tree

if TYPE_CHECKING:
    import fiftyone as fo

GROUND_TRUTH = "ground_truth"
GROUND_TRUTH_LABELS = "gpt"
TRANSCRIPT_LABELS = "transcript_segments"
LIGHT_VIEW = "light"
RUN_METHOD = "action100m/annotate_videos"

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
_REFINED = tuple(name for name, path in LABEL_TEXTS.items() if path[0] == "gpt")

# -- labels ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clip:
    """What of a video is on disk: its frame rate, its frames, and how long it is at most (s)."""

    fps: float
    frames: int
    limit: float | None = None

    @property
    def end(self) -> float:
        """Seconds."""
        end = self.frames / self.fps
        return end if self.limit is None else min(end, self.limit)

    def support(self, start: float, end: float) -> list[int] | None:
        """The frames of ``[start, end]`` seconds, or None where it lies outside of the clip.

        FiftyOne counts frames from 1 and includes the last. Rounding both ends in the same way
        makes neighbours tile; ``TemporalDetection.from_timestamps`` misses every second boundary.
        """
        last = min(self.frames, round(self.end * self.fps))
        first, final = round(start * self.fps) + 1, min(round(end * self.fps), last)
        return [first, final] if first <= final else None

    def cuts(self, end: float) -> bool:
        """Whether the clip ends before ``end`` by more than what sampling every 4th frame adds."""
        return end - self.end > 4 / self.fps


def labels(tree: Tree, clip: Clip, name: str) -> fo.TemporalDetections:
    """One kind of text (a key of :data:`LABEL_TEXTS`) of every segment that has it, as labels.

    Segments beyond the clip are left out; those across its end are cut there and marked
    ``truncated``, while ``start`` and ``end`` (seconds) keep the whole segment.
    """
    import fiftyone as fo

    detections = []
    for segment in tree.segments:
        text = _text(segment, LABEL_TEXTS[name])
        support = clip.support(segment.start, segment.end)
        if text is None or support is None:
            continue
        detections.append(
            fo.TemporalDetection(
                label=text,
                support=support,
                node_id=segment.node_id,
                parent_id=segment.parent_id,
                level=segment.level,
                tier=tree.tier(segment),
                start=segment.start,
                end=segment.end,
                truncated=clip.cuts(segment.end),
            )
        )
    return fo.TemporalDetections(detections=detections)


def transcript_labels(tree: Tree, clip: Clip) -> fo.TemporalDetections:
    """The transcript's lines as labels, each until the next begins."""
    import fiftyone as fo

    detections = []
    lines = _transcript(tree)
    for (start, text), end in zip(lines, [t for t, _ in lines[1:]] + [tree.duration], strict=True):
        support = clip.support(start, max(end, start))
        if support is not None:
            detections.append(
                fo.TemporalDetection(
                    label=text, support=support, start=start, end=end, truncated=clip.cuts(end)
                )
            )
    return fo.TemporalDetections(detections=detections)


def _text(segment: Segment, path: tuple[str, ...]) -> str | None:
    value: Any = getattr(segment, path[0])
    for key in path[1:]:
        value = (value or {}).get(key)
    return value


def _transcript(tree: Tree) -> list[tuple[float, str]]:
    """(start in seconds, text) of each line that has both."""
    lines = []
    for line in (tree.metadata or {}).get("transcript") or ():
        try:
            lines.append((float(line["time"]), " ".join(line["text"].split())))
        except (TypeError, ValueError, AttributeError):
            continue  # a null time or text says nothing about when or what
    return sorted(lines)


# -- ground truth ------------------------------------------------------------------------------


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
    _declare(dataset, _GROUND_TRUTH_FIELDS)
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
    batch_size: int = 50,
) -> LoadSummary:
    """Add a sample for each tree whose video is on disk, or update the sample that is there.

    Args:
        dataset: the samples of other videos, runs, tags and fields of the user's own are kept
        trees: with their metadata
        videos: the file of each ``video_uid``
        clip_duration: seconds of each video that the files hold; None = as long as they are
        batch_size: samples that are written at a time
    """
    import fiftyone as fo

    summary = LoadSummary()
    _declare(dataset, _GROUND_TRUTH_FIELDS)
    existing = dict(zip(*dataset.values(["video_uid", "id"]), strict=True)) if len(dataset) else {}
    batch: list[fo.Sample] = []

    def flush() -> None:
        dataset.add_samples(batch, dynamic=True, progress=False)
        batch.clear()

    for tree in trees:
        path = Path(videos[tree.video_uid]).absolute()
        try:
            metadata = _video_metadata(path)
        except ValueError as error:
            summary.failed[tree.video_uid] = str(error)
            continue
        clip = Clip(metadata.frame_rate, metadata.total_frame_count, clip_duration)
        if tree.video_uid in existing:
            sample = dataset[existing[tree.video_uid]]
            sample.filepath = str(path)
            _fill_ground_truth(sample, tree, metadata, clip)
            sample.save()
            summary.updated.append(tree.video_uid)
        else:
            sample = fo.Sample(filepath=str(path), video_uid=tree.video_uid)
            _fill_ground_truth(sample, tree, metadata, clip)
            batch.append(sample)
            summary.added.append(tree.video_uid)
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


def _fill_ground_truth(
    sample: fo.Sample, tree: Tree, metadata: fo.VideoMetadata, clip: Clip
) -> None:
    facts = tree.metadata or {}
    sample.metadata = metadata
    for name in ("title", "description", "view_count", "like_count"):
        sample[name] = facts.get(name)
    sample["full_video_url"] = f"https://www.youtube.com/watch?v={tree.video_uid}"
    sample["upload_date"] = _date(facts.get("upload_date"))
    # The root's end is the truth; the metadata's duration can be wrong by 10 %.
    sample["full_video_duration"] = float(tree.duration or facts.get("duration") or 0)
    sample["transcript"] = " ".join(text for _, text in _transcript(tree)) or None
    sample["tree_depth"] = tree.depth
    sample[f"{GROUND_TRUTH}_tree"] = _plain(tree)
    for name in _REFINED:
        sample[f"{GROUND_TRUTH_LABELS}_{name}"] = labels(tree, clip, name)
    sample[TRANSCRIPT_LABELS] = transcript_labels(tree, clip)


def _date(text: str | None) -> date | None:
    try:
        return datetime.strptime(text or "", "%Y%m%d").date()
    except ValueError:
        return None


def _plain(tree: Tree) -> dict[str, Any]:
    """What a ``*_tree`` field holds: the row without the metadata, which the sample has."""
    row = tree.to_dict()
    return {"video_uid": row["video_uid"], "nodes": row["nodes"]}


def _label_field_info(prefix: str, whose: str) -> dict[str, tuple[str, str]]:
    return {
        f"{prefix}_{name}": ("labels", f"{name.replace('_', ', ')} of the segments of {whose}")
        for name in _REFINED
    }


_GROUND_TRUTH_FIELDS: Mapping[str, tuple[str, str]] = {
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
    TRANSCRIPT_LABELS: ("labels", "the transcript's lines"),
    **_label_field_info(GROUND_TRUTH_LABELS, "the ground truth"),
}


def _declare(dataset: fo.Dataset, wanted: Mapping[str, tuple[str, str]]) -> None:
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


# -- runs --------------------------------------------------------------------------------------


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
            raise RunKeyError(
                f"the run key {key!r} is taken: choose another, resume that run, or delete it first"
            )
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
        **_label_field_info(key, f"run {key}"),
        f"{key}_error": ("string", f"why run {key} failed on this video"),
    }


def run_keys(dataset: fo.Dataset) -> list[str]:
    """The keys of the runs that :func:`start_run` registered on the dataset."""
    return [key for key in dataset.list_runs() if run_method(dataset, key) == RUN_METHOD]


def run_method(dataset: fo.Dataset, key: str) -> str | None:
    """The method of a registered run."""
    return dataset.get_run_info(key).config.method


def start_run(dataset: fo.Dataset, key: str, config: Mapping[str, Any]) -> None:
    """Register a run with its configuration, or bring a resumed run's configuration up to date."""
    run_config = dataset.init_run(method=RUN_METHOD, **config)
    if dataset.has_run(key):
        dataset.update_run_config(key, run_config)
    else:
        dataset.register_run(key, run_config)
    _declare(dataset, run_fields(key))
    save_light_view(dataset)


def save_run(
    dataset: fo.Dataset,
    key: str,
    trees: Iterable[Tree],
    failures: Mapping[str, str],
    sample_ids: Mapping[str, str],
    results: Mapping[str, Any],
) -> None:
    """Store a run's trees and failures on the samples and its results on the run.

    Args:
        key: of a run that was started
        trees: what the run made
        failures: a reason per ``video_uid``; those samples get the tag ``<key>_failed``
        sample_ids: the sample of each ``video_uid``
        results: models, timings, counts; plain JSON data
    """
    import fiftyone as fo

    tag = f"{key}_failed"
    for tree in trees:
        if tree.video_uid not in sample_ids:
            continue
        sample = dataset[sample_ids[tree.video_uid]]
        if sample.metadata is None:
            sample.metadata = fo.VideoMetadata.build_for(sample.filepath)
        clip = Clip(sample.metadata.frame_rate, sample.metadata.total_frame_count)
        sample[f"{key}_tree"] = _plain(tree)
        for name in _REFINED:
            sample[f"{key}_{name}"] = labels(tree, clip, name)
        sample[f"{key}_error"] = None
        sample.tags = [t for t in sample.tags if t != tag]
        sample.save()
    for video_uid, reason in failures.items():
        sample = dataset[sample_ids[video_uid]]
        sample[f"{key}_error"] = reason
        sample.tags = [*(t for t in sample.tags if t != tag), tag]
        sample.save()
    dataset.add_dynamic_sample_fields()
    dataset.save_run_results(key, dataset.init_run_results(key, **results), overwrite=True)
    save_light_view(dataset)


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


# -- trees from samples ------------------------------------------------------------------------


def sample_trees(sample: fo.Sample) -> list[dict[str, Any]]:
    """All trees of a sample in plain data, the ground truth first.

    Each is ``{"name", "label", "source", "nodes"}``. ``source`` is "tree" where the sample holds
    the whole tree in a ``DictField``, or "labels" where it is rebuilt from label fields whose
    detections carry ``node_id`` and ``parent_id`` (datasets made elsewhere): such a tree has only
    the nodes that have labels.
    """
    trees: dict[str, dict[str, Any]] = {}
    for field_name in sample.field_names:
        if field_name.endswith("_tree"):
            value = sample[field_name]
            if isinstance(value, Mapping) and isinstance(value.get("nodes"), list):
                name = field_name.removesuffix("_tree")
                trees[name] = {"source": "tree", "nodes": value["nodes"]}
    for name, nodes in _trees_from_labels(sample):
        trees.setdefault(name, {"source": "labels", "nodes": nodes})
    return [
        {"name": name, "label": "Ground truth" if name == GROUND_TRUTH else name, **tree}
        for name, tree in sorted(trees.items(), key=lambda item: (item[0] != GROUND_TRUTH, item[0]))
        if tree["nodes"]
    ]


def _trees_from_labels(sample: fo.Sample) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    import fiftyone as fo

    by_name: dict[str, dict[str, dict[str, Any]]] = {}
    for field_name in sample.field_names:
        value = sample[field_name]
        if not isinstance(value, fo.TemporalDetections):
            continue
        name, path = _label_field(field_name)
        for detection in value.detections or ():
            if not detection.has_attribute("node_id") or detection["node_id"] is None:
                continue
            nodes = by_name.setdefault(name, {})
            node = nodes.setdefault(detection["node_id"], _node(detection, sample))
            _set_text(node, path, detection.label)
    for name, nodes in by_name.items():
        _set_levels(nodes)
        yield name, sorted(nodes.values(), key=lambda n: (n["level"], n["start"]))


def _label_field(field_name: str) -> tuple[str, tuple[str, ...]]:
    """The tree that a label field belongs to, and the text of its segments that it holds."""
    for suffix, path in LABEL_TEXTS.items():
        if field_name == suffix or field_name.endswith(f"_{suffix}"):
            prefix = field_name[: -len(suffix)].rstrip("_")
            own = prefix in ("", GROUND_TRUTH_LABELS, GROUND_TRUTH)
            return (GROUND_TRUTH if own else prefix), path
    return field_name, ("plm_caption",)


def _node(detection: fo.TemporalDetection, sample: fo.Sample) -> dict[str, Any]:
    def attribute(name: str) -> Any:
        return detection[name] if detection.has_attribute(name) else None

    start, end = attribute("start"), attribute("end")
    if start is None or end is None:
        fps = sample.metadata.frame_rate if sample.metadata is not None else None
        if not fps:
            raise ValueError(
                "the labels have no start and end, and the sample has no metadata to compute them "
                "from its frame rate: run dataset.compute_metadata()"
            )
        start, end = (detection.support[0] - 1) / fps, detection.support[1] / fps
    return asdict(
        Segment(
            node_id=str(detection["node_id"]),
            parent_id=attribute("parent_id"),
            level=0,
            start=round(float(start), 2),
            end=round(float(end), 2),
        )
    )


def _set_text(node: dict[str, Any], path: tuple[str, ...], text: str | None) -> None:
    if path[0] != "gpt":
        node[path[0]] = text
        return
    if node["gpt"] is None:
        node["gpt"] = {
            "summary": {"brief": None, "detailed": None},
            "action": {"brief": None, "detailed": None, "actor": None},
        }
    node["gpt"][path[1]][path[2]] = text


def _set_levels(nodes: dict[str, dict[str, Any]]) -> None:
    """Set each node's depth from its ancestors, of which labels may lack some."""
    for node in nodes.values():
        seen = {node["node_id"]}
        parent_id = node["parent_id"]
        while parent_id in nodes and parent_id not in seen:
            seen.add(parent_id)
            parent_id = nodes[parent_id]["parent_id"]
        node["level"] = len(seen) - 1
