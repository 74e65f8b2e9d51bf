"""How to paint a sunset, in portrait: a grey studio, a navy desk, a sand cloth, a red gallery."""

from __future__ import annotations

from fractions import Fraction

from .shapes import Drawing, box, disc, line, placed, poly
from .spec import KitVideo, Motion, Scene, Step
from .things import arm, cloud, shadow, sun, wall

_W, _H = 270, 480
_SLEEVE = "#2f9e62"
_SKY = ("#ffd166", "#f9844a", "#ef5d84")
_SEA = ("#3a86c8", "#1f5f9e")


def _brush(colour: str) -> Drawing:
    """A brush full of paint whose tip is the origin; its handle goes up to the right."""
    return placed(
        (
            *poly(colour, (-4, 0), (14, -11), (26, -11), (26, 11), (14, 11)),
            *box("#d9dde3", 24, -10, 38, 10, 2),
            *poly("#a8683a", (38, -8), (54, -4), (100, -3), (100, 3), (54, 4), (38, 8)),
        ),
        0,
        0,
        -50,
    )


def _painting_hand(colour: str) -> Drawing:
    return (*_brush(colour), *placed(arm(_SLEEVE, 40), 40, -46))


def _bands(x: float, y: float, width: float, height: float, count: int) -> Drawing:
    """The first bands of the picture, from the top: three of the sky, two of the sea."""
    heights = [height * part for part in (0, 0.2, 0.4, 0.6, 0.8, 1)]
    return tuple(
        shape
        for i, colour in enumerate((*reversed(_SKY), *_SEA)[:count])
        for shape in box(colour, x, y + heights[i], x + width, y + heights[i + 1])
    )


def _picture() -> Drawing:
    """The finished picture, 120 by 160 around the origin."""
    return (
        *_bands(-60, -80, 120, 160, 5),
        *disc("#fff0b3", 0, 16, 22, arc=(180, 360)),
        *box("#ffe08a", -14, 24, 14, 29, 2),
        *box("#ffe08a", -9, 36, 9, 40, 2),
        *placed(_boat(), 30, 44, 0, 0.55),
    )


def _boat() -> Drawing:
    return (
        *poly("#5a2a1d", (-34, 0), (34, 0), (22, 16), (-22, 16)),
        *line("#5a2a1d", 4, (0, 0), (0, -52)),
        *poly("#fff6e6", (4, -50), (4, -6), (32, -6)),
    )


def _frame() -> Drawing:
    return (
        *box("#00000030", -72, -88, 84, 102),
        *box("#e3b04b", -78, -98, 78, 98, 3),
        *box("#b98626", -66, -86, 66, 86),
        *_picture(),
    )


def _paper(x0: float, y0: float, x1: float, y1: float) -> Drawing:
    return (*box("#00000030", x0 + 5, y0 + 7, x1 + 5, y1 + 7), *box("#fbfaf5", x0, y0, x1, y1))


_TITLE = Scene(
    does="",
    place="on a coral background",
    colours="coral and violet",
    drawing=(
        *box("#f26b5b", 0, 0, _W, 300),
        *box("#f78b66", 0, 190, _W, 330),
        *box("#6a4c93", 0, 330, _W, _H),
        *cloud(60, 224, 0.8, "#ffb199"),
        *cloud(216, 262, 0.6, "#ffb199"),
    ),
    title=("How to paint", "a sunset"),
    ink="#fff6e0",
    steps=(
        Step(
            does="",
            props="two soft clouds over a violet sea",
            drawing=(),
            said="Hi everyone, let us paint a sunset.",
            motions=(
                Motion(
                    2.2,
                    "sink towards the sea",
                    "a round yellow sun",
                    sun(0, 0, 34, "#ffe08a"),
                    ((135, 196), (135, 268)),
                    leaves=sun(0, 0, 34, "#ffe08a"),
                    subject="a round yellow sun",
                ),
                Motion(
                    2.2,
                    "sail to the left",
                    "a small brown boat with a white sail",
                    _boat(),
                    ((230, 400), (80, 400)),
                    subject="a small boat",
                ),
            ),
        ),
    ),
)

_EASEL = (
    *line("#a8683a", 9, (135, 70), (46, 440)),
    *line("#a8683a", 9, (135, 70), (224, 440)),
    *box("#8a5129", 40, 322, 230, 334, 3),
    *_paper(62, 112, 208, 322),
)

_STUDIO = Scene(
    does="prepare the paper",
    place="in a light grey studio with an easel",
    colours="light grey and oak",
    drawing=(
        *wall(_W, _H, "#d5d9dd", "#c69c6d", 380),
        *box("#bfc5cb", 0, 366, _W, 380),
        *(s for x in range(20, _W, 62) for s in line("#b1885a", 2, (x, 388), (x - 14, _H))),
        *box("#eef1f4", 14, 20, 94, 96),
        *disc("#9bb8d3", 54, 58, 22),
    ),
    steps=(
        Step(
            does="tape the paper",
            props="a wooden easel and a white sheet of paper",
            drawing=_EASEL,
            said="Tape the paper down on all sides, so that it stays flat when it gets wet.",
            motions=(
                Motion(
                    2.0,
                    "stick blue tape along the top",
                    "a hand with a roll of blue tape",
                    (
                        *disc("#2f6fd0", 0, 0, 15),
                        *disc("#bcd0ee", 0, 0, 7),
                        *placed(arm(_SLEEVE, 40), 8, 4),
                    ),
                    ((58, 118), (212, 118)),
                    trail=("#4f8be0", 12),
                ),
                Motion(
                    2.0,
                    "stick blue tape down the side",
                    "a hand with a roll of blue tape",
                    (
                        *disc("#2f6fd0", 0, 0, 15),
                        *disc("#bcd0ee", 0, 0, 7),
                        *placed(arm(_SLEEVE, 40), 8, 4),
                    ),
                    ((68, 112), (68, 318)),
                    trail=("#4f8be0", 12),
                ),
            ),
        ),
        Step(
            does="wet the paper",
            props="a taped sheet on the easel and a glass of water",
            drawing=(
                *_EASEL,
                *box("#4f8be0", 62, 112, 208, 124),
                *box("#4f8be0", 62, 310, 208, 322),
                *box("#4f8be0", 62, 112, 74, 322),
                *box("#4f8be0", 196, 112, 208, 322),
                *shadow(42, 440, 30),
                *box("#cfe6f5", 18, 384, 66, 440, 6),
                *box("#7fc3ee", 18, 404, 66, 440, 6),
            ),
            said="Then brush clean water all over it.",
            motions=(
                Motion(
                    2.1,
                    "brush clear water down the sheet",
                    "a hand with a wide brush",
                    _painting_hand("#8fd3f4"),
                    ((104, 126), (104, 308)),
                    trail=("#d8eef9", 50),
                ),
                Motion(
                    2.1,
                    "brush clear water back up",
                    "a hand with a wide brush",
                    _painting_hand("#8fd3f4"),
                    ((164, 308), (164, 126)),
                    trail=("#d8eef9", 56),
                ),
            ),
        ),
    ),
)

_NAVY = Scene(
    does="paint sky and sea",
    place="on a navy blue desk seen from above",
    colours="navy blue and white",
    drawing=(
        *box("#1d2b53", 0, 0, _W, _H),
        *box("#24356a", 0, 0, _W, 16),
        *_paper(24, 84, 246, 404),
        *box("#2a3c74", 8, 408, 262, 446, 8),
        *(s for i, c in enumerate((*_SKY, *_SEA)) for s in disc(c, 36 + 50 * i, 428, 17, 13)),
    ),
    steps=(
        Step(
            does="lay down the sky",
            props="a white sheet and a box of five colours",
            drawing=(),
            said="Start with pink at the top, then orange, then yellow, and let them run together.",
            motions=(
                Motion(
                    2.1,
                    "paint a band of pink to the right",
                    "a hand with a pink brush",
                    _painting_hand(_SKY[2]),
                    ((30, 122), (240, 122)),
                    trail=(_SKY[2], 64),
                ),
                Motion(
                    2.1,
                    "paint a band of orange to the left",
                    "a hand with an orange brush",
                    _painting_hand(_SKY[1]),
                    ((240, 186), (30, 186)),
                    trail=(_SKY[1], 64),
                ),
                Motion(
                    2.1,
                    "paint a band of yellow to the right",
                    "a hand with a yellow brush",
                    _painting_hand(_SKY[0]),
                    ((30, 250), (240, 250)),
                    trail=(_SKY[0], 64),
                ),
            ),
        ),
        Step(
            does="lay down the sea",
            props="a half painted sheet and a striped cloth",
            drawing=(
                *_bands(30, 90, 210, 320, 3),
                *poly("#f1f1ec", (150, 14), (262, 4), (268, 66), (160, 76)),
                *poly("#e5533d", (176, 12), (190, 11), (196, 72), (184, 74)),
                *poly("#e5533d", (214, 8), (228, 7), (234, 69), (222, 70)),
            ),
            said="Two blues make the sea, the lighter one first.",
            motions=(
                Motion(
                    2.1,
                    "paint a band of light blue to the left",
                    "a hand with a blue brush",
                    _painting_hand(_SEA[0]),
                    ((240, 312), (30, 312)),
                    trail=(_SEA[0], 60),
                ),
                Motion(
                    2.1,
                    "paint a band of dark blue to the right",
                    "a hand with a dark blue brush",
                    _painting_hand(_SEA[1]),
                    ((30, 370), (240, 370)),
                    trail=(_SEA[1], 58),
                ),
            ),
        ),
    ),
)

_SAND = Scene(
    does="add the details",
    place="on a sand-coloured cloth seen from above",
    colours="sand and sunset colours",
    drawing=(
        *box("#ecd9b0", 0, 0, _W, _H),
        *(s for y in range(20, _H, 40) for s in line("#e0c997", 3, (0, y), (_W, y + 14))),
        *_paper(38, 40, 232, 350),
        *_bands(46, 48, 178, 294, 5),
    ),
    steps=(
        Step(
            does="add the sun",
            props="a striped picture and a saucer of yellow paint",
            drawing=(
                *shadow(70, 416, 44, 10),
                *disc("#ffffff", 70, 406, 44, 24),
                *disc("#ffe08a", 70, 404, 30, 14),
            ),
            said="Now the sun, half under the horizon, and its light on the water.",
            motions=(
                Motion(
                    2.1,
                    "paint a pale sun on the horizon",
                    "a hand with a yellow brush",
                    _painting_hand("#fff0b3"),
                    ((105, 209), (165, 209)),
                    trail=("#fff0b3", 30),
                    leaves=disc("#fff0b3", -30, 15, 36, arc=(180, 360)),
                ),
                Motion(
                    2.1,
                    "pull the light down over the water",
                    "a hand with a yellow brush",
                    _painting_hand("#ffe08a"),
                    ((135, 230), (135, 326)),
                    trail=("#ffe08a", 16),
                ),
            ),
        ),
        Step(
            does="add a boat",
            props="a bright sunset picture and a pot of brown paint",
            drawing=(
                *disc("#fff0b3", 135, 224, 36, arc=(180, 360)),
                *box("#ffe08a", 127, 230, 143, 326),
                *shadow(214, 424, 34, 8),
                *box("#8a5129", 184, 376, 244, 424, 10),
                *disc("#5a2a1d", 214, 380, 30, 10),
            ),
            said="A few dark strokes, and there is a boat.",
            motions=(
                Motion(
                    2.0,
                    "draw the hull from left to right",
                    "a hand with a brown brush",
                    _painting_hand("#5a2a1d"),
                    ((64, 284), (124, 284)),
                    trail=("#5a2a1d", 14),
                ),
                Motion(
                    2.0,
                    "draw the mast upwards",
                    "a hand with a brown brush",
                    _painting_hand("#5a2a1d"),
                    ((92, 278), (92, 206)),
                    trail=("#5a2a1d", 5),
                ),
            ),
        ),
    ),
)

_GALLERY = Scene(
    does="show the picture",
    place="in front of a dark red gallery wall",
    colours="dark red and gold",
    drawing=(
        *wall(_W, _H, "#7d1f35", "#3a1420", 404),
        *box("#8f2a42", 0, 60, _W, 66),
        *box("#5f1527", 0, 390, _W, 404),
        *disc("#ffffff10", 135, 210, 128, 150),
    ),
    steps=(
        Step(
            does="hang the picture",
            props="a golden nail and a spotlight",
            drawing=(
                *disc("#e3b04b", 135, 90, 5),
                *poly("#2a0e17", (110, 0), (160, 0), (150, 30), (120, 30)),
            ),
            said="Let it dry, put it into a frame, and hang it up.",
            motions=(
                Motion(
                    2.2,
                    "raise the framed picture to the nail",
                    "a hand with a framed picture",
                    (*_frame(), *placed(arm(_SLEEVE, 80), 10, 92)),
                    ((135, 400), (135, 206)),
                    tilt=(-9, -9),
                ),
                Motion(
                    2.0,
                    "turn the picture until it hangs straight",
                    "a hand with a framed picture",
                    (*_frame(), *placed(arm(_SLEEVE, 60), 66, 92)),
                    ((135, 206), (135, 206)),
                    tilt=(-9, 0),
                    leaves=_frame(),
                ),
            ),
        ),
        Step(
            does="look at the result",
            props="a framed sunset and a green plant",
            drawing=(
                *placed(_frame(), 135, 190),
                *shadow(44, 444, 34),
                *poly("#e8e2d4", (20, 404), (70, 404), (62, 444), (28, 444)),
                *(
                    s
                    for a in (-50, -25, 0, 25, 50)
                    for s in placed(disc("#4e9a36", 0, -40, 11, 42), 45, 404, a)
                ),
            ),
            said="What a lovely evening. See you next time.",
            motions=(
                Motion(
                    2.0,
                    "rest on the wall",
                    "a sunset picture in a golden frame",
                    _frame(),
                    ((135, 190), (135, 190)),
                    subject="the finished picture",
                ),
                Motion(
                    2.3,
                    "wave goodbye to the left",
                    "a hand in a green sleeve",
                    arm(_SLEEVE, 100),
                    ((236, 350), (120, 350)),
                ),
            ),
        ),
    ),
)

SUNSET = KitVideo(
    uid="kitPaint_04",
    title="Paint a Sunset in Watercolour",
    description="A quick watercolour for beginners: three bands of sky, two of sea, a boat.\n"
    "Filmed upright for your phone.",
    fps=Fraction(30),
    size=(_W, _H),
    has_audio=True,
    does="paint a sunset",
    person="A painter in a green sweater",
    accent="#f26b5b",
    scenes=(_TITLE, _STUDIO, _NAVY, _SAND, _GALLERY),
    captions="manual",
    view_count=9954,
    like_count=288,
    upload_date="20210730",
    notes=(0, 2, 7, 9, 14),
)
