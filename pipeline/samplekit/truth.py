"""A kit video's true tree and metadata, as Action100M would list them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from ..tree import MIN_REFINED_DURATION, Segment, Tree, node_id
from .captions import Part, annotation, describe_image, describe_video, name_action
from .spec import KitVideo, Step

# Words in a line of automatic captions, and in one written by hand.
_AUTOMATIC, _MANUAL = 6, 12
_NO_PUNCTUATION = str.maketrans("", "", ".,;:!?")


def true_tree(video: KitVideo) -> Tree:
    """The video's tree: scenes, steps and motions, in binary splits as even in time as can be."""
    scenes = []
    for scene in video.scenes:
        steps = []
        for step in scene.steps:
            motions = [Part.of(span) for span in video.spans if span.step is step]
            steps.append(_joined(motions, step.does))
        scenes.append(_joined(steps, scene.does))
    segments: list[Segment] = []
    _add_nodes(video, _joined(scenes, video.does), None, 0, segments)
    segments.sort(key=lambda s: (s.level, s.start))
    tree = Tree(video.uid, tuple(segments), _metadata(video))
    tree.validate()
    return tree


def _joined(parts: Sequence[Part], goal: str = "") -> Part:
    """Join parts that follow each other into one, by splits as even in time as can be.

    Args:
        goal: what the whole achieves, if there is one name for it and the person is seen at it
    """
    if len(parts) == 1:
        whole = parts[0]
    else:
        total = sum(p.frames for p in parts)
        cut = min(
            range(1, len(parts)), key=lambda k: abs(total - 2 * sum(p.frames for p in parts[:k]))
        )
        left, right = _joined(parts[:cut]), _joined(parts[cut:])
        whole = Part(left.goals + right.goals, left.spans + right.spans, (left, right))
    return replace(whole, goals=(goal,)) if goal and whole.goals else whole


def _add_nodes(
    video: KitVideo, part: Part, parent: str | None, level: int, segments: list[Segment]
) -> None:
    start, end = video.seconds(part.spans[0].first), video.seconds(part.spans[-1].end)
    segment = Segment(
        node_id=node_id(video.uid, start, end),
        parent_id=parent,
        level=level,
        start=start,
        end=end,
        plm_action=name_action(video, part),
        plm_caption=describe_video(video, part),
        llama3_caption=None if part.halves else describe_image(video, part.spans[0]),
    )
    if part.halves and segment.duration >= MIN_REFINED_DURATION:
        segment = replace(segment, gpt=annotation(video, part))
    segments.append(segment)
    for half in part.halves:
        _add_nodes(video, half, segment.node_id, level + 1, segments)


def _metadata(video: KitVideo) -> dict[str, Any]:
    return {
        "title": video.title,
        "description": video.description,
        "view_count": video.view_count,
        "like_count": video.like_count,
        "duration": round(video.duration),
        "upload_date": video.upload_date,
        "transcript": _transcript(video),
    }


def _transcript(video: KitVideo) -> list[dict[str, str]] | None:
    """What is said in each step, as lines spread over it; None for a video without captions."""
    if video.captions is None:
        return None
    lines = []
    for step in dict.fromkeys(span.step for span in video.spans):
        spans = [s for s in video.spans if s.step is step]
        start, end = video.seconds(spans[0].first), video.seconds(spans[-1].end)
        texts = _automatic(step) if video.captions == "automatic" else _manual(step)
        for i, text in enumerate(texts):
            time = start + 0.32 + i * (end - start - 0.6) / len(texts)
            lines.append({"time": str(round(time, 3)), "text": text})
    return lines


def _automatic(step: Step) -> list[str]:
    """As a machine hears it: no capitals, no punctuation, two spaces between the words."""
    if not step.said:
        return ["[Music]"]
    return ["  ".join(w) for w in _chunks(step.said.lower().translate(_NO_PUNCTUATION), _AUTOMATIC)]


def _manual(step: Step) -> list[str]:
    """As a person writes it: sentences, two rows at a time."""
    return [
        "\n".join(" ".join(row) for row in _chunks(" ".join(words), math.ceil(len(words) / 2)))
        for words in _chunks(step.said, _MANUAL)
    ]


def _chunks(text: str, most: int) -> list[list[str]]:
    """The words of a text in chunks of about the same length and no more than ``most`` words."""
    words = text.split()
    count = math.ceil(len(words) / most) if words else 0
    cuts = [i * len(words) // count for i in range(count + 1)] if count else []
    return [words[a:b] for a, b in pairwise(cuts)]
