"""The command line: exit statuses, summaries for machines, and what it says to wrong calls."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.parquet import read_trees


@pytest.fixture
def video(kit):
    return kit.videos[0].path


def test_help_answers_at_once_without_heavy_imports(repo):
    code = (
        "import sys; sys.argv = ['pipeline', '--help']\n"
        "import runpy\n"
        "try: runpy.run_module('pipeline', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'pyarrow', 'fiftyone', 'sklearn', 'av', 'cv2', 'yt_dlp', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True)
    assert done.stderr.strip() == "[]"
    assert "annotate" in done.stdout and "Exit status" in done.stdout
    assert time.monotonic() - started < 5


def test_annotate_writes_parquet_and_a_summary_for_machines(cli, kit, tmp_path):
    uid, path = kit.videos[0].spec.uid, kit.videos[0].path
    command = ["annotate", path, "--metadata", kit.parquet, "--preset", "embedded"]
    done = cli(*command, "--out", tmp_path / "run", "--json")
    assert done.returncode == 0
    summary = json.loads(done.stdout)
    assert summary["done"] == [uid]
    assert summary["failed"] == {}
    (tree,) = read_trees(summary["parts"][0])
    tree.validate()
    assert tree.metadata["title"] == kit.videos[0].spec.title
    assert summary["nodes"] == len(tree)
    assert "refine: 1 of 1 videos" in done.stderr
    again = cli(*command, "--out", tmp_path / "run")
    assert again.returncode == 0
    assert again.stdout == ""
    assert "1 of them before" in again.stderr


def test_one_bad_video_costs_exit_status_1_and_nothing_else(cli, video, tmp_path):
    text, empty, half = (tmp_path / name for name in ("text.mp4", "empty.mp4", "half.mp4"))
    text.write_text("This is no video.\n")
    empty.touch()
    half.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    done = cli(
        *("annotate", text, empty, half, tmp_path / "none.mp4", video),
        *("--preset", "embedded", "--out", tmp_path / "run", "--json"),
    )
    assert done.returncode == 1
    summary = json.loads(done.stdout)
    assert summary["done"] == [video.stem]
    reasons = {uid: failure["reason"] for uid, failure in summary["failed"].items()}
    assert reasons["text"].startswith(f"{text} is not a readable video")
    assert reasons["empty"] == f"{empty} is empty (0 bytes); download it again"
    assert reasons["half"].startswith(f"{half} ends early: ")
    assert reasons["none"] == f"{tmp_path / 'none.mp4'}: no such file"
    for reason in reasons.values():
        assert f"failed in embed: {reason}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_list_names_many_videos_and_their_uids(cli, video, tmp_path):
    listed = tmp_path / "list.jsonl"
    listed.write_text(json.dumps({"path": str(video), "uid": "-abc"}) + "\n\n")
    done = cli(
        *("annotate", "--list", listed, "--preset", "embedded", "--out", tmp_path / "run"),
        *("--stages", "embed,segment", "--json"),
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["done"] == ["-abc"]
    (tree,) = read_trees(summary["parts"][0])
    assert tree.segments[0].plm_caption is None


def _wrong_calls(tmp_path, kit):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "part-00000.parquet").touch()
    columns = tmp_path / "columns.parquet"
    pq.write_table(pa.table({"id": [1]}), columns)
    text = tmp_path / "text.parquet"
    text.write_text("no parquet")
    bad_list = tmp_path / "bad.jsonl"
    bad_list.write_text("{}\n")
    empty = tmp_path / "folder"
    empty.mkdir()
    twin = tmp_path / kit.videos[0].path.name
    twin.touch()
    video, out = kit.videos[0].path, ("--out", tmp_path / "run")
    embedded = ("--preset", "embedded")
    return {
        "unknown preset": (("annotate", video, "--preset", "nope", *out), "unknown preset 'nope'"),
        "taken folder": (("annotate", video, *embedded, "--out", foreign), "name a new folder"),
        "no folder": (("annotate", video, *embedded, "--out", text), "cannot write to the output"),
        "no columns": (
            ("annotate", video, *embedded, *out, "--metadata", columns),
            f"{columns} is not an Action100M file",
        ),
        "no parquet": (("show", text), f"{text} is not a readable parquet file"),
        "no file": (("show", tmp_path / "none.parquet"), "no such file"),
        "no videos": (("annotate", *embedded, *out), "no videos; name files or folders"),
        "empty folder": (("annotate", empty, *embedded, *out), f"the folder {empty} holds no"),
        "twins": (("annotate", video, twin, *embedded, *out), "rename one"),
        "bad list": (("annotate", "--list", bad_list, *embedded, *out), f"{bad_list}, line 1"),
        "bad stage": (("annotate", video, *embedded, *out, "--stages", "x"), "unknown stage(s) x"),
        "bad workers": (
            ("annotate", video, *embedded, *out, "--workers", "0"),
            "'0' is not a whole number above 0",
        ),
        "bad fps": (("segment", text, "--fps", "0", *out), "'0' is no frame rate"),
        "bad array": (("segment", text, "--fps", "25", *out), f"{text} is not a readable .npy"),
        "unknown video": (("show", kit.parquet, "--video", "-nope"), "has no video '-nope'"),
        "no picture file": (("show", kit.parquet, "--format", "png"), "add --out FILE.png"),
        "bad format": (("show", kit.parquet, "--out", "tree.doc"), "use md, png or html"),
        "nothing shared": (
            ("compare", kit.parquet, kit.parquet, "--video", "-nope"),
            "in common",
        ),
    }


def test_a_wrong_call_gets_one_sentence_and_exit_status_2(cli, kit, tmp_path):
    for name, (arguments, sentence) in _wrong_calls(tmp_path, kit).items():
        done = cli(*arguments)
        assert done.returncode == 2, (name, done.stderr)
        last = done.stderr.strip().splitlines()[-1]
        assert "error: " in last and sentence in last, (name, done.stderr)
        assert "Traceback" not in done.stderr, name
        assert done.stdout == "", name
    assert not list((tmp_path / "run").glob("*"))


def test_a_folder_that_may_not_be_written_to_is_named(kit, repo, tmp_path):
    """As an ordinary user, for the superuser may write everywhere."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    code = (
        "import os, sys\n"
        "from pipeline import cli, parquet, presets, runner\n"  # while all files may be read
        "if os.geteuid() == 0: os.seteuid(65534)\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    command = ["annotate", kit.videos[0].path, "--preset", "embedded", "--out", locked / "run"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, command)], cwd=repo, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: cannot write to the output folder {locked / 'run'}")
    assert done.stderr.endswith("name a folder that you may write to\n")


def test_segment_cuts_given_embeddings(cli, tmp_path):
    embeddings = np.repeat(np.eye(3), 20, axis=0).astype(np.float16)
    np.save(tmp_path / "-clip.npy", embeddings)
    done = cli(
        *("segment", tmp_path / "-clip.npy", "--fps", "30000/1001", "--video-uid", "-clip"),
        *("--out", tmp_path / "tree.parquet", "--json"),
    )
    assert done.returncode == 0, done.stderr
    (tree,) = read_trees(tmp_path / "tree.parquet")
    tree.validate()
    assert tree.video_uid == "-clip"
    starts = {segment.start for segment in tree.segments}
    assert {round(78 * 1001 / 30000, 2), round(158 * 1001 / 30000, 2)} <= starts
    assert json.loads(done.stdout)["nodes"] == len(tree)


def test_segment_cuts_one_dendrogram_by_several_durations(cli, tmp_path):
    embeddings = np.random.default_rng(0).normal(size=(200, 3)).cumsum(axis=0)
    np.save(tmp_path / "clip.npy", embeddings)
    done = cli(
        *("segment", "--fps", "25", "--min-duration", "0.5,2,8", "clip.npy"),
        *("--out", "tree.parquet", "--json"),
    )
    assert done.returncode == 0, done.stderr
    cuts = json.loads(done.stdout)["cuts"]
    assert [cut["out"] for cut in cuts] == [f"tree-{s}.parquet" for s in ("0.5", "2", "8")]
    for cut in cuts:
        (tree,) = read_trees(tmp_path / cut["out"])
        assert len(tree) == cut["nodes"]
        assert min(s.duration for s in tree.segments) >= cut["min_duration"]
    assert cuts[0]["nodes"] > cuts[1]["nodes"] > cuts[2]["nodes"] > 1


def test_compare_prints_a_table_or_numbers_for_machines(cli, kit, kit_run):
    part = kit_run / "part-00000.parquet"
    done = cli("compare", kit.parquet, part)
    assert done.returncode == 0, done.stderr
    for spec, _ in kit.videos:
        assert spec.uid in done.stdout
    assert "Time range" in done.stdout
    numbers = json.loads(cli("compare", kit.parquet, part, "--json").stdout)["videos"]
    assert set(numbers) == {spec.uid for spec, _ in kit.videos}
    itself = json.loads(cli("compare", part, part, "--json").stdout)["videos"]
    assert itself != numbers


@pytest.mark.parametrize("ending", ["md", "html", "png"])
def test_show_writes_each_format(cli, kit, tmp_path, ending):
    uid = next(spec.uid for spec, _ in kit.videos if spec.uid.startswith("-"))
    out = tmp_path / f"tree.{ending}"
    done = cli("show", kit.parquet, "--video", uid, "--out", out)
    assert done.returncode == 0, done.stderr
    content = out.read_bytes()
    assert content.startswith(b"\x89PNG") if ending == "png" else b"Bean" in content


def test_show_prints_markdown_and_stops_when_nobody_reads(kit, repo):
    command = [sys.executable, "-m", "pipeline", "show", str(kit.parquet)]
    with subprocess.Popen(command, cwd=repo, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        assert p.stdout.readline()
        p.stdout.close()
        assert p.stderr.read() == b""
        assert p.wait(30) == 0
