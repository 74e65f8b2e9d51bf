"""Runs the stages over many videos: stage by stage, resuming, and past every video that fails.

Each stage is loaded once per process. What a video's stage makes is on disk at once, under a name
that says what made it (see ``store.py``), so a run that was killed goes on where it was.
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from . import captioning, devices, embedding, parquet, presets, refinement, segmentation
from .chat import ChatError
from .devices import DeviceLost
from .presets import STAGES, Preset, PresetError
from .store import (
    RunStore,
    StoreError,
    VideoFolder,
    fingerprint,
    folder_name,
    stamp,
    write_json,
)
from .tree import MIN_SEGMENT_DURATION, Tree
from .video import VideoError, VideoInfo
from .workers import LostWorker, spread, step, steps

#: Videos of one ``part-*.parquet``.
VIDEOS_PER_PART = 1000


@dataclass(frozen=True)
class Video:
    """A video to annotate. ``metadata`` is what the refiner may use to disambiguate."""

    uid: str
    path: Path
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Progress:
    """How far a stage is: ``done`` (with ``failed`` among them) of ``total`` videos.

    Attributes:
        video: the one that was done last; "" before the first
        elapsed, remaining: seconds of this stage; ``remaining`` is None before the first video
        texts: that captioning or refinement has made so far in this stage
    """

    stage: str
    video: str
    done: int
    failed: int
    total: int
    elapsed: float
    remaining: float | None
    texts: int = 0


@dataclass(frozen=True)
class Unfilled:
    """Texts that a stage could not make: how many, and the commonest reason."""

    texts: int
    reason: str


@dataclass(frozen=True)
class _Result:
    """What a stage of a video came to, beside the files it made.

    Attributes:
        reused: all of it was there before
        unfilled: None where every text is there
        cost: of the requests to chat models, by kind; empty without such models
        doubts: annotations that break a rule, or are of an earlier round, by kind
    """

    reused: bool = False
    unfilled: Unfilled | None = None
    cost: Mapping[str, int] = field(default_factory=dict)
    doubts: Mapping[str, int] = field(default_factory=dict)


_Outcome = _Result | BaseException


@dataclass
class Summary:
    """What :func:`annotate` did.

    Attributes:
        done: uids of the videos that have all the stages asked for
        reused: uids among them that had them all before
        failed: (stage, reason) by uid
        unfilled: by uid among ``done`` and stage, how many nodes' texts there are not, and why: a
            model that refuses, or whose answers could not be used. Another run asks for them again
        doubts: by uid how many annotations break a rule of ``prompts.broken_rules`` (``rules``),
            and how many are of an earlier round since a later one failed (``rounds``)
        seconds: by stage
        costs: by stage and then uid, what all requests of the run so far have cost: ``requests``,
            ``prompt_tokens``, ``cached_tokens`` (of those, out of a server's cache) and
            ``completion_tokens``
        nodes: of the trees of ``done``
        parts: the parquet files that hold the trees
        models: what filled each role
    """

    preset: str
    stages: tuple[str, ...]
    folder: str
    models: dict[str, str]
    done: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    failed: dict[str, dict[str, str]] = field(default_factory=dict)
    unfilled: dict[str, dict[str, Unfilled]] = field(default_factory=dict)
    doubts: dict[str, dict[str, int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    costs: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    nodes: int = 0
    parts: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


class MissingStage(RuntimeError):
    """A stage was asked for whose input has not been made."""


# Reasons that are complete as they stand; anything else is a defect, kept with its traceback.
_EXPECTED = (
    *(VideoError, PresetError, MissingStage, StoreError, DeviceLost, ChatError),
    *(OSError, MemoryError),
)


def check(
    preset: Preset, stages: Sequence[str] = STAGES, folder: Path | None = None
) -> dict[str, str]:
    """Make sure that what these stages need can be had; weights are not loaded for it.

    Returns:
        the name of what fills each role, of the other stages too

    Raises:
        PresetError, ChatError: something cannot be had; the message names it and what to do
    """
    _segmentation_options(preset)
    models = {role: _load(role, preset, folder) for role in _MODULES}
    if any(stage in models for stage in stages):
        _check_gpus(preset)
    for stage in stages:
        if stage in models:
            models[stage].check()
    return {role: model.name for role, model in models.items()}


def obstacle(preset: Preset, what: str) -> str:
    """Why this machine cannot do a part of a preset now, in a sentence; "" if it can.

    Args:
        what: a stage, whose server or model is asked for, or "gpu"
    """
    try:
        if what == "gpu":
            _check_gpus(preset)
        elif what == "segment":
            _segmentation_options(preset)
        else:
            _MODULES[what].load(getattr(preset, what)).check()
    except (PresetError, ChatError) as error:
        return str(error)
    return ""


def _check_gpus(preset: Preset) -> None:
    """Make sure that there is a GPU with as much memory as a preset says that it needs."""
    if not preset.gpu_memory:
        return
    gpus = devices.found()
    if not any(gpu.memory >= preset.gpu_memory for gpu in gpus):
        there = ", ".join(f"{gpu.name} with {gpu.memory:.0f} GiB" for gpu in gpus) or "none"
        raise PresetError(
            f"the preset {preset.name} needs a GPU with {preset.gpu_memory:g} GiB, and there is "
            f"{there}; choose another preset, or set gpu_memory in a copy of it if smaller models "
            "are to run"
        )


def annotate(
    videos: Sequence[Video],
    preset: Preset,
    store: RunStore,
    stages: Sequence[str] = STAGES,
    workers: int | None = 1,
    on_progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Run stages of the pipeline over videos and write their trees to ``part-*.parquet``.

    Args:
        videos: with different uids
        preset: what fills the roles
        store: the run's folder; what it holds already is reused where nothing changed
        stages: of :data:`STAGES`; run in their order, the others' results are taken as they are
        workers: videos that are worked on side by side, in a process each, spread over the GPUs
            that there are, or in threads of this process where all they do is ask a server; 1 = one
            at a time in this process; None = for each stage as many as suit it: a GPU each, on a
            CPU this process for a model that fills the cores by itself, else as many as there are
            cores
        on_progress: called after each video of each stage, and every second in between, then in a
            thread of its own

    Raises:
        PresetError, ChatError: a model or server cannot be had; nothing has been done then
        StoreError: another process works on this run
    """
    stages = tuple(stage for stage in STAGES if stage in stages)
    _unload()  # a local model may have changed since
    check(preset, (), store.folder)  # a setting that cannot be leaves nothing in the folder
    with store.lock():  # from here on the run counts as going on; servers can be slow to answer
        models = check(preset, stages, store.folder)
        summary = Summary(preset.name, stages, str(store.folder), models)
        store.write_config({"preset": preset.to_dict(), "models": summary.models})
        run = _Run.of(preset, store)
        reused: dict[str, set[str]] = {video.uid: set() for video in videos}
        for stage in stages:
            todo = [video for video in videos if video.uid not in summary.failed]
            outcomes = _outcomes(stage, todo, run, workers)
            results = _run_through(stage, todo, outcomes, store, summary, on_progress)
            for uid, result in results.items():
                if result.reused:
                    reused[uid].add(stage)
        complete = [video for video in videos if video.uid not in summary.failed]
        summary.done = [video.uid for video in complete]
        summary.reused = [uid for uid in summary.done if reused[uid] == set(stages)]
        finished = partial(_finished_tree, store=store, run=run)
        _finish(store, complete, finished, summary)
    return summary


def refine(
    source: Path,
    preset: Preset,
    store: RunStore,
    uids: Sequence[str],
    workers: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Refine the captions that trees have already, and write the trees with new annotations.

    How good an LLM and its prompts are can be measured so on Action100M's own captions, without
    videos and without the other stages; see docs/quality.md.

    Args:
        source: Action100M parquet
        preset: of which only ``refine`` is used
        store, workers, on_progress: as for :func:`annotate`
        uids: of the videos in ``source``

    Raises:
        PresetError, ChatError: the model or server cannot be had; nothing has been done then
        StoreError: another process works on this run
    """
    _unload()
    model = _load("refine", preset, store.folder)
    model.check()
    summary = Summary(preset.name, ("refine",), str(store.folder), {"refine": model.name})
    with store.lock():
        store.write_config({"preset": preset.to_dict(), "models": summary.models})
        run = _Run(preset, store.folder, {"refine": model.identity})
        videos = [Video(uid, source) for uid in uids]
        work = partial(_refine_given, run=run)
        outcomes = _in_threads(work, videos, workers or max(1, model.threads), model)
        results = _run_through("refine", videos, outcomes, store, summary, on_progress)
        complete = [video for video in videos if video.uid in results]
        summary.done = [video.uid for video in complete]
        summary.reused = [uid for uid, result in results.items() if result.reused]

        def finished(video: Video) -> Tree:
            tree, made, files = _given(video, run)
            return _annotated(tree, made, files)

        _finish(store, complete, finished, summary)
    return summary


def _given(video: Video, run: _Run) -> tuple[Tree, str, VideoFolder]:
    """A tree of a parquet file without its annotations, their stamp, and where they go."""
    tree = next(parquet.read_trees(video.path, [video.uid]))
    bare = tuple(dataclasses.replace(s, gpt=None) for s in tree.segments)
    tree = dataclasses.replace(tree, segments=bare)
    made = stamp(tree.to_dict(), run.makers["refine"], refinement.VERSION)
    return tree, made, VideoFolder(run.folder / folder_name(video.uid))


def _refine_given(video: Video, run: _Run) -> _Result:
    tree, made, files = _given(video, run)
    return _refine_tree(tree, run, made, files)


def _run_through(
    stage: str,
    videos: Sequence[Video],
    outcomes: Iterable[tuple[Video, _Outcome]],
    store: RunStore,
    summary: Summary,
    on_progress: Callable[[Progress], None] | None,
) -> dict[str, _Result]:
    """Take a stage's outcomes as they come, note them in the summary and tell of them.

    Returns:
        by uid what came of the videos that did not fail
    """
    started = time.monotonic()
    results: dict[str, _Result] = {}
    with _Teller(stage, len(videos), on_progress) as told:
        for video, outcome in outcomes:
            failed = isinstance(outcome, BaseException)
            if isinstance(outcome, BaseException):
                reason = _reason(store, video, stage, outcome)
                summary.failed[video.uid] = {"stage": stage, "reason": reason}
                summary.unfilled.pop(video.uid, None)
            else:
                results[video.uid] = outcome
                if outcome.unfilled:
                    summary.unfilled.setdefault(video.uid, {})[stage] = outcome.unfilled
                if outcome.doubts:
                    summary.doubts[video.uid] = dict(outcome.doubts)
                if outcome.cost:
                    summary.costs.setdefault(stage, {})[video.uid] = dict(outcome.cost)
            told.done(video.uid, failed)
    _unload()  # the next stage's model may need all of the memory
    summary.seconds[stage] = round(time.monotonic() - started, 3)
    return results


class _Teller:
    """Tells how far a stage is: with each video, and every second in between."""

    def __init__(self, stage: str, total: int, tell: Callable[[Progress], None] | None):
        self._tell, self._began, self._before = tell, time.monotonic(), steps().value
        self._now = Progress(stage, "", 0, 0, total, 0.0, None)
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._pulse, daemon=True)

    def __enter__(self) -> _Teller:
        if self._tell:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._tell:
            self._thread.join()

    def done(self, uid: str, failed: bool) -> None:
        """A video is done, well or not."""
        done = self._now.done + 1
        self._say(video=uid, done=done, failed=self._now.failed + failed)

    def _pulse(self) -> None:
        while not self._ended.wait(1.0):
            self._say()

    def _say(self, **changes: Any) -> None:
        if self._tell is None:
            return
        with self._lock:
            now = dataclasses.replace(self._now, **changes)
            elapsed = time.monotonic() - self._began
            left = elapsed / now.done * (now.total - now.done) if now.done else None
            texts = steps().value - self._before
            self._now = dataclasses.replace(now, elapsed=elapsed, remaining=left, texts=texts)
            self._tell(self._now)


def _finish(
    store: RunStore,
    videos: Sequence[Video],
    finished: Callable[[Video], Tree | None],
    summary: Summary,
) -> None:
    """Write the finished trees and the summary."""
    summary.nodes = _write_parts(store, videos, finished, summary.models)
    summary.parts = [str(path) for path in store.parts()]
    write_json(store.folder / "summary.json", summary.to_dict())


def read_parts(folder: Path, uids: Collection[str]) -> Iterator[Tree]:
    """Those of the finished trees in a run's folder that are of these videos."""
    for part in RunStore(folder).parts():
        yield from parquet.read_trees(part, uids)


def _reason(store: RunStore, video: Video, stage: str, error: BaseException) -> str:
    if isinstance(error, LostWorker):
        return f"{video.path}: {error}; try fewer workers"
    if isinstance(error, _EXPECTED):
        return str(error) or type(error).__name__
    log = store.folder / "errors.log"
    with log.open("a", encoding="utf-8") as file:
        file.write(f"--- {stage} of {video.path}\n")
        file.writelines(traceback.format_exception(error))
    return f"{type(error).__name__}: {error} (details in {log})"


# -- one stage of one video --------------------------------------------------------------------

_MODULES: Mapping[str, Any] = {"embed": embedding, "caption": captioning, "refine": refinement}


# What fills each role in this process, by the role and its configuration.
_loaded: dict[tuple[str, str], Any] = {}
_loading = threading.Lock()


def _load(role: str, preset: Preset, folder: Path | None = None) -> Any:
    """What fills the role, loaded once per process and stage; its logs go into the run's folder."""
    config = getattr(preset, role)
    key = role, json.dumps(config)
    with _loading:
        if key not in _loaded:
            logs = {} if role == "embed" else {"folder": folder}
            _loaded[key] = _MODULES[role].load(config, **logs)
        return _loaded[key]


def _unload() -> None:
    """Let go of all that this process has loaded."""
    for model in list(_loaded.values()):
        if hasattr(model, "unload"):
            model.unload()
    _loaded.clear()


def _segmentation_options(preset: Preset) -> dict[str, Any]:
    chosen = presets.options("segment", preset.segment, min_duration=MIN_SEGMENT_DURATION)
    if chosen["min_duration"] < segmentation.SHORTEST_DURATION:
        raise PresetError(
            f"segment: min_duration must be at least {float(segmentation.SHORTEST_DURATION)} s, "
            f"not {chosen['min_duration']}"
        )
    return chosen


@dataclass(frozen=True)
class _Run:
    """What is the same for all videos of a run; every worker gets it.

    ``makers`` is, by role, what the results depend on: of its preset what is not about speed alone.
    """

    preset: Preset
    folder: Path
    makers: Mapping[str, Any]

    @classmethod
    def of(cls, preset: Preset, store: RunStore) -> _Run:
        makers = {role: _load(role, preset, store.folder).identity for role in _MODULES}
        return cls(preset, store.folder, {**makers, "segment": preset.segment})

    def load(self, role: str) -> Any:
        """What fills the role, in this process."""
        return _load(role, self.preset, self.folder)


@dataclass(frozen=True)
class _Stamps:
    """What makes each result of one video; each depends on those before it."""

    video: str
    embeddings: str
    merges: str
    tree: str
    captions: str
    annotations: str

    @classmethod
    def of(cls, video: Video, makers: Mapping[str, Any]) -> _Stamps:
        source = fingerprint(video.path)
        embeddings = stamp(source, makers["embed"], embedding.VERSION)
        merges = stamp(embeddings, segmentation.VERSION)
        tree = stamp(embeddings, makers["segment"], segmentation.VERSION, video.uid)
        captions = stamp(tree, makers["caption"], captioning.VERSION)
        annotations = stamp(captions, makers["refine"], refinement.VERSION, video.metadata)
        return cls(source, embeddings, merges, tree, captions, annotations)


def _run_stage(stage: str, run: _Run, video: Video) -> _Result:
    """Run one stage of one video."""
    if not video.path.exists():
        raise VideoError(f"{video.path}: no such file")
    files = VideoFolder(run.folder / folder_name(video.uid))
    return _STAGE_FUNCTIONS[stage](video, run, _Stamps.of(video, run.makers), files)


def _embed(video: Video, run: _Run, stamps: _Stamps, files: VideoFolder) -> _Result:
    if files.has("video", stamps.video) and files.has("embeddings", stamps.embeddings):
        return _Result(reused=True)
    embeddings, info = embedding.embed(video.path, run.load("embed"))
    files.save("video", stamps.video, info.to_dict())
    files.save("embeddings", stamps.embeddings, embeddings)
    return _Result()


def _segment(video: Video, run: _Run, stamps: _Stamps, files: VideoFolder) -> _Result:
    if files.has("tree", stamps.tree):
        return _Result(reused=True)
    if not files.has("embeddings", stamps.embeddings):
        raise MissingStage(f"{video.path} is not embedded yet: run the stage embed too")
    info = VideoInfo.from_dict(files.load("video", stamps.video))
    # Kept, since it takes most of the time and no setting changes it: other cuts are at once there.
    if files.has("merges", stamps.merges):
        merges = files.load("merges", stamps.merges)
    else:
        merges = segmentation.ward_dendrogram(files.load("embeddings", stamps.embeddings))
        files.save("merges", stamps.merges, merges.astype(np.int32))
    tree = segmentation.cut(merges, info.fps, video.uid, **_segmentation_options(run.preset))
    files.save("tree", stamps.tree, tree.to_dict())
    return _Result()


def _caption(video: Video, run: _Run, stamps: _Stamps, files: VideoFolder) -> _Result:
    tree = _segmented(video, stamps, files)
    wanted = sum(len(captioning.texts(tree, s)) for s in tree.segments)
    lines = files.lines("captions", stamps.captions)
    reused = _texts(captioning.filled(lines)[0]) == wanted
    if not reused:
        info = VideoInfo.from_dict(files.load("video", stamps.video))
        save = _saver(files, "captions", stamps.captions)
        run.load("caption").caption(video.path, info, tree, lines, save)
        files.drop_outdated("captions", stamps.captions)
        lines = files.lines("captions", stamps.captions)
    found, failed = captioning.filled(lines)
    return _result(reused, _texts(found), failed.values(), lines)


def _texts(found: Mapping[str, Mapping[str, str]]) -> int:
    return sum(map(len, found.values()))


def _refine(video: Video, run: _Run, stamps: _Stamps, files: VideoFolder) -> _Result:
    tree, asked = _captioned(video, stamps, files)
    if asked < len(tree):
        raise MissingStage(f"{video.path} has no captions yet: run the stage caption too")
    return _refine_tree(tree, run, stamps.annotations, files)


def _refine_tree(tree: Tree, run: _Run, stamp: str, files: VideoFolder) -> _Result:
    wanted = sum(tree.is_refined(s) for s in tree.segments)
    lines = files.lines("annotations", stamp)
    reused = sum(r.gpt is not None for r in refinement.refined(lines).values()) == wanted
    if not reused:
        run.load("refine").refine(tree, lines, _saver(files, "annotations", stamp))
        files.drop_outdated("annotations", stamp)
        lines = files.lines("annotations", stamp)
    refined = refinement.refined(lines).values()
    failed = [r.why for r in refined if r.gpt is None]
    result = _result(reused, len(refined) - len(failed), failed, lines)
    rules = sum(bool(r.broken) for r in refined)
    rounds = sum(bool(r.why) for r in refined) - len(failed)
    doubts = {"rules": rules, "rounds": rounds} if rules or rounds else {}
    return dataclasses.replace(result, doubts=doubts)


def _saver(files: VideoFolder, stage: str, stamp: str) -> Callable[[Mapping[str, Any]], None]:
    """What saves a line of a stage, and counts it."""

    def save(line: Mapping[str, Any]) -> None:
        files.append(stage, stamp, line)
        step()

    return save


def _result(
    reused: bool, found: int, failed: Collection[str], lines: Sequence[Mapping[str, Any]]
) -> _Result:
    """What a stage that asks came to; ChatError where it did not get a single answer.

    Args:
        found: texts that there are
        failed: why there are no others
        lines: with what each request has cost
    """
    reason = max(set(failed), key=list(failed).count, default="")
    if failed and not found:
        raise ChatError(f"not one of {len(failed)} questions was answered: {reason}")
    cost = sum((Counter(line.get("cost") or {}) for line in lines), Counter[str]())
    return _Result(reused, Unfilled(len(failed), reason) if failed else None, dict(cost))


_STAGE_FUNCTIONS: Mapping[str, Callable[[Video, _Run, _Stamps, VideoFolder], _Result]] = {
    "embed": _embed,
    "segment": _segment,
    "caption": _caption,
    "refine": _refine,
}


def _segmented(video: Video, stamps: _Stamps, files: VideoFolder) -> Tree:
    if not files.has("tree", stamps.tree):
        raise MissingStage(f"{video.path} is not segmented yet: run the stages embed, segment too")
    tree = Tree.from_dict(files.load("tree", stamps.tree))
    return dataclasses.replace(tree, metadata=video.metadata or {"duration": round(tree.duration)})


def _captioned(video: Video, stamps: _Stamps, files: VideoFolder) -> tuple[Tree, int]:
    """The tree with the captions that there are, and how many nodes' have been asked for."""
    tree = _segmented(video, stamps, files)
    found, failed = captioning.filled(files.lines("captions", stamps.captions))
    segments = (dataclasses.replace(s, **found.get(s.node_id, {})) for s in tree.segments)
    asked = {*found, *(node_id for node_id, _ in failed)}
    return dataclasses.replace(tree, segments=tuple(segments)), len(asked)


def _finished_tree(video: Video, store: RunStore, run: _Run) -> Tree | None:
    """As much of the tree as has been made; None before segmentation."""
    stamps, files = _Stamps.of(video, run.makers), store.video(video.uid)
    if not files.has("tree", stamps.tree):
        return None
    tree, _ = _captioned(video, stamps, files)
    return _annotated(tree, stamps.annotations, files)


def _annotated(tree: Tree, stamp: str, files: VideoFolder) -> Tree:
    """The tree with the annotations that there are."""
    refined = refinement.refined(files.lines("annotations", stamp))
    segments = (
        dataclasses.replace(s, gpt=refined[s.node_id].gpt) if s.node_id in refined else s
        for s in tree.segments
    )
    return dataclasses.replace(tree, segments=tuple(segments))


# -- many videos -------------------------------------------------------------------------------


def _outcomes(
    stage: str, videos: Sequence[Video], run: _Run, count: int | None
) -> Iterator[tuple[Video, _Outcome]]:
    """(video, what came of it or the error) as they come."""
    work = partial(_run_stage, stage, run)
    places, threads = _room(stage, run)
    places = tuple(islice(cycle(places), count or len(places)))[: len(videos)]
    if threads > 1:
        yield from _in_threads(work, videos, count or threads, run.load(stage))
    # What happens to a GPU's process stays there, and with its end all of the memory is free again.
    elif count != 1 and (len(places) > 1 or any(places)):
        yield from spread(work, videos, places)
    else:
        for video in videos:
            try:
                yield video, work(video)
            except Exception as error:
                yield video, error


def _room(stage: str, run: _Run) -> tuple[tuple[str, ...], int]:
    """Where processes of a stage may work, and how many threads there: as its model says."""
    if stage not in _MODULES:
        return ("",) * (os.cpu_count() or 1), 1
    model = run.load(stage)
    return model.places, getattr(model, "threads", 1)


def _in_threads(
    work: Callable[[Video], _Result], videos: Sequence[Video], count: int, model: Any
) -> Iterator[tuple[Video, _Outcome]]:
    """Like ``workers.spread``, in threads, for a model that waits for a server."""
    pool = ThreadPoolExecutor(count)
    running = {pool.submit(work, video): video for video in videos}
    try:
        for future in as_completed(running):
            error = future.exception()
            yield running[future], future.result() if error is None else error
    except BaseException:
        # Ctrl-C, or nobody listens any more: what is being asked ends, and with it the threads.
        pool.shutdown(wait=False, cancel_futures=True)
        while not all(future.done() for future in running):
            model.unload()
            time.sleep(0.1)
        raise
    finally:
        pool.shutdown()


def _write_parts(
    store: RunStore,
    videos: Sequence[Video],
    finished_tree: Callable[[Video], Tree | None],
    models: Mapping[str, str],
) -> int:
    """Bring the run's parquet files up to date; returns how many nodes the videos' trees have.

    A video that is in a file already is replaced where it stands, so that each file can be
    replaced on its own and a kill in between loses or doubles nothing. New ones get new files.
    """
    waiting = {video.uid: video for video in videos}
    nodes = 0

    def finished(uid: str) -> Tree | None:
        nonlocal nodes
        tree = finished_tree(waiting.pop(uid))
        nodes += len(tree) if tree else 0
        return tree

    def updated(part: Path) -> Iterator[Tree]:
        for old in parquet.read_trees(part):
            yield (finished(old.video_uid) if old.video_uid in waiting else None) or old

    for part in store.parts():
        if not waiting.keys().isdisjoint(parquet.read_uids(part)):
            parquet.write_trees(part, updated(part), models)
    number = 1 + max((int(part.stem.removeprefix("part-")) for part in store.parts()), default=-1)
    trees = filter(None, map(finished, list(waiting)))
    while chunk := list(islice(trees, VIDEOS_PER_PART)):
        parquet.write_trees(store.folder / f"part-{number:05d}.parquet", chunk, models)
        number += 1
    return nodes
