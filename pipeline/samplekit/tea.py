"""How to make a pot of tea: a kitchen in teal, then a table in front of a warm wall. Silent."""

from __future__ import annotations

from fractions import Fraction

from .shapes import Drawing, box, disc, line, placed, poly
from .spec import KitVideo, Motion, Scene, Step
from .things import arm, drops, shadow, steam, tiles, wall, window

_W, _H = 480, 270
_SLEEVE = "#e2a72e"


def _kettle(colour: str = "#d8412f") -> Drawing:
    """A kettle around the middle of its body; its spout points left."""
    return (
        *poly(colour, (-34, 6), (-66, -22), (-58, -28), (-28, -14)),
        *line("#3a3a44", 7, (-22, -26), (-18, -48), (18, -48), (24, -26)),
        *disc(colour, 0, 0, 40, 34),
        *box(colour, -38, 4, 38, 34, 12),
        *disc("#ffffff40", -14, -8, 9, 14),
        *box("#a92f22", -24, -34, 24, -28, 3),
        *disc("#3a3a44", 0, -37, 6),
    )


def _teapot(lid: bool) -> Drawing:
    """A white teapot with blue dots around the middle of its body; its spout points right."""
    return (
        *poly("#f4f4f0", (30, 12), (66, -24), (74, -18), (40, 26)),
        *line("#f4f4f0", 8, (-36, -14), (-60, -10), (-58, 12), (-34, 18)),
        *disc("#f4f4f0", 0, 4, 44, 36),
        *box("#dcdcd4", -26, 36, 26, 42, 3),
        *(
            s
            for x, y in ((-24, 0), (-8, 14), (8, -8), (24, 8), (0, 28))
            for s in disc("#3b6fc4", x, y, 5)
        ),
        *box("#dcdcd4", -24, -34, 24, -28, 3),
        *(_lid() if lid else ()),
    )


def _lid() -> Drawing:
    return (
        *disc("#3b6fc4", 0, -31, 24, 12, (180, 360)),
        *disc("#3b6fc4", 0, -45, 6),
    )


def _cup(tea: bool) -> Drawing:
    return (
        *line("#f08a5d", 6, (22, -6), (36, -4), (33, 12), (18, 14)),
        *poly("#f08a5d", (-26, -16), (26, -16), (18, 22), (-18, 22)),
        *disc("#c96a40", 0, -16, 26, 6),
        *(disc("#8a4b21", 0, -15, 22, 4.5) if tea else ()),
    )


def _spoon() -> Drawing:
    return (
        *line("#b9bec8", 5, (0, 0), (44, -26)),
        *disc("#b9bec8", -8, 3, 14, 8),
        *disc("#3e5b2a", -8, 0, 11, 6),
    )


_TITLE = Scene(
    does="",
    place="on a warm orange background",
    colours="cream and orange",
    drawing=(
        *box("#f4a259", 0, 0, _W, _H),
        *disc("#f7b977", 240, 320, 270, 190),
        *disc("#f9cf9c", 240, 330, 190, 130),
    ),
    title=("How to make", "a pot of tea"),
    ink="#5b2333",
    steps=(
        Step(
            does="",
            props="two pale circles",
            drawing=(),
            motions=(
                Motion(
                    2.0,
                    "stand still below the title",
                    "a white teapot with blue dots",
                    placed(_teapot(True), 0, 0),
                    ((236, 205), (236, 205)),
                    subject="a white teapot",
                ),
                Motion(
                    2.2,
                    "slide to the right out of the middle",
                    "a white teapot with blue dots",
                    placed(_teapot(True), 0, 0),
                    ((236, 205), (390, 205)),
                    subject="the teapot",
                ),
            ),
        ),
    ),
)

_TAP = (
    *box("#c6ccd4", 60, 172, 216, 192, 6),
    *box("#8d949f", 72, 176, 204, 188, 5),
    *line("#aeb5c0", 12, (196, 174), (196, 66), (138, 66), (138, 84)),
    *box("#8d949f", 129, 80, 147, 90, 2),
)

_KITCHEN = Scene(
    does="boil the water",
    place="in a kitchen with teal tiles",
    colours="teal and cream",
    drawing=(
        *wall(_W, _H, "#5fb0a5", "#f3e4c8", 186),
        *tiles(0, 18, _W, 186, 42),
        *box("#d9b98a", 0, 222, _W, _H),
        *box("#c4a172", 236, 222, 240, _H),
    ),
    steps=(
        Step(
            does="fill the kettle",
            props="a steel sink and a tall tap",
            drawing=_TAP,
            motions=(
                Motion(
                    2.4,
                    "carry the red kettle under the tap",
                    "a hand with a red kettle",
                    (*_kettle(), *placed(arm(_SLEEVE, 20), 10, -46)),
                    ((430, 146), (140, 146)),
                    leaves=_kettle(),
                ),
                Motion(
                    2.2,
                    "fall from the tap into the kettle",
                    "blue drops of water",
                    drops(),
                    ((138, 84), (138, 132)),
                    subject="a stream of water",
                ),
            ),
        ),
        Step(
            does="heat the water",
            props="a black stove and a red kettle",
            drawing=(
                *box("#33353f", 230, 178, 430, 240, 8),
                *box("#4b4e5b", 246, 196, 414, 236, 6),
                *box("#22242b", 262, 172, 390, 180, 3),
                *disc("#f2f2f2", 258, 187, 5),
                *disc("#f2f2f2", 402, 187, 5),
                *placed(_kettle(), 326, 140),
                *box("#8c5a3c", 40, 120, 52, 188),
                *box("#c98b5e", 30, 96, 62, 150, 8),
            ),
            motions=(
                Motion(
                    2.4,
                    "push the knob of the stove to the right",
                    "a hand in a yellow sleeve",
                    arm(_SLEEVE, 105),
                    ((250, 196), (396, 196)),
                ),
                Motion(
                    2.2,
                    "rise from the spout of the kettle",
                    "a column of white steam",
                    steam(),
                    ((262, 112), (262, 34)),
                    subject="white steam",
                    scale=(0.7, 1.5),
                ),
            ),
        ),
    ),
)

_TABLE = Scene(
    does="brew the tea",
    place="at a dark table by a pink wall with a window",
    colours="pink and dark brown",
    drawing=(
        *wall(_W, _H, "#f3a7a0", "#5a3427", 178),
        *window(36, 28, 92, 96, "#cfe8f5", "#fff4e6"),
        *box("#f7c1bb", 330, 40, 440, 110, 4),
        *disc("#e86a5c", 362, 76, 18),
        *disc("#f9e0a2", 404, 82, 14),
    ),
    steps=(
        Step(
            does="add the tea leaves",
            props="a white teapot and a green tin of tea",
            drawing=(
                *shadow(200, 214, 62),
                *placed(_teapot(False), 200, 170),
                *shadow(392, 212, 36),
                *box("#2f7d4f", 362, 140, 422, 210, 6),
                *box("#f5e6b8", 362, 160, 422, 188),
                *disc("#2f7d4f", 392, 174, 9, 6),
            ),
            motions=(
                Motion(
                    2.4,
                    "bring a spoon of tea leaves to the pot",
                    "a hand with a silver spoon of tea leaves",
                    (*_spoon(), *placed(arm(_SLEEVE, -10), 46, -28)),
                    ((392, 112), (206, 122)),
                ),
                Motion(
                    2.0,
                    "lower the blue lid onto the pot",
                    "a hand with a blue lid",
                    (*_lid(), *placed(arm(_SLEEVE, -62), 0, -48)),
                    ((200, 66), (200, 170)),
                ),
            ),
        ),
        Step(
            does="pour the tea",
            props="an orange cup and a plate of biscuits",
            drawing=(
                *shadow(340, 210, 44),
                *disc("#fff4e6", 340, 207, 40, 7),
                *placed(_cup(False), 340, 182),
                *shadow(70, 214, 50),
                *disc("#fff4e6", 70, 208, 48, 9),
                *disc("#d59a54", 54, 202, 18, 7),
                *disc("#c98a42", 82, 200, 18, 7),
            ),
            motions=(
                Motion(
                    2.4,
                    "pour the tea into the cup",
                    "a hand with a white teapot",
                    (*_teapot(True), *placed(arm(_SLEEVE, 150), -56, 2)),
                    ((120, 118), (250, 108)),
                    tilt=(0, 38),
                ),
                Motion(
                    2.0,
                    "lower the pot onto the table",
                    "a hand with a white teapot",
                    (*_teapot(True), *placed(arm(_SLEEVE, 150), -56, 2)),
                    ((200, 80), (200, 158)),
                    leaves=_teapot(True),
                ),
                Motion(
                    1.8,
                    "rise from the cup",
                    "a column of white steam",
                    steam(),
                    ((340, 148), (340, 60)),
                    subject="white steam",
                    scale=(0.6, 1.4),
                ),
            ),
        ),
    ),
)

TEA = KitVideo(
    uid="kitTea_0001",
    title="How to Make a Pot of Tea",
    description="Four small steps from cold water to a warm cup. No sound, no hurry.",
    fps=Fraction(25),
    size=(_W, _H),
    has_audio=False,
    does="make a pot of tea",
    person="A person in a yellow sweater",
    accent="#d8412f",
    scenes=(_TITLE, _KITCHEN, _TABLE),
    captions=None,
    view_count=48213,
    like_count=913,
    upload_date="20150322",
)
