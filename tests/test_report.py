"""Trees and comparisons as text, pages and pictures."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from pipeline.metrics import compare
from pipeline.report import (
    comparison_markdown,
    comparison_text,
    format_range,
    format_time,
    one_line,
    tree_html,
    tree_markdown,
    tree_png,
)
from pipeline.segmentation import cut, segment
from pipeline.tree import Tree
from tests.real_trees import each_real_tree, needs_real_trees, real_trees

HOSTILE = 'a <img src=x onerror=alert(1)> | b\n# `code` *x* [l](javascript:1) &lt; "q" \x1b[31m'
REPO = Path(__file__).parents[1]


def gpt(text: str | None) -> dict:
    return {
        "summary": {"brief": text, "detailed": text},
        "action": {"brief": text, "detailed": text, "actor": text},
    }


def described(seed: int = 0, frames: int = 60, text: str | None = "Stir the soup") -> Tree:
    """A tree with the text everywhere."""
    rng = np.random.default_rng(seed)
    tree = segment(rng.normal(size=(frames, 4)).cumsum(axis=0), 25, "-uid")
    segments = (
        replace(
            s,
            plm_action=text,
            plm_caption=text,
            llama3_caption=text if tree.is_leaf(s) else None,
            gpt=gpt(text) if tree.is_refined(s) else None,
        )
        for s in tree.segments
    )
    metadata = {
        "title": text,
        "description": text,
        "upload_date": "20240131",
        "view_count": 12345,
        "like_count": 0,
        "transcript": [{"time": "75.5", "text": text}, {"time": None, "text": None}],
    }
    return Tree("-uid", tuple(segments), metadata)


NULLS = {
    "no nodes": Tree("v"),
    "no metadata": segment(np.zeros((60, 1)), 25, "v"),
    "null metadata": segment(np.zeros((60, 1)), 25, "v", dict.fromkeys(described().metadata or ())),
    "null texts": described(text=None),
}


def columns_of(line: str) -> int:
    """How wide a terminal shows a line: characters of East Asian scripts take two columns."""
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in line)


class Page(HTMLParser):
    """The tags, attributes and visible text of a page; fails where tags do not pair up."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.deepest = 0
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self._open.append(tag)
            self.deepest = max(self.deepest, len(self._open))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] != ["style"]:
            self.text += data


# -- times -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00.00"), (75.5, "1:15.50"), (59.999, "1:00.00"), (219.15, "3:39.15"),
     (3599.99, "59:59.99"), (3600, "1:00:00.00"), (36061.07, "10:01:01.07")],
)  # fmt: skip
def test_times_are_minutes_seconds_and_hundredths(seconds, text):
    assert format_time(seconds) == text


def test_a_range_has_a_dash_between_its_times():
    assert format_range(0, 75.5) == "0:00.00–1:15.50"


def test_one_line_has_no_breaks_controls_or_reversals():
    assert one_line(" a\r\n\tb\u2028c\x00\x1b[31m\u202ed\ud800 ") == "a b c[31md"
    assert one_line(None) == ""


# -- Markdown ----------------------------------------------------------------------------------


def test_markdown_lists_segments_nested_by_level_with_times_and_texts():
    tree = described()
    page = tree_markdown(tree)
    assert page.startswith("# Stir the soup\n\n- Video: -uid\n- Uploaded: 2024-01-31\n")
    assert "- Views: 12,345\n- Likes: 0\n" in page
    for s in tree.segments:
        line = f"{'  ' * s.level}- **{format_range(s.start, s.end)}** Stir the soup\n"
        assert line in page
    assert page.count("*Image caption:* Stir the soup") == len(tree.leaves())
    assert "- 1:15.50 Stir the soup\n" in page


def unescaped(line: str) -> str:
    return re.sub(r"\\[^\w\s]", "", line)


@pytest.mark.parametrize(
    "page",
    [
        tree_markdown(described(text=HOSTILE)),
        comparison_markdown(compare(described(text=HOSTILE), described(1, text=HOSTILE))),
    ],
    ids=["tree", "comparison"],
)
def test_text_from_data_stays_text_in_markdown(page):
    assert "a &lt;img src=x onerror=alert(1)&gt; \\| b \\# \\`code\\` \\*x\\* \\[l\\]" in page
    assert "&amp;lt;" in page
    assert not re.search(r"<(?!/?$)", page)
    assert "\x1b" not in page
    assert "`" not in unescaped(page)
    assert "](" not in unescaped(page)


def test_every_row_of_a_comparison_has_four_cells_whatever_the_texts():
    page = comparison_markdown(compare(described(text=HOSTILE), described(1, text=HOSTILE)))
    start = page.index("| Time range | Reference | Prediction | IoU |")
    rows = page[start:].strip().splitlines()
    assert len(rows) > 3
    assert {unescaped(row).count("|") for row in rows} == {5}


def test_a_comparison_shows_times_both_texts_and_the_overlap():
    reference = described(text="Stir the soup")
    found = compare(reference, described(text="Taste the soup"))
    page = comparison_markdown(found)
    root = reference.root
    times = format_range(root.start, root.end)
    ours, theirs = "**Stir the soup** Stir the soup", "**Taste the soup** Taste the soup"
    assert f"| {times} | {ours} | {theirs} ({times}) | 1.00 |" in page
    assert "| Boundaries within 0.5 s: F1 | 1.000 |" in page
    # Two of three words are shared.
    assert "|   brief action: token F1 | 0.667 |" in page


# -- terminals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 133, 200])
@pytest.mark.parametrize("text", [HOSTILE, "スープをかき混ぜる " * 9, "Stir"])
def test_lines_for_a_terminal_fit_its_width_and_line_up(width, text):
    page = comparison_text(compare(described(text=text), described(1, text=text)), width)
    lines = page.splitlines()
    assert max(map(columns_of, lines)) <= width
    header = next(i for i, line in enumerate(lines) if line.startswith("Time range"))
    assert len({columns_of(line) for line in lines[header:]}) == 1
    assert "\x1b" not in page


def test_the_terminal_shows_the_same_numbers():
    page = comparison_text(compare(described(), described()), 100)
    assert re.search(r"^Segments +\d+ +\d+$", page, re.M)
    assert re.search(r"^Mean best tIoU +1\.000 +1\.000$", page, re.M)
    assert re.search(r"^Boundaries within 0\.5 s: F1 +1\.000$", page, re.M)
    assert page.splitlines()[-1].endswith("1.00")


# -- page --------------------------------------------------------------------------------------


def test_the_page_has_a_bar_and_a_collapsible_entry_for_every_segment():
    tree = described(frames=150)
    page = Page(tree_html(tree))
    entries = [attrs for tag, attrs in page.tags if tag == "details"]
    bars = [attrs for tag, attrs in page.tags if tag == "a"]
    assert len(entries) == len(bars) == len(tree)
    assert [a["href"] for a in bars] == [f"#{e['id']}" for e in entries]
    assert sum("open" in e for e in entries) == 3
    for s in tree.segments:
        assert format_range(s.start, s.end) in page.text


def test_text_from_data_stays_text_in_the_page():
    page = Page(tree_html(described(text=HOSTILE)))
    assert {tag for tag, _ in page.tags}.isdisjoint({"img", "script", "iframe", "link"})
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert "<img src=x onerror=alert(1)> | b # `code`" in page.text
    assert all(attrs["href"].startswith("#n") for tag, attrs in page.tags if tag == "a")


def test_the_page_loads_nothing_and_forbids_scripts():
    page = tree_html(described())
    assert "default-src 'none'" in page
    assert not re.search(r"<script|url\(|@import|\ssrc=|https?:", page)


def test_a_very_deep_tree_is_not_nested_deeper_than_browsers_allow():
    merges = [(0, 1)] + [(699 + i, i + 1) for i in range(1, 699)]
    tree = cut(merges, 1, "deep")
    assert tree.depth > 600
    assert Page(tree_html(tree)).deepest < 512


# -- picture -----------------------------------------------------------------------------------


def test_the_picture_is_a_png_as_high_as_the_tree_is_deep(tmp_path):
    tree_png(described(frames=30), tmp_path / "low.png")
    tree_png(described(frames=600), tmp_path / "high.png")
    heights = []
    for name in ("low.png", "high.png"):
        data = (tmp_path / name).read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        assert int.from_bytes(data[16:20]) == 1920
        heights.append(int.from_bytes(data[20:24]))
    assert heights[0] < heights[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["high.png", "low.png"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", [HOSTILE, r"$\frac{1}{$ costs $5", "スープ", "🍲" * 9])
def test_any_text_can_be_drawn(tmp_path, text):
    tree_png(described(text=text), tmp_path / "tree.png")
    assert (tmp_path / "tree.png").stat().st_size > 1000


# -- all of it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NULLS)
def test_what_is_null_is_left_out_everywhere(name, tmp_path):
    tree = NULLS[name]
    markdown, page = tree_markdown(tree), Page(tree_html(tree))
    for text in (markdown, page.text):
        assert tree.video_uid in text
        assert "None" not in text
    tree_png(tree, tmp_path / "tree.png")
    for other in (tree, described()):
        for found in (compare(tree, other), compare(other, tree)):
            assert "None" not in comparison_text(found, 100) + comparison_markdown(found)


def test_a_tree_of_900_nodes_is_shown_in_moments(tmp_path):
    tree = described(frames=3000)
    assert len(tree) >= 900
    tree_png(described(), tmp_path / "warm.png")  # matplotlib's import is not the tree's cost
    found = compare(tree, described(1, 3000))
    for show in (
        lambda: tree_markdown(tree),
        lambda: tree_html(tree),
        lambda: tree_png(tree, tmp_path / "tree.png"),
        lambda: comparison_text(found, 120),
        lambda: comparison_markdown(found),
    ):
        started = time.process_time()
        show()
        assert time.process_time() - started < 2


def test_importing_the_report_imports_no_heavy_package():
    code = (
        "import sys, pipeline.report, pipeline.segmentation; "
        "print([m for m in ('matplotlib', 'sklearn', 'scipy', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@needs_real_trees
@each_real_tree
def test_real_tree_is_shown_with_all_its_texts(number, tmp_path):
    tree = real_trees()[number]
    page = Page(tree_html(tree))
    for s in tree.segments:
        for text in (s.plm_caption, s.llama3_caption, s.text("summary", "detailed")):
            assert one_line(text) in page.text
    tree_png(tree, tmp_path / "tree.png")
    assert tree_markdown(tree).count("\n- **") == 1  # the root; all others are below it
