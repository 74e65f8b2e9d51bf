"""Runs of the downloader among faults: retries, the history, rests, limits, stops and kills."""

from __future__ import annotations

import json
import random
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from pipeline.download import (
    DownloadError,
    DownloadEvent,
    DownloadSettings,
    DownloadSummary,
    download_videos,
)
from pipeline.download.log import hider
from pipeline.download.source import _video_error
from tests.clips import H264, clip
from tests.site import SCRIPT, Fault, Site, environment, serve, shell

VIDEO = "a_video____"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    # Several times what a connection's buffers hold.
    noise = ("-vf", "noise=alls=60:allf=t", "-b:v", "4M")
    path = tmp_path_factory.mktemp("source") / "video.mp4"
    return clip(path, *H264, *noise, "-movflags", "+faststart", seconds=2)


@pytest.fixture
def site(video: bytes) -> Iterator[Site]:
    with serve() as site:
        site.add(VIDEO, video)
        yield site


def settings_for(site: Site, folder: Path, **values: Any) -> DownloadSettings:
    given = {"retry_wait": 0.05, "blocked_pause": 0.2, "jobs": 1, **values}
    return DownloadSettings(output_dir=folder, url_template=site.url_template, **given)


def many(site: Site, count: int, content: bytes | None = None) -> list[str]:
    """So many videos of the same content on the site."""
    content = site.videos[VIDEO] if content is None else content
    return [site.add(f"video_{i:05}", content) for i in range(count)]


def history(folder: Path) -> dict[str, tuple[str, int]]:
    """Outcome and number of tries of each video."""
    with sqlite3.connect(folder / "downloads.sqlite") as connection:
        rows = connection.execute("SELECT video_uid, outcome, tries FROM videos").fetchall()
    return {uid: (outcome, tries) for uid, outcome, tries in rows}


def on_disk(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.mp4")}


# -- faults that pass ------------------------------------------------------------------------------


@pytest.mark.parametrize("faults", [(500, 503), (408,), ("none", 502), ("none", "cut")])
def test_a_fault_that_passes_is_tried_again(
    site: Site, tmp_path: Path, faults: tuple[Fault, ...]
) -> None:
    site.faults[VIDEO] += faults
    events: list[DownloadEvent] = []
    summary = download_videos([VIDEO], settings_for(site, tmp_path), events.append)
    assert summary.done == [VIDEO]
    assert events[0].tries > 1
    assert history(tmp_path) == {VIDEO: ("done", events[0].tries)}
    assert "again in 0 s" in (tmp_path / "logs" / f"{VIDEO}.log").read_text()


def test_a_cut_download_is_continued_and_not_begun_anew(site: Site, tmp_path: Path) -> None:
    site.faults[VIDEO] += ["none", "cut"]
    assert download_videos([VIDEO], settings_for(site, tmp_path)).done
    log = (tmp_path / "logs" / f"{VIDEO}.log").read_text()
    resumed = re.search(r"Resuming download at byte (\d+)", log)
    assert resumed and int(resumed[1]) > len(site.videos[VIDEO]) / 4


def test_a_stall_is_given_up_and_tried_again(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.download.source._SILENCE", 1)  # of twenty seconds
    site.faults[VIDEO] += ["none", "stall"]
    summary = download_videos([VIDEO], settings_for(site, tmp_path))
    assert summary.done == [VIDEO]


def test_what_does_not_pass_fails_with_its_tries(site: Site, tmp_path: Path) -> None:
    site.faults[VIDEO] += [500] * 99
    settings = settings_for(site, tmp_path, retries=2)
    summary = download_videos([VIDEO], settings)
    assert list(summary.failed) == [VIDEO] and "500" in summary.failed[VIDEO]
    assert history(tmp_path) == {VIDEO: ("failed", 3)}
    site.faults.clear()
    assert download_videos([VIDEO], settings).done == [VIDEO]
    assert history(tmp_path) == {VIDEO: ("done", 4)}


def test_waits_between_tries_grow(site: Site, tmp_path: Path) -> None:
    site.faults[VIDEO] += [500] * 4
    began = time.monotonic()
    settings = settings_for(site, tmp_path, retry_wait=0.3, retries=4)
    assert download_videos([VIDEO], settings).done
    assert time.monotonic() - began > 0.8 * 0.3 * (1 + 2 + 4 + 8)


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_obeyed_by_all(site: Site, tmp_path: Path, as_date: bool) -> None:
    ids = many(site, 3)
    asked = formatdate(time.time() + 3, usegmt=True) if as_date else "2"
    site.faults[ids[0]].append((429, asked))
    events: list[DownloadEvent] = []
    began = time.monotonic()
    summary = download_videos(ids, settings_for(site, tmp_path, retry_wait=0), events.append)
    assert sorted(summary.done) == ids
    assert time.monotonic() - began > (1 if as_date else 2)
    assert next(e.reason for e in events if e.outcome is None).startswith("the site asks to wait")


def test_a_site_that_asks_for_an_hour_ends_the_run(site: Site, tmp_path: Path) -> None:
    ids = many(site, 3)
    site.faults[ids[0]].append((429, "3600"))
    summary = download_videos(ids, settings_for(site, tmp_path))
    assert summary.ended == "the site asks to wait 3600 s"
    assert list(summary.blocked) == ids[:1]
    assert summary.not_tried == 2
    assert sorted(download_videos(ids, settings_for(site, tmp_path)).done) == ids


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ("Private video. Sign in if you've been granted access to this video", "gone"),
        ("Video unavailable. This video has been removed by the uploader", "gone"),
        ("This video is no longer available because the account has been terminated", "gone"),
        ("Video unavailable. This video contains content from X, blocked on copyright", "gone"),
        ("The uploader has not made this video available in your country", "gone"),
        ("Join this channel to get access to members-only content like this video", "gone"),
        (
            "Sign in to confirm you\u2019re not a bot. Use --cookies for the authentication",
            "blocked",
        ),
        ("Sign in to confirm your age. This video may be inappropriate", "blocked"),
        ("Video unavailable. This content isn't available, try again later", "blocked"),
        ("Requested format is not available. Use --list-formats", "failed"),
        ("Unable to extract player response", "failed"),
    ],
)
def test_what_sites_say_tells_gone_from_blocked(message: str, outcome: str) -> None:
    """Sentences of YouTube's, as yt-dlp raises them."""
    import yt_dlp

    try:
        try:
            raise yt_dlp.utils.ExtractorError(message, expected=True, video_id="a" * 11, ie="x")
        except yt_dlp.utils.ExtractorError as error:
            raise yt_dlp.utils.DownloadError(f"ERROR: {error}", sys.exc_info()) from None
    except yt_dlp.utils.DownloadError as error:
        found = _video_error(error)
    assert (found.outcome, found.again) == (outcome, False)
    assert found.reason == message


# -- the history -----------------------------------------------------------------------------------


def test_what_is_gone_is_not_asked_for_again_until_told(site: Site, tmp_path: Path) -> None:
    gone = "gone_______"
    settings = settings_for(site, tmp_path)
    assert "404" in download_videos([gone, VIDEO], settings).gone[gone]
    asked = site.requests[gone]
    summary = download_videos([gone, VIDEO], settings)
    assert (summary.skipped, summary.there, summary.gone) == ([gone], [VIDEO], {})
    assert site.requests[gone] == asked
    site.add(gone, site.videos[VIDEO])  # it came back
    told = settings_for(site, tmp_path, retry_failed=True)
    assert download_videos([gone, VIDEO], told).done == [gone]


def test_a_video_that_fails_in_every_run_is_given_up(site: Site, tmp_path: Path) -> None:
    uid = site.add("no_video___", b"<html>nothing here</html>", "text/html")
    settings = settings_for(site, tmp_path)
    for tries in range(1, 4):
        assert download_videos([uid], settings).failed
        assert history(tmp_path) == {uid: ("failed", tries)}
    with sqlite3.connect(tmp_path / "downloads.sqlite") as connection:
        connection.execute("UPDATE videos SET tries = 20")
    assert download_videos([uid], settings).skipped == [uid]
    assert download_videos([uid], settings_for(site, tmp_path, retry_failed=True)).failed


def test_what_failed_comes_after_what_was_never_tried(site: Site, tmp_path: Path) -> None:
    ids = many(site, 4)
    site.faults[ids[0]] += [500] * 9
    site.faults[ids[1]].append(403)
    settings = settings_for(site, tmp_path, retries=2)
    download_videos(ids[:2], settings)
    site.faults.clear()
    events: list[DownloadEvent] = []
    download_videos(ids, settings, events.append)
    assert [event.video_uid for event in events] == [ids[2], ids[3], ids[1], ids[0]]


def test_without_the_history_what_is_on_disk_still_counts(site: Site, tmp_path: Path) -> None:
    ids = [*many(site, 2), "gone_______"]
    settings = settings_for(site, tmp_path)
    download_videos(ids, settings)
    (tmp_path / "downloads.sqlite").unlink()
    before = site.requests.copy()
    summary = download_videos(ids, settings)
    assert summary.there == ids[:2] and list(summary.gone) == ids[2:]
    assert site.requests - before == Counter({"gone_______": 1})


def test_a_deleted_video_is_fetched_again_whatever_the_history_says(
    site: Site, tmp_path: Path
) -> None:
    settings = settings_for(site, tmp_path)
    download_videos([VIDEO], settings)
    (tmp_path / f"{VIDEO}.mp4").unlink()
    assert download_videos([VIDEO], settings).done == [VIDEO]


def test_a_history_of_a_later_version_is_left_alone(site: Site, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "downloads.sqlite") as connection:
        connection.execute("PRAGMA user_version = 9")
    with pytest.raises(DownloadError, match="it is of version 9"):
        download_videos([VIDEO], settings_for(site, tmp_path))


# -- limits ----------------------------------------------------------------------------------------


def test_max_videos_counts_what_is_on_disk_so_that_runs_make_progress(
    site: Site, tmp_path: Path
) -> None:
    ids = many(site, 6)
    ids.insert(1, "not_there__")

    def fetch(limit: int) -> DownloadSummary:
        return download_videos(ids, settings_for(site, tmp_path, jobs=4, max_videos=limit))

    first = fetch(3)
    assert len(on_disk(tmp_path)) == 3  # neither fewer for the one that is gone nor more
    assert list(first.gone) == ["not_there__"]
    assert first.not_tried == 3
    second = fetch(5)
    assert (len(second.there), len(second.done)) == (3, 2)
    assert len(fetch(5).done) == 0
    assert len(on_disk(tmp_path)) == 5


def test_a_wave_of_blocks_rests_and_then_ends_the_run(site: Site, tmp_path: Path) -> None:
    ids = many(site, 22)
    for uid in ids:
        site.faults[uid] += [403] * 9
    events: list[DownloadEvent] = []
    began = time.monotonic()
    settings = settings_for(site, tmp_path, jobs=2)
    summary = download_videos(ids, settings, events.append)
    assert summary.ended == "the site blocks one video after the other"
    assert time.monotonic() - began > 0.2 * (1 + 5)
    said = [event.reason for event in events if event.outcome is None]
    assert said == [f"the site blocked 5 videos in a row; resting for {s} s" for s in (0, 1)]
    assert 15 <= len(summary.blocked) <= 18  # three waves, and what was under way
    assert summary.not_tried == 22 - len(summary.blocked)
    site.faults.clear()
    assert sorted(download_videos(ids, settings).done) == ids


def test_blocks_among_other_outcomes_are_no_wave(site: Site, tmp_path: Path) -> None:
    ids = many(site, 24)
    for i, uid in enumerate(ids):
        if i % 4:
            site.faults[uid].append(403)
    summary = download_videos(ids, settings_for(site, tmp_path))
    assert (len(summary.blocked), len(summary.done), summary.ended) == (18, 6, "")


def test_a_rate_limit_is_kept_by_all_jobs_together(site: Site, tmp_path: Path) -> None:
    ids = many(site, 4)
    size = 4 * len(site.videos[VIDEO])
    began = time.monotonic()
    settings = settings_for(site, tmp_path, jobs=2, rate_limit=size // 4)
    assert len(download_videos(ids, settings).done) == 4
    assert time.monotonic() - began > 3  # of four seconds


def test_a_proxy_is_used_and_its_password_is_not_written(site: Site, tmp_path: Path) -> None:
    port = site.url_template.split(":")[2].split("/")[0]
    # A site that answers requests with whole addresses, as proxies get them.
    uid = "proxied____"
    site.videos[f"http://videos.invalid/watch/{uid}"] = site.videos[VIDEO]
    site.types[f"http://videos.invalid/watch/{uid}"] = "video/mp4"
    settings = DownloadSettings(
        output_dir=tmp_path,
        url_template="http://videos.invalid/watch/{id}",
        proxy=f"http://me:pass-word@127.0.0.1:{port}",
        retries=0,
    )
    assert download_videos([uid], settings).done == [uid]
    assert "pass-word" not in everything_written(tmp_path)


def test_cookies_reach_the_site_but_neither_the_output_nor_a_file(
    site: Site, tmp_path: Path
) -> None:
    text = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsid\tsecret-value\n"
    (tmp_path / "cookies.txt").write_text(text)
    (tmp_path / "video_ids.txt").write_text(f"{VIDEO}\nsecret-page\n")
    site.add("secret-page", b"<html>You came with secret-value</html>", "text/html")
    site.faults["secret-page"].append(403)
    result = shell(tmp_path, COOKIES="cookies.txt", URL_TEMPLATE=site.url_template)
    assert (tmp_path / "videos" / f"{VIDEO}.mp4").exists()
    assert set(site.cookies) == {"sid=secret-value"}
    assert "secret-value" not in result.stdout + result.stderr
    assert "secret-value" not in everything_written(tmp_path / "videos")
    assert (tmp_path / "cookies.txt").read_text() == text
    assert "advice: log in to the site with a browser" in result.stderr


def everything_written(folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".mp4"]
    assert {"downloads.sqlite"} < {path.name for path in files}  # a log at least
    return "".join(path.read_bytes().decode("latin-1") for path in files)


def test_secrets_are_hidden_in_any_text() -> None:
    cookies = "# head\n.a.b\tTRUE\t/\tTRUE\t0\tsid\ta+long(secret)\n.a.b\tTRUE\t/\tTRUE\t0\tl\ten\n"
    hide = hider(cookies, "http://me:p%40ssword@host:1")
    assert hide("sid=a+long(secret); l=en via p%40ssword or p@ssword") == (
        "sid=***; l=en via *** or ***"
    )


# -- stops and kills -------------------------------------------------------------------------------


def test_two_runs_cannot_work_in_one_folder(site: Site, tmp_path: Path) -> None:
    site.faults[VIDEO] += ["none", "stall"]
    settings = settings_for(site, tmp_path)
    stop = threading.Event()
    other = threading.Thread(target=download_videos, args=([VIDEO], settings, None, stop))
    other.start()
    assert site.stalled[VIDEO].wait(10)
    with pytest.raises(DownloadError, match="another run is downloading into"):
        download_videos([VIDEO], settings)
    stop.set()
    other.join(10)
    assert not other.is_alive()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
def test_a_stopped_run_leaves_no_broken_file_and_the_next_one_goes_on(
    site: Site, tmp_path: Path, number: int, status: int
) -> None:
    ids = many(site, 2)
    site.faults[ids[1]] += ["none", "stall"]
    (tmp_path / "video_ids.txt").write_text("\n".join(ids))
    variables = environment(URL_TEMPLATE=site.url_template, JOBS=1)
    with subprocess.Popen([SCRIPT], cwd=tmp_path, env=variables, stderr=subprocess.PIPE) as process:
        assert site.stalled[ids[1]].wait(20)
        began = time.monotonic()
        process.send_signal(number)
        process.communicate(timeout=10)
        assert time.monotonic() - began < 5
    assert process.returncode == status
    output = tmp_path / "videos"
    assert on_disk(output) == {ids[0]}
    if number != signal.SIGKILL:
        assert not (output / ".partial").exists()
    assert history(output) == {ids[0]: ("done", 1)}
    result = shell(tmp_path, URL_TEMPLATE=site.url_template)
    assert result.returncode == 0
    assert on_disk(output) == set(ids)
    assert not (output / ".partial").exists()


def test_stopping_ends_an_encoding_ffmpeg(site: Site, tmp_path: Path) -> None:
    uid = site.add(
        "slow_encode",
        clip(tmp_path / "slow.mkv", "-c:v", "mpeg4", "-an", size="640x480", seconds=60),
    )
    folder = tmp_path / "videos"
    stop = threading.Event()

    def stop_when_it_encodes() -> None:
        while not (folder / ".partial" / uid / "finished.mp4").exists():
            time.sleep(0.01)
        stop.set()

    threading.Thread(target=stop_when_it_encodes, daemon=True).start()
    began = time.monotonic()
    summary = download_videos([uid], settings_for(site, folder), stop=stop)
    assert summary.stopped and not summary.failed
    assert summary.not_tried == 1
    assert time.monotonic() - began < 5
    assert on_disk(folder) == set() and not (folder / ".partial").exists()


def test_stopping_ends_an_ffmpeg_that_fetches_a_section(
    site: Site, video: bytes, tmp_path: Path
) -> None:
    site.page("a_section__", VIDEO, 600)
    site.faults[VIDEO] += ["none", "stall"]  # yt-dlp looks first, then ffmpeg reads
    stop = threading.Event()
    settings = settings_for(site, tmp_path)

    def stop_when_it_reads() -> None:
        while not sections(tmp_path):
            time.sleep(0.05)
        stop.set()

    threading.Thread(target=stop_when_it_reads, daemon=True).start()
    began = time.monotonic()
    summary = download_videos(["a_section__"], settings, stop=stop)
    assert summary.stopped and summary.not_tried == 1
    assert time.monotonic() - began < 10
    assert not sections(tmp_path)


def sections(folder: Path) -> list[int]:
    """The ffmpeg processes that write into the folder."""
    import psutil

    found = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if "ffmpeg" in " ".join(command[:1]) and any(str(folder) in word for word in command):
            found.append(process.pid)
    return found


@pytest.mark.slow
def test_ten_kills_of_forty_videos_lose_nothing(site: Site, video: bytes, tmp_path: Path) -> None:
    """At random moments: all there in the end, none broken, none fetched once it was there."""
    rng = random.Random(0)
    small = clip(tmp_path / "small.webm", "-c:v", "libvpx", "-c:a", "libopus", size="320x240")
    ids = [site.add(f"killed{i:05}", (video, small)[i % 2]) for i in range(40)]
    (tmp_path / "video_ids.txt").write_text("\n".join(ids))
    output = tmp_path / "videos"
    variables = environment(URL_TEMPLATE=site.url_template, JOBS=3, RETRY_WAIT=0.1)
    finished: dict[str, int] = {}
    for _ in range(10):
        with subprocess.Popen(
            [SCRIPT], cwd=tmp_path, env=variables, stderr=subprocess.DEVNULL
        ) as process:
            # At a moment of the work, not of the clock: a busy machine takes long to begin.
            requests = site.requests.total() + rng.randint(3, 8)
            while site.requests.total() < requests and process.poll() is None:
                time.sleep(0.01)
            time.sleep(rng.random())
            process.send_signal(signal.SIGKILL)
        asked = {uid: site.requests[uid] for uid in finished}
        assert asked == finished  # what was there was not asked for again
        for uid in on_disk(output):
            finished.setdefault(uid, site.requests[uid])
    assert 0 < len(finished) < 40  # the kills came in the middle
    result = shell(tmp_path, "--json", URL_TEMPLATE=site.url_template, JOBS=3)
    assert result.returncode == 0
    summary = json.loads(result.stdout)
    assert summary["there"] == len(finished) and len(summary["done"]) == 40 - len(finished)
    assert on_disk(output) == set(ids)
    assert {uid: site.requests[uid] for uid in finished} == finished
    for path in output.glob("*.mp4"):
        subprocess.run(
            ["ffmpeg", "-v", "error", "-xerror", "-i", path, "-f", "null", "-"], check=True
        )
    assert {path.name for path in output.iterdir()} - {f"{uid}.mp4" for uid in ids} == {
        *("downloads.sqlite", "logs", ".lock"),
    }
