"""Operator ``load_action100m``: annotations and videos into a dataset, downloaded if asked for."""

import os
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import fiftyone as fo
import fiftyone.core.utils as fou
import fiftyone.operators as foo
from fiftyone.operators import types

from ..pipeline import dataset as datasets
from ..pipeline import hub, parquet
from ..pipeline.download import (
    VIDEO_ID,
    DownloadError,
    DownloadSettings,
    download_videos,
    js_runtimes,
    read_id_list,
)
from ..pipeline.video import find_videos
from . import forms
from .work import Stopped, carry_out, config_of

_NAME = "action100m"
_LABELS = {
    "gpt": ("the refined texts", "five label fields, for filters and clips"),
    "all": ("the raw captions too", "eight label fields; the grid gets slower"),
    "none": ("none", "the trees alone, which the panel and find_segments read"),
}
# The share of the time that is taken for the downloads.
_DOWNLOADING = 0.9
# So many reasons are shown.
_SHOWN = 20


class LoadAction100M(foo.Operator):
    """Makes a dataset of Action100M's annotations and videos, or adds to it."""

    @property
    def config(self):
        return config_of(
            "load_action100m",
            "Load Action100M",
            (
                "Make a dataset of Action100M's annotations and the videos on disk, and download "
                "the videos first if you like"
            ),
            "cloud_download",
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        load_inputs(ctx, inputs)
        view = types.View(label="Load Action100M", submit_button_label="Load")
        return types.Property(inputs, view=view)

    def resolve_placement(self, ctx):
        return forms.placement(self)

    def execute(self, ctx):
        plan = _plan(ctx.params)
        return carry_out(ctx, plan.carry_out, lambda _: [ctx.ops.open_dataset(plan.dataset_name)])

    def resolve_output(self, ctx):
        outputs = types.Object()
        outputs.str("summary", label="Result")
        if ctx.results.get("failed"):
            table = forms.table(video="Video or file", reason="Reason")
            outputs.list("failed", types.Object(), label="What could not be had", view=table)
        return types.Property(outputs, view=types.View(label="Load Action100M"))

    def __call__(
        self,
        videos_dir,
        video_ids=None,
        annotations=None,
        dataset_name=_NAME,
        *,
        download=False,
        max_videos=None,
        max_duration=None,
        max_height=None,
        jobs=None,
        labels="gpt",
        delegate=False,
    ):
        """Load Action100M from Python.

        Args:
            videos_dir: folder of the videos, ``<video_uid>.mp4``
            video_ids: YouTube ids or addresses, or the path of a file with one a line; None = all
                videos of the folder, or, to download, of the annotations on disk
            annotations: parquet file, or folder of them; None = straight from the hub
            dataset_name: made if there is none, else added to and updated
            download: whether to fetch the videos that are not in the folder
            max_videos: download until so many of the videos are there
            max_duration: seconds kept of each download, from its start
            max_height: pixels of each download
            jobs: downloads at the same time
            labels: "gpt" = label fields of the refined texts, "all" of the raw captions too, "none"
            delegate: whether to queue the work for ``fiftyone delegated launch``

        Returns:
            the dataset; None of queued work

        Example::

            import fiftyone.operators as foo

            load_action100m = foo.get_operator("@action100m/action100m-fiftyone/load_action100m")
            dataset = load_action100m("videos", ["-k-PWxIgnmg"], download=True)
        """
        params = {
            "videos_dir": str(Path(videos_dir).expanduser().absolute()),
            "annotations": annotations and str(Path(annotations).expanduser().absolute()),
            "dataset_name": dataset_name,
            "download": download,
            "max_videos": max_videos,
            "max_duration": max_duration,
            "max_height": max_height,
            "jobs": jobs,
            "labels": labels,
        }
        if isinstance(video_ids, (str, Path)):
            params["video_ids_file"] = str(Path(video_ids).expanduser().absolute())
        elif video_ids is not None:
            params["video_ids"] = "\n".join(video_ids)
        forms.call(self, None, params, delegate)
        return None if delegate else fo.load_dataset(dataset_name)


def load_inputs(ctx, inputs):
    """Build the form: which videos, their annotations, their files, the dataset."""
    inputs.str(
        "video_ids",
        label="Videos",
        description="YouTube ids or addresses, pasted; empty = all videos of the folder",
        view=types.TextFieldView(multiline=True, rows=3),
    )
    inputs.str(
        "video_ids_file",
        label="File of videos",
        description="Or the absolute path of a text file with one id or address a line",
    )
    inputs.str(
        "annotations",
        label="Annotations",
        description="Absolute path of a parquet file or a folder of them; empty = from the hub",
    )
    inputs.str(
        "videos_dir",
        default=_default_folder(),
        required=True,
        label="Folder of the videos",
        description="Absolute path; a video is <YouTube id>.mp4",
    )
    inputs.bool(
        "download",
        default=False,
        label="Download",
        description="Fetch the videos that are not in the folder",
    )
    if ctx.params.get("download"):
        _download_inputs(inputs)
    inputs.str(
        "dataset_name",
        default=_NAME,
        required=True,
        label="Dataset",
        description="Made if there is none; else it is added to and brought up to date",
    )
    choices = types.DropdownView()
    for name, (label, description) in _LABELS.items():
        choices.add_choice(name, label=label, description=description)
    inputs.str(
        "labels",
        default="gpt",
        label="Label fields",
        description="Which texts people can filter and clip by",
        view=choices,
    )
    forms.checked(inputs, lambda: _plan(ctx.params))


def _download_inputs(inputs):
    defaults = DownloadSettings()
    inputs.int(
        "max_videos",
        label="At most",
        description="Download until so many of the videos are there; empty = all of them",
    )
    inputs.float(
        "max_duration",
        default=defaults.max_duration,
        label="Seconds",
        description="Kept of each video, from its start",
    )
    inputs.int(
        "max_height",
        default=defaults.max_height,
        label="Height",
        description="In pixels; taller videos are scaled down",
    )
    inputs.int(
        "jobs",
        default=defaults.jobs,
        label="At the same time",
        description="Videos that are downloaded side by side",
    )
    if not js_runtimes():
        note = (
            "No JavaScript runtime was found, so YouTube will refuse many videos: install Deno or "
            "Node 20 or newer on the machine on which FiftyOne runs."
        )
        inputs.view("no_runtime", types.Warning(label=note))


def _default_folder():
    return str(Path(fo.config.default_dataset_dir).expanduser() / _NAME / "videos")


# -- what is to be done ------------------------------------------------------------------------


@dataclass
class _Plan:
    """A call that can work.

    Attributes:
        ids: of the videos; None = all of the folder
        annotations: None = the hub's
        settings: of the download; None = no download
    """

    ids: list[str] | None
    annotations: Path | None
    videos_dir: Path
    dataset_name: str
    labels: str
    settings: DownloadSettings | None

    def carry_out(self, report):
        """Download, load; returns the output."""
        report(None, "looking for the annotations")
        source, parts = self._source()
        failed, downloaded = {}, 0
        if self.settings is not None:
            downloaded = self._download(report, failed)
        begun = _DOWNLOADING if self.settings is not None else 0.0
        videos = {path.stem: path for path in find_videos(self.videos_dir)}
        if self.ids is not None:
            videos = {uid: videos[uid] for uid in self.ids if uid in videos}
        if not videos:
            why = f": {next(iter(failed.values()))}" if failed else ""
            raise ValueError(f"none of the videos is in {self.videos_dir}{why}")
        found = datasets.Annotations(parts, videos, source, str(self.videos_dir))
        dataset = datasets.open_dataset(self.dataset_name)
        read = 0

        def on_videos(count):
            nonlocal read
            read += count
            share = begun + (1 - begun) * read / len(videos)
            report(share, f"video {read} of {len(videos)}")

        limit = self.settings.max_duration if self.settings is not None else None
        summary = found.load_into(dataset, limit, self.labels, on_videos)
        failed |= dict.fromkeys(sorted(found.missing), f"no annotations in {source}")
        failed |= summary.failed | found.unread
        said = [
            f"{forms.of_many(len(summary.added), 'video')} added",
            f"{len(summary.updated)} updated",
            f"{len(failed)} not loaded",
        ]
        if self.settings is not None:
            said.insert(0, f"{downloaded} downloaded")
        return {
            "summary": f"dataset {self.dataset_name}: {', '.join(said)}; {len(dataset)} samples",
            "dataset": self.dataset_name,
            "failed": [
                {"video": name, "reason": reason} for name, reason in list(failed.items())[:_SHOWN]
            ],
        }

    def _source(self):
        """What messages call the annotations, and their files."""
        if self.annotations is not None:
            files = parquet.find_parquet(self.annotations)
            return str(self.annotations), [parquet.part_on_disk(file) for file in files]
        return f"{hub.REPOSITORY} on the hub", hub.parts(hub.list_files(hub.REPOSITORY))

    def _download(self, report, failed):
        """Fetch what is not there; returns how many were fetched, and adds to the failures."""
        settings, counts = self.settings, Counter()
        total = min(len(self.ids), settings.max_videos or len(self.ids))

        def on_event(event):
            if event.outcome is None:
                return
            counts[event.outcome] += 1
            settled = counts.total()
            if settings.max_videos is not None:
                settled = counts["there"] + counts["done"]
            bad = counts["gone"] + counts["blocked"] + counts["failed"]
            label = f"downloading: {settled} of {total}" + (f", {bad} failed" if bad else "")
            with suppress(Stopped):  # the event that says so is what the downloader looks at
                report(min(settled / total, 1) * _DOWNLOADING, label)

        summary = download_videos(self.ids, settings, on_event, report.stop)
        if report.stop.is_set():
            raise Stopped
        for outcome in ("gone", "blocked", "failed"):
            found = getattr(summary, outcome)
            failed |= {uid: f"{outcome}: {reason}" for uid, reason in found.items()}
        failed |= dict.fromkeys(summary.skipped, "an earlier run found it gone or gave it up")
        if summary.ended:
            failed["download"] = f"{summary.ended}; {summary.not_tried} videos were not tried"
        return len(summary.done)


def _plan(params):
    """What a call's parameters ask for; InputError where they cannot work."""
    annotations = _annotations(params)
    ids = _ids(params)
    folder = Path((params.get("videos_dir") or _default_folder()).strip()).expanduser()
    if not folder.is_absolute():
        raise datasets.InputError("videos_dir", f"{folder} is not an absolute path")
    download = bool(params.get("download"))
    if download and ids is None:
        if annotations is None:
            raise datasets.InputError("video_ids", "say which videos to download")
        ids = [uid for file in parquet.find_parquet(annotations) for uid in parquet.read_uids(file)]
    settings = _settings(params, folder) if download else None
    if not download and not (folder.is_dir() and find_videos(folder)):
        raise datasets.InputError(
            "videos_dir", f"{folder} holds no videos; name their folder, or download them"
        )
    labels = params.get("labels", "gpt")
    if labels not in _LABELS:
        raise datasets.InputError("labels", f"{labels!r} is none of {', '.join(_LABELS)}")
    return _Plan(ids, annotations, folder, _dataset_name(params), labels, settings)


def _annotations(params):
    if not (text := (params.get("annotations") or "").strip()):
        return None
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise datasets.InputError("annotations", f"{path} is not an absolute path")
    if not (files := parquet.find_parquet(path)):
        raise datasets.InputError("annotations", f"{path} is no parquet file and no folder of them")
    try:
        with parquet.open_parquet(files[0]):
            return path
    except parquet.ParquetError as error:
        raise datasets.InputError("annotations", str(error)) from None


_ADDRESS = re.compile(rf"https?://\S*(?:v=|youtu\.be/|/shorts/|/embed/|/live/)({VIDEO_ID.pattern})")


def _ids(params):
    """The ids that were pasted, or that the file lists; None where there is neither."""
    field, listed = "video_ids", re.split(r"[\s,;]+", params.get("video_ids") or "")
    if path := (params.get("video_ids_file") or "").strip():
        if any(listed):
            raise datasets.InputError("video_ids_file", "paste videos or name a file, not both")
        field = "video_ids_file"
        if not Path(path).expanduser().is_absolute():
            raise datasets.InputError(field, f"{path} is not an absolute path")
        try:
            listed = read_id_list(Path(path).expanduser())
        except DownloadError as error:
            raise datasets.InputError(field, str(error).partition(";")[0]) from None
    ids = []
    for each in filter(None, listed):
        match = VIDEO_ID.fullmatch(each) or _ADDRESS.match(each)
        if match is None:
            raise datasets.InputError(
                field,
                f"{each[:60]!r} is neither a YouTube id (11 characters) nor an address",
            )
        ids.append(match[match.lastindex or 0])
    return list(dict.fromkeys(ids)) or None


def _settings(params, folder):
    """The settings of the download: the form's, and else the command's environment variables."""
    given = {
        name: params[name]
        for name in ("max_videos", "max_duration", "max_height", "jobs")
        if params.get(name) is not None
    }
    try:
        settings = DownloadSettings.from_environment(os.environ)
        return replace(settings, output_dir=folder, **given)
    except DownloadError as error:
        name = str(error).partition(" ")[0].lower()
        raise datasets.InputError(name if name in given else "download", str(error)) from None


def _dataset_name(params):
    name = (params.get("dataset_name") or _NAME).strip()
    try:
        fou.to_slug(name)
    except ValueError as error:
        raise datasets.InputError("dataset_name", str(error)) from None
    if fo.dataset_exists(name):
        media_type = fo.load_dataset(name).media_type
        if media_type not in (None, "video"):
            raise datasets.InputError(
                "dataset_name",
                f"the dataset {name!r} holds samples of type {media_type}, not videos",
            )
    return name
