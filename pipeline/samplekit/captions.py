"""What a person would say about a kit video: its true tree, with all of Action100M's texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from ..tree import NOT_APPLICABLE, Segment, Tree, node_id
from .film import caption
from .spec import KitVideo, Scene, Span, Step

# Longest brief action among those that the dataset's authors published, in characters.
_LONGEST_BRIEF = 61


@dataclass(frozen=True, eq=False)
class _Part:
    """A stretch of a video that becomes one node: what is achieved in it, and its motions."""

    goals: tuple[str, ...]
    spans: tuple[Span, ...]
    halves: tuple[_Part, ...] = ()

    @property
    def frames(self) -> int:
        return self.spans[-1].end - self.spans[0].first


def true_tree(video: KitVideo) -> Tree:
    """The video's tree: scenes, steps and motions, in binary splits as even in time as can be."""
    scenes = []
    for scene in video.scenes:
        steps = []
        for step in scene.steps:
            motions = [
                _Part((s.motion.does,) if _acts(s) else (), (s,))
                for s in video.spans
                if s.step is step
            ]
            steps.append(_named(_joined(motions), step.does))
        scenes.append(_named(_joined(steps), scene.does))
    root = _named(_joined(scenes), video.does)
    segments: list[Segment] = []
    _add_nodes(video, root, None, 0, segments)
    tree = Tree(video.uid, tuple(sorted(segments, key=lambda s: (s.level, s.start))), _meta(video))
    tree.validate()
    return tree


def _joined(parts: Sequence[_Part]) -> _Part:
    """Join parts that follow each other into one, by splits as even in time as can be."""
    if len(parts) == 1:
        return parts[0]
    total = sum(p.frames for p in parts)
    cut = min(range(1, len(parts)), key=lambda k: abs(total - 2 * sum(p.frames for p in parts[:k])))
    left, right = _joined(parts[:cut]), _joined(parts[cut:])
    return _Part(left.goals + right.goals, left.spans + right.spans, (left, right))


def _named(part: _Part, goal: str) -> _Part:
    return replace(part, goals=(goal,) if goal else ())


def _add_nodes(
    video: KitVideo, part: _Part, parent: str | None, level: int, segments: list[Segment]
) -> None:
    start, end = video.seconds(part.spans[0].first), video.seconds(part.spans[-1].end)
    segment = Segment(
        node_id=node_id(video.uid, start, end),
        parent_id=parent,
        level=level,
        start=start,
        end=end,
        plm_action=_plm_action(video, part),
        plm_caption=_plm_caption(video, part),
        llama3_caption=None if part.halves else _image_caption(video, part.spans[0]),
    )
    if part.halves and segment.duration >= 4.0:
        segment = replace(segment, gpt=_gpt(video, part))
    segments.append(segment)
    for half in part.halves:
        _add_nodes(video, half, segment.node_id, level + 1, segments)


# -- texts ---------------------------------------------------------------------------------------


def _gpt(video: KitVideo, part: _Part) -> dict[str, Any]:
    goals = _brief_goals(part)
    if not goals:
        brief, detailed, actor = (NOT_APPLICABLE,) * 3
        what = f"A title card announces “{_title(part.spans[0].scene)}” {_spot(part)}"
    else:
        brief, actor = _capital(_and(goals)), video.person
        detailed = _capital(_sequence(_deeds(part))) + "."
        opening = "After a title card, " if part.spans[0].scene.title else ""
        what = f"{opening}{_lower(video.person)} {_and([_third(g) for g in goals])}"
        if len(_scenes(part)) == 1:
            what += f" {_spot(part)}"
    return {
        "summary": {"brief": _capital(what), "detailed": _summary(video, part)},
        "action": {"brief": brief, "detailed": detailed, "actor": actor},
    }


def _brief_goals(part: _Part) -> tuple[str, ...]:
    """The goals that fit into a brief action."""
    if len(_and(part.goals)) <= _LONGEST_BRIEF:
        return part.goals
    longest = max((h for h in part.halves if h.goals), key=lambda h: h.frames)
    return _brief_goals(longest)


def _deeds(part: _Part) -> list[str]:
    """What the person does, in the imperative: motions, or for a longer part its steps."""
    deeds = [s.motion.does for s in part.spans if _acts(s)]
    if len(deeds) > 4:
        deeds = [s.does for s in _steps(part) if s.does]
    if len(deeds) > 6:
        deeds = [c.does for c in _scenes(part) if c.does]
    return deeds


def _summary(video: KitVideo, part: _Part) -> str:
    """A few sentences, scene by scene."""
    sentences = []
    scenes = _scenes(part)
    for scene in scenes:
        spans = [s for s in part.spans if s.scene is scene]
        if scene.title:
            sentences.append(
                f"{'The segment' if scene is scenes[0] else 'It'} opens with a title card that "
                f"reads “{_title(scene)}” in large letters {scene.place}, while "
                f"{_and([_event(video, s) for s in spans])}."
            )
            continue
        steps = list(dict.fromkeys(s.step for s in spans))
        if scene is scenes[0]:
            sentences.append(f"The segment takes place {scene.place}, in {scene.colours}.")
        else:
            sentences.append(
                f"The view then cuts to a new place, {scene.place}, in {scene.colours}."
            )
        if len(steps) > 2 or len(scenes) > 2:
            sentences.append(
                f"{video.person if scene is scenes[0] else 'There the same person'} "
                f"{_sequence([_third(s.does) for s in steps])}."
            )
            continue
        for step, lead in zip(steps, ("", "After that, "), strict=False):
            events = [_event(video, s) for s in spans if s.step is step]
            sentences.append(f"{_capital(step.props)} {_are(step.props)} in view.")
            sentences.append(_capital(f"{lead}{_sequence(events)}."))
    if len(_steps(part)) == 1 and (step := _steps(part)[0]).does:
        sentences.append(f"A caption at the bottom reads “{caption(video, step)}”.")
    return " ".join(sentences)


def _plm_action(video: KitVideo, part: _Part) -> str:
    span = part.spans[0]
    if not part.halves and not _acts(span):
        return _capital(_event(video, span))
    goals = _brief_goals(part)
    return _capital(_and(goals)) if goals else "Title card on screen"


def _plm_caption(video: KitVideo, part: _Part) -> str:
    first = part.spans[0]
    if len(part.spans) == 1:
        motion, scene = first.motion, first.scene
        moves = {
            "still": "It stays in one place.",
            "left": "The movement goes from right to left.",
            "right": "The movement goes from left to right.",
            "up": "The movement goes upwards.",
            "down": "The movement goes downwards.",
        }[motion.direction]
        return (
            f"The video shows {motion.thing} {scene.place}. {_capital(_event(video, first))}. "
            f"{moves} {_capital(first.step.props)} {_are(first.step.props)} also in the picture."
        )
    events = [_event(video, s) for s in part.spans]
    if len(events) > 5:
        goals = [_third(s.does) for s in _steps(part) if s.does]
        events = [f"{_lower(video.person)} {_sequence(goals)}"]
    places = _and([c.place for c in _scenes(part)])
    return (
        f"This is an animated how-to video made of flat, colourful shapes. It is set {places}. "
        f"{_capital(_sequence(events))}. The camera does not move"
        f"{'' if len(_scenes(part)) == 1 else ', but the picture cuts to another place'}."
    )


def _image_caption(video: KitVideo, span: Span) -> str:
    motion, (width, height) = span.motion, video.size
    x, y = motion.place(0.5)
    across = ("left", "middle", "right")[min(2, max(0, int(3 * x / width)))]
    along = ("upper", "central", "lower")[min(2, max(0, int(3 * y / height)))]
    text = (
        f"The image shows a flat illustration in the style of a paper cutout, in "
        f"{span.scene.colours}. It is set {span.scene.place}. {_capital(motion.thing)} can be seen "
        f"in the {along} part of the picture, towards the {across}. "
        if across != "middle"
        else f"The image is a simple, flat drawing in {span.scene.colours}, set "
        f"{span.scene.place}. In the {along} part, near the middle, there is {motion.thing}. "
    )
    text += f"Around it, {span.step.props} {_are(span.step.props)} visible."
    if span.step.does:
        return (
            f"{text} White text in a dark strip at the bottom reads “{caption(video, span.step)}”."
        )
    return f"{text} Large letters spell “{_title(span.scene)}”."


def _event(video: KitVideo, span: Span) -> str:
    """A clause in the present tense: "a person in a red sweater drops the bean ..."."""
    return f"{span.motion.subject or _lower(video.person)} {_third(span.motion.does)}"


def _acts(span: Span) -> bool:
    """Whether the video's person does this motion."""
    return not span.motion.subject


def _scenes(part: _Part) -> list[Scene]:
    return list(dict.fromkeys(s.scene for s in part.spans))


def _steps(part: _Part) -> list[Step]:
    return list(dict.fromkeys(s.step for s in part.spans))


def _spot(part: _Part) -> str:
    return part.spans[0].scene.place


def _title(scene: Scene) -> str:
    return " ".join(scene.title)


def _third(does: str) -> str:
    """The imperative in the third person: "carry the pot" becomes "carries the pot"."""
    verb, *rest = does.split(" ")
    if verb.endswith(("s", "sh", "ch", "x", "z")):
        verb += "es"
    elif verb.endswith("y") and verb[-2] not in "aeiou":
        verb = verb[:-1] + "ies"
    else:
        verb += "s"
    return " ".join([verb, *rest])


def _are(props: str) -> str:
    return "are" if " and " in props or props.split(" ")[0] in ("two", "three", "some") else "is"


def _and(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + (" and " if parts[1:] else "") + parts[-1] if parts else ""


def _sequence(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + (", then " if parts[1:] else "") + parts[-1] if parts else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


# -- metadata ------------------------------------------------------------------------------------


def _meta(video: KitVideo) -> dict[str, Any]:
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
    """Each step's words as lines spread over the step, in the style of the video's captions."""
    if video.captions is None:
        return None
    automatic = video.captions == "automatic"
    lines = []
    for step in dict.fromkeys(span.step for span in video.spans):
        spans = [s for s in video.spans if s.step is step]
        start, end = video.seconds(spans[0].first), video.seconds(spans[-1].end)
        if automatic and not step.does:
            lines.append({"time": str(round(start + 0.16, 3)), "text": "[Music]"})
        words = (step.said.lower().translate(_NO_PUNCTUATION) if automatic else step.said).split()
        count = max(1, math.ceil(len(words) / (6 if automatic else 12)))
        cuts = [round(i * len(words) / count) for i in range(count + 1)]
        for i, (a, b) in enumerate(pairwise(cuts)):
            time = round(start + 0.32 + i * (end - start - 0.6) / count, 3)
            half = (b - a + 1) // 2
            text = (
                "  ".join(words[a:b])
                if automatic
                else "\n".join(" ".join(w) for w in (words[a : a + half], words[a + half : b]) if w)
            )
            if text:
                lines.append({"time": str(time), "text": text})
    return lines


_NO_PUNCTUATION = str.maketrans("", "", ".,;:!?")
