"""The panel with two trees of 5,000 nodes in Chromium; 1 = the same page with an empty panel."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .timing import Row

NODES = 5000
PANEL = "[data-testid=tree-of-captions]"
#: Notes when the picture after the first one of a sample begins: then that one is on the screen.
_WATCH = """(title) => {
    performance.clearResourceTimings();
    window.began = performance.now();
    window.drawn = new Promise((done) => {
        let there = false;
        const look = () => {
            if (there) return done(performance.now());
            const panel = document.querySelector("[data-testid=tree-of-captions]");
            const content = panel?.querySelector(".message h2, [data-tree=run]");
            there = content && panel.textContent.includes(title);
            requestAnimationFrame(look);
        };
        requestAnimationFrame(look);
    });
}"""
#: Milliseconds until the panel is drawn, and since the first large answer to it was complete.
_DRAWN = """async () => {
    const drawn = await window.drawn;
    const [answer] = performance.getEntriesByType("resource")
        .filter((each) => each.name.includes("/operators/") && each.decodedBodySize > 1e6);
    return [drawn - window.began, answer ? drawn - answer.responseEnd : 0];
}"""
_RECORD = """() => {
    window.frames_ms = [];
    let last = performance.now();
    const step = (now) => {
        window.frames_ms.push(now - last);
        last = now;
        window.recording = requestAnimationFrame(step);
    };
    window.recording = requestAnimationFrame(step);
}"""
_STOP = "() => { cancelAnimationFrame(window.recording); return window.frames_ms.slice(2); }"


def run(changes: int = 200, seconds: float = 3) -> list[Row]:
    """Measure the first drawing, the frames of four movements, and memory.

    Args:
        changes: from sample to sample, for the memory
        seconds: that each movement lasts
    """
    from playwright.sync_api import sync_playwright

    from tests import conftest  # its App and its database, apart from those of the user
    from tests.app import CHROMIUM, CHROMIUM_ARGS, open_panel, running_app

    conftest.pytest_configure()
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        running_app(Path(folder), "benchmarks.bench_panel:build") as app,
        sync_playwright() as p,
    ):
        browser = p.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        page = browser.new_page(viewport={"width": 1600, "height": 900})
        page.add_init_script('localStorage["fiftyone-enterprise-tooltip-seen"] = "true"')
        open_panel(page, app, app.info["empty"])
        opened: dict[str, tuple[float, float]] = {}
        frames: dict[str, dict[str, list[float]]] = {}
        for name in ("other", "empty", "heavy", "large"):
            opened[name] = _open(page, app.info, name)
            if name in ("empty", "large"):
                frames[name] = _movements(page, seconds)
        first = opened["heavy"][0]
        rows.append(Row("open a sample with as much data, empty panel", first, 1))
        rows.append(
            Row("open a small sample, empty panel", opened["empty"][0], opened["empty"][0] / first)
        )
        seconds_of, since = opened["large"]
        more = {"ms after the data arrived": since * 1000}
        rows.append(Row(f"open 2 x {NODES}: first drawing", seconds_of, seconds_of / first, more))
        for movement, empty in frames["empty"].items():
            base = statistics.median(empty) / 1000
            for name, times in (("empty", empty), ("2 trees", frames["large"][movement])):
                median = statistics.median(times) / 1000
                more = {
                    "p95 ms": statistics.quantiles(times, n=20)[-1],
                    "frames": float(len(times)),
                }
                rows.append(Row(f"{movement}, {name}: a frame", median, median / base, more))
        rows += _memory(page, app.info, changes)
        browser.close()
    return rows


def _open(page: Any, ids: dict[str, str], name: str) -> tuple[float, float]:
    """Seconds until the panel shows another sample, and of those since its data had arrived."""
    page.evaluate(_WATCH, _title(name))
    page.evaluate("(id) => { __foo__.executeOperator('open_sample', { id }); }", ids[name])
    whole, since = page.evaluate(_DRAWN)
    page.wait_for_url(f"**id={ids[name]}*")
    return whole / 1000, since / 1000


def _title(name: str) -> str:
    return f"the {name} sample"


def _movements(page: Any, seconds: float) -> dict[str, list[float]]:
    """The milliseconds between pictures while the pointer or the video moves."""
    page.wait_for_timeout(2000)  # the video has loaded
    box = page.locator(PANEL).bounding_box()
    x, y, width = box["x"] + 40, box["y"] + 0.4 * box["height"], box["width"] - 80
    middle = x + width / 2

    def zoom(i: int) -> None:
        page.mouse.move(middle, y)
        page.mouse.wheel(0, -120 if i % 40 < 20 else 120)

    def pan(i: int) -> None:
        if i == 0:
            page.mouse.move(middle, y)
            page.mouse.down()
        page.mouse.move(middle + (i % 40 - 20) * 8, y)

    def hover(i: int) -> None:
        page.mouse.move(x + (i * 13) % width, y + (i * 7) % 120)

    def play(i: int) -> None:
        if i == 0:
            page.click("[data-testid=timeline-controls-play-pause]")
        page.wait_for_timeout(50)

    ends: dict[str, Callable[[], None]] = {
        "panning": page.mouse.up,
        "playing": lambda: page.click("[data-testid=timeline-controls-play-pause]"),
    }
    found = {}
    for name, move in {"zooming": zoom, "panning": pan, "hovering": hover, "playing": play}.items():
        page.evaluate(_RECORD)
        until, i = time.perf_counter() + seconds, 0
        while time.perf_counter() < until:
            move(i)
            i += 1
        found[name] = page.evaluate(_STOP)
        ends.get(name, lambda: None)()
        page.wait_for_timeout(200)
    return found


def _memory(page: Any, ids: dict[str, str], changes: int) -> list[Row]:
    """What the page holds after half of many changes of sample, and after all of them."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")

    def held() -> dict[str, float]:
        for _ in range(3):
            devtools.send("HeapProfiler.collectGarbage")
            page.wait_for_timeout(200)
        metrics = devtools.send("Performance.getMetrics")["metrics"]
        return {each["name"]: each["value"] for each in metrics}

    started = time.perf_counter()
    found = []
    for i in range(changes):
        _open(page, ids, ("empty", "large")[i % 2])
        if i + 1 in (changes // 2, changes):
            found.append(held())
    each = (time.perf_counter() - started) / changes
    early, late = found
    more = {
        f"MB after {changes // 2}": early["JSHeapUsedSize"] / 2**20,
        f"after {changes}": late["JSHeapUsedSize"] / 2**20,
        f"elements after {changes // 2}": early["Nodes"],
        "after all": late["Nodes"],
        "listeners": early["JSEventListeners"],
        "at the end": late["JSEventListeners"],
    }
    return [Row("a change of sample", each, late["JSHeapUsedSize"] / early["JSHeapUsedSize"], more)]


def build(folder: Path) -> tuple[Any, dict[str, str]]:
    """The dataset, made in the App's process: videos with two trees and without any.

    One of these has as much data, which the App itself reads when it opens a sample.
    """
    import fiftyone as fo

    from pipeline import dataset as datasets
    from pipeline.samplekit import make_kit

    video = str(make_kit(folder / "kit").videos[0].path)
    dataset = datasets.open_dataset("bench-panel")
    large = {
        f"{name}_tree": {"video_uid": "bench", "nodes": _nodes(24.0, shift)}
        for name, shift in (("ground_truth", 0.0), ("run", 0.004))
    }
    data = {f"{name}_data": value for name, value in large.items()}
    fields = {"other": {}, "empty": {}, "heavy": data, "large": large}
    samples = {
        name: fo.Sample(filepath=video, title=_title(name), **value)
        for name, value in fields.items()
    }
    ids = dataset.add_samples(list(samples.values()), progress=False)
    dataset.compute_metadata(progress=False)
    return dataset, dict(zip(samples, ids, strict=True))


def _nodes(seconds: float, shift: float) -> list[dict[str, Any]]:
    """A complete binary tree with texts of the real data's median lengths."""
    nodes = []
    for i in range(NODES):
        level = (i + 1).bit_length() - 1
        length = seconds / 2**level
        start = length * (i + 1 - 2**level)
        leaf = 2 * i + 1 >= NODES
        text = {"brief": f"stir pot {i}", "detailed": "word " * 90}
        nodes.append(
            {
                "node_id": str(i),
                "parent_id": str((i - 1) // 2) if i else None,
                "level": level,
                "start": start + (shift if start else 0),
                "end": start + length,
                "plm_action": f"stir the pot with spoon {i}",
                "plm_caption": "word " * 52,
                "llama3_caption": "word " * 170 if leaf else None,
                "gpt": None if leaf else {"summary": text, "action": {**text, "actor": "a cook"}},
            }
        )
    return nodes
