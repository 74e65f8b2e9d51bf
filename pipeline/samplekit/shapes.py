"""Flat, paper-cutout drawings: shapes are data, and one function paints them.

A drawing is a tuple of filled polygons in pixels (x to the right, y down), painted in order with
smooth edges. Colours are "#rrggbb", or "#rrggbbaa" for shadows, steam and glass.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import numpy as np

Point = tuple[float, float]
Shape = tuple[str, np.ndarray]
Drawing = tuple[Shape, ...]

# Fractional bits of the coordinates that OpenCV gets, so that slow motions do not jump by pixels.
_SHIFT = 4


def poly(colour: str, *points: Point) -> Drawing:
    """A filled polygon."""
    return ((colour, np.array(points, np.float64)),)


def disc(
    colour: str, x: float, y: float, rx: float, ry: float | None = None, arc: Point = (0, 360)
) -> Drawing:
    """A filled ellipse around (x, y), or the part of it between two angles (degrees clockwise)."""
    angles = np.radians(np.linspace(*arc, 40))
    points = np.stack([x + rx * np.cos(angles), y + (ry or rx) * np.sin(angles)], axis=1)
    return ((colour, points),)


def box(colour: str, x0: float, y0: float, x1: float, y1: float, radius: float = 0) -> Drawing:
    """A filled rectangle, with rounded corners if asked."""
    if not radius:
        return poly(colour, (x0, y0), (x1, y0), (x1, y1), (x0, y1))
    corners = [
        (x1 - radius, y1 - radius, 0),
        (x0 + radius, y1 - radius, 90),
        (x0 + radius, y0 + radius, 180),
        (x1 - radius, y0 + radius, 270),
    ]
    arcs = [disc(colour, x, y, radius, arc=(a, a + 90))[0][1] for x, y, a in corners]
    return ((colour, np.concatenate(arcs)),)


def line(colour: str, width: float, *points: Point) -> Drawing:
    """A thick line through the points, with round ends and joints."""
    parts: list[Shape] = []
    for (x0, y0), (x1, y1) in pairwise(points):
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        nx, ny = (y0 - y1) / length * width / 2, (x1 - x0) / length * width / 2
        parts += poly(
            colour, (x0 + nx, y0 + ny), (x1 + nx, y1 + ny), (x1 - nx, y1 - ny), (x0 - nx, y0 - ny)
        )
    for x, y in points:
        parts += disc(colour, x, y, width / 2)
    return tuple(parts)


def placed(drawing: Drawing, x: float, y: float, angle: float = 0.0, scale: float = 1.0) -> Drawing:
    """The drawing scaled, turned clockwise by ``angle`` degrees, and its origin put at (x, y)."""
    cos, sin = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))
    turn = np.array([[cos, sin], [-sin, cos]])
    return tuple((colour, points @ turn + (x, y)) for colour, points in drawing)


@cache
def _bgr(colour: str) -> tuple[tuple[int, int, int], float]:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return (blue, green, red), int(colour[7:9] or "ff", 16) / 255


def paint(frame: np.ndarray, drawing: Drawing) -> None:
    """Paint the drawing onto a (H, W, 3) uint8 BGR frame, in place."""
    import cv2

    height, width = frame.shape[:2]
    for colour, points in drawing:
        bgr, alpha = _bgr(colour)
        if alpha == 1:
            fixed = np.round(points * (1 << _SHIFT)).astype(np.int32)
            cv2.fillPoly(frame, [fixed], bgr, cv2.LINE_AA, _SHIFT)
            continue
        x0, y0 = np.clip(np.floor(points.min(0)) - 1, 0, (width, height)).astype(int)
        x1, y1 = np.clip(np.ceil(points.max(0)) + 2, 0, (width, height)).astype(int)
        if x0 < x1 and y0 < y1:
            under = frame[y0:y1, x0:x1]
            over = under.copy()
            paint(over, ((colour[:7], points - (x0, y0)),))
            cv2.addWeighted(over, alpha, under, 1 - alpha, 0, dst=under)


def write(
    frame: np.ndarray,
    text: str,
    at: Point,
    size: float,
    colour: str,
    bold: float = 0.0,
    anchor: str = "lm",
) -> None:
    """Write text onto a (H, W, 3) uint8 BGR frame, in place.

    Args:
        at: the point that ``anchor`` (two letters as in Pillow: "lm" = middle of the left end,
            "mm" = middle) names
        size: height of the letters in pixels
        bold: pixels by which the strokes are thicker than the font's own
    """
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(frame)
    # Pillow's built-in font is the same on every machine, unlike the fonts installed there.
    ImageDraw.Draw(image).text(
        at,
        text,
        fill=_bgr(colour)[0],
        font=ImageFont.load_default(size),
        anchor=anchor,
        stroke_width=bold,
    )
    frame[:] = np.asarray(image)
