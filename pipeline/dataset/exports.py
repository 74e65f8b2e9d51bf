"""A dataset's trees as files: parquet, JSON, Markdown, a FiftyOne or a Hugging Face dataset."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..parquet import write_trees
from ..report import tree_markdown
from ..store import folder_name, temporary_sibling
from ..tree import Tree
from .errors import InputError
from .fields import GROUND_TRUTH
from .runs import run_keys
from .search import check_tree
from .trees import count_trees, stored_trees, video_sample_ids

if TYPE_CHECKING:
    import fiftyone as fo


@dataclass(frozen=True)
class Format:
    """A way to write trees.

    Attributes:
        label: what people call it
        description: what comes of it
        suffix: of the file; "" = it is a folder
        content: what a folder of that format can hold, as patterns of names
        marks: a text that files of an earlier export hold, by a pattern of their names
    """

    label: str
    description: str
    suffix: str
    content: tuple[str, ...] = ()
    marks: tuple[str, str] = ("", "")


FORMATS: Mapping[str, Format] = {
    "parquet": Format("Parquet", "one file in exactly Action100M's schema", ".parquet"),
    "json": Format("JSON", "one file with a list of videos", ".json"),
    "jsonl": Format("JSON lines", "one file with a line a video", ".jsonl"),
    "markdown": Format(
        "Markdown", "a folder with a readable file a video", "", ("*.md",), ("*.md", "## Segments")
    ),
    "fiftyone": Format(
        "FiftyOne dataset",
        "a folder that FiftyOne imports as FiftyOneDataset, with all fields of the samples",
        "",
        ("*.json", "data", "fields", "frames", "brain", "evaluations", "runs", "annotations"),
        ("metadata.json", "sample_fields"),
    ),
    "huggingface": Format(
        "Hugging Face dataset",
        "a folder that datasets.load_dataset reads: parquet and a card",
        "",
        ("README.md", "data"),
        ("README.md", "# Trees-of-Captions"),
    ),
}


def check_export(
    samples: fo.SampleCollection, tree: str, kind: str, path: str | Path, overwrite: bool = False
) -> None:
    """Make sure that an export can be made.

    Raises:
        InputError: there are no such trees, the format is unknown, or the path cannot be used
    """
    check_tree(samples._root_dataset, tree)
    if not count_trees(samples, tree):
        raise InputError("tree", f"none of these videos has a tree of {tree!r}")
    if kind not in FORMATS:
        raise InputError("format", f"{kind!r} is none of {', '.join(FORMATS)}")
    check_target(Path(path), kind, overwrite)


def check_target(path: Path, kind: str, overwrite: bool) -> None:
    """Raise InputError unless an export of that kind can be written there."""
    chosen = FORMATS[kind]
    if not path.is_absolute():
        raise InputError("path", f"{path} is not an absolute path; begin it with /")
    if chosen.suffix and path.suffix != chosen.suffix:
        raise InputError("path", f"{path.name!r} does not end in {chosen.suffix}")
    above = next(parent for parent in path.parents if parent.exists())
    if not above.is_dir():
        raise InputError("path", f"{above} is a file, no folder")
    if not path.exists():
        return
    if bool(chosen.suffix) != path.is_file():
        is_a = "file" if path.is_file() else "folder"
        raise InputError("path", f"{path} is a {is_a}; name another place")
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.is_dir() and (others := _other_things(path, chosen)):
        raise InputError(
            "path", f"{path} holds other things ({', '.join(others[:3])}); name another folder"
        )
    if not overwrite:
        raise InputError("overwrite", f"{path} is there already; tick this to replace it")


def _other_things(folder: Path, chosen: Format) -> list[str]:
    """What in a folder is not of an earlier export: a wrong name must cost nobody's files."""
    pattern, text = chosen.marks
    marked = [file for file in folder.glob(pattern) if file.is_file()]
    unmarked = {file for file in marked if text not in file.read_text("utf-8", "replace")}
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if not marked or entry in unmarked or not any(map(entry.match, chosen.content))
    )


def export_trees(
    samples: fo.SampleCollection,
    tree: str,
    kind: str,
    path: str | Path,
    overwrite: bool = False,
    copy_videos: bool = False,
    on_video: Callable[[int], None] | None = None,
) -> int:
    """Write the trees of a dataset or view; returns how many videos have one.

    Files appear complete or not at all; a folder that is replaced is emptied first. The trees'
    metadata is what the samples know: of the transcript the lines within the clip.

    Args:
        tree: "ground_truth" or a run key
        kind: of :data:`FORMATS`
        path: absolute; a file or a folder, whose parents are made
        overwrite: whether to replace an earlier export
        copy_videos: whether a FiftyOne dataset gets the videos too, else their paths
        on_video: called after each video with the number of those that are done

    Raises:
        InputError: see :func:`check_export`
    """
    path = Path(path)
    check_export(samples, tree, kind, path, overwrite)
    chosen = FORMATS[kind]
    path.parent.mkdir(parents=True, exist_ok=True)
    if not chosen.suffix:
        if path.exists():
            shutil.rmtree(path)
        path.mkdir()
    if kind == "fiftyone":
        return _export_samples(samples, tree, path, copy_videos, on_video)
    trees = _counted(stored_trees(samples, tree, metadata=True), on_video)
    if kind == "parquet":
        return write_trees(path, trees, _models(samples._root_dataset, tree))
    if kind == "markdown":
        return _write_markdown(path, trees)
    if kind == "huggingface":
        return _write_hugging_face(samples._root_dataset, tree, path, trees)
    return _write_json(path, trees, lines=kind == "jsonl")


def _counted(
    trees: Iterable[tuple[str, Tree]], on_video: Callable[[int], None] | None
) -> Iterator[Tree]:
    for number, (_, tree) in enumerate(trees, 1):
        yield tree
        if on_video is not None:
            on_video(number)


def _models(dataset: fo.Dataset, tree: str) -> dict[str, Any] | None:
    if tree not in run_keys(dataset):
        return None
    return dict(dataset.get_run_info(tree).config.serialize().get("models") or {}) or None


def _write_json(path: Path, trees: Iterable[Tree], lines: bool) -> int:
    count = 0
    with temporary_sibling(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for tree in trees:
            if not lines:
                file.write(",\n" if count else "[\n")
            file.write(json.dumps(tree.to_dict(), ensure_ascii=False))
            count += 1
            if lines:
                file.write("\n")
        if not lines:
            file.write("\n]\n")
    return count


def _write_markdown(folder: Path, trees: Iterable[Tree]) -> int:
    count = 0
    for tree in trees:
        count += 1
        try:
            file = folder / f"{folder_name(tree.video_uid)}.md"
        except ValueError:  # an id is data and could be a path
            file = folder / f"video {count}.md"
        if file.exists():  # two samples of one video
            file = file.with_stem(f"{file.stem} {count}")
        file.write_text(tree_markdown(tree), encoding="utf-8", errors="replace")
    return count


def _write_hugging_face(dataset: fo.Dataset, tree: str, folder: Path, trees: Iterable[Tree]) -> int:
    (folder / "data").mkdir()
    models = _models(dataset, tree)
    count = write_trees(folder / "data" / "part-00000.parquet", trees, models)
    (folder / "README.md").write_text(_card(tree, count, models), encoding="utf-8")
    return count


def _card(tree: str, count: int, models: Mapping[str, Any] | None) -> str:
    """The dataset's card; its head tells the library where the data is."""
    lines = [
        "---",
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        "    path: data/*.parquet",
        *(
            ["license: other", "license_name: fair-noncommercial-research-license"]
            if not models
            else []
        ),
        "tags:",
        "- action100m",
        "- video",
        "---",
        "",
        "# Trees-of-Captions" if tree == GROUND_TRUTH else f"# Trees-of-Captions, run {tree}",
        "",
        f"{count} videos in Action100M's schema: a row is a video (`video_uid`, `metadata`, "
        "`nodes`), a node a captioned segment.",
    ]
    if tree == GROUND_TRUTH:
        lines += ["", "The annotations are Action100M's (arXiv 2601.10592), under its licence."]
    if models:
        lines += ["", "| stage | model |", "|---|---|"]
        lines += [f"| {stage} | `{model}` |" for stage, model in models.items()]
    lines += ["", "```python", "from datasets import load_dataset", ""]
    lines += ['rows = load_dataset("PATH_OR_NAME", split="train")', "```", ""]
    return "\n".join(lines)


def _export_samples(
    samples: fo.SampleCollection,
    tree: str,
    folder: Path,
    copy_videos: bool,
    on_video: Callable[[int], None] | None,
) -> int:
    import fiftyone as fo

    dataset = samples._root_dataset
    with_tree = dataset.select(video_sample_ids(samples)).exists(f"{tree}_tree")
    report = None if on_video is None else lambda bar: on_video(bar.iteration)
    with_tree.export(
        export_dir=str(folder),
        dataset_type=fo.types.FiftyOneDataset,
        export_media=copy_videos,
        overwrite=True,
        progress=report or False,
    )
    return len(with_tree)
