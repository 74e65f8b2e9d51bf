"""What the ``embedded`` preset measures in frames, and the sentences that state it.

No model and no weights: colours and where they are, brightness, and what moves which way, from
dense optical flow. It finds cuts and changes of layout well and knows nothing of meaning: a
baseline that models have to beat, and a way to run everything on any machine.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

#: Frames are measured with a longer side of this many pixels.
LONG_SIDE = 160

_GRID = 8  # cells of the colour layout a side
_CELLS = 4  # cells of the gradients and of the motion a side
_ORIENTATIONS = 8
# Grey levels by which a pixel may differ from where the flow says it came from; beyond that the
# flow is a guess, as everywhere right after a cut.
_FLOW_TOLERANCE = 24.0
_MOVING_PIXELS = 0.6  # displacement between two sampled frames that counts as moving
_MOVING_AREA = 0.002  # share of the picture that has to move
_PHASES = 6  # movements that a caption tells of, at most: the longest
_STILL = "hold still"

_COLOURS = (
    *("black", "dark grey", "grey", "light grey", "white", "red", "orange", "brown", "yellow"),
    *("green", "dark green", "turquoise", "light blue", "blue", "dark blue", "purple", "pink"),
    "beige",
)


@dataclass(frozen=True)
class Motion:
    """What moves between two sampled frames.

    Attributes:
        velocity: (right, down) as shares of the picture's width a second
        centre: (x, y) as shares of the picture's width and height
        colour: the name of the colour that most of what moves has
    """

    velocity: tuple[float, float]
    centre: tuple[float, float]
    colour: str

    @property
    def speed(self) -> float:
        """Shares of the picture's width a second."""
        return float(np.hypot(*self.velocity))

    @property
    def direction(self) -> str:
        """ "to the right", "to the left", "up" or "down"."""
        right, down = self.velocity
        if abs(right) >= abs(down):
            return "to the right" if right > 0 else "to the left"
        return "down" if down > 0 else "up"


@dataclass(frozen=True)
class Look:
    """What is measured in one sampled frame.

    Attributes:
        colours: (name, share of the picture, (x, y) of its centre), the largest first
        brightness: mean luminance, 0 to 1
        motion: what moves into this frame from the one before; None if nothing does
    """

    colours: tuple[tuple[str, float, tuple[float, float]], ...]
    brightness: float
    motion: Motion | None


# -- measuring ---------------------------------------------------------------------------------


def descriptors(frames: Iterable[np.ndarray]) -> np.ndarray:
    """(T, D) float16 descriptors of T sampled frames: colour layout, gradients, motion.

    Args:
        frames: (H, W, 3) uint8 RGB, in order
    """
    rows, previous = [], None
    for frame in frames:
        grey = _grey(frame)
        flow = _flow(previous, grey)
        rows.append(np.concatenate([_layout(frame), _gradients(grey), _motion_cells(flow)]))
        previous = grey
    return np.stack(rows).astype(np.float16)


def looks(frames: Iterable[np.ndarray], interval: float) -> Iterator[Look]:
    """Measure sampled frames one by one.

    Args:
        frames: (H, W, 3) uint8 RGB, in order
        interval: seconds between two of them
    """
    previous = None
    for frame in frames:
        grey = _grey(frame)
        names = _colour_names(frame)
        motion = _motion(_flow(previous, grey), names, interval)
        yield Look(_shares(names), float(grey.mean()) / 255, motion)
        previous = grey


def _grey(frame: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def _layout(frame: np.ndarray) -> np.ndarray:
    """Mean CIELAB colour of each cell, (8 * 8 * 3,); lightness weighs less than hue."""
    import cv2

    lab = cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    cells = cv2.resize(lab, (_GRID, _GRID), interpolation=cv2.INTER_AREA)
    return (cells * (0.01, 0.015, 0.015)).ravel()


def _gradients(grey: np.ndarray) -> np.ndarray:
    """Histograms of gradient orientation, (4 * 4 * 8,): shapes and lettering."""
    import cv2

    smooth = grey.astype(np.float32) / 255
    dx, dy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    magnitude, angle = cv2.cartToPolar(dx, dy)
    bins = (angle * (_ORIENTATIONS / (2 * np.pi))).astype(int) % _ORIENTATIONS
    planes = [
        cv2.resize(
            np.where(bins == b, magnitude, 0).astype(np.float32),
            (_CELLS, _CELLS),
            interpolation=cv2.INTER_AREA,
        )
        for b in range(_ORIENTATIONS)
    ]
    return np.sqrt(np.stack(planes)).ravel() * 0.25


def _motion_cells(flow: np.ndarray) -> np.ndarray:
    """Mean displacement of each cell, (4 * 4 * 2,), as a share of the longer side."""
    import cv2

    cells = cv2.resize(flow, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return cells.ravel() / LONG_SIDE * 8


def _flow(previous: np.ndarray | None, grey: np.ndarray) -> np.ndarray:
    """(H, W, 2) displacements in pixels from the frame before; 0 where they explain nothing."""
    import cv2

    height, width = grey.shape
    if previous is None:
        return np.zeros((height, width, 2), np.float32)
    # From this frame back to the one before, so that the vectors sit on what is visible now.
    back = cv2.calcOpticalFlowFarneback(
        grey, previous, np.zeros((height, width, 2), np.float32), 0.5, 3, 13, 3, 5, 1.1, 0
    )
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    warped = cv2.remap(
        previous,
        xs + back[..., 0],
        ys + back[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    explained = np.abs(warped.astype(np.float32) - grey) < _FLOW_TOLERANCE
    changed = np.abs(previous.astype(np.float32) - grey) > 4
    # A cut changes most of the picture at once: whatever the flow finds there is chance.
    if changed.mean() > 0.5 and explained[changed].mean() < 0.9:
        return np.zeros_like(back)
    return -back * explained[..., None]


def _motion(flow: np.ndarray, names: np.ndarray, interval: float) -> Motion | None:
    height, width = names.shape
    moving = np.hypot(flow[..., 0], flow[..., 1]) > _MOVING_PIXELS
    if moving.mean() < _MOVING_AREA:
        return None
    # A moving edge drags some of its background along: the colour is the one that differs from it.
    background = np.bincount(names.ravel(), minlength=len(_COLOURS))
    found = np.bincount(names[moving], minlength=len(_COLOURS))
    colour = int(np.argmax(found / np.sqrt(background + 1)))
    ys, xs = np.nonzero(moving)
    dx, dy = np.median(flow[moving], axis=0)
    return Motion(
        velocity=(float(dx) / width / interval, float(dy) / width / interval),
        centre=(float(xs.mean()) / width, float(ys.mean()) / height),
        colour=_COLOURS[colour],
    )


def _shares(names: np.ndarray) -> tuple[tuple[str, float, tuple[float, float]], ...]:
    height, width = names.shape
    counts = np.bincount(names.ravel(), minlength=len(_COLOURS))
    result = []
    for index in np.argsort(-counts, kind="stable")[:4]:
        share = float(counts[index]) / names.size
        if share < 0.03:
            break
        ys, xs = np.nonzero(names == index)
        centre = (float(xs.mean()) / width, float(ys.mean()) / height)
        result.append((_COLOURS[index], share, centre))
    return tuple(result)


def _colour_names(frame: np.ndarray) -> np.ndarray:
    """(H, W) indices into the names of colours."""
    r, g, b = (frame[..., i] >> 3 for i in range(3))
    return _colour_table()[r, g, b]


@cache
def _colour_table() -> np.ndarray:
    """The name's index for each of 32 x 32 x 32 RGB colours, by hue, saturation and value."""
    import cv2

    level = (np.arange(32) * 8 + 4).astype(np.uint8)
    rgb = np.stack(np.meshgrid(level, level, level, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV).reshape(-1, 3).astype(int)
    names = [_colour_name(2 * h, s / 255, v / 255) for h, s, v in hsv]
    return np.array([_COLOURS.index(n) for n in names], np.uint8).reshape(32, 32, 32)


def _colour_name(hue: int, saturation: float, value: float) -> str:
    if value < 0.16:
        return "black"
    if saturation < 0.14:
        limits = ((0.35, "dark grey"), (0.65, "grey"), (0.9, "light grey"))
        return next((name for limit, name in limits if value < limit), "white")
    if hue < 14 or hue >= 345:
        if saturation < 0.45 and value > 0.7:
            return "pink"
        return "red" if value > 0.45 else "brown"
    if hue < 42:
        if saturation < 0.4 and value > 0.65:
            return "beige"
        return "orange" if value > 0.72 and saturation > 0.55 else "brown"
    if hue < 68:
        if saturation < 0.35 and value > 0.65:
            return "beige"
        return "yellow" if value > 0.55 else "brown"
    if hue < 160:
        return "green" if value > 0.4 else "dark green"
    if hue < 192:
        return "turquoise"
    if hue < 255:
        if value < 0.4:
            return "dark blue"
        return "light blue" if saturation < 0.5 and value > 0.6 else "blue"
    return "purple" if hue < 300 else "pink"


# -- sentences ---------------------------------------------------------------------------------


def image_caption(look: Look) -> str:
    """What one frame looks like, in plain sentences."""
    return f"{_colour_sentence(look)} Its brightness is {look.brightness:.0%} of white."


def video_caption(segment: Sequence[Look]) -> str:
    """What happens over a segment's frames, in plain sentences; ``segment`` is not empty."""
    return " ".join([*_motion_sentences(segment), *_change_sentences(segment)])


def action_phrase(segment: Sequence[Look]) -> str:
    """A verb phrase for what moves longest, or "hold still"."""
    phases = _phases(segment)
    if not phases:
        return _STILL
    longest = max(phases, key=len)
    return f"move the {_colour_of(longest)} shape {longest[0].direction}"


def _colour_sentence(look: Look) -> str:
    if not look.colours:
        return "The picture has many small areas of colour."
    (name, share, _), *others = look.colours
    sentence = f"The picture is {'mostly' if share > 0.5 else 'partly'} {name}"
    by_place: dict[str, list[str]] = defaultdict(list)
    for other, _, centre in others:
        by_place[_place(centre)].append(other)
    places = [f"{_listed(names)} {place}" for place, names in by_place.items()]
    return f"{sentence}, with {_listed(places)}." if places else f"{sentence}."


def _motion_sentences(segment: Sequence[Look]) -> list[str]:
    phases = _phases(segment)
    if not phases:
        return ["Nothing in the picture moves."]
    longest = sorted(phases, key=len, reverse=True)[:_PHASES]
    sentences: list[str] = []
    for phase in (phase for phase in phases if phase in longest):
        centre = tuple(float(np.mean([m.centre[axis] for m in phase])) for axis in (0, 1))
        speed = float(np.mean([m.speed for m in phase]))
        subject = f"{_a(_colour_of(phase))} shape moves {phase[0].direction} {_place(centre)}"
        sentence = f"{subject}, by about {max(0.01, speed):.0%} of the width a second."
        sentences.append(f"Then {sentence}" if sentences else sentence[0].upper() + sentence[1:])
    return sentences


def _change_sentences(segment: Sequence[Look]) -> Iterator[str]:
    first, last = segment[0], segment[-1]
    if first.colours and last.colours:
        if first.colours[0][0] == last.colours[0][0]:
            yield _colour_sentence(segment[len(segment) // 2])
        else:
            yield (
                f"The picture turns from mostly {first.colours[0][0]} "
                f"to mostly {last.colours[0][0]}."
            )
    change = last.brightness - first.brightness
    if abs(change) < 0.05:
        yield f"The brightness stays near {last.brightness:.0%} of white."
    else:
        verb = "rises" if change > 0 else "falls"
        before, after = f"{first.brightness:.0%}", f"{last.brightness:.0%}"
        yield f"The brightness {verb} from {before} to {after} of white."


def _phases(segment: Sequence[Look]) -> list[list[Motion]]:
    """Runs of frames in which something moves in one direction, those of one frame left out."""
    runs = itertools.groupby(segment, key=lambda look: look.motion and look.motion.direction)
    phases = [[look.motion for look in run if look.motion] for direction, run in runs if direction]
    long_enough = [phase for phase in phases if len(phase) > 1]
    return long_enough or (phases if len(segment) <= 2 else [])


def _colour_of(phase: Sequence[Motion]) -> str:
    return Counter(motion.colour for motion in phase).most_common(1)[0][0]


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _place(centre: Sequence[float]) -> str:
    x, y = centre
    column = "left" if x < 0.4 else "right" if x > 0.6 else ""
    row = "top" if y < 0.4 else "bottom" if y > 0.6 else ""
    if not row and not column:
        return "in the middle"
    return f"at the {' '.join(filter(None, (row, column)))}"


# -- extraction --------------------------------------------------------------------------------


def _words(sentence: str) -> Counter[str]:
    return Counter(w.strip(".,%").lower() for w in sentence.split() if len(w) > 2)


def extract(captions: Sequence[tuple[str, float]], limit: int) -> list[str]:
    """The sentences that best stand for a set of captions, in their order.

    Each sentence scores by how much its words are those of all captions (a centroid, as extractive
    summarisers use it), and loses what an already chosen sentence says.

    Args:
        captions: (text, weight) of each, in order of time
        limit: sentences at most
    """
    sentences: dict[str, float] = defaultdict(float)
    for text, weight in captions:
        for sentence in text.replace("Then ", "").split(". "):
            sentence = sentence.strip().rstrip(".")
            if sentence:
                sentences[sentence[0].upper() + sentence[1:]] += weight
    words = {s: _words(s) for s in sentences}
    centroid: dict[str, float] = defaultdict(float)
    for sentence, weight in sentences.items():
        for word in words[sentence]:
            centroid[word] += weight
    chosen: list[str] = []
    covered: set[str] = set()
    while len(chosen) < limit and len(chosen) < len(sentences):
        best = max(
            (s for s in sentences if s not in chosen),
            key=lambda s: (
                sum(centroid[w] for w in words[s] if w not in covered) / (len(words[s]) + 2)
            ),
        )
        chosen.append(best)
        covered.update(words[best])
    return [s for s in sentences if s in chosen]
