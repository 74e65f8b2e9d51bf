"""The operator export_trees: each format read back, nothing of anybody's overwritten."""

from __future__ import annotations

import json

import pytest

from pipeline.dataset import stored_trees
from pipeline.parquet import read_models, read_trees
from tests.operating import (
    PLUGIN,
    add_run,
    kit_dataset,
    messages,
    output_form,
    refusal,
    shallow,
    steps,
    work_off,
)

pytestmark = pytest.mark.fiftyone


@pytest.fixture(scope="module")
def foo(fo):
    import fiftyone.operators as foo

    return foo


@pytest.fixture(scope="module")
def trees(kit):
    return [kit.trees()[spec.uid] for spec, _ in kit.videos[:2]]


@pytest.fixture(scope="module")
def dataset(fo, kit, trees):
    with kit_dataset(kit, "export-trees", run="mine") as made:
        add_run(made, "half", [shallow(trees[0])])
        made.add_sample_field("none_tree", fo.DictField)
        yield made


@pytest.fixture
def export(foo):
    return foo.get_operator(f"{PLUGIN}/export_trees")


def test_parquet_holds_what_the_dataset_was_made_of(export, dataset, trees, tmp_path):
    written = list(read_trees(export(dataset, "parquet", tmp_path / "new" / "trees.parquet")))
    assert [tree.segments for tree in written] == [tree.segments for tree in trees]
    for tree, original in zip(written, trees, strict=True):
        facts = dict(original.metadata)
        spoken = [(line["time"], line["text"].split()) for line in facts.pop("transcript") or ()]
        theirs = dict(tree.metadata)
        told = [(line["time"], line["text"].split()) for line in theirs.pop("transcript") or ()]
        assert [(float(time), text) for time, text in told] == [
            (float(time), text) for time, text in spoken
        ]
        assert {**theirs, "duration": None} == {**facts, "duration": None}
        assert theirs["duration"] == round(original.duration)


def test_a_run_names_its_models_in_the_file(export, dataset, trees, tmp_path):
    path = export(dataset, "parquet", tmp_path / "run.parquet", "mine")
    assert [tree.segments for tree in read_trees(path)] == [shallow(t).segments for t in trees]
    assert read_models(path) == {"embed": "a model"}


def test_json_is_a_list_and_json_lines_are_a_line_a_video(export, dataset, trees, tmp_path):
    listed = json.loads(export(dataset, "json", tmp_path / "trees.json").read_text())
    lines = export(dataset, "jsonl", tmp_path / "trees.jsonl").read_text().splitlines()
    assert listed == [json.loads(line) for line in lines]
    assert [row["nodes"] for row in listed] == [json.loads(_nodes(tree)) for tree in trees]


def _nodes(tree):
    return json.dumps(tree.to_dict()["nodes"])


def test_markdown_is_a_readable_file_a_video(export, dataset, trees, tmp_path):
    folder = export(dataset, "markdown", tmp_path / "md")
    assert sorted(file.stem for file in folder.iterdir()) == sorted(t.video_uid for t in trees)
    assert "**0:00.00–0:24.00** Make a pot of tea" in (folder / "kitTea_0001.md").read_text()


def test_an_id_is_never_a_path(fo, export, kit, trees, tmp_path):
    with kit_dataset(kit, "export-id") as dataset:
        sample = dataset.first()
        sample["video_uid"] = "../../outside"
        sample.save()
        folder = export(dataset, "markdown", tmp_path / "deep" / "md")
        assert sorted(file.name for file in folder.iterdir()) == [
            f"{trees[1].video_uid}.md",
            "video 1.md",
        ]
        assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_the_hugging_face_folder_is_read_by_the_datasets_library(
    export, dataset, trees, tmp_path, monkeypatch
):
    folder = export(dataset, "huggingface", tmp_path / "hf", "mine")
    assert "path: data/*.parquet" in (folder / "README.md").read_text()
    assert "| embed | `a model` |" in (folder / "README.md").read_text()
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert [row["video_uid"] for row in rows] == [tree.video_uid for tree in trees]
    assert rows[0]["nodes"][0]["plm_action"] == trees[0].root.plm_action


def test_a_fiftyone_export_comes_back_with_its_trees(fo, export, dataset, trees, tmp_path):
    folder = export(dataset, "fiftyone", tmp_path / "fo", "half")
    back = fo.Dataset.from_dir(dataset_dir=str(folder), dataset_type=fo.types.FiftyOneDataset)
    try:
        assert back.values("video_uid") == [trees[0].video_uid]
        assert [t.segments for _, t in stored_trees(back, "half")] == [shallow(trees[0]).segments]
        assert back.first().filepath == dataset.first().filepath
    finally:
        back.delete()
    copied = export(dataset, "fiftyone", tmp_path / "copy", "half", copy_videos=True)
    assert [video.suffix for video in (copied / "data").iterdir()] == [".mp4"]


def test_only_the_view_is_exported_and_only_videos_with_a_tree(export, dataset, trees, tmp_path):
    path = export(dataset.skip(1), "parquet", tmp_path / "view.parquet")
    assert [tree.video_uid for tree in read_trees(path)] == [trees[1].video_uid]
    path = export(dataset, "parquet", tmp_path / "half.parquet", "half")
    assert [tree.video_uid for tree in read_trees(path)] == [trees[0].video_uid]


def test_an_earlier_export_is_replaced_only_where_that_is_said(export, dataset, trees, tmp_path):
    for kind in ("markdown", "huggingface", "fiftyone"):
        folder = export(dataset, kind, tmp_path / kind)
        again = export(dataset.limit(1), kind, tmp_path / kind, overwrite=True)
        assert again == folder and folder.is_dir()
    assert len(list((tmp_path / "markdown").iterdir())) == 1
    path = export(dataset, "json", tmp_path / "trees.json")
    export(dataset.limit(1), "json", path, overwrite=True)
    assert len(json.loads(path.read_text())) == 1


def test_the_app_sees_its_progress_and_what_was_written(foo, dataset, tmp_path):
    path = tmp_path / "trees.json"
    told = messages(foo, "export_trees", dataset, {"format": "json", "path": str(path)})
    assert steps(told)[-1] == {"label": "video 2 of 2", "progress": 1.0}
    assert told[-1]["summary"] == f"2 videos of ground truth written to {path}"
    assert path.exists()
    assert output_form(foo, "export_trees", {}, told[-1]) == {"summary"}


def test_an_export_is_done_by_fiftyones_worker(foo, dataset, tmp_path):
    path = tmp_path / "later.parquet"
    queued = foo.execute_operator(
        f"{PLUGIN}/export_trees",
        {"dataset": dataset, "request_delegation": True},
        params={"path": str(path)},
    )
    operation = work_off(queued)
    assert operation.result.result["count"] == 2
    assert len(list(read_trees(path))) == 2


def test_what_cannot_work_is_refused_in_one_sentence_at_its_field(foo, dataset, tmp_path):
    there = tmp_path / "there.parquet"
    there.write_text("precious")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "precious.txt").write_text("precious")
    (tmp_path / "md").mkdir()
    (tmp_path / "md" / "a.md").write_text("precious")
    earlier = foo.get_operator(f"{PLUGIN}/export_trees")(dataset, "markdown", tmp_path / "earlier")
    free = str(tmp_path / "free.parquet")
    cases = [
        ({}, "path", "Required property"),
        ({"path": "a.parquet"}, "path", "is not an absolute path"),
        ({"path": str(tmp_path / "a.json")}, "path", "'a.json' does not end in .parquet"),
        ({"path": str(there / "a.parquet")}, "path", "is a file, no folder"),
        ({"path": str(there)}, "overwrite", "is there already; tick this to replace it"),
        ({"path": str(there), "format": "markdown"}, "path", "is a file; name another place"),
        (
            {"path": str(tmp_path / "md"), "format": "markdown", "overwrite": True},
            "path",
            "holds other things (a.md)",
        ),
        ({"path": str(earlier), "format": "markdown"}, "overwrite", "tick this"),
        (
            {"path": str(folder), "format": "markdown", "overwrite": True},
            "path",
            "holds other things (precious.txt)",
        ),
        ({"path": free, "format": "xml"}, "format", "'xml' is none of parquet, json"),
        ({"path": free, "tree": "theirs"}, "tree", "no trees of 'theirs'"),
        ({"path": free, "tree": "none"}, "tree", "none of these videos has a tree of 'none'"),
    ]
    for params, field, reason in cases:
        message = refusal(foo, "export_trees", {"dataset": dataset}, params)
        assert f"Path: {field}. Reason: " in message and reason in message, (params, message)
    nothing = {"view": dataset.match({"title": "none"})}
    assert "no video to be exported" in refusal(foo, "export_trees", nothing, {"path": free})
    assert there.read_text() == (folder / "precious.txt").read_text() == "precious"
