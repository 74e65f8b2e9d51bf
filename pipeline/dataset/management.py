"""Runs after they were made: described, shown, stopped, renamed, deleted without a trace.

A run is a registered run of FiftyOne, fields and tags on the samples, files on disk, and whatever
saved views name its fields. A run of annotate_videos takes its comparison along.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .comparisons import COMPARISON_METHOD, check_new_comparison, comparison_fields, comparison_key
from .errors import InputError
from .fields import LIGHT_VIEW, save_light_view
from .reviews import count_reviews
from .runs import (
    RUN_METHOD,
    RunKeyError,
    check_run_key,
    forget_stop,
    locked_run,
    request_stop,
    run_fields,
)

if TYPE_CHECKING:
    import fiftyone as fo

_METHODS = {RUN_METHOD: "annotate_videos", COMPARISON_METHOD: "compare_with_ground_truth"}


@dataclass(frozen=True)
class RunDescription:
    """What is known of a run.

    Attributes:
        made_by: the operator
        made_at: when it was registered (UTC)
        going_on: whether somebody works on it now
        config: what it was made with
        results: what came of it: models, timings, failures, means; {} if it has not ended
        videos: samples that have its results
        failed: the reason by ``video_uid``
        reviews: segments that somebody has flagged, tagged or corrected
        fields: on the samples
        saved_views: that name one of the fields, without ``light``
        folder: of its files; None if there is none
        size: bytes of the files
        comparison: key of its comparison, if it has one
    """

    key: str
    made_by: str
    made_at: datetime | None
    going_on: bool
    config: dict[str, Any]
    results: dict[str, Any]
    videos: int
    failed: dict[str, str]
    reviews: int
    fields: list[str]
    saved_views: list[str]
    folder: Path | None
    size: int
    comparison: str | None


def managed_keys(dataset: fo.Dataset) -> list[str]:
    """The keys of all runs of this project: annotations and comparisons."""
    return [
        key for key in dataset.list_runs() if dataset.get_run_info(key).config.method in _METHODS
    ]


def check_managed(dataset: fo.Dataset, key: str) -> None:
    """Raise InputError unless that is the key of one of this project's runs."""
    keys = managed_keys(dataset)
    if key not in keys:
        has = f"there are {', '.join(keys)}" if keys else "there is none"
        raise InputError("run_key", f"there is no run {key!r}; {has}")


def describe_run(dataset: fo.Dataset, key: str) -> RunDescription:
    """What is known of a run; InputError if there is none of that key."""
    check_managed(dataset, key)
    info = dataset.get_run_info(key)
    config = {k: v for k, v in info.config.serialize().items() if k not in _INTERNAL}
    stored = dataset.load_run_results(key)
    results = {k: v for k, v in stored.serialize().items() if k not in _INTERNAL} if stored else {}
    names = _fields(dataset, key)
    folder = _folder(dataset, key)
    files = [path for path in folder.rglob("*") if path.is_file()] if folder else []
    failed = {
        uid: failure["reason"] if isinstance(failure, dict) else str(failure)
        for uid, failure in (results.get("failed") or {}).items()
    }
    return RunDescription(
        key=key,
        made_by=_METHODS[info.config.method],
        made_at=info.timestamp,
        going_on=_is_going_on(folder),
        config=config,
        results=results,
        videos=len(run_view(dataset, key)),
        failed=failed,
        reviews=0 if _is_comparison(dataset, key) else count_reviews(dataset, key),
        fields=names,
        saved_views=_saved_views(dataset, _traces(dataset, key)),
        folder=folder,
        size=sum(path.stat().st_size for path in files),
        comparison=_comparison(dataset, key),
    )


_INTERNAL = ("cls", "type", "method", "_cls")


def run_view(dataset: fo.Dataset, key: str) -> fo.DatasetView:
    """The samples that have the run's results."""
    check_managed(dataset, key)
    if _is_comparison(dataset, key):
        return dataset.exists(f"{_compared(dataset, key)}_agreement")
    return dataset.exists(f"{key}_tree")


# -- stop --------------------------------------------------------------------------------------


def check_at_rest(dataset: fo.Dataset, key: str) -> None:
    """Raise InputError if the run is going on: it cannot be renamed or deleted then."""
    with _at_rest(dataset, key):
        pass


@contextmanager
def _at_rest(dataset: fo.Dataset, key: str) -> Iterator[None]:
    """Keep a run from going on meanwhile; InputError if it is."""
    folder = _folder(dataset, key)
    if folder is None:
        yield
        return
    with locked_run(folder) as ours:
        if not ours:
            raise InputError(
                "run_key",
                f'run {key!r} is going on: stop it first ("Stop it", in Python '
                f'manage_runs(dataset, "stop", {key!r})) and wait until it has ended',
            )
        yield


def _is_going_on(folder: Path | None) -> bool:
    if folder is None:
        return False
    with locked_run(folder) as ours:
        return not ours


def check_stop(dataset: fo.Dataset, key: str) -> None:
    """Raise InputError if there is no such run, or it is a comparison: those end by themselves."""
    check_managed(dataset, key)
    if _is_comparison(dataset, key):
        raise InputError("run_key", f"{key!r} is a comparison; only annotation runs can be stopped")


def stop_run(dataset: fo.Dataset, key: str, patience: float = 10.0) -> bool:
    """Have the operator that works on a run stop, and wait for its end; what is finished stays.

    Nothing happens where nobody works on it, which is so too in a run's first second or two.

    Args:
        patience: seconds to wait at most

    Returns:
        whether nobody works on the run now

    Raises:
        InputError: see :func:`check_stop`
    """
    check_stop(dataset, key)
    folder = _folder(dataset, key)
    if folder is None or not _is_going_on(folder):
        return True
    request_stop(folder)
    deadline = time.monotonic() + patience
    while _is_going_on(folder):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    forget_stop(folder)  # as its operator is about to do, which would disturb a deletion
    return True


# -- delete ------------------------------------------------------------------------------------


def delete_run(dataset: fo.Dataset, key: str) -> None:
    """Delete a run with its fields, tags, files, comparison, and the saved views of its fields.

    The run itself goes last, so that what was interrupted can be deleted again.

    Raises:
        InputError: there is no such run, or it is going on
        OSError: its files cannot be deleted; nothing else was
    """
    check_managed(dataset, key)
    with _at_rest(dataset, key):
        _delete(dataset, key)


def _delete(dataset: fo.Dataset, key: str) -> None:
    if (folder := _folder(dataset, key)) is not None:
        shutil.rmtree(folder)
    if (comparison := _comparison(dataset, key)) is not None:
        delete_run(dataset, comparison)
    for name in _saved_views(dataset, _traces(dataset, key)):
        dataset.delete_saved_view(name)
    tag = f"{key}_failed"
    if not _is_comparison(dataset, key) and tag in dataset.count_sample_tags():
        dataset.match_tags(tag).untag_samples(tag)
    if names := _fields(dataset, key):
        dataset.delete_sample_fields(names)
    dataset.delete_run(key)
    _refresh_light_view(dataset)


# -- rename ------------------------------------------------------------------------------------


def check_new_key(dataset: fo.Dataset, key: str, new_key: str) -> None:
    """Make sure that a run can be renamed.

    Raises:
        InputError: there is no such run, it is a comparison or going on, or the new key is not free
    """
    check_managed(dataset, key)
    if _is_comparison(dataset, key):
        run = _compared(dataset, key)
        raise InputError("run_key", f"a comparison is named after its run: rename {run!r}")
    check_at_rest(dataset, key)
    try:
        check_run_key(dataset, new_key)
        check_new_comparison(dataset, new_key)
    except (RunKeyError, InputError) as error:
        raise InputError("new_key", str(error)) from None
    old = _folder(dataset, key)
    if old is not None and (old.parent / new_key).exists():
        raise InputError("new_key", f"the folder {old.parent / new_key} is there already")


def rename_run(dataset: fo.Dataset, key: str, new_key: str) -> None:
    """Rename a run with its fields, tag, files, comparison and in the saved views.

    Raises:
        InputError: see :func:`check_new_key`
        OSError: its files cannot be renamed; nothing else was
    """
    check_new_key(dataset, key, new_key)
    with _at_rest(dataset, key):
        _rename(dataset, key, new_key)


def _rename(dataset: fo.Dataset, key: str, new_key: str) -> None:
    folder, comparison = _folder(dataset, key), _comparison(dataset, key)
    traces = _traces(dataset, key)
    views = _saved_views(dataset, traces)
    config = dataset.get_run_info(key).config
    if folder is not None:
        folder.rename(folder.parent / new_key)
        config.folder = str(folder.parent / new_key)
    tag, new_tag = f"{key}_failed", f"{new_key}_failed"
    if tag in dataset.count_sample_tags():
        tagged = dataset.match_tags(tag)
        ids = tagged.values("id")
        tagged.untag_samples(tag)
        dataset.select(ids).tag_samples(new_tag)
    names = {name: new_key + name.removeprefix(key) for name in _fields(dataset, key)}
    compared = _fields(dataset, comparison) if comparison is not None else []
    names |= {name: new_key + name.removeprefix(key) for name in compared}
    dataset.rename_sample_fields(names)
    dataset.reload()  # the fields keep their old names until then
    described = {**run_fields(new_key), **comparison_fields(new_key)}
    for name in names.values():
        changed = dataset.get_field(name)
        changed.description = described[name][1]
        changed.save()
    for name in views:
        _rewrite(dataset, name, {trace: new_key + trace.removeprefix(key) for trace in traces})
    dataset.rename_run(key, new_key)
    dataset.update_run_config(new_key, config)
    if folder is not None:
        _move_results(dataset, new_key, folder.parent / new_key)
    if comparison is not None:
        of_comparison = dataset.get_run_info(comparison).config
        of_comparison.prediction = new_key
        dataset.rename_run(comparison, comparison_key(new_key))
        dataset.update_run_config(comparison_key(new_key), of_comparison)
    _refresh_light_view(dataset)


def _move_results(dataset: fo.Dataset, key: str, folder: Path) -> None:
    """Name the run's folder in its results as it is called now."""
    results = dataset.load_run_results(key)
    if results is None or getattr(results, "folder", None) is None:
        return
    results.folder = str(folder)
    results.parts = [str(folder / Path(part).name) for part in results.parts]
    dataset.save_run_results(key, results, overwrite=True)


# -- what belongs to a run ---------------------------------------------------------------------


def _is_comparison(dataset: fo.Dataset, key: str) -> bool:
    return dataset.get_run_info(key).config.method == COMPARISON_METHOD


def _compared(dataset: fo.Dataset, key: str) -> str:
    return dataset.get_run_info(key).config.prediction


def _comparison(dataset: fo.Dataset, key: str) -> str | None:
    own = comparison_key(key)
    return own if own in managed_keys(dataset) and _is_comparison(dataset, own) else None


def _fields(dataset: fo.Dataset, key: str) -> list[str]:
    """The run's own fields that are there."""
    if _is_comparison(dataset, key):
        names = comparison_fields(_compared(dataset, key))
    else:
        names = run_fields(key)
    schema = dataset.get_field_schema()
    return [name for name in names if name in schema]


def _traces(dataset: fo.Dataset, key: str) -> list[str]:
    """The names by which a saved view can refer to the run."""
    traces = _fields(dataset, key)
    if not _is_comparison(dataset, key):
        traces.append(f"{key}_failed")
    if (comparison := _comparison(dataset, key)) is not None:
        traces += _fields(dataset, comparison)
    return traces


def _folder(dataset: fo.Dataset, key: str) -> Path | None:
    """The folder of a run's files. Whatever its configuration says, only one that is named and
    placed as runs' folders are is taken for it."""
    folder = dataset.get_run_info(key).config.serialize().get("folder")
    path = Path(folder) if folder else None
    if path is None or path.name != key or path.parent.name != "runs" or not path.is_dir():
        return None
    return None if path.is_symlink() else path


def _saved_views(dataset: fo.Dataset, names: Collection[str]) -> list[str]:
    """The saved views, but for ``light``, of which a stage names one of the fields or tags."""
    if not names:
        return []  # a comparison whose fields are gone; the pattern would match every view
    pattern = _named(names)
    return [
        view.name
        for view in dataset._doc.saved_views
        if view.name != LIGHT_VIEW and any(pattern.search(stage) for stage in view.view_stages)
    ]


def _named(names: Collection[str]) -> re.Pattern[str]:
    """Matches any of the names where it is no part of a longer name."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)")


def _rewrite(dataset: fo.Dataset, view: str, names: dict[str, str]) -> None:
    """Give fields and tags other names in a saved view's stages."""
    document = dataset._get_saved_view_doc(view)
    pattern = _named(names)
    document.view_stages = [
        pattern.sub(lambda match: names[match[0]], stage) for stage in document.view_stages
    ]
    document.save()


def _refresh_light_view(dataset: fo.Dataset) -> None:
    """The view ``light`` names all label fields, also those that are no more."""
    if LIGHT_VIEW in dataset.list_saved_views():
        save_light_view(dataset)
