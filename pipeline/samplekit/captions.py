"""What a person would say about a stretch of a kit video: all of Action100M's texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..tree import NOT_APPLICABLE
from .film import caption
from .spec import KitVideo, Scene, Span, Step

# Longest brief action among those that the dataset's authors published, in characters.
_LONGEST_BRIEF = 61

_MOVES = {
    "left": ("The movement goes from right to left.", "All motion is to the left."),
    "right": ("The movement goes from left to right.", "All motion is to the right."),
    "up": ("The movement goes upwards.", "All motion is from below to above."),
    "down": ("The movement goes downwards.", "All motion is from above to below."),
    "growing": ("It gets larger in one place.", "It grows and does not change its place."),
    "turning": ("It turns in one place.", "It turns and does not change its place."),
    "still": ("Nothing changes its place.", "It stays where it is."),
}


@dataclass(frozen=True, eq=False)
class Part:
    """A stretch of a video that becomes one node of its tree.

    Attributes:
        goals: what the video's person achieves in it, in the imperative; none where the person is
            not at work
        spans: its motions
        halves: the two parts that it is split into, or none
    """

    goals: tuple[str, ...]
    spans: tuple[Span, ...]
    halves: tuple[Part, ...] = ()

    @classmethod
    def of(cls, span: Span) -> Part:
        """The part that is a single motion."""
        return cls((span.motion.does,) if _acts(span) else (), (span,))

    @property
    def frames(self) -> int:
        """How long it is."""
        return self.spans[-1].end - self.spans[0].first

    @property
    def scenes(self) -> list[Scene]:
        """The scenes that it touches."""
        return list(dict.fromkeys(s.scene for s in self.spans))

    @property
    def steps(self) -> list[Step]:
        """The steps that it touches."""
        return list(dict.fromkeys(s.step for s in self.spans))


# -- the texts of a node ---------------------------------------------------------------------------


def name_action(video: KitVideo, part: Part) -> str:
    """``plm_action``: a few words on what happens."""
    goals = _brief_goals(part)
    if goals:
        return _capital(_and(goals))
    return _capital(_told(video, part.spans[:1]))


def describe_image(video: KitVideo, span: Span) -> str:
    """``llama3_caption``: what the middle frame of a motion shows."""
    (x, y), (width, height) = span.motion.place(0.5), video.size
    across = _third_of(x, width, ("on the left", "in the middle", "on the right"))
    along = _third_of(y, height, ("upper", "central", "lower"))
    thing, props, scene = span.motion.thing, span.step.props, span.scene
    text = _pick(span)(
        f"The image shows a flat illustration in the style of a paper cutout, set {scene.place}. "
        f"{_capital(thing)} can be seen {across}, in the {along} part of the picture. "
        f"The colours are mostly {scene.colours}, and {props} {_are(props)} visible as well.",
        f"This image is a simple drawing in {scene.colours}. In the {along} part of the picture, "
        f"{across}, there is {thing}. The setting is {_bare(scene.place)}, with {props} around. "
        "The outlines are clean, and there is hardly any shading.",
        f"A digital illustration made of plain shapes shows {thing} {across} of the frame, at "
        f"{along} height. It is drawn {scene.place}. {_capital(props)} {_are(props)} part of the "
        f"scene, which has an overall palette of {scene.colours}.",
    )
    if span.step.does:
        written = caption(video, span.step)
        return f"{text} White letters in a dark strip at the bottom read “{written}”."
    return f"{text} Large letters spell “{_title(span.scene)}”."


def describe_video(video: KitVideo, part: Part) -> str:
    """``plm_caption``: what happens, plainly and in order."""
    first = part.spans[0]
    pick = _pick(first)
    if not part.halves:
        motion, props = first.motion, first.step.props
        moves = pick(*_MOVES[motion.direction])
        return pick(
            f"The video shows {motion.thing} {first.scene.place}. "
            f"{_capital(_told(video, part.spans))}. {moves} "
            f"{_capital(props)} {_are(props)} also in the picture.",
            f"In this short clip, {_told(video, part.spans)}. {moves} Apart from that "
            f"nothing changes. Around it, one can see {props}.",
        )
    if len(part.spans) > 5:
        goals = [s.does for s in part.steps if s.does]
        told = f"{_lower(video.person)} {_sequence([_third_person(g) for g in goals])}"
    else:
        told = _told(video, part.spans)
    camera = (
        "The camera does not move."
        if len(part.scenes) == 1
        else f"The picture cuts {len(part.scenes) - 1} times to another place."
        if len(part.scenes) > 2
        else "The picture cuts once to another place."
    )
    places = _and([scene.place for scene in part.scenes])
    return pick(
        f"This is an animated how-to video made of flat, colourful shapes, set {places}. "
        f"{_capital(told)}. {camera}",
        f"The clip is an animation in bright, even colours. {_capital(told)}. It is set {places}. "
        f"{camera}",
        f"The video shows a cartoon-like scene {places}. In it, {told}. {camera} The style "
        "resembles paper cutouts.",
    )


def annotation(video: KitVideo, part: Part) -> dict[str, Any]:
    """``gpt``: summary and action, brief and detailed, and the actor."""
    opening = "After a title card, " if part.scenes[0].title else ""
    spot = f" {part.scenes[0].place}" if len(part.scenes) == 1 else ""
    if part.goals:
        goals, actor = _brief_goals(part), video.person
        what = f"{opening}{_lower(actor)} {_and([_third_person(g) for g in goals])}{spot}"
        brief, detailed = _capital(_and(goals)), _capital(_sequence(_deeds(part))) + "."
    elif opening:
        what = f"A title card announces “{_title(part.scenes[0])}”{spot}"
        brief = detailed = actor = NOT_APPLICABLE
    else:
        # Only animals or things move here.
        what = f"{_told(video, part.spans)}{spot}"
        deeds = [s.motion.does for s in part.spans]
        brief, detailed = _capital(deeds[0]), _capital(_sequence(deeds)) + "."
        actor = _capital(part.spans[0].motion.subject)
    return {
        "summary": {"brief": _capital(what), "detailed": _summary(video, part)},
        "action": {"brief": brief, "detailed": detailed, "actor": actor},
    }


# -- what is told ----------------------------------------------------------------------------------


def _brief_goals(part: Part) -> tuple[str, ...]:
    """The goals, or those of the longest half that are short enough for a brief action."""
    if len(_and(part.goals)) <= _LONGEST_BRIEF:
        return part.goals
    return _brief_goals(max((h for h in part.halves if h.goals), key=lambda h: h.frames))


def _deeds(part: Part) -> list[str]:
    """What the person does, in the imperative: motions, or steps or scenes if those are many."""
    deeds = [s.motion.does for s in part.spans if _acts(s)]
    if len(deeds) > 4:
        deeds = [s.does for s in part.steps if s.does]
    if len(deeds) > 6:
        deeds = [s.does for s in part.scenes if s.does]
    return deeds


def _summary(video: KitVideo, part: Part) -> str:
    """A few sentences, scene by scene."""
    sentences = []
    for i, scene in enumerate(part.scenes):
        spans = [s for s in part.spans if s.scene is scene]
        if scene.title:
            sentences.append(
                f"The segment opens with a title card that reads “{_title(scene)}” in large "
                f"letters {scene.place}, while {_told(video, spans)}."
            )
            continue
        sentences.append(
            f"The view cuts to a new scene {scene.place}, in {scene.colours}."
            if i
            else f"The segment takes place {scene.place}, drawn in {scene.colours}."
        )
        steps = list(dict.fromkeys(s.step for s in spans))
        if len(steps) > 2 or len(part.scenes) > 2:
            goals = _sequence([_third_person(step.does) for step in steps])
            who = "There the same person" if i else video.person
            sentences.append(f"{who} {goals}.")
            continue
        for step, lead in zip(steps, ("", "After that, "), strict=False):
            told = _told(video, [s for s in spans if s.step is step])
            sentences.append(f"{_capital(step.props)} {_are(step.props)} in view.")
            sentences.append(_capital(f"{lead}{told}."))
    if len(part.steps) == 1 and part.steps[0].does:
        sentences.append(f"A caption at the bottom reads “{caption(video, part.steps[0])}”.")
    return " ".join(sentences)


def _told(video: KitVideo, spans: Sequence[Span]) -> str:
    """The motions as clauses in the present tense; who goes on is not named again."""
    clauses, last = [], ""
    for span in spans:
        subject = span.motion.subject or _lower(video.person)
        deed = _third_person(span.motion.does)
        clauses.append(deed if subject == last else f"{subject} {deed}")
        last = subject
    return _sequence(clauses)


def _acts(span: Span) -> bool:
    """Whether the video's person does this motion."""
    return not span.motion.subject


# -- English ---------------------------------------------------------------------------------------


def _pick(span: Span) -> Callable[..., str]:
    """Chooses one of the texts that it gets, by where the span begins: varied, never random."""
    return lambda *texts: texts[span.first // 4 % len(texts)]


def _third_of(position: float, length: float, names: tuple[str, str, str]) -> str:
    return names[min(2, max(0, int(3 * position / length)))]


def _third_person(does: str) -> str:
    """The imperative in the third person: "carry the pot" becomes "carries the pot"."""
    verb, *rest = does.split(" ")
    if verb.endswith(("s", "sh", "ch", "x", "z")):
        verb += "es"
    elif verb.endswith("y") and verb[-2] not in "aeiou":
        verb = verb[:-1] + "ies"
    else:
        verb += "s"
    return " ".join([verb, *rest])


def _bare(place: str) -> str:
    """The place without its preposition: "in a kitchen" becomes "a kitchen"."""
    return place[place.index(" a") + 1 :]


def _are(props: str) -> str:
    return "are" if " and " in props or props.startswith("two ") else "is"


def _and(parts: Sequence[str]) -> str:
    return _list(parts, " and ")


def _sequence(parts: Sequence[str]) -> str:
    return _list(parts, ", then ")


def _list(parts: Sequence[str], last: str) -> str:
    return last.join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def _title(scene: Scene) -> str:
    return " ".join(scene.title)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
