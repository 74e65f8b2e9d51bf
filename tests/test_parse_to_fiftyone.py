"""parse_to_fiftyone.py as a user runs it: from files on disk and from a hub on this machine."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.synthetic import write_parts
from pipeline import dataset as datasets
from pipeline.parquet import SCHEMA, part_on_disk, read_videos, write_trees
from pipeline.tree import Segment, Tree
from tests.hub import REPOSITORY

pytestmark = pytest.mark.fiftyone

SCRIPT = "download_scripts/parse_to_fiftyone.py"


@pytest.fixture
def parse(repo, fo):
    """Runs the script; the datasets that it makes are deleted."""
    made = []

    def run(*arguments, **variables):
        made.append(arguments[arguments.index("--dataset-name") + 1])
        return subprocess.run(
            [sys.executable, SCRIPT, *map(str, arguments)],
            cwd=repo,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=300,
        )

    yield run
    for name in filter(fo.dataset_exists, set(made)):
        fo.delete_dataset(name)


@pytest.fixture
def dataset(fo, request):
    made = datasets.open_dataset(f"test-{request.node.name}"[:60], overwrite=True)
    yield made
    made.delete()


@pytest.fixture
def videos(kit, tmp_path):
    """Makes a folder of videos of these names; each is the first of the kit."""

    def make(uids):
        folder = tmp_path / "videos"
        folder.mkdir()
        for uid in uids:
            (folder / f"{uid}.mp4").symlink_to(kit.videos[0].path)
        return folder

    return make


def contents(dataset):
    """What the samples hold, by id of the video, without what differs from making to making."""

    def plain(value):
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items() if k not in _OF_THE_MAKING}
        return [plain(each) for each in value] if isinstance(value, list) else value

    return {sample.video_uid: plain(sample.to_dict()) for sample in dataset.iter_samples()}


_OF_THE_MAKING = ("_id", "_dataset_id", "created_at", "last_modified_at")


# -- as a user runs it ---------------------------------------------------------------------------


def test_the_script_makes_and_updates_a_dataset(fo, parse, kit, tmp_path):
    call = ("--dataset-path", kit.folder, "--videos-dir", kit.folder / "videos")
    call += ("--dataset-name", "test-parse", "--json")
    done = parse(*call)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["added"], summary["failed"]) == (4, {})
    dataset = fo.load_dataset("test-parse")
    assert dataset.persistent and len(dataset) == 4
    dataset.first().tags.append("mine")
    sample = dataset.first()
    sample.tags.append("mine")
    sample.save()
    again = json.loads(parse(*call, "--clip-duration", "5").stdout)
    assert (again["added"], again["updated"]) == (0, 4)
    dataset.reload()
    sample.reload()
    assert sample.tags == ["mine"]
    assert sample.gpt_action_brief.detections[0].truncated
    assert isinstance(sample.upload_date, date)
    whole = json.loads(parse(*call, "--clip-duration", "auto", "--labels", "all").stdout)
    assert whole["updated"] == 4
    dataset.reload()
    sample = dataset[sample.id]
    assert not sample.gpt_action_brief.detections[0].truncated
    assert sample.plm_caption.detections
    dataset.register_run("mine", dataset.init_run(method="something"))
    assert (
        "adding to the dataset 'test-parse' of 4 samples and 1 runs (mine): " in parse(*call).stderr
    )
    rebuilt = parse(*call, "--overwrite")
    lines = rebuilt.stderr.splitlines()
    assert lines[0] == "deleting the dataset 'test-parse' with its 4 samples and 1 runs (mine)"
    assert json.loads(rebuilt.stdout)["added"] == 4


def test_the_script_reports_broken_videos_and_rows_and_loads_the_rest(parse, kit, tmp_path):
    videos = tmp_path / "videos"
    videos.mkdir()
    for _, path in kit.videos[:2]:
        (videos / path.name).symlink_to(path)
    (videos / f"{kit.videos[2].spec.uid}.mp4").write_text("no video")
    (videos / "stranger_01.mp4").symlink_to(kit.videos[0].path)
    done = parse(
        *("--dataset-path", kit.parquet, "--videos-dir", videos),
        *("--dataset-name", "test-parse-broken", "--json"),
    )
    assert done.returncode == 1
    summary = json.loads(done.stdout)
    assert (summary["added"], summary["samples"]) == (2, 3)
    assert set(summary["failed"]) == {kit.videos[2].spec.uid}
    assert summary["without_annotations"] == ["stranger_01"]


def test_the_script_names_what_is_missing(parse, kit, tmp_path):
    (tmp_path / "empty").mkdir()
    write_trees(tmp_path / "none.parquet", [])
    offline = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")}
    videos = ("--videos-dir", kit.folder / "videos", "--dataset-name", "test-parse-none")
    cases = {
        (
            "--dataset-path",
            tmp_path / "nowhere",
            *videos,
        ): "nowhere has no annotations, and cannot list",
        (
            "--dataset-path",
            tmp_path / "empty",
            *videos,
        ): "empty has no annotations, and cannot list",
        ("--dataset-path", tmp_path / "no.parquet", *videos): "no.parquet: no such file",
        ("--dataset-path", tmp_path / "none.parquet", *videos): "none of the 4 videos in",
        ("--dataset-path", tmp_path / "empty", "--repo", "x", *videos): "must be OWNER/NAME",
        ("--dataset-path", kit.videos[0].path, *videos): "can be read",
        (
            "--dataset-path",
            kit.folder,
            *videos,
            "--clip-duration",
            "-1",
        ): "neither a number",
        (
            "--dataset-path",
            kit.folder,
            *videos[2:],
            "--videos-dir",
            tmp_path / "no",
        ): "fetch videos",
        (
            *("--dataset-path", kit.folder, *videos[2:]),
            *("--videos-dir", tmp_path / "empty"),
        ): "holds no videos",
    }
    for arguments, reason in cases.items():
        done = parse(*arguments, **offline)
        assert done.returncode == 2, arguments
        assert reason in done.stderr.splitlines()[-1], done.stderr
        assert "Traceback" not in done.stderr


def test_a_dataset_is_not_deleted_for_nothing(fo, parse, kit, tmp_path):
    call = ("--videos-dir", kit.folder / "videos", "--dataset-name", "test-parse-kept")
    assert parse("--dataset-path", kit.folder, *call).returncode == 0
    write_trees(tmp_path / "others.parquet", [Tree("another_one")])
    done = parse("--dataset-path", tmp_path / "others.parquet", *call, "--overwrite")
    assert done.returncode == 2
    assert "is annotated in" in done.stderr and "deleting" not in done.stderr
    assert len(fo.load_dataset("test-parse-kept")) == 4


def test_one_unreadable_file_does_not_keep_the_others_from_being_loaded(fo, parse, kit, tmp_path):
    (tmp_path / "part-0.parquet").write_text("<html>")
    (tmp_path / "part-1.parquet").symlink_to(kit.parquet)
    call = ("--dataset-path", tmp_path, "--videos-dir", kit.folder / "videos", "--json")
    done = parse(*call, "--dataset-name", "test-parse-files")
    assert done.returncode == 1
    summary = json.loads(done.stdout)
    assert (summary["added"], summary["failed"]) == (4, {})
    assert list(summary["unread_files"]) == [str(tmp_path / "part-0.parquet")]
    assert "part-0.parquet is not a readable parquet file" in done.stderr


# -- straight from the hub -----------------------------------------------------------------------


def test_from_the_hub_only_row_groups_with_wanted_videos_move(fo, parse, hub, videos, tmp_path):
    source = tmp_path / "source"
    uids = write_parts(source, rows=300, rows_per_file=100, rows_per_group=20)
    hub.add_folder(source)
    wanted = [uids[5], uids[207], uids[219]]  # in one row group each of the first and third file
    folder = videos([*wanted, "stranger_01"])
    call = ("--videos-dir", folder, "--json", "--clip-duration", "auto")
    far = parse(
        *("--dataset-path", tmp_path / "none", "--dataset-name", "test-parse-far", *call),
        **hub.variables(tmp_path),
    )
    assert far.returncode == 0, far.stderr
    summary = json.loads(far.stdout)
    assert (summary["added"], summary["without_annotations"]) == (3, ["stranger_01"])
    assert summary["source"] == f"{REPOSITORY} on the hub"
    files = [pq.ParquetFile(source / f"part-0000{part}.parquet").metadata for part in range(3)]
    groups = [
        sum(group.column(i).total_compressed_size for i in range(group.num_columns))
        for group in (files[0].row_group(0), files[2].row_group(0))
    ]
    assert sum(groups) < hub.sent < sum(groups) + 0.01 * hub.size
    assert hub.sent < hub.size * 0.15
    assert not (tmp_path / "none").exists()
    near = parse("--dataset-path", source, "--dataset-name", "test-parse-near", *call)
    assert near.returncode == 0, near.stderr
    there, here = (contents(fo.load_dataset(f"test-parse-{where}")) for where in ("far", "near"))
    assert set(there) == set(wanted)
    assert there == here
    assert there[wanted[0]]["gpt_action_brief"]["detections"]


def test_of_a_private_repository_a_revision_is_read_with_the_token(parse, hub, kit, tmp_path):
    hub.files["data/part-0.parquet"] = kit.parquet.read_bytes()
    hub.private = True
    call = ("--dataset-path", tmp_path, "--videos-dir", kit.folder / "videos")
    call += ("--dataset-name", "test-parse-private", "--revision", "main", "--json")
    done = parse(*call, **hub.variables(tmp_path))
    assert json.loads(done.stdout)["added"] == 4, done.stderr
    refused = parse(*call, **(hub.variables(tmp_path) | {"HF_TOKEN": "hf_other"}))
    assert refused.returncode == 2
    assert "cannot list" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr and "hf_other" not in refused.stderr


# -- what cannot be read -------------------------------------------------------------------------


def row(uid, **changes):
    """A row of three nodes in plain data."""
    times = ((None, 0, 0.0, 9.0), ("r", 1, 0.0, 5.0), ("r", 1, 5.0, 9.0))
    nodes = [
        dataclasses.asdict(Segment("rab"[i], parent, level, start, end, plm_caption=f"node {i}"))
        for i, (parent, level, start, end) in enumerate(times)
    ]
    nodes[0]["gpt"] = {"summary": {"brief": "b"}, "action": {"brief": "stir"}}
    metadata = {"title": uid, "upload_date": "20240229", "transcript": [{"time": "1", "text": "t"}]}
    return {"video_uid": uid, "metadata": metadata, "nodes": nodes} | changes


def with_node(**changes):
    """The nodes of :func:`row`, the second of them changed."""
    nodes = row("x")["nodes"]
    nodes[1] |= changes
    return nodes


BAD_ROWS = {
    "null_level__": ({"nodes": with_node(level=None)}, "node 1 has no level"),
    "null_start__": ({"nodes": with_node(start=None)}, "node 1 has no start"),
    "null_node_id": ({"nodes": with_node(node_id=None)}, "node 1 has no node_id"),
    "null_node___": ({"nodes": [None]}, "node 0 has no node_id, level, start, end"),
    "nan_time____": ({"nodes": with_node(end=float("nan"))}, "node 1 lasts from 0.0 to nan"),
    "endless_time": ({"nodes": with_node(end=float("inf"))}, "node 1 lasts from 0.0 to inf"),
    "bad_date____": (
        {"metadata": {"title": "bad_date____", "upload_date": "20230229"}},
        "its upload_date is '20230229', no day as YYYYMMDD",
    ),
    "short_date__": (
        {"metadata": {"title": "short_date__", "upload_date": "2023229"}},
        "its upload_date is '2023229', no day as YYYYMMDD",
    ),
}
NULL_ROWS = {
    "null_date___": {"metadata": {"title": "null_date___", "upload_date": None}},
    "null_facts__": {"metadata": dict.fromkeys(row("x")["metadata"])},
    "null_meta___": {"metadata": None},
    "null_nodes__": {"nodes": None},
    "no_nodes____": {"nodes": []},
    "null_texts__": {"nodes": with_node(plm_caption=None, parent_id=None)},
    "null_line___": {"metadata": {"transcript": [None, {"time": None, "text": None}]}},
    "null_gpt____": {"nodes": with_node(gpt={"summary": None, "action": None})},
}


def write_rows(path, rows, schema=SCHEMA):
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


def load(dataset, kit, path, uids):
    """Load the rows of a file as the script does; each video is the first of the kit."""
    rows = read_videos([part_on_disk(path)], uids, pytest.fail)
    return datasets.add_ground_truth(dataset, rows, dict.fromkeys(uids, kit.videos[0].path))


def test_each_bad_row_is_marked_with_its_error_and_the_others_are_loaded(dataset, kit, tmp_path):
    rows = [row(uid, **changes) for uid, (changes, _) in BAD_ROWS.items()]
    rows += [row(uid, **changes) for uid, changes in NULL_ROWS.items()]
    uids = [each["video_uid"] for each in rows]
    summary = load(dataset, kit, write_rows(tmp_path / "rows.parquet", rows), uids)
    assert summary.failed == {uid: reason for uid, (_, reason) in BAD_ROWS.items()}
    assert sorted(summary.added) == sorted(NULL_ROWS)
    samples = {sample.video_uid: sample for sample in dataset}
    assert sorted(samples) == sorted(uids)
    for uid, (_, reason) in BAD_ROWS.items():
        sample = samples[uid]
        assert (sample.load_error, sample.tags) == (reason, ["load_failed"])
        assert sample.filepath == str(kit.videos[0].path)
        assert sample.title == uid and sample.metadata.total_frame_count
        # A bad date spoils the date alone.
        assert (sample.ground_truth_tree is None) == ("date" not in uid)
        assert sample.upload_date == (None if "date" in uid else date(2024, 2, 29))
    for uid in NULL_ROWS:
        assert (samples[uid].load_error, samples[uid].tags) == (None, [])
        assert isinstance(samples[uid].ground_truth_tree["nodes"], list)
    assert samples["null_date___"].gpt_action_brief.detections[0].label == "stir"


def test_errors_go_when_a_later_run_can_read_it_and_what_was_there_stays_until_then(
    dataset, kit, tmp_path
):
    uid = "comes_and_go"
    good = write_rows(tmp_path / "good.parquet", [row(uid)])
    bad = write_rows(tmp_path / "bad.parquet", [row(uid, nodes=with_node(level=None))])
    load(dataset, kit, good, [uid])
    sample = dataset.first()
    sample.tags = ["mine"]
    sample.save()
    before = contents(dataset)[uid]
    assert load(dataset, kit, bad, [uid]).failed == {uid: "node 1 has no level"}
    sample.reload()
    assert (sample.tags, sample.load_error) == (["mine", "load_failed"], "node 1 has no level")
    assert len(sample.ground_truth_tree["nodes"]) == 3 and sample.gpt_action_brief.detections
    assert load(dataset, kit, good, [uid]).updated == [uid]
    assert contents(dataset)[uid] == before | {"load_error": None}


def test_a_transcript_that_cannot_be_read_spoils_nothing_else(dataset, kit, tmp_path):
    transcript = SCHEMA.field("metadata").type
    kinds = [
        pa.field(f.name, pa.string() if f.name == "transcript" else f.type) for f in transcript
    ]
    schema = SCHEMA.set(1, pa.field("metadata", pa.struct(kinds)))
    made = row("odd_lines__", metadata={"title": "fine", "transcript": "[{"})
    path = write_rows(tmp_path / "rows.parquet", [made], schema)
    summary = load(dataset, kit, path, ["odd_lines__"])
    assert summary.failed == {"odd_lines__": "its transcript is a string that is no list"}
    sample = dataset.first()
    assert (sample.title, sample.transcript) == ("fine", None)
    assert sample.gpt_action_brief.detections


def test_text_that_is_not_utf_8_spoils_its_own_row_only(dataset, kit, tmp_path):
    rows = [row("first_video"), row("other_video")]
    rows[0]["nodes"][0]["plm_caption"] = "MARK"
    path = tmp_path / "rows.parquet"
    pq.write_table(
        pa.Table.from_pylist(rows, SCHEMA), path, use_dictionary=False, compression="none"
    )
    content = path.read_bytes()
    assert b"MARK" in content
    path.write_bytes(content.replace(b"MARK", b"\xff\xfe\xfd\xfc"))
    summary = load(dataset, kit, path, ["first_video", "other_video"])
    assert list(summary.failed) == ["first_video"] and "utf-8" in summary.failed["first_video"]
    assert summary.added == ["other_video"]


@pytest.mark.slow
def test_a_tree_of_more_than_a_document_can_hold_is_marked(dataset, kit, tmp_path):
    large = with_node(plm_caption="x" * 9_000_000, plm_action="y" * 9_000_000)
    rows = [row("first_video"), row("large_video", nodes=large), row("third_video")]
    path = write_rows(tmp_path / "rows.parquet", rows)
    summary = load(dataset, kit, path, [each["video_uid"] for each in rows])
    assert summary.added == ["first_video", "third_video"]
    assert "its annotations cannot be stored" in summary.failed["large_video"]
    samples = {sample.video_uid: sample for sample in dataset}
    assert samples["large_video"].title == "large_video"
    assert samples["large_video"].tags == ["load_failed"]
    assert samples["third_video"].gpt_action_brief.detections


def test_a_dataset_that_does_not_fit_is_refused(fo, dataset, kit):
    dataset.add_sample_field("title", fo.IntField)
    with pytest.raises(ValueError, match=r"has a field 'title' of another kind \(IntField\)"):
        datasets.add_ground_truth(dataset, [], {})
    pictures = fo.Dataset()
    pictures.media_type = "image"
    with pytest.raises(ValueError, match="is one of media type image, not video"):
        datasets.add_ground_truth(pictures, [], {})
    pictures.delete()


# -- long work -----------------------------------------------------------------------------------


def test_a_killed_run_leaves_its_batches_and_the_next_completes_them(
    fo, parse, repo, videos, tmp_path
):
    name, count = "test-parse-killed", 320  # some seconds of work
    uids = [f"video_{i:05d}" for i in range(count)]
    write_rows(tmp_path / "rows.parquet", [row(uid) for uid in uids])
    call = ("--dataset-path", tmp_path / "rows.parquet", "--videos-dir", videos(uids))
    call += ("--dataset-name", name)
    with subprocess.Popen(
        [sys.executable, SCRIPT, *map(str, call)], cwd=repo, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 120
        while not fo.dataset_exists(name) or len(fo.load_dataset(name)) < 32:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(random.uniform(0, 0.05))
            if fo.dataset_exists(name):
                fo.load_dataset(name).reload()
        process.send_signal(signal.SIGKILL)
    dataset = fo.load_dataset(name)
    dataset.reload()
    written = dataset.values(["video_uid", "gpt_action_brief.detections.label"])
    assert 32 <= len(dataset) < count
    # Of the batches before the last one all is there.
    assert written[0][:16] == uids[:16] and written[1][:16] == [["stir"]] * 16
    tagged = dataset.limit(1)
    tagged.tag_samples("mine")
    done = parse(*call, "--json")
    assert done.returncode == 0, done.stderr
    dataset.reload()
    assert sorted(dataset.values("video_uid")) == uids
    assert dataset.values("gpt_action_brief.detections.label") == [["stir"]] * count
    assert dataset.count_sample_tags() == {"mine": 1}
    assert dataset.has_saved_view("light")


def test_no_more_rows_are_read_than_are_about_to_be_written(dataset, kit):
    read = []

    def trees():
        for i in range(60):
            read.append(i)
            # What is in the dataset lags behind by a batch and what is being probed.
            assert i - len(dataset) < 8 + 2 * 8 + 2
            yield Tree(f"video_{i:05d}")

    paths = {f"video_{i:05d}": kit.videos[0].path for i in range(60)}
    datasets.add_ground_truth(dataset, trees(), paths, label_kinds="none", batch_size=8)
    assert len(read) == len(dataset) == 60
