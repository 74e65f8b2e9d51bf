"""The operator load_action100m: from files and a hub, with and without downloads."""

from __future__ import annotations

import pytest

from pipeline import dataset as datasets
from pipeline.tree import Tree
from tests.operating import PLUGIN, messages, output_form, refusal, steps, work_off
from tests.site import serve

pytestmark = pytest.mark.fiftyone

NAME = "load-tests"


@pytest.fixture(scope="module")
def foo(fo):
    import fiftyone.operators as foo

    return foo


@pytest.fixture
def load(fo, foo):
    yield foo.get_operator(f"{PLUGIN}/load_action100m")
    if fo.dataset_exists(NAME):
        fo.delete_dataset(NAME)


@pytest.fixture
def folder(kit, tmp_path):
    """A folder with two of the kit's videos and one that nobody annotated."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for spec, path in kit.videos[:2]:
        (folder / f"{spec.uid}.mp4").symlink_to(path)
    (folder / "unannotated.mp4").symlink_to(kit.videos[0].path)
    return folder


@pytest.fixture
def uids(kit):
    return [spec.uid for spec, _ in kit.videos]


@pytest.fixture
def site(kit, monkeypatch):
    """A site with the first three videos of the kit."""
    with serve() as site:
        for spec, path in kit.videos[:3]:
            site.add(spec.uid, path.read_bytes())
        monkeypatch.setenv("URL_TEMPLATE", site.url_template)
        monkeypatch.setenv("RETRIES", "0")
        yield site


def test_the_videos_of_a_folder_become_a_dataset(load, kit, folder, uids):
    dataset = load(folder, annotations=kit.parquet, dataset_name=NAME)
    assert sorted(dataset.values("video_uid")) == sorted(uids[:2])
    assert dataset.persistent
    assert [t.segments for _, t in datasets.stored_trees(dataset, "ground_truth")] == [
        kit.trees()[uid].segments for uid in dataset.values("video_uid")
    ]
    assert "gpt_action_brief" in dataset.get_field_schema()


def test_only_the_named_videos_are_loaded_and_a_second_call_adds(load, kit, folder, uids, tmp_path):
    listed = tmp_path / "ids.txt"
    listed.write_text(f"https://www.youtube.com/watch?v={uids[0]}&t=3s\n")
    dataset = load(folder, listed, kit.parquet, NAME, labels="none")
    assert dataset.values("video_uid") == uids[:1]
    assert "gpt_action_brief" not in dataset.get_field_schema()
    dataset = load(folder, [f"https://youtu.be/{uids[1]}"], kit.parquet, NAME)
    dataset.reload()
    assert sorted(dataset.values("video_uid")) == sorted(uids[:2])


def test_missing_videos_are_downloaded_with_real_progress(foo, fo, load, kit, site, uids, tmp_path):
    params = {
        "videos_dir": str(tmp_path / "new" / "videos"),
        "video_ids": ", ".join(uids),
        "annotations": str(kit.parquet),
        "dataset_name": NAME,
        "download": True,
        "max_duration": 3.0,
        "jobs": 1,
    }
    told = messages(foo, "load_action100m", None, params)
    labels = [each["label"] for each in steps(told)]
    assert "downloading: 3 of 4" in labels or "downloading: 4 of 4, 1 failed" in labels
    shares = [each["progress"] for each in steps(told) if "progress" in each]
    assert shares == sorted(shares) and shares[-1] == 1
    assert told[-1]["summary"] == (
        f"dataset {NAME}: 3 downloaded, 3 videos added, 0 updated, 1 not loaded; 3 samples"
    )
    (failed,) = told[-1]["failed"]
    assert failed["video"] == uids[3] and failed["reason"].startswith("gone: ")
    opened = next(each for each in told if each.get("operator_uri", "").endswith("open_dataset"))
    assert opened["params"]["dataset"] == NAME
    dataset = fo.load_dataset(NAME)
    assert max(dataset.values("metadata.duration")) < 3.1
    assert dataset.first().gpt_action_brief.detections[0].truncated
    assert {"summary", "failed"} <= output_form(foo, "load_action100m", params, told[-1])


def test_at_most_so_many_videos_are_downloaded(load, kit, site, uids, tmp_path):
    dataset = load(
        tmp_path / "videos",
        annotations=kit.parquet,
        dataset_name=NAME,
        download=True,
        max_videos=1,
        max_duration=2,
    )
    assert len(dataset) == 1


def test_whoever_stops_looking_stops_the_download(foo, load, kit, site, uids, tmp_path):
    from fiftyone.operators.executor import ExecutionContext, Executor

    site.silence = 60
    site.faults[uids[0]] += ["none", "stall"]
    params = {
        "videos_dir": str(tmp_path / "videos"),
        "video_ids": uids[0],
        "annotations": str(kit.parquet),
        "dataset_name": NAME,
        "download": True,
    }
    context = ExecutionContext(request_params={"params": params}, executor=Executor())
    told = load.execute(context)
    next(told)
    assert site.stalled[uids[0]].wait(30)
    told.close()  # what happens when the App goes; it returns when the work has ended
    assert not (tmp_path / "videos" / f"{uids[0]}.mp4").exists()


def test_a_load_from_the_hub_is_done_by_fiftyones_worker(
    fo, foo, load, kit, folder, hub, tmp_path, monkeypatch
):
    hub.files["data/part-00000.parquet"] = kit.parquet.read_bytes()
    for name, value in hub.variables(tmp_path).items():  # read when the worker starts
        monkeypatch.setenv(name, value)
    queued = foo.execute_operator(
        load.uri,
        {"request_delegation": True},
        params={"videos_dir": str(folder), "dataset_name": NAME},
    )
    operation = work_off(queued)
    assert operation.result.result["summary"] == (
        f"dataset {NAME}: 2 videos added, 0 updated, 1 not loaded; 2 samples"
    )
    (missing,) = operation.result.result["failed"]
    assert missing["reason"] == "no annotations in facebook/action100m-preview on the hub"
    assert len(fo.load_dataset(NAME)) == 2


def test_what_cannot_work_is_refused_in_one_sentence_at_its_field(
    fo, foo, kit, folder, uids, tmp_path, monkeypatch
):
    text = tmp_path / "text.parquet"
    text.write_text("no parquet")
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "none.txt").write_text("\n")
    images = fo.Dataset(NAME)
    images.add_sample(fo.Sample(filepath="/nowhere/image.png"))
    good = {"videos_dir": str(folder), "annotations": str(kit.parquet), "dataset_name": "load-new"}
    download = {**good, "download": True}
    cases = [
        ({**good, "video_ids": "tea"}, "video_ids", "'tea' is neither a YouTube id"),
        (
            {**good, "video_ids": f"{uids[0]} <b>x</b>"},
            "video_ids",
            "'<b>x</b>' is neither a YouTube id",
        ),
        (
            {**good, "video_ids": uids[0], "video_ids_file": "/ids.txt"},
            "video_ids_file",
            "paste videos or name a file, not both",
        ),
        ({**good, "video_ids_file": "ids.txt"}, "video_ids_file", "is not an absolute path"),
        ({**good, "video_ids_file": "/no/ids.txt"}, "video_ids_file", "cannot read the id list"),
        ({**good, "video_ids_file": str(tmp_path / "none.txt")}, "video_ids_file", "is empty"),
        ({**good, "annotations": "part.parquet"}, "annotations", "is not an absolute path"),
        ({**good, "annotations": str(empty)}, "annotations", "is no parquet file and no folder"),
        ({**good, "annotations": str(text)}, "annotations", "is not a readable parquet file"),
        ({**good, "videos_dir": "videos"}, "videos_dir", "is not an absolute path"),
        ({**good, "videos_dir": str(empty)}, "videos_dir", "holds no videos"),
        ({**good, "labels": "some"}, "labels", "'some' is none of gpt, all, none"),
        ({**good, "dataset_name": "!"}, "dataset_name", "name"),
        ({**good, "dataset_name": NAME}, "dataset_name", "holds samples of type image"),
        ({**download, "annotations": ""}, "video_ids", "say which videos to download"),
        ({**download, "jobs": 0}, "jobs", "JOBS is 0; it must be 1 or more"),
        ({**download, "max_videos": 0}, "max_videos", "MAX_VIDEOS is 0; it must be 1 or more"),
        ({**download, "max_height": 3}, "max_height", "it must be 16 pixels or more"),
        ({**download, "max_duration": 0}, "max_duration", "it must be above 0 s"),
    ]
    try:
        for params, field, reason in cases:
            message = refusal(foo, "load_action100m", {}, params)
            assert f"Path: {field}. Reason: " in message and reason in message, (params, message)
        monkeypatch.setenv("PROXY", "nonsense")
        message = refusal(foo, "load_action100m", {}, download)
        assert "Path: download. Reason: PROXY is not a proxy's address" in message
    finally:
        images.delete()
    assert not fo.dataset_exists("load-new")


def test_videos_without_annotations_leave_the_datasets_as_they_were(fo, load, tmp_path, folder):
    from pipeline.parquet import write_trees

    others = tmp_path / "others.parquet"
    write_trees(others, [Tree("other______")])
    with pytest.raises(Exception, match=r"none of the 3 videos in .* is annotated in"):
        load(folder, annotations=others, dataset_name=NAME)
    assert not fo.dataset_exists(NAME)
