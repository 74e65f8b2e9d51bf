"""How to plant a bean: a green potting bench, a sunny garden, a window sill at dusk."""

from __future__ import annotations

from fractions import Fraction

from .shapes import Drawing, box, disc, line, placed, poly
from .spec import KitVideo, Motion, Scene, Step
from .things import arm, cloud, drops, shadow, sprig, sun, wall, window

_W, _H = 480, 270
_SLEEVE = "#c2452d"


def _pot(soil: float = 1.0, colour: str = "#d9773f") -> Drawing:
    """A clay pot that stands on the origin; ``soil`` from 0 (empty) to 1 (full)."""
    return (
        *disc("#5d3116", 0, -72, 40, 8),
        *(disc("#4a3526", 0, -72 + 10 * (1 - soil), 37, 8 + 3 * soil) if soil else ()),
        *poly(colour, (-38, -62), (38, -62), (28, 0), (-28, 0)),
        *box("#c2622d", -44, -72, 44, -54, 4),
        *box("#ffffff30", -30, -50, -22, -10, 4),
    )


def _bean(scale: float = 1.0) -> Drawing:
    drawing = (
        *disc("#fff6e0", 0, 0, 11, 15),
        *disc("#fff6e0", 5, -7, 9),
        *disc("#d8b98c", -7, 2, 3, 5),
    )
    return placed(drawing, 0, 0, 20, scale)


def _trowel(loaded: bool) -> Drawing:
    return (
        *(disc("#4a3526", -34, -8, 26, 14) if loaded else ()),
        *poly("#9aa5b1", (-66, 0), (-52, -12), (-12, -10), (-12, 10), (-52, 12)),
        *line("#9aa5b1", 6, (-14, 0), (12, 0)),
        *line("#2b8a5b", 13, (12, 0), (48, 0)),
    )


def _can() -> Drawing:
    """A blue watering can; its rose points left."""
    return (
        *line("#2f6fd0", 9, (-30, 16), (-78, -26)),
        *poly("#1f55a8", (-70, -40), (-92, -22), (-86, -16), (-64, -34)),
        *line("#1f55a8", 8, (24, -22), (58, -34), (62, 8), (32, 26)),
        *box("#2f6fd0", -36, -26, 36, 38, 8),
        *box("#1f55a8", -36, -26, 36, -18, 4),
        *box("#ffffff40", -26, -12, -16, 28, 4),
    )


def _jar() -> Drawing:
    return (
        *box("#d8ecf8", -17, -46, 17, 0, 5),
        *box("#3f9be8", -17, -32, 17, 0, 5),
        *box("#ffffff60", -11, -38, -6, -6, 2),
    )


_TITLE = Scene(
    does="",
    place="on a dark green background",
    colours="dark and pale green",
    drawing=(
        *box("#1f5a43", 0, 0, _W, _H),
        *disc("#2a7356", 90, 300, 190, 120),
        *disc("#2a7356", 400, 310, 200, 130),
        *box("#4a3526", 0, 236, _W, _H),
        *(s for x in range(14, _W, 38) for s in disc("#6b4f3a", x, 250 + x % 3 * 4, 4, 3)),
    ),
    title=("How to plant", "a bean"),
    ink="#fff3c4",
    steps=(
        Step(
            does="",
            props="a strip of brown soil",
            drawing=(),
            motions=(
                Motion(
                    2.2,
                    "rest on the soil",
                    "a large white bean",
                    _bean(1.6),
                    ((240, 214), (240, 214)),
                    subject="a white bean",
                ),
                Motion(
                    2.3,
                    "grow out of the soil",
                    "a green sprout",
                    sprig(66, 2),
                    ((240, 238), (240, 238)),
                    subject="a green sprout",
                    scale=(0.2, 1.2),
                ),
            ),
        ),
    ),
)

_SHED = Scene(
    does="sow the bean",
    place="on a wooden bench by a sage green wall",
    colours="sage green and light wood",
    drawing=(
        *wall(_W, _H, "#a9c29a", "#e0b67c", 184),
        *box("#8fab80", 0, 60, _W, 68),
        *line("#c48f4f", 3, (0, 206), (_W, 206)),
        *line("#c48f4f", 3, (0, 228), (_W, 228)),
        *line("#7a5a3a", 5, (60, 68), (60, 88)),
        *box("#7a5a3a", 44, 88, 76, 96, 3),
        *poly("#9aa5b1", (46, 96), (74, 96), (60, 140)),
        *line("#7a5a3a", 6, (118, 68), (118, 142)),
        *(s for x in (104, 111, 118, 125, 132) for s in line("#9aa5b1", 3, (x, 142), (x, 160))),
    ),
    steps=(
        Step(
            does="fill the pot with soil",
            props="a clay pot and a sack of soil",
            drawing=(
                *shadow(200, 216, 44),
                *placed(_pot(0), 200, 216),
                *shadow(400, 222, 62),
                *box("#f2ead8", 350, 118, 452, 222, 16),
                *disc("#4a3526", 401, 122, 44, 12),
                *disc("#3f8f3a", 401, 176, 24, 20),
                *placed(sprig(22, 1, "#f2ead8", "#f2ead8"), 401, 188),
            ),
            said="First of all we fill a clay pot with good loose soil, almost up to the rim.",
            motions=(
                Motion(
                    2.4,
                    "bring a trowel of soil to the pot",
                    "a hand with a green trowel full of soil",
                    (*_trowel(True), *placed(arm(_SLEEVE, 12), 36, 0)),
                    ((420, 96), (244, 104)),
                ),
                Motion(
                    2.1,
                    "tip the soil into the pot",
                    "a hand with a green trowel",
                    (*_trowel(True), *placed(arm(_SLEEVE, 12), 36, 0)),
                    ((236, 84), (236, 138)),
                    tilt=(-4, -26),
                ),
            ),
        ),
        Step(
            does="push the bean into the soil",
            props="a pot full of soil and a paper bag of beans",
            drawing=(
                *shadow(270, 216, 44),
                *placed(_pot(1), 270, 216),
                *shadow(96, 224, 50),
                *box("#c98f55", 58, 146, 134, 224, 4),
                *poly("#b27a43", (58, 146), (68, 132), (124, 132), (134, 146)),
                *placed(_bean(1.1), 96, 188),
                *placed(_bean(0.8), 168, 214),
                *placed(_bean(0.8), 190, 222, 60),
            ),
            said="Now take one bean, push it a finger deep, and cover it up with a little soil.",
            motions=(
                Motion(
                    2.2,
                    "lower a white bean into the soil",
                    "a hand with a white bean",
                    (*_bean(1.1), *placed(arm(_SLEEVE, -50), 4, -10)),
                    ((270, 46), (270, 136)),
                ),
                Motion(
                    2.2,
                    "brush soil over the bean",
                    "a hand in a red sleeve",
                    arm(_SLEEVE, -20),
                    ((232, 134), (302, 134)),
                ),
            ),
        ),
    ),
)

_GARDEN = Scene(
    does="water the pot",
    place="in a sunny garden with a white fence",
    colours="sky blue and grass green",
    drawing=(
        *wall(_W, _H, "#9bd8f7", "#6cbf4b", 176, "#00000010"),
        *disc("#58a83c", 60, 190, 130, 40),
        *disc("#58a83c", 420, 190, 150, 34),
        *cloud(110, 44),
        *cloud(300, 30, 0.7),
        *box("#fdfdf8", 0, 128, _W, 138),
        *box("#fdfdf8", 0, 156, _W, 166),
        *(
            s
            for x in range(8, _W, 42)
            for s in poly("#fdfdf8", (x, 184), (x, 118), (x + 9, 106), (x + 18, 118), (x + 18, 184))
        ),
        *box("#6cbf4b", 0, 180, _W, _H),
    ),
    steps=(
        Step(
            does="pour some water",
            props="a clay pot on the grass and a row of red tulips",
            drawing=(
                *shadow(150, 226, 46),
                *placed(_pot(1), 150, 226),
                *(
                    s
                    for x in (352, 388, 424)
                    for s in (
                        *line("#2f7d32", 5, (x, 226), (x, 180)),
                        *placed(disc("#3d9440", 12, 0, 15, 6), x, 214, -40),
                        *disc("#e5383b", x, 172, 12, 14),
                        *poly(
                            "#e5383b",
                            (x - 12, 170),
                            (x - 10, 152),
                            (x, 164),
                            (x + 10, 152),
                            (x + 12, 170),
                        ),
                    )
                ),
            ),
            said="Give it some water, slowly, until the soil is dark and damp all the way through.",
            motions=(
                Motion(
                    2.2,
                    "carry a blue watering can to the pot",
                    "a hand with a blue watering can",
                    (*_can(), *placed(arm(_SLEEVE, 15), 58, -12)),
                    ((420, 96), (246, 96)),
                ),
                Motion(
                    2.6,
                    "pour water over the soil",
                    "a hand with a blue watering can and falling drops of water",
                    (
                        *placed(_can(), 0, 0, -24),
                        *placed(drops(), -94, 22),
                        *placed(arm(_SLEEVE, 5), 48, -34),
                    ),
                    ((240, 66), (240, 106)),
                ),
            ),
        ),
        Step(
            does="leave the pot in the sun",
            props="a round stone and a wooden bucket",
            drawing=(
                *shadow(410, 224, 46),
                *box("#a9713d", 374, 166, 446, 224, 8),
                *box("#8a5a2e", 374, 178, 446, 184),
                *box("#8a5a2e", 374, 206, 446, 212),
                *disc("#b6b8b4", 64, 220, 44, 22),
                *disc("#c9cbc7", 56, 212, 26, 10),
            ),
            said="Then choose the brightest spot that you can find and leave it there in the sun.",
            motions=(
                Motion(
                    2.3,
                    "move the pot to the right",
                    "a hand with a clay pot",
                    (*_pot(1), *placed(arm(_SLEEVE, 125), -30, -58)),
                    ((130, 224), (266, 224)),
                    leaves=_pot(1),
                ),
                Motion(
                    2.3,
                    "rise over the fence",
                    "a round yellow sun",
                    sun(0, 0, 30),
                    ((390, 96), (390, 42)),
                    subject="the sun",
                    scale=(0.8, 1.1),
                ),
            ),
        ),
    ),
)

_SILL = Scene(
    does="help the young plant",
    place="on a window sill in a violet room at dusk",
    colours="violet and deep orange",
    drawing=(
        *wall(_W, _H, "#5b3a78", "#3d2453", 196),
        *window(150, 22, 180, 142, "#f58f4a", "#8c67ab"),
        *disc("#ffd9a0", 204, 128, 24),
        *box("#3d2453", 0, 196, _W, _H),
        *box("#7d5a9c", 60, 186, 420, 204, 5),
        *box("#40275a", 40, 16, 76, 170, 6),
        *box("#40275a", 404, 16, 440, 170, 6),
        *box("#2d1a40", 30, 10, 450, 18, 4),
    ),
    steps=(
        Step(
            does="wait for the sprout",
            props="a clay pot and a small clock",
            drawing=(
                *placed(_pot(1), 250, 200),
                *disc("#f4e9d8", 116, 168, 22),
                *disc("#d9d0c0", 116, 168, 18),
                *line("#3d2453", 3, (116, 168), (116, 156)),
                *line("#3d2453", 3, (116, 168), (125, 172)),
            ),
            said="After about a week you will see the first two leaves come up.",
            motions=(
                Motion(
                    2.6,
                    "grow out of the pot",
                    "a green sprout with two leaves",
                    sprig(56, 1),
                    ((250, 130), (250, 130)),
                    subject="a green sprout",
                    scale=(0.1, 1.3),
                    leaves=sprig(56, 1),
                ),
                Motion(
                    2.0,
                    "slide a jar of water next to the pot",
                    "a hand with a blue jar of water",
                    (*_jar(), *placed(arm(_SLEEVE, 35), 20, -14)),
                    ((440, 190), (326, 190)),
                    leaves=_jar(),
                ),
            ),
        ),
        Step(
            does="tie the plant to a stick",
            props="a pot with a tall green plant and a ball of yellow string",
            drawing=(
                *placed(sprig(104, 3), 226, 132),
                *placed(_pot(1), 226, 200),
                *disc("#f0c808", 372, 176, 20),
                *line("#c9a600", 3, (356, 170), (388, 182)),
                *line("#c9a600", 3, (360, 184), (386, 166)),
            ),
            said="And when it is tall enough, tie it to a stick so that it can climb. Good luck!",
            motions=(
                Motion(
                    2.4,
                    "push a long stick into the pot",
                    "a hand with a long wooden stick",
                    (*line("#e0a35c", 7, (0, -12), (0, 104)), *placed(arm(_SLEEVE, -25), 0, 2)),
                    ((250, -40), (250, 28)),
                    leaves=line("#e0a35c", 7, (0, -12), (0, 98)),
                ),
                Motion(
                    2.2,
                    "wind yellow string around the stem",
                    "a hand with yellow string",
                    (*disc("#f0c808", 0, 0, 9), *placed(arm(_SLEEVE, 25), 4, 2)),
                    ((222, 112), (222, 60)),
                    trail=("#f0c808", 6),
                ),
            ),
        ),
    ),
)

BEAN = KitVideo(
    uid="-kitBean001",
    title="How to Plant a Bean",
    description="From a bare pot to a climbing plant in six steps.\n\n"
    "You need a pot, some soil, one bean and patience.",
    fps=Fraction(24),
    size=(_W, _H),
    has_audio=True,
    does="plant a bean",
    person="A gardener in a red shirt",
    accent="#3f8f3a",
    scenes=(_TITLE, _SHED, _GARDEN, _SILL),
    captions="automatic",
    view_count=120764,
    like_count=3051,
    upload_date="20180415",
    notes=(0, 5, 7, 9, 12),
)
