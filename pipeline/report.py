"""Trees and comparisons as text, pages and pictures.

``python -m pipeline show`` and ``compare`` print what is made here. Texts come from strangers'
videos and from models: everywhere they stay text, whatever they contain.
"""

from __future__ import annotations

import colorsys
import html
import os
import re
import shutil
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from .metrics import Comparison, Side
from .store import temporary_sibling
from .tree import NOT_APPLICABLE, Segment, Tree

_NOTHING = "–"  # stands where a text or a number is missing


def format_time(seconds: float) -> str:
    """``m:ss.cc``, from an hour on ``h:mm:ss.cc``; 75.5 becomes "1:15.50"."""
    hundredths = round(seconds * 100)
    minutes, rest = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{start}:{rest // 100:02d}.{rest % 100:02d}"


def format_range(start: float, end: float) -> str:
    """The two times with a dash between."""
    return f"{format_time(start)}–{format_time(end)}"


# -- what a tree says --------------------------------------------------------------------------


def one_line(text: str | None) -> str:
    """The text without line breaks, control characters and marks that reverse what follows."""
    kept = (
        " " if c.isspace() else c
        for c in text or ""
        if c.isspace() or not (unicodedata.category(c) in ("Cc", "Cs") or c in _DIRECTIONS)
    )
    return " ".join("".join(kept).split())


_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _title(tree: Tree) -> str:
    return one_line((tree.metadata or {}).get("title")) or tree.video_uid


def _label(segment: Segment) -> str:
    """The shortest text that says what the segment shows; "" if it has none."""
    candidates = (
        segment.text("action", "brief"),
        segment.text("summary", "brief"),
        segment.plm_action,
        segment.plm_caption,
        segment.llama3_caption,
    )
    told = (one_line(text) for text in candidates)
    return next((text for text in told if text and text != NOT_APPLICABLE), "")


def _texts(segment: Segment) -> Iterator[tuple[str, str]]:
    """(name, text) of all that is known of a segment, the refined texts first."""
    named = (
        ("Summary", segment.text("summary", "brief")),
        ("Summary in detail", segment.text("summary", "detailed")),
        ("Action", segment.text("action", "brief")),
        ("Action in detail", segment.text("action", "detailed")),
        ("Actor", segment.text("action", "actor")),
        ("Video action", segment.plm_action),
        ("Video caption", segment.plm_caption),
        ("Image caption", segment.llama3_caption),
    )
    return ((name, one_line(text)) for name, text in named if one_line(text))


def _facts(tree: Tree) -> Iterator[tuple[str, str]]:
    """(name, value) of what is known of the video and its tree."""
    metadata = tree.metadata or {}
    yield "Video", one_line(tree.video_uid)
    if date := one_line(metadata.get("upload_date")):
        yield "Uploaded", re.sub(r"^(\d{4})(\d\d)(\d\d)$", r"\1-\2-\3", date)
    for name, key in (("Views", "view_count"), ("Likes", "like_count")):
        if metadata.get(key) is not None:
            yield name, f"{metadata[key]:,}"
    yield "Length", format_time(tree.duration)
    leaves = len(tree.leaves())
    yield "Segments", f"{len(tree)} ({leaves} leaves), down to level {tree.depth}"


# -- Markdown ----------------------------------------------------------------------------------

_MARKDOWN = re.compile(r"([\\`*_\[\]|~$#])")


def _md(text: str | None) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no new cell or line.

    It must not begin a line, where even a dash or a number would mean something.
    """
    return _MARKDOWN.sub(r"\\\1", html.escape(one_line(text), quote=False))


def tree_markdown(tree: Tree) -> str:
    """A tree as a Markdown document: the video's facts, then a nested list of its segments."""
    lines = [f"# {_md(_title(tree))}", ""]
    lines += [f"- {name}: {_md(value)}" for name, value in _facts(tree)]
    metadata = tree.metadata or {}
    if description := _md(metadata.get("description")):
        lines += ["", f"Description: {description}"]
    lines += ["", "## Segments", ""]
    for segment in tree.depth_first():
        indent = "  " * segment.level
        times = format_range(segment.start, segment.end)
        label = _md(_label(segment))
        lines.append(f"{indent}- **{times}** {label}".rstrip())
        lines += [f"{indent}  - *{name}:* {_md(text)}" for name, text in _texts(segment)]
    if not len(tree):
        lines.append("The tree has no nodes.")
    if transcript := metadata.get("transcript"):
        lines += ["", "## Transcript", ""]
        lines += [f"- {_md(_spoken_at(line))} {_md(line.get('text'))}" for line in transcript]
    return "\n".join(lines) + "\n"


def _spoken_at(line: dict[str, Any]) -> str:
    time = line.get("time")
    try:
        return format_time(float(time or "nan"))
    except ValueError:
        return one_line(time) or _NOTHING


def comparison_markdown(comparison: Comparison) -> str:
    """A comparison as Markdown: the metrics, then "Time range | reference | prediction"."""
    title = one_line(comparison.title) or comparison.video_uid
    lines = [f"## {_md(title)}", "", f"Video {_md(comparison.video_uid)}", ""]
    lines += ["| | Reference | Prediction |", "|---|---:|---:|"]
    lines += [f"| {name} | {ours} | {theirs} |" for name, ours, theirs in _sides(comparison)]
    lines += ["", "| Agreement | |", "|---|---:|"]
    lines += [f"| {name} | {value} |" for name, value in _agreement(comparison)]
    lines += ["", "| Time range | Reference | Prediction | IoU |", "|---|---|---|---:|"]
    for row in comparison.rows:
        times = format_range(row.reference.start, row.reference.end)
        ours, theirs = _md_side(row.reference), _md_side(row.prediction, with_times=True)
        lines.append(f"| {times} | {ours} | {theirs} | {row.iou:.2f} |")
    return "\n".join(lines) + "\n"


def _md_side(side: Side | None, with_times: bool = False) -> str:
    if side is None:
        return _NOTHING
    action, summary = _md(side.action), _md(side.summary)
    parts = [f"**{action}**" if action else "", summary]
    if with_times:
        parts.append(f"({format_range(side.start, side.end)})")
    return " ".join(filter(None, parts)) or _NOTHING


# -- terminals ---------------------------------------------------------------------------------


def comparison_text(comparison: Comparison, width: int | None = None) -> str:
    """A comparison for a terminal: columns that line up, texts cut to ``width`` (default: its)."""
    width = max(60, width or shutil.get_terminal_size((120, 0)).columns)
    title = one_line(comparison.title)
    heading = one_line(comparison.video_uid) + (f"  {title}" if title else "")
    lines = [_fit(heading, width).rstrip(), ""]
    lines.append(f"{'':20}{'Reference':>12}{'Prediction':>12}")
    for name, ours, theirs in _sides(comparison):
        lines.append(f"{name:20}{ours:>12}{theirs:>12}")
    lines.append("")
    lines += [f"{name:44} {value}" for name, value in _agreement(comparison)]

    times = [format_range(row.reference.start, row.reference.end) for row in comparison.rows]
    first = max([len("Time range"), *map(len, times)])
    column = (width - first - len("  " * 3 + "IoU ")) // 2
    widths = (first, column, column)
    lines += ["", _columns(widths, "Time range", "Reference", "Prediction", " IoU")]
    for time, row in zip(times, comparison.rows, strict=True):
        cells = (time, _brief(row.reference), _brief(row.prediction), f"{row.iou:.2f}")
        lines.append(_columns(widths, *cells))
    return "\n".join(lines)


def _columns(widths: Sequence[int], *cells: str) -> str:
    *fitted, last = cells
    return "  ".join([*map(_fit, fitted, widths), last])


def _brief(side: Side | None) -> str:
    if side is None:
        return _NOTHING
    return " · ".join(filter(None, map(one_line, (side.action, side.summary)))) or _NOTHING


def _fit(text: str, width: int) -> str:
    """The text in exactly so many columns of a terminal, cut with an ellipsis or filled up."""
    if _columns_of(text) > width:
        while text and _columns_of(text) > width - 1:
            text = text[: min(len(text) - 1, width - 1)]
        text = text.rstrip() + "…"
    return text + " " * (width - _columns_of(text))


def _columns_of(text: str) -> int:
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def _sides(comparison: Comparison) -> Iterator[tuple[str, str, str]]:
    """(name, reference's value, prediction's value)."""
    a, b = comparison.reference, comparison.prediction
    yield "Segments", str(a.nodes), str(b.nodes)
    yield "Leaves", str(a.leaves), str(b.leaves)
    yield "With gpt", str(a.described), str(b.described)
    yield "Deepest level", str(a.depth), str(b.depth)
    yield "Length", format_time(a.duration), format_time(b.duration)
    yield "Median segment", f"{a.median_node:.2f} s", f"{b.median_node:.2f} s"
    yield "Median leaf", f"{a.median_leaf:.2f} s", f"{b.median_leaf:.2f} s"
    c, d = comparison.reference_overlap, comparison.prediction_overlap
    yield "Mean best tIoU", _number(c.mean), _number(d.mean)
    for tier in ("root", "mid", "leaf"):
        yield f"  {tier}", _number(c.by_tier.get(tier)), _number(d.by_tier.get(tier))


def _agreement(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """(name, value) of what belongs to both trees."""
    b, t = comparison.boundaries, comparison.text
    yield f"Boundaries within {b.tolerance:g} s: F1", _number(b.f1)
    yield "  precision", f"{_number(b.precision)} ({b.matched} of {b.prediction})"
    yield "  recall", f"{_number(b.recall)} ({b.matched} of {b.reference})"
    yield "Segments with gpt matched at tIoU 0.5", f"{t.matched} of {t.described}"
    yield "  brief action: token F1", _number(t.action_f1)
    yield "  brief summary: token F1", _number(t.summary_f1)


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.3f}"


# -- picture -----------------------------------------------------------------------------------

_INK = "#1b2138"


def _colour(share: float) -> tuple[float, float, float]:
    """RGB from indigo at the root (0) to green at the deepest level (1), as in the panel."""
    return colorsys.hls_to_rgb((236 - 90 * share) / 360, 0.82, 0.60 - 0.16 * share)


def _ticks(duration: float) -> list[int]:
    """Whole seconds to mark on an axis: about a dozen at most, at a step that people count in."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
    step = next((s for s in steps if duration / s <= 12), 7200)
    return list(range(0, int(duration) + 1, step))


def tree_png(tree: Tree, path: str | os.PathLike[str]) -> None:
    """Draw a tree as an icicle on a time axis, the root on top, and write it as PNG, atomically.

    Args:
        tree: any number of nodes; labels are drawn where they fit
        path: the file; its folder must exist
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

    levels = tree.depth + 1
    inches, row_height = 16.0, 0.34
    height = 1.25 + row_height * levels
    figure = Figure(figsize=(inches, height), dpi=120, facecolor="white")
    FigureCanvasAgg(figure)
    left, right = 0.25 / inches, 1 - 0.25 / inches
    bottom = 0.5 / height
    axes = figure.add_axes((left, bottom, right - left, row_height * levels / height))
    duration = tree.duration or 1.0
    axes.set(xlim=(0, duration), ylim=(levels, 0), yticks=[])

    edge = 72 * inches * (right - left) / duration  # points per second
    boxes, colours = [], []
    for s in tree.segments:
        top, low = s.level + 0.03, s.level + 0.97
        boxes.append([(s.start, top), (s.end, top), (s.end, low), (s.start, low)])
        colours.append(_colour(s.level / max(1, tree.depth)))
        # About 4.9 points a letter at this size; fewer than five letters say nothing.
        label, letters = _label(s), int((s.duration * edge - 6) / 4.9)
        if label and letters >= min(5, len(label)):
            axes.text(
                s.start + 3 / edge,
                s.level + 0.53,
                label if len(label) <= letters else label[: letters - 1].rstrip() + "…",
                fontsize=8,
                color=_INK,
                va="center",
                clip_on=True,
                parse_math=False,
            )
    axes.add_collection(
        PolyCollection(boxes, facecolors=colours, edgecolors="white", linewidths=0.5)
    )
    ticks = _ticks(duration)
    axes.set_xticks(ticks, [format_time(t)[:-3] for t in ticks])
    axes.tick_params(colors="#555b70", labelsize=8, length=3)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color("#b9bdca")
    title = _fit(_title(tree), 110).rstrip()
    facts = " · ".join(f"{name}: {value}" for name, value in _facts(tree))
    for text, up, size, colour in ((title, 0.42, 14, _INK), (facts, 0.18, 9, "#555b70")):
        figure.text(
            left,
            1 - (0.62 - up) / height,
            text,
            fontsize=size,
            color=colour,
            va="center",
            parse_math=False,
        )
    with temporary_sibling(path) as temporary, warnings.catch_warnings():
        # Titles in scripts that the font lacks are drawn as boxes; that is no news to anybody.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(temporary, format="png")


# -- page --------------------------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light dark; --ink: hsl(225 35% 16%); --soft: hsl(225 12% 42%);
  --line: hsl(225 20% 88%); --page: hsl(225 30% 98%); --card: white; --s: 60%; --l: 82%; --dl: 0%; }
@media (prefers-color-scheme: dark) { :root { --ink: hsl(225 20% 92%); --soft: hsl(225 10% 64%);
  --line: hsl(225 12% 25%); --page: hsl(225 18% 10%); --card: hsl(225 16% 14%);
  --s: 34%; --l: 41%; --dl: 6%; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem; max-width: 1200px; color: var(--ink);
  background: var(--page); font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.facts { display: flex; flex-wrap: wrap; gap: .1rem 1.25rem; margin: 0; color: var(--soft); }
.facts dt { display: inline; } .facts dd { display: inline; margin: 0; color: var(--ink); }
.facts dt::after { content: " "; }
.icicle { position: relative; margin-top: 1.25rem; border-radius: 6px; overflow: hidden; }
.icicle a { position: absolute; height: 21px; padding: 0 4px; overflow: hidden; color: var(--ink);
  font-size: 11.5px; line-height: 21px; white-space: nowrap; text-overflow: ellipsis;
  text-decoration: none; box-shadow: inset -1px 0 var(--page); background: var(--bar); }
.icicle a.thin { padding: 0; }
.icicle a:hover, .icicle a:focus-visible { outline: 2px solid var(--ink); outline-offset: -2px; }
.icicle a, summary::before { --bar: hsl(calc(236 - 90 * var(--d)) calc(var(--s) - 16% * var(--d))
  calc(var(--l) - var(--dl) * var(--d))); }
.axis { position: relative; height: 1.5rem; color: var(--soft); font-size: 12px; overflow: hidden; }
.axis span { position: absolute; padding-left: 4px; border-left: 1px solid var(--soft); }
details { margin: .2rem 0 .2rem 0; }
details details { margin-left: .55rem; padding-left: .8rem; border-left: 1px solid var(--line); }
summary { cursor: pointer; padding: .15rem .4rem; border-radius: 6px; }
summary::before { content: ""; display: inline-block; width: .7em; height: .7em; margin-right: .5em;
  border-radius: 2px; background: var(--bar); }
summary:hover { background: var(--card); } :target > summary { background: var(--card);
  outline: 2px solid hsl(225 70% 60%); }
time { color: var(--soft); font-variant-numeric: tabular-nums; margin-right: .5em; }
.texts { margin: .2rem 0 .6rem 1.6rem; padding: .6rem .9rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 6px; }
.texts dt { color: var(--soft); font-size: 12px; } .texts dd { margin: 0 0 .45rem; }
.texts dd:last-child { margin: 0; }
.transcript { max-height: 24rem; overflow: auto; padding: .6rem .9rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 6px; }
.transcript p { margin: 0; }
"""

# Bars below this share of the width (per cent) have no room for a label.
_LABELLED = 3.5
# Levels above this one are open when the page opens.
_OPEN_LEVELS = 2
# Browsers flatten what is nested deeper than 512 elements; a level takes one.
_DEEPEST_NESTING = 400


def tree_html(tree: Tree) -> str:
    """A tree as a page of its own: an icicle that leads to the collapsible segments below it.

    One file without scripts, fonts or pictures; it also forbids them to itself.
    """
    return "\n".join(_page(tree)) + "\n"


def _page(tree: Tree) -> Iterator[str]:
    metadata = tree.metadata or {}
    title = html.escape(_title(tree))
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield (
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    )
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title><style>{_STYLE}</style></head><body>"
    yield f'<h1>{title}</h1><dl class="facts">'
    for name, value in _facts(tree):
        yield f"<div><dt>{name}</dt><dd>{html.escape(value)}</dd></div>"
    yield "</dl>"
    yield from _icicle(tree)
    yield "<h2>Segments</h2>"
    yield from _nested(tree) if len(tree) else ["<p>The tree has no nodes.</p>"]
    if description := one_line(metadata.get("description")):
        yield f"<h2>Description</h2><p>{html.escape(description)}</p>"
    if transcript := metadata.get("transcript"):
        yield '<h2>Transcript</h2><div class="transcript">'
        for line in transcript:
            at, text = _spoken_at(line), one_line(line.get("text"))
            yield f"<p><time>{html.escape(at)}</time>{html.escape(text)}</p>"
        yield "</div>"
    yield "</body></html>"


def _icicle(tree: Tree) -> Iterator[str]:
    if not tree.duration:
        return
    height = _top(tree.depth + 1)
    yield f'<nav class="icicle" aria-label="Segments in time" style="height:{height}">'
    for number, s in enumerate(tree.depth_first()):
        label = html.escape(_label(s))
        left, wide = 100 * s.start / tree.duration, 100 * s.duration / tree.duration
        thin = ' class="thin"' if wide < _LABELLED else ""
        yield (
            f'<a href="#n{number}"{thin} title="{format_range(s.start, s.end)} {label}" '
            f'style="--d:{_share(s, tree)};left:{left:.3f}%;width:{wide:.3f}%;top:{_top(s.level)}">'
            f"{'' if thin else label}</a>"
        )
    yield "</nav>"
    yield '<div class="axis" aria-hidden="true">'
    for t in _ticks(tree.duration):
        yield f'<span style="left:{100 * t / tree.duration:.3f}%">{format_time(t)[:-3]}</span>'
    yield "</div>"


def _top(level: int) -> str:
    return f"{22 * level}px"


def _share(segment: Segment, tree: Tree) -> str:
    return f"{segment.level / max(1, tree.depth):.2f}"


def _nested(tree: Tree) -> Iterator[str]:
    nested = 0  # elements that are open
    for number, s in enumerate(tree.depth_first()):
        level = min(s.level, _DEEPEST_NESTING)
        yield "</details>" * (nested - level)
        opened = " open" if s.level < _OPEN_LEVELS else ""
        yield (
            f'<details id="n{number}"{opened}><summary style="--d:{_share(s, tree)}">'
            f"<time>{format_range(s.start, s.end)}</time>{html.escape(_label(s))}</summary>"
        )
        if texts := "".join(
            f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in _texts(s)
        ):
            yield f'<dl class="texts">{texts}</dl>'
        nested = level + 1
    yield "</details>" * nested
