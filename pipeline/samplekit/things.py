"""Things that stand in more than one of the kit's worlds, drawn around their own origin."""

from __future__ import annotations

from .shapes import Drawing, box, disc, line, placed, poly

_SHADOW = "#00000026"


def arm(sleeve: str, angle: float = 60, skin: str = "#e8b48c") -> Drawing:
    """A hand that grips at the origin, with an arm that leaves the picture.

    Args:
        angle: where the arm goes, degrees clockwise from "to the right"
    """
    shade = "#00000018"
    return placed(
        (
            *line(sleeve, 40, (66, 0), (700, 0)),
            *line(shade, 12, (66, 14), (700, 14)),
            *box("#ffffffcc", 48, -21, 58, 21, 4),
            *box(skin, 26, -13, 50, 13, 4),
            *disc(skin, 20, 0, 20, 17),
            *line(skin, 10, (12, -12), (-3, -11)),
            *line(skin, 10, (10, -4), (-8, -4)),
            *line(skin, 10, (10, 4), (-7, 4)),
            *line(skin, 9, (12, 11), (-2, 11)),
            *line(shade, 2, (6, 0), (-7, 0)),
            *line(shade, 2, (6, -8), (-4, -8)),
            *line(shade, 2, (7, 8), (-4, 8)),
            *line(skin, 11, (26, -15), (10, -23)),
        ),
        0,
        0,
        angle,
    )


def shadow(x: float, y: float, rx: float, ry: float = 6) -> Drawing:
    """A soft shadow on the ground."""
    return disc(_SHADOW, x, y, rx, ry)


def wall(
    width: int, height: int, colour: str, ground: str, horizon: float, edge: str = "#00000022"
) -> Drawing:
    """A wall above the horizon, a table or the ground below."""
    return (
        *box(colour, 0, 0, width, horizon),
        *box(ground, 0, horizon, width, height),
        *box(edge, 0, horizon, width, horizon + 6),
    )


def tiles(x0: int, y0: int, x1: int, y1: int, size: int, colour: str = "#ffffff40") -> Drawing:
    """Joints between square tiles."""
    return (
        *(s for x in range(x0, x1, size) for s in box(colour, x, y0, x + 2, y1)),
        *(s for y in range(y0, y1, size) for s in box(colour, x0, y, x1, y + 2)),
    )


def window(x: float, y: float, w: float, h: float, glass: str, frame: str) -> Drawing:
    """A window with four panes; (x, y) is its upper left corner."""
    return (
        *box(frame, x - 7, y - 7, x + w + 7, y + h + 7, 5),
        *box(glass, x, y, x + w, y + h),
        *poly("#ffffff38", (x, y + h * 0.7), (x + w * 0.7, y), (x + w * 0.9, y), (x, y + h * 0.9)),
        *box(frame, x + w / 2 - 3, y, x + w / 2 + 3, y + h),
        *box(frame, x, y + h / 2 - 3, x + w, y + h / 2 + 3),
        *box(frame, x - 14, y + h + 5, x + w + 14, y + h + 14, 3),
    )


def cloud(x: float, y: float, scale: float = 1.0, colour: str = "#ffffffd8") -> Drawing:
    """A cloud."""
    drawing = (
        *box(colour[:7], -34, -2, 36, 14, 8),
        *disc(colour[:7], -12, -4, 17),
        *disc(colour[:7], 12, -1, 13),
    )
    return placed(drawing, x, y, 0, scale)


def sun(x: float, y: float, radius: float, colour: str = "#ffd23f") -> Drawing:
    """A sun with a soft halo."""
    return (
        *disc(colour + "38", x, y, radius * 1.7),
        *disc(colour + "60", x, y, radius * 1.3),
        *disc(colour, x, y, radius),
    )


def steam(colour: str = "#ffffffb0") -> Drawing:
    """Three puffs, one above the other."""
    return (
        *disc(colour, 0, 0, 15, 11),
        *disc(colour, 9, -20, 12, 9),
        *disc(colour, -4, -38, 9, 7),
    )


def drops(colour: str = "#3f8fe0") -> Drawing:
    """Falling drops of water."""
    return tuple(
        s
        for x, y in ((-9, -14), (4, -22), (0, 2), (-6, 18), (8, 14))
        for s in (*disc(colour, x, y, 4.5), *poly(colour, (x - 4, y), (x, y - 12), (x + 4, y)))
    )


def sprig(height: float, leaves: int, stem: str = "#3f8f3a", leaf: str = "#59b04c") -> Drawing:
    """A young plant that grows up from the origin with pairs of leaves."""
    drawing = line(stem, 5, (0, 0), (0, -height))
    for i in range(leaves):
        y = -height * (0.45 + 0.55 * i / max(1, leaves - 1)) if leaves > 1 else -height
        size = 1 - 0.18 * i
        drawing += placed(disc(leaf, 15, 0, 17 * size, 8 * size), 0, y, -28)
        drawing += placed(disc(leaf, -15, 0, 17 * size, 8 * size), 0, y, 28)
    return drawing
