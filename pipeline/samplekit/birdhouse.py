"""How to build a birdhouse: a blue workshop, a yellow table, a pink corner, a meadow."""

from __future__ import annotations

from fractions import Fraction

from .shapes import Drawing, box, disc, line, placed, poly
from .spec import KitVideo, Motion, Scene, Step
from .things import arm, cloud, shadow, sprig, sun, tiles, wall

_W, _H = 480, 270
_SLEEVE = "#2d6cb5"
_WOOD, _GRAIN = "#e3b070", "#c9924e"


def _house(body: str = _WOOD, roof: str = "#b87b3d", scale: float = 1.0) -> Drawing:
    """A birdhouse that stands on the origin."""
    return placed(
        (
            *_body(body),
            *_hole(),
            *poly(roof, (-60, -78), (60, -78), (44, -120), (-44, -120)),
            *box("#00000020", -44, -78, 44, -70),
        ),
        0,
        0,
        0,
        scale,
    )


def _body(colour: str) -> Drawing:
    return (*box(colour, -44, -80, 44, 0, 2), *box("#00000014", 30, -80, 44, 0))


def _hole() -> Drawing:
    return (
        *disc("#3b2615", 0, -46, 14),
        *line("#7a4d22", 6, (0, -20), (0, -16)),
    )


def _roof(colour: str = "#b87b3d") -> Drawing:
    return poly(colour, (-60, 0), (60, 0), (44, -42), (-44, -42))


def _plank(x0: float, y0: float, x1: float, y1: float) -> Drawing:
    """A board with two lines of grain."""
    return (
        *box("#00000022", x0 + 4, y0 + 6, x1 + 4, y1 + 6, 2),
        *box(_WOOD, x0, y0, x1, y1, 2),
        *line(_GRAIN, 2, (x0 + 12, y0 + (y1 - y0) * 0.3), (x1 - 30, y0 + (y1 - y0) * 0.3)),
        *line(_GRAIN, 2, (x0 + 40, y0 + (y1 - y0) * 0.7), (x1 - 12, y0 + (y1 - y0) * 0.7)),
    )


def _ruler() -> Drawing:
    return (
        *box("#ffd23f", -70, -9, 70, 9, 2),
        *(s for x in range(-62, 70, 12) for s in line("#5b4a12", 2, (x, -8), (x, -1))),
    )


def _pencil() -> Drawing:
    return placed(
        (
            *poly("#f3d9b1", (0, 0), (14, -5), (14, 5)),
            *box("#e5383b", 14, -5, 62, 5),
            *box("#f4a6b0", 62, -5, 70, 5, 2),
        ),
        0,
        0,
        -40,
    )


def _saw() -> Drawing:
    """A saw that stands upright; its teeth point left, its lower end is the origin."""
    teeth = tuple((-15 - 5 * (i % 2), -7.0 * i) for i in range(15))
    return (
        *poly("#cfd6de", *teeth, (4, -100), (4, 0)),
        *box("#e5623b", -14, -136, 12, -98, 8),
        *box("#8e3a20", -6, -128, 4, -108, 4),
    )


def _drill() -> Drawing:
    """A green drill that points down; the tip of its bit is the origin."""
    return (
        *line("#aab3bd", 5, (0, -2), (0, -26)),
        *poly("#53606e", (-9, -26), (9, -26), (14, -44), (-14, -44)),
        *box("#1f9d61", -18, -96, 18, -42, 8),
        *box("#1f9d61", 10, -88, 58, -66, 8),
        *box("#17774a", 46, -92, 64, -58, 5),
    )


def _hammer() -> Drawing:
    """A hammer; the middle of its face, which points down, is the origin."""
    return (
        *line("#c26a2d", 10, (0, -22), (84, -30)),
        *box("#56606b", -12, -34, 12, 0, 4),
        *box("#3d454e", -14, -8, 14, 0, 3),
        *box("#56606b", -9, -46, 9, -30, 3),
    )


def _brush(colour: str) -> Drawing:
    """A broad brush full of paint; the middle of its bristles is the origin."""
    return placed(
        (
            *box(colour, -6, -12, 16, 12, 4),
            *box("#b9bec8", 14, -13, 28, 13, 2),
            *poly("#8a5a2e", (28, -10), (44, -5), (88, -4), (88, 4), (44, 5), (28, 10)),
        ),
        0,
        0,
        -35,
    )


def _bird() -> Drawing:
    """A red robin that looks left."""
    return (
        *poly("#7a4a2b", (16, -4), (50, -16), (46, 2)),
        *disc("#8f5a36", 0, 0, 25, 17),
        *disc("#e8532f", -11, 3, 15, 12),
        *disc("#8f5a36", -19, -13, 12),
        *poly("#f2b134", (-30, -15), (-43, -10), (-29, -8)),
        *disc("#1c1411", -23, -15, 2.5),
        *disc("#6d4126", 9, -2, 16, 9),
    )


def _flipped(drawing: Drawing) -> Drawing:
    """The drawing with left and right exchanged."""
    return tuple((colour, points * (-1, 1)) for colour, points in drawing)


def _paint_can(colour: str) -> Drawing:
    """An open can of paint on the left of the table."""
    return (
        *shadow(84, 228, 44),
        *box("#b9bec8", 50, 172, 118, 226, 6),
        *disc(colour, 84, 174, 34, 9),
        *poly(colour, (54, 176), (70, 182), (66, 206), (58, 200)),
    )


_TITLE = Scene(
    does="",
    place="on a light yellow background",
    colours="yellow and brown",
    drawing=(
        *box("#ffe08a", 0, 0, _W, _H),
        *disc("#ffeaae", 240, 240, 210, 150),
        *box("#b07a3e", 0, 238, _W, _H),
        *line("#966230", 3, (0, 254), (_W, 254)),
    ),
    title=("How to build", "a birdhouse"),
    ink="#5a3413",
    steps=(
        Step(
            does="",
            props="a brown plank",
            drawing=placed(_house("#e3b070", "#c8553d"), 240, 238, 0, 0.85),
            said="Hello, and welcome to the workshop. Today we build a house for a robin.",
            motions=(
                Motion(
                    2.3,
                    "fly to the left above the roof",
                    "a red robin",
                    _bird(),
                    ((460, 160), (340, 160)),
                    subject="a red robin",
                ),
                Motion(
                    2.2,
                    "sink to the plank",
                    "a red robin",
                    _bird(),
                    ((340, 160), (340, 222)),
                    subject="the robin",
                ),
            ),
        ),
    ),
)

_BENCH = Scene(
    does="prepare the boards",
    place="in a blue workshop with a row of tools on the wall",
    colours="slate blue and pale wood",
    drawing=(
        *wall(_W, _H, "#4a6687", "#8f9db0", 132),
        *tiles(8, 10, _W, 130, 24, "#ffffff10"),
        *placed(_hammer(), 60, 84, 0, 0.8),
        *line("#cfd6de", 8, (180, 40), (180, 96)),
        *disc("#cfd6de", 180, 36, 13),
        *disc("#4a6687", 180, 30, 7),
        *box("#e5383b", 232, 34, 246, 66, 5),
        *line("#cfd6de", 5, (239, 66), (239, 100)),
        *disc("#ffd23f", 310, 70, 26),
        *disc("#4a6687", 310, 70, 15),
        *box("#7d8ba0", 0, 132, _W, 140),
    ),
    steps=(
        Step(
            does="measure and mark the board",
            props="a long pale board",
            drawing=_plank(50, 156, 430, 214),
            said="Lay the board flat on the bench, measure twenty centimetres, and draw a line.",
            motions=(
                Motion(
                    2.1,
                    "lay a yellow ruler along the board",
                    "a hand with a yellow ruler",
                    (*_ruler(), *placed(arm(_SLEEVE, 120), -50, 6)),
                    ((90, 170), (226, 170)),
                    leaves=_ruler(),
                ),
                Motion(
                    2.1,
                    "draw a line with a red pencil",
                    "a hand with a red pencil",
                    (*_pencil(), *placed(arm(_SLEEVE, -18), 30, -26)),
                    ((300, 152), (300, 216)),
                    trail=("#5b4a3a", 3),
                ),
            ),
        ),
        Step(
            does="saw the board",
            props="a marked board between two grey clamps",
            drawing=(
                *_plank(90, 156, 470, 214),
                *line("#5b4a3a", 3, (250, 158), (250, 212)),
                *box("#343d49", 104, 144, 122, 226, 4),
                *box("#343d49", 98, 140, 150, 152, 4),
                *box("#343d49", 412, 144, 430, 226, 4),
                *box("#343d49", 384, 140, 436, 152, 4),
            ),
            said="Now saw along the line. Take your time and let the saw do the work.",
            motions=(
                Motion(
                    2.6,
                    "saw through the board along the line",
                    "a hand with an orange saw",
                    (*_saw(), *placed(arm(_SLEEVE, -42), 0, -116)),
                    ((258, 160), (258, 216)),
                    trail=("#4a2e14", 6),
                ),
                Motion(
                    1.9,
                    "sweep the sawdust to the left",
                    "a hand with a green brush",
                    (
                        *box("#f3e4c8", -42, 2, -14, 14, 6),
                        *box("#2a9d5c", -24, -12, 36, 4, 5),
                        *box("#f7e7b0", -22, 2, 34, 14),
                        *placed(arm(_SLEEVE, -25), 20, -12),
                    ),
                    ((400, 184), (190, 184)),
                ),
            ),
        ),
        Step(
            does="drill the entrance",
            props="a short board with a pencil cross and a box of screws",
            drawing=(
                *_plank(150, 168, 330, 222),
                *line("#5b4a3a", 3, (232, 188), (248, 202)),
                *line("#5b4a3a", 3, (248, 188), (232, 202)),
                *box("#c8553d", 366, 172, 446, 222, 5),
                *box("#a6412c", 366, 172, 446, 184, 5),
                *(s for x in range(378, 440, 14) for s in line("#d7dde4", 3, (x, 194), (x, 210))),
            ),
            said="The entrance is a round hole, three centimetres wide, just right for a robin.",
            motions=(
                Motion(
                    2.1,
                    "press the drill into the board",
                    "a hand with a green drill",
                    (*_drill(), *placed(arm(_SLEEVE, -10), 48, -76)),
                    ((240, 128), (240, 196)),
                    leaves=disc("#3b2615", 0, 0, 16, 13),
                ),
                Motion(
                    1.9,
                    "lift the drill away",
                    "a hand with a green drill",
                    (*_drill(), *placed(arm(_SLEEVE, -10), 48, -76)),
                    ((250, 180), (250, 76)),
                ),
            ),
        ),
    ),
)

_TABLE = Scene(
    does="put the house together",
    place="at a dark table by a bright yellow wall",
    colours="bright yellow and dark grey",
    drawing=(
        *wall(_W, _H, "#f2b632", "#3c4048", 196),
        *box("#e3a41f", 0, 0, _W, 16),
        *box("#fff3d6", 28, 40, 112, 104, 3),
        *poly("#c8553d", (50, 72), (70, 52), (90, 72)),
        *box("#e3b070", 55, 72, 85, 94),
    ),
    steps=(
        Step(
            does="join the walls",
            props="a wooden floor board and a bottle of glue",
            drawing=(
                *shadow(250, 228, 76),
                *box(_GRAIN, 186, 218, 314, 228, 2),
                *box("#f7f7f2", 408, 166, 440, 226, 8),
                *poly("#e5383b", (416, 166), (432, 166), (426, 146), (422, 146)),
                *box("#e5383b", 408, 186, 440, 206),
            ),
            said="Put a little glue on the edges. First the two side walls, and then the front.",
            motions=(
                Motion(
                    2.0,
                    "set the left wall on the floor board",
                    "a hand with a narrow board",
                    (*box("#d19a58", -6, -88, 6, 0), *placed(arm(_SLEEVE, 165), -4, -50)),
                    ((70, 218), (204, 218)),
                    leaves=box("#d19a58", -6, -88, 6, 0),
                ),
                Motion(
                    2.0,
                    "set the right wall across from it",
                    "a hand with a narrow board",
                    (*box("#d19a58", -6, -88, 6, 0), *placed(arm(_SLEEVE, 8), 4, -50)),
                    ((420, 218), (296, 218)),
                    leaves=box("#d19a58", -6, -88, 6, 0),
                ),
                Motion(
                    2.1,
                    "lower the front with its round hole",
                    "a hand with a board that has a round hole",
                    (
                        *placed((*_body(_WOOD), *_hole()), 0, 0, 0, 1.1),
                        *placed(arm(_SLEEVE, -60), 20, -84),
                    ),
                    ((250, 120), (250, 220)),
                    leaves=placed((*_body(_WOOD), *_hole()), 0, 0, 0, 1.1),
                ),
            ),
        ),
        Step(
            does="nail the roof on",
            props="an open birdhouse and a tin of nails",
            drawing=(
                *shadow(200, 228, 66),
                *placed((*_body(_WOOD), *_hole()), 200, 228, 0, 1.1),
                *shadow(392, 226, 40),
                *box("#9aa5b1", 358, 184, 426, 226, 5),
                *disc("#7c8793", 392, 184, 34, 8),
                *(
                    s
                    for x in (372, 384, 396, 408)
                    for s in line("#e8edf2", 3, (x, 184), (x + 4, 166))
                ),
            ),
            said="Now the roof. It should reach out over the front so that the rain runs off.",
            motions=(
                Motion(
                    2.0,
                    "lower the brown roof onto the walls",
                    "a hand with a brown roof",
                    (*_roof(), *placed(arm(_SLEEVE, -55), 14, -36)),
                    ((200, 60), (200, 144)),
                    leaves=(*_roof(), *line("#e8edf2", 4, (0, -42), (0, -54))),
                ),
                Motion(
                    1.8,
                    "strike the nail with a hammer",
                    "a hand with a hammer",
                    (*_hammer(), *placed(arm(_SLEEVE, 0), 74, -30)),
                    ((200, 34), (200, 92)),
                ),
                Motion(
                    1.8,
                    "raise the hammer again",
                    "a hand with a hammer",
                    (*_hammer(), *placed(arm(_SLEEVE, 0), 74, -30)),
                    ((200, 98), (200, 30)),
                ),
            ),
        ),
    ),
)

_CORNER = Scene(
    does="paint the house",
    place="in a pink corner with newspaper on the table",
    colours="pink and light grey",
    drawing=(
        *wall(_W, _H, "#ef9fb4", "#e9e9e4", 174),
        *box("#f5bccb", 0, 150, _W, 174),
        *poly("#f7f7f2", (60, 190), (420, 190), (470, _H), (10, _H)),
        *(
            s
            for y in range(200, 240, 8)
            for s in (
                *line("#c9c9c2", 2, (62 - (y - 190) / 2, y), (150, y)),
                *line("#c9c9c2", 2, (340, y), (410 + (y - 190) / 2, y)),
            )
        ),
    ),
    steps=(
        Step(
            does="paint the walls blue",
            props="a bare birdhouse and a can of blue paint",
            drawing=(
                *shadow(240, 228, 90),
                *placed(_house(), 240, 228, 0, 1.45),
                *_paint_can("#3d8bd4"),
            ),
            said="Two coats of paint keep the wood dry. We take a light blue for the walls.",
            motions=(
                Motion(
                    2.2,
                    "paint the left half with long strokes down",
                    "a hand with a blue brush",
                    (*_brush("#3d8bd4"), *placed(arm(_SLEEVE, 20), 50, -34)),
                    ((198, 112), (198, 228)),
                    trail=("#5aa9e6", 44),
                ),
                Motion(
                    2.2,
                    "paint the right half back up",
                    "a hand with a blue brush",
                    (*_brush("#3d8bd4"), *placed(arm(_SLEEVE, 20), 50, -34)),
                    ((282, 228), (282, 112)),
                    trail=("#5aa9e6", 44),
                ),
            ),
        ),
        Step(
            does="paint the roof red",
            props="a blue birdhouse and a can of red paint",
            drawing=(
                *shadow(240, 228, 90),
                *placed(_house("#5aa9e6"), 240, 228, 0, 1.45),
                *_paint_can("#d8412f"),
            ),
            said="And a strong red for the roof, once from the left and once from the right.",
            motions=(
                Motion(
                    2.1,
                    "draw the brush along the top of the roof",
                    "a hand with a red brush",
                    (*_brush("#d8412f"), *placed(arm(_SLEEVE, 20), 50, -34)),
                    ((170, 70), (310, 70)),
                    trail=("#e5533d", 30),
                ),
                Motion(
                    2.1,
                    "draw the brush back along the edge",
                    "a hand with a red brush",
                    (*_brush("#d8412f"), *placed(arm(_SLEEVE, 20), 50, -34)),
                    ((322, 100), (158, 100)),
                    trail=("#e5533d", 32),
                ),
            ),
        ),
    ),
)

_MEADOW = Scene(
    does="hang up the birdhouse",
    place="by an old tree in a green meadow",
    colours="bright green and light blue",
    drawing=(
        *wall(_W, _H, "#c5ecf7", "#8ccf4d", 190, "#00000008"),
        *sun(60, 52, 24),
        *cloud(190, 48, 0.9),
        *disc("#77bd3c", 90, 214, 190, 40),
        *disc("#8ccf4d", 420, 230, 260, 46),
        *poly("#7d5331", (326, 236), (342, 40), (404, 40), (424, 236)),
        *line("#7d5331", 22, (350, 96), (262, 66)),
        *disc("#4e9a36", 300, 24, 74, 46),
        *disc("#5cad41", 400, 20, 96, 62),
        *disc("#4e9a36", 470, 60, 60, 50),
    ),
    steps=(
        Step(
            does="fix the house to the trunk",
            props="a wooden ladder and a thick trunk",
            drawing=(
                *line("#d8a25a", 7, (440, 236), (420, 96)),
                *line("#d8a25a", 7, (474, 236), (452, 96)),
                *(
                    s
                    for i in range(5)
                    for s in line(
                        "#d8a25a", 5, (437 - 4 * i, 214 - 28 * i), (470 - 4 * i, 214 - 28 * i)
                    )
                ),
            ),
            said="Hang it about two metres high, where no cat can reach it.",
            motions=(
                Motion(
                    2.5,
                    "lift the blue birdhouse along the trunk",
                    "a hand with a blue birdhouse",
                    (*_house("#5aa9e6", "#e5533d", 0.8), *placed(arm(_SLEEVE, 115), -16, -8)),
                    ((372, 250), (372, 186)),
                    leaves=_house("#5aa9e6", "#e5533d", 0.8),
                ),
                Motion(
                    2.0,
                    "drive a screw in from the left",
                    "a hand with a yellow screwdriver",
                    (
                        *line("#cfd6de", 5, (0, 0), (-34, 0)),
                        *box("#ffc21a", -70, -9, -32, 9, 6),
                        *placed(arm(_SLEEVE, 165), -62, 0),
                    ),
                    ((250, 152), (338, 152)),
                ),
            ),
        ),
        Step(
            does="wait for the robin",
            props="a blue birdhouse with a red roof and a few young plants",
            drawing=(
                *placed(_house("#5aa9e6", "#e5533d", 0.8), 372, 186),
                *(s for x in (50, 120, 205) for s in placed(sprig(30, 2), x, 236)),
                *(s for x in (50, 120, 205) for s in disc("#f25f8b", x, 203, 8)),
            ),
            said="Then sit down and wait. Here she comes. Thank you for watching!",
            motions=(
                Motion(
                    2.2,
                    "fly across the meadow",
                    "a red robin",
                    _flipped(_bird()),
                    ((20, 116), (270, 116)),
                    subject="a red robin",
                ),
                Motion(
                    2.0,
                    "hop down from the branch to the grass",
                    "a red robin",
                    _flipped(_bird()),
                    ((250, 60), (250, 214)),
                    subject="the robin",
                ),
            ),
        ),
    ),
)

BIRDHOUSE = KitVideo(
    uid="kitBird-003",
    title="How to Build a Birdhouse",
    description="Board, saw, drill, hammer, paint: a house for a robin in nine steps.\n\n"
    "Materials: one board, glue, nails, blue and red paint.",
    fps=Fraction(30000, 1001),
    size=(_W, _H),
    has_audio=True,
    does="build a birdhouse",
    person="A carpenter in a blue shirt",
    accent="#e5623b",
    scenes=(_TITLE, _BENCH, _TABLE, _CORNER, _MEADOW),
    captions="manual",
    view_count=30518,
    like_count=702,
    upload_date="20110927",
    notes=(0, 3, 7, 10, 12),
)
