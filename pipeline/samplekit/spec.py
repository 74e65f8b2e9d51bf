"""The nouns of the sample kit: a video is scenes, a scene is steps, a step is motions.

All of it is known before anything is drawn: when each motion begins and ends, where things are at
each frame, and what a person would say about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Literal

from .shapes import Drawing, Point, line, placed

#: Action100M samples one of every four frames and puts its cuts midway between two samples.
SAMPLING = 4


@dataclass(frozen=True, eq=False)
class Motion:
    """One object moving in one direction, or staying where it is.

    Attributes:
        seconds: how long
        does: what happens, in the imperative: "drop the bean into the hole"
        thing: what is seen to move: "a hand with a white bean"
        actor: the drawing of it, around its own origin
        path: where the origin is at the beginning and at the end, pixels
        subject: who or what does it, if it is not the video's person: "a stream of water"
        tilt: degrees clockwise at the beginning and at the end
        scale: size at the beginning and at the end
        trail: colour and width in pixels of the line that the origin leaves behind
        leaves: what remains in the actor's last place for the rest of the step
    """

    seconds: float
    does: str
    thing: str
    actor: Drawing
    path: tuple[Point, Point]
    subject: str = ""
    tilt: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)
    trail: tuple[str, float] | None = None
    leaves: Drawing = ()

    def place(self, progress: float) -> Point:
        """Where the origin is after a part of the time (0 to 1)."""
        (x0, y0), (x1, y1) = self.path
        return x0 + (x1 - x0) * progress, y0 + (y1 - y0) * progress

    def drawn(self, progress: float) -> Drawing:
        """The trail and the actor after a part of the time (0 to 1)."""
        return self._trailed(progress) + self._posed(self.actor, progress)

    @property
    def remains(self) -> Drawing:
        """What is still there when the motion is over."""
        return self._trailed(1) + self._posed(self.leaves, 1)

    def _trailed(self, progress: float) -> Drawing:
        # The first shape of a line is the line without its round ends.
        return line(*self.trail, self.path[0], self.place(progress))[:1] if self.trail else ()

    def _posed(self, drawing: Drawing, progress: float) -> Drawing:
        angle, scale = (a + (b - a) * progress for a, b in (self.tilt, self.scale))
        return placed(drawing, *self.place(progress), angle, scale)

    @property
    def direction(self) -> Literal["left", "right", "up", "down", "growing", "turning", "still"]:
        """Where it moves, by the larger part of its path; or what it does where it is."""
        (x0, y0), (x1, y1) = self.path
        across, along = x1 - x0, y1 - y0
        if max(abs(across), abs(along)) < 1:
            if self.scale[0] != self.scale[1]:
                return "growing"
            return "turning" if self.tilt[0] != self.tilt[1] else "still"
        if abs(across) >= abs(along):
            return "left" if across < 0 else "right"
        return "up" if along < 0 else "down"


@dataclass(frozen=True, eq=False)
class Step:
    """A few motions between the same props, under one written caption.

    Attributes:
        does: what is achieved, in the imperative; also the caption. "" on a title card
        props: what stands around, in words
        drawing: the props
        motions: in order
        said: what the speaker says meanwhile, for the transcript
    """

    does: str
    props: str
    drawing: Drawing
    motions: tuple[Motion, ...]
    said: str = ""


@dataclass(frozen=True, eq=False)
class Scene:
    """One place with its own colours.

    Attributes:
        does: what is achieved here, in the imperative; "" for a title card
        place: the place in words
        colours: its main colours in words
        drawing: the background
        steps: in order
        title: lines of large text that stand on the background (title cards)
        ink: the title's colour
    """

    does: str
    place: str
    colours: str
    drawing: Drawing
    steps: tuple[Step, ...]
    title: tuple[str, ...] = ()
    ink: str = "#ffffff"


@dataclass(frozen=True, eq=False)
class Span:
    """A motion with its place in the video: the frames from ``first`` up to, without, ``end``."""

    scene: Scene
    step: Step
    motion: Motion
    first: int
    end: int


@dataclass(frozen=True, eq=False)
class KitVideo:
    """A video that the kit can make; everything but the pixels is known without making it.

    Attributes:
        uid: 11 characters like a YouTube id
        size: (width, height) in pixels
        does: what the video teaches, in the imperative
        person: who does it
        accent: colour of the caption strip
        captions: style of the transcript: automatic captions, written by hand, or none
        notes: semitones above A3 of the background music
    """

    uid: str
    title: str
    description: str
    fps: Fraction
    size: tuple[int, int]
    has_audio: bool
    does: str
    person: str
    accent: str
    scenes: tuple[Scene, ...]
    captions: Literal["automatic", "manual"] | None
    view_count: int
    like_count: int
    upload_date: str
    notes: tuple[int, ...] = (0, 4, 7, 9, 12)

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """All motions in order; they tile the video."""
        parts = [(c, s, m) for c in self.scenes for s in c.steps for m in s.motions]
        seconds, cuts = 0.0, [0]
        for _, _, motion in parts:
            seconds += motion.seconds
            samples = round(seconds * self.fps / SAMPLING)
            cuts.append(SAMPLING * samples - SAMPLING // 2)
        cuts[-1] += SAMPLING // 2
        return tuple(
            Span(*part, first, end)
            for part, (first, end) in zip(parts, pairwise(cuts), strict=True)
        )

    @property
    def frames(self) -> int:
        """How many there are; a multiple of four."""
        return self.spans[-1].end

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.seconds(self.frames)

    def seconds(self, frame: int) -> float:
        """When a frame begins, rounded to 2 decimals like all times in a tree."""
        return round(float(frame / self.fps), 2)

    @property
    def motion_changes(self) -> tuple[float, ...]:
        """Seconds at which a motion begins, without the video's beginning."""
        return self._changes(span.motion for span in self.spans)

    @property
    def step_changes(self) -> tuple[float, ...]:
        """Seconds at which a step begins, without the video's beginning."""
        return self._changes(span.step for span in self.spans)

    @property
    def scene_changes(self) -> tuple[float, ...]:
        """Seconds at which a scene begins, without the video's beginning."""
        return self._changes(span.scene for span in self.spans)

    def _changes(self, parts: Iterable[object]) -> tuple[float, ...]:
        changed = [a is not b for a, b in pairwise(parts)]
        return tuple(
            self.seconds(span.first)
            for span, new in zip(self.spans[1:], changed, strict=True)
            if new
        )
