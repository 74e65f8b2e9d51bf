"""The Tree-of-Captions panel in the real FiftyOne App, in Chromium, with videos that play."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.app import CHROMIUM, CHROMIUM_ARGS, PANEL, open_panel, running_app, show_panel
from tests.real_trees import REAL_FILE, needs_real_trees, real_trees

pytestmark = [pytest.mark.fiftyone, pytest.mark.browser, pytest.mark.slow]

MARKUP = '<img src=x onerror="window.hacked=true"> & <b>stir</b>'
HEBREW = "מערבבים את התה בכוס"
EMOJI = "👩‍🍳 stirs 🍵🥄"
TRANSCRIPT = [
    {"time": "0.0", "text": "hello and welcome to my <b>kitchen</b>"},
    {"time": "8.5", "text": "now we pour the tea"},
]
LONG = "stir the tea slowly " * 250


# -- the dataset, built in the App's process -------------------------------------------------


def build_dataset(folder):
    """Samples of the kit's videos; the returned names say what is special about each."""
    import fiftyone as fo

    from pipeline import dataset as trees_and_samples
    from pipeline.samplekit import make_kit

    kit = make_kit(folder / "kit")
    trees = kit.trees()
    videos = {v.spec.uid: v.path for v in kit.videos}
    tea, bean, sunset, birdhouse = trees.values()
    dataset = trees_and_samples.open_dataset("panel-tests")
    trees_and_samples.add_ground_truth(dataset, [tea, bean, sunset], videos)
    names = dict(zip(("tea", "bean", "sunset"), dataset.values("id"), strict=True))

    for key, made in {
        "coarse": [coarse(tea, 2), coarse(bean, 3)],
        "fine": [coarse(tea, 4)],
    }.items():
        models = {"embed": "eyes", "caption": "a captioner", "refine": "a refiner"}
        trees_and_samples.start_run(dataset, key, {"preset": "embedded", "models": models})
        ids = dict(zip(*dataset.values(["video_uid", "id"]), strict=True))
        trees_and_samples.save_run(dataset, key, made, {}, ids, {})

    video = str(videos[tea.video_uid])
    sample = dataset[names["tea"]]
    sample["transcript_segments"] = trees_and_samples.transcript_labels(
        replace(tea, metadata={"transcript": TRANSCRIPT}), trees_and_samples.Clip(25, 600)
    )
    scores = {
        s.node_id: {"match": s.node_id, "iou": 1.0, "text": 0.1 * (i % 10)}
        for i, s in enumerate(coarse(tea, 4).segments)
    }
    sample["fine_agreement"] = {"reference": scores, "prediction": scores}
    sample.save()
    others = {
        # the tree of a longer video, as where a clip was downloaded and not the whole video
        "long": fo.Sample(filepath=video, ground_truth_tree=birdhouse.to_dict()),
        "run only": fo.Sample(filepath=video, coarse_tree=coarse(tea, 1).to_dict()),
        "nothing": fo.Sample(filepath=video, title="Nothing yet"),
        "odd": fo.Sample(
            filepath=video, title=f"{MARKUP} {HEBREW}", ground_truth_tree=odd(tea).to_dict()
        ),
        "large": fo.Sample(filepath=video, ground_truth_tree=wordy(tea).to_dict()),
        # labels that say neither when they are nor let it be computed
        "broken": fo.Sample(
            filepath=video,
            old_plm_action=fo.TemporalDetections(
                detections=[fo.TemporalDetection(label="stir", support=[1, 9], node_id="a")]
            ),
        ),
    }
    if REAL_FILE.exists():
        real = max(real_trees(), key=len)
        others["real"] = fo.Sample(filepath=video, ground_truth_tree=real.to_dict())
    ids = dataset.add_samples(list(others.values()), dynamic=True, progress=False)
    names |= dict(zip(others, ids, strict=True))
    info = {
        "ids": names,
        "fps": dataset.first().metadata.frame_rate,
        "nodes": {
            "tea": _nodes(tea),
            "bean": _nodes(bean),
            "birdhouse": _nodes(birdhouse),
            "coarse tea": _nodes(coarse(tea, 2)),
            "coarse bean": _nodes(coarse(bean, 3)),
            "fine tea": _nodes(coarse(tea, 4)),
        },
    }
    return dataset, info


def _nodes(tree):
    return [
        {"id": s.node_id, "level": s.level, "start": s.start, "end": s.end} for s in tree.segments
    ]


def odd(tree):
    """The tree with texts that break what takes text for granted, and nodes without any."""
    texts = [MARKUP, HEBREW, EMOJI, LONG, None, "", "a\x00b\u202edc"]
    return replace(
        tree,
        segments=tuple(
            replace(
                s,
                plm_action=texts[i % len(texts)],
                plm_caption=texts[(i + 1) % len(texts)],
                llama3_caption=texts[(i + 2) % len(texts)],
                gpt=[None, {"summary": None, "action": None}][i % 2],
            )
            for i, s in enumerate(tree.segments)
        ),
    )


def wordy(tree):
    """The tree with more text than the panel is sent at once; the last word of each is "zebra"."""
    caption = "stir the pot " * (1_200_000 // 13 // len(tree.segments)) + "zebra"
    return replace(
        tree, segments=tuple(replace(s, plm_caption=caption, gpt=None) for s in tree.segments)
    )


def coarse(tree, depth):
    """The tree down to a level, as a run that cuts less would make it, with markup for captions."""
    kept = [s for s in tree.segments if s.level <= depth]
    return replace(tree, segments=tuple(replace(s, plm_action=MARKUP, gpt=None) for s in kept))


# -- fixtures --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    if CHROMIUM is None:
        pytest.fail("Chromium is missing: run `make test`, which sets it up")
    with running_app(
        tmp_path_factory.mktemp("app"), "tests.test_panel_browser:build_dataset"
    ) as app:
        yield app


@pytest.fixture(scope="module")
def browser(app):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


def new_page(browser):
    context = browser.new_context(viewport={"width": 1600, "height": 900})
    context.set_default_timeout(30_000)
    page = context.new_page()
    # A pop-over that advertises another product would take the clicks.
    page.add_init_script('localStorage["fiftyone-enterprise-tooltip-seen"] = "true"')
    page.failures = []
    page.on("pageerror", lambda error: page.failures.append(str(error)))
    return page


@pytest.fixture
def page(browser):
    page = new_page(browser)
    yield page
    page.context.close()
    assert page.failures == []


@pytest.fixture
def open_sample(page, app):
    """Open a sample of the dataset in the modal, and the panel in it."""
    return lambda name: open_panel(page, app, app.info["ids"][name])


@pytest.fixture(scope="module")
def page_of_tea(browser, app):
    page = new_page(browser)
    yield open_panel(page, app, app.info["ids"]["tea"])
    page.context.close()
    assert page.failures == []


@pytest.fixture
def tea(page_of_tea):
    """The panel on the first video, as it opens; one page for all: opening one takes long."""
    page = page_of_tea
    page.mouse.move(5, 5)
    page.get_by_role("button", name="Reload").click()
    page.wait_for_selector("[role=tree]")
    for label, choice in [
        ("Upper tree", "ground_truth"),
        ("Lower tree", "coarse"),
        ("Colour by", "level"),
    ]:
        page.get_by_label(label).select_option(choice)
    page.get_by_label("Follow").check()
    page.get_by_role("button", name="Filters").click()
    if page.get_by_role("button", name="Show all").is_enabled():
        page.get_by_role("button", name="Show all").click()
    page.get_by_role("button", name="Filters").click()
    lane(page).focus()
    page.keyboard.press("0")
    page.get_by_test_id("ruler").click(position={"x": 0, "y": 20})
    wait_for_playhead(page, "time === 0")
    return page


def lane(page, tree="ground_truth"):
    return page.locator(f"[data-tree={tree}]")


def count(page, tree="ground_truth"):
    """How many segments the filters let through."""
    return int(lane(page, tree).get_attribute("data-count"))


def view(page):
    """The seconds at which the time axis on screen begins and ends."""
    page.wait_for_timeout(60)  # drawn with the next picture
    shown = page.get_by_test_id("minimap").get_attribute("data-view")
    return tuple(float(time) for time in shown.split())


def spot(page, node, tree="ground_truth", at=0.5):
    """Where on the page a node is drawn."""
    box, (start, end) = lane(page, tree).bounding_box(), view(page)
    levels = lane(page, tree).get_attribute("data-rows").split()
    row = levels.index(str(node["level"]))
    time = node["start"] + at * (node["end"] - node["start"])
    x = box["x"] + (time - start) / (end - start) * box["width"]
    return x, box["y"] + (row + 0.5) * box["height"] / len(levels)


def click(page, node, tree="ground_truth", modifier=None):
    if modifier:
        page.keyboard.down(modifier)
    page.mouse.click(*spot(page, node, tree))
    if modifier:
        page.keyboard.up(modifier)


def selected(page):
    """The ids of the selected node and of its match, as the details name them."""
    match = page.get_by_test_id("details-match")
    return (
        page.get_by_test_id("details-node").get_attribute("data-node-id"),
        match.get_attribute("data-node-id") if match.count() else None,
    )


def wait_for_selected(page, node):
    page.wait_for_selector(f"[data-testid=details-node][data-node-id='{node['id']}']")


def playhead(page):
    """The playhead's time in seconds."""
    return float(page.get_by_test_id("playhead").get_attribute("data-time"))


def wait_for_playhead(page, condition):
    page.wait_for_function(
        f"""() => {{
            const playhead = document.querySelector("[data-testid=playhead]");
            const time = playhead ? Number(playhead.dataset.time) : NaN;
            return {condition};
        }}"""
    )


def wait_for_start(page, app, node):
    """Wait until the playhead is on a node's first frame."""
    frame = 1 / app.info["fps"]
    wait_for_playhead(page, f"Math.abs(time - {node['start']}) <= {frame / 2 + 0.001}")


def path(page, tree="ground_truth"):
    page.wait_for_timeout(60)
    return lane(page, tree).get_attribute("data-path").split()


def colour_at(page, x, y):
    """The colour of the bars at a point of the page."""
    return page.evaluate(
        """([x, y]) => {
            const lane = [...document.querySelectorAll("[data-tree]")].find((lane) => {
                const box = lane.getBoundingClientRect();
                return box.top <= y && y < box.bottom;
            });
            const [canvas, box] = [lane.querySelector("canvas"), lane.getBoundingClientRect()];
            const at = [(x - box.left), (y - box.top)].map((p) => p * window.devicePixelRatio);
            return [...canvas.getContext("2d").getImageData(...at, 1, 1).data].join(" ");
        }""",
        [x, y],
    )


CALLS = "**/operators/execute*"


def lose_calls(page, word):
    """Let the calls of Python that have a word in them fail, until ``page.unroute(CALLS)``."""

    def lose(route):
        if word in (route.request.post_data or ""):
            route.abort()
        else:
            route.continue_()

    page.route(CALLS, lose)


# -- the trees -------------------------------------------------------------------------------


def test_both_trees_are_drawn_beside_the_video(tea, app):
    page = tea
    nodes = app.info["nodes"]
    assert count(page) == len(nodes["tea"])
    assert count(page, "coarse") == len(nodes["coarse tea"])
    assert page.locator("[data-cy=modal-looker-container]").is_visible()
    trees = page.locator("[role=tree]").all()
    assert [t.get_attribute("aria-label") for t in trees] == ["Ground truth", "coarse"]
    background = colour_at(page, *spot(page, {**nodes["tea"][0], "level": 4}, at=0.001))
    for node in nodes["tea"]:
        assert colour_at(page, *spot(page, node, at=0.97)) != background


def test_trees_can_be_chosen_and_one_alone_uses_the_height(tea, app):
    page = tea
    height = lane(page).bounding_box()["height"]
    page.get_by_label("Lower tree").select_option("fine")
    assert count(page, "fine") == len(app.info["nodes"]["fine tea"])
    page.get_by_label("Upper tree").select_option("coarse")
    assert [t.get_attribute("data-tree") for t in page.locator("[role=tree]").all()] == [
        "coarse",
        "fine",
    ]
    page.get_by_label("Upper tree").select_option("ground_truth")
    page.get_by_label("Lower tree").select_option("None")
    assert page.locator("[role=tree]").count() == 1
    assert lane(page).bounding_box()["height"] >= height
    page.get_by_label("Lower tree").select_option("coarse")
    assert page.locator("[role=tree]").count() == 2


def test_wheel_drag_keys_and_minimap_move_both_trees(tea, app):
    page = tea
    whole = view(page)
    assert whole == (0, pytest.approx(24, abs=0.1))
    box = lane(page).bounding_box()
    x, y = box["x"] + 0.25 * box["width"], box["y"] + 10
    page.mouse.move(x, y)
    page.mouse.wheel(0, -600)
    start, end = view(page)
    assert end - start < 12
    assert start + 0.25 * (end - start) == pytest.approx(6, abs=0.1)  # what was under the pointer

    page.mouse.down()
    page.mouse.move(x - 100, y, steps=4)
    page.mouse.up()
    dragged = view(page)
    assert dragged[0] - start == pytest.approx(100 / box["width"] * (end - start), abs=0.05)
    assert page.get_by_test_id("details-node").count() == 0  # no click at the end of a drag

    lane(page).focus()
    for key, change in [
        ("d", lambda a, b: b[0] > a[0]),
        ("a", lambda a, b: b[0] < a[0]),
        ("w", lambda a, b: b[1] - b[0] < a[1] - a[0]),
        ("s", lambda a, b: b[1] - b[0] > a[1] - a[0]),
    ]:
        before = view(page)
        page.keyboard.press(key)
        assert change(before, view(page)), key

    node = app.info["nodes"]["tea"][4]
    page.keyboard.press("0")
    assert view(page) == whole
    page.mouse.dblclick(*spot(page, node))
    start, end = view(page)
    assert start <= node["start"] < node["end"] <= end
    assert end - start < 1.5 * (node["end"] - node["start"])
    page.keyboard.press("0")
    page.keyboard.press("f")
    assert view(page) == (start, end)

    small = page.get_by_test_id("minimap").bounding_box()
    page.mouse.click(small["x"] + 0.9 * small["width"], small["y"] + 5)
    assert view(page)[1] > 0.85 * 24


def test_two_fingers_zoom_around_what_is_between_them(tea):
    page = tea
    page.evaluate(
        """() => {
            const axis = document.querySelector("[data-testid=axis]");
            const { left, width } = axis.getBoundingClientRect();
            const send = (type, pointerId, share) => axis.dispatchEvent(new PointerEvent(type, {
                pointerId, pointerType: "touch", button: 0, buttons: 1, bubbles: true,
                clientX: left + share * width, clientY: 300,
            }));
            send("pointerdown", 11, 0.4);
            send("pointerdown", 12, 0.6);
            send("pointermove", 11, 0.2);
            send("pointermove", 12, 0.8);
            send("pointerup", 11, 0.2);
            send("pointerup", 12, 0.8);
        }"""
    )
    assert view(page) == (pytest.approx(8, abs=0.1), pytest.approx(16, abs=0.1))


def test_filters_collapse_rows_and_compose(tea, app):
    page = tea
    nodes = app.info["nodes"]["tea"]
    page.get_by_role("button", name="Filters").click()
    level = page.get_by_label("Deepest level")
    level.fill("1")
    assert lane(page).get_attribute("data-rows") == "0 1"
    level.fill("4")
    page.get_by_label("Minimum duration").select_option("4")
    assert count(page) == sum(n["end"] - n["start"] >= 4 for n in nodes)
    page.get_by_label("Minimum duration").select_option("0")
    page.get_by_label("root").uncheck()
    page.get_by_label("mid").uncheck()
    assert lane(page).get_attribute("data-rows") == "leaves"
    assert count(page) == (len(nodes) + 1) // 2
    page.get_by_role("button", name="Show all").click()
    assert count(page) == len(nodes)


# -- in step with the video ------------------------------------------------------------------


def test_a_click_seeks_the_video_and_shows_the_captions(tea, app):
    page = tea
    node = app.info["nodes"]["tea"][2]
    assert node["start"] > 1
    click(page, node)
    wait_for_start(page, app, node)
    assert selected(page)[0] == node["id"]
    shown = page.locator("[data-testid=timeline-playhead-time]").inner_text()
    minutes, seconds = re.search(r"(\d+):([\d.]+)", shown).groups()
    assert int(minutes) * 60 + float(seconds) == pytest.approx(playhead(page), abs=0.011)
    details = page.get_by_label("Details")
    assert "level 1" in details.inner_text()
    assert details.locator("[data-field='plm_caption'][data-side=node]").inner_text().strip()


def test_the_path_at_the_playhead_is_lit_in_both_trees_and_told_from_coarse_to_fine(tea, app):
    page = tea
    nodes = app.info["nodes"]["tea"]
    click(page, nodes[2])
    wait_for_start(page, app, nodes[2])
    at = nodes[2]["start"]
    for tree, name in {"ground_truth": "tea", "coarse": "coarse tea"}.items():
        expected = [n["id"] for n in app.info["nodes"][name] if n["start"] <= at < n["end"]]
        assert path(page, tree) == expected
        crumbs = page.locator(f"[data-testid=now][data-of={tree}] button")
        assert crumbs.count() == len(expected)
    page.locator("[data-testid=now][data-of=ground_truth] button").first.click()
    assert selected(page)[0] == nodes[0]["id"]


def test_arrow_keys_move_the_selection_and_enter_seeks(tea, app):
    page = tea
    root, first, second = app.info["nodes"]["tea"][:3]
    address = page.url
    lane(page).focus()
    for key, expected in [
        ("ArrowDown", root),
        ("ArrowDown", first),
        ("ArrowRight", second),
        ("ArrowLeft", first),
        ("ArrowUp", root),
        ("ArrowUp", root),
        ("ArrowLeft", root),
    ]:
        page.keyboard.press(key)
        wait_for_selected(page, expected)
        # What a screen reader says of it.
        item = page.locator(f"[id='{lane(page).get_attribute('aria-activedescendant')}']")
        assert item.get_attribute("data-node-id") == expected["id"]
        assert item.get_attribute("aria-selected") == "true"
    root_item = lane(page).locator("[role=treeitem]").first
    assert re.fullmatch(r".+, 0\.00 to 24\.00 s", root_item.get_attribute("aria-label"))
    assert root_item.get_attribute("aria-level") == "1"
    assert root_item.get_attribute("aria-expanded") == "true"
    assert playhead(page) == 0
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    wait_for_start(page, app, second)
    assert page.url == address  # the App's own shortcut would have opened another sample


def test_playing_glides_the_playhead_and_draws_no_bars_again(tea, app):
    page = tea
    page.evaluate(
        """() => {
            window.painted = 0;
            window.times = new Set();
            const fill = CanvasRenderingContext2D.prototype.fillText;
            CanvasRenderingContext2D.prototype.fillText = function (...all) {
                window.painted += 1;
                return fill.apply(this, all);
            };
            const line = document.querySelector("[data-testid=playhead]");
            new MutationObserver(() => window.times.add(line.style.transform))
                .observe(line, { attributes: true, attributeFilter: ["style"] });
        }"""
    )
    assert playhead(page) == 0
    page.click("[data-testid=timeline-controls-play-pause]")
    wait_for_playhead(page, "time > 2")
    page.click("[data-testid=timeline-controls-play-pause]")
    assert page.evaluate("window.times.size") > 2 * app.info["fps"] * 0.5
    canvases_of_panel = page.evaluate("window.painted")
    assert canvases_of_panel < 20


def test_shift_click_plays_just_that_segment_and_l_loops_it(tea, app):
    page = tea
    node = next(n for n in app.info["nodes"]["tea"] if 1 < n["end"] - n["start"] < 2 and n["start"])
    click(page, node, modifier="Shift")
    page.get_by_text("Playing").wait_for()
    wait_for_playhead(page, f"time > {node['start']} + 0.3")
    page.get_by_text("Playing").wait_for(state="detached")
    assert playhead(page) == pytest.approx(node["end"], abs=1.1 / app.info["fps"])
    assert node["id"] in path(page)

    lane(page).focus()
    page.keyboard.press("l")
    page.get_by_text("Looping").wait_for()
    for _ in range(2):
        wait_for_playhead(page, f"time > {(node['start'] + 2 * node['end']) / 3}")
        wait_for_playhead(page, f"time < {(node['start'] * 2 + node['end']) / 3}")
    page.keyboard.press("l")
    wait_for_playhead(page, f"time > {node['end'] + 0.1}")
    page.click("[data-testid=timeline-controls-play-pause]")


def test_follow_keeps_the_playhead_on_screen(tea, app):
    page = tea
    node = next(n for n in app.info["nodes"]["tea"] if 1 < n["end"] - n["start"] < 2 and n["start"])
    page.mouse.dblclick(*spot(page, node))
    start, end = view(page)
    page.get_by_label("Follow").uncheck()
    page.click("[data-testid=timeline-controls-play-pause]")
    wait_for_playhead(page, f"time > {end} + 0.2")
    assert view(page) == (start, end)
    page.get_by_label("Follow").check()
    page.wait_for_timeout(300)
    begins, ends = view(page)
    assert begins <= playhead(page) <= ends
    assert ends - begins == pytest.approx(end - start, abs=0.01)
    page.click("[data-testid=timeline-controls-play-pause]")


# -- comparing -------------------------------------------------------------------------------


def test_hovering_and_selecting_light_the_best_match_and_state_the_iou(tea, app):
    page = tea
    node = app.info["nodes"]["tea"][4]
    page.mouse.move(*spot(page, node))
    tooltip = page.get_by_role("tooltip")
    tooltip.wait_for()
    assert re.search(r"IoU \d\.\d\d with coarse", tooltip.inner_text())
    matched = lane(page, "coarse").get_attribute("data-matched")
    overlap = {n["id"]: _iou(n, node) for n in app.info["nodes"]["coarse tea"]}
    assert overlap[matched] == max(overlap.values())

    click(page, node)
    page.mouse.move(5, 5)
    tooltip.wait_for(state="detached")
    assert selected(page) == (node["id"], matched)
    assert lane(page, "coarse").get_attribute("data-matched") == matched
    assert page.get_by_test_id("iou").inner_text() == f"IoU {overlap[matched]:.2f}"
    page.keyboard.press("m")  # to the match
    wait_for_selected(page, {"id": matched})


def _iou(a, b):
    both = min(a["end"], b["end"]) - max(a["start"], b["start"])
    either = max(a["end"], b["end"]) - min(a["start"], b["start"])
    return max(both, 0) / either


def test_details_show_both_sides_with_models_difference_and_copies(tea, app):
    page = tea
    page.get_by_label("Lower tree").select_option("coarse")
    click(page, app.info["nodes"]["tea"][1])
    details = page.get_by_label("Details")
    for side in ("node", "match"):
        assert details.locator(f"[data-field=plm_action][data-side={side}]").count() == 1
    assert "a captioner" in details.locator("[data-side=match]").first.inner_text()
    different = details.locator("[data-field=plm_action] em")
    assert different.count() > 0
    text = details.locator("[data-field=plm_action][data-side=match]")
    assert MARKUP in text.inner_text()
    details.get_by_label("Differences").uncheck()
    assert different.count() == 0
    page.evaluate(
        """() => Object.defineProperty(navigator, "clipboard", {
            value: { writeText: (text) => { window.copied = text; return Promise.resolve(); } },
        })"""
    )
    text.hover()
    text.get_by_role("button", name="Copy").click()
    text.get_by_text("Copied").wait_for()
    assert page.evaluate("window.copied") == MARKUP


def test_colours_have_a_legend_and_the_worst_disagreement_comes_first(tea, app):
    page = tea
    page.get_by_label("Lower tree").select_option("fine")
    node = app.info["nodes"]["tea"][3]
    colours, legends = set(), set()
    for by in ("level", "actor", "iou", "text"):
        page.get_by_label("Colour by").select_option(by)
        page.wait_for_timeout(60)
        colours.add(colour_at(page, *spot(page, node, at=0.97)))
        legends.add(page.get_by_label("Legend").inner_text())
    assert len(colours) >= 3
    assert len(legends) == 4
    page.get_by_label("Lower tree").select_option("coarse")
    page.get_by_label("Colour by").select_option("iou")
    trees = [app.info["nodes"][name] for name in ("tea", "coarse tea")]
    lost = {
        n["id"]: (n["end"] - n["start"]) * (1 - max(_iou(n, m) for m in other))
        for tree, other in (trees, trees[::-1])
        for n in tree
    }
    found = []
    for _ in range(3):
        page.get_by_role("button", name="Next disagreement").click()
        found.append(lost[selected(page)[0]])
    assert found == pytest.approx(sorted(lost.values(), reverse=True)[:3], abs=0.01)
    # Both trees begin with the whole video.
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("Deepest level").fill("0")
    page.get_by_role("button", name="Next disagreement").click()
    page.get_by_role("alert").get_by_text("do not disagree").wait_for()
    page.get_by_role("alert").get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Show all").click()
    page.get_by_role("button", name="Filters").click()


# -- finding ---------------------------------------------------------------------------------


def test_search_steps_through_hits_of_both_trees_and_composes_with_filters(tea):
    page = tea
    box = page.get_by_label("Search the captions")
    box.fill("pour")
    hits = page.get_by_test_id("hits")
    total = int(re.match(r"\d+", hits.inner_text()).group())
    assert total > 1
    assert "1 said" in hits.inner_text()  # in the transcript
    page.keyboard.press("Enter")
    first = page.get_by_test_id("details-node").inner_text()
    assert hits.inner_text().startswith(f"1/{total}")
    assert page.locator("[data-side=node] mark").first.inner_text().lower() == "pour"
    page.keyboard.press("Enter")
    assert hits.inner_text().startswith(f"2/{total}")
    assert page.get_by_test_id("details-node").inner_text() != first
    page.keyboard.press("Shift+Enter")
    assert page.get_by_test_id("details-node").inner_text() == first
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("Deepest level").fill("0")
    assert int(re.match(r"(\d+/)?(\d+)|none", hits.inner_text()).group(2) or 0) < total
    page.get_by_role("button", name="Show all").click()
    box.fill(MARKUP[:12])
    assert int(re.match(r"\d+", hits.inner_text()).group()) == count(page, "coarse")
    box.fill("no such words")
    assert hits.inner_text() == "none"


def test_a_click_on_the_transcript_seeks_to_where_the_line_begins(tea):
    page = tea
    strip = page.get_by_test_id("transcript")
    box = strip.bounding_box()
    strip.click(position={"x": box["width"] * 0.8, "y": 10})
    wait_for_playhead(page, "Math.abs(time - 8.5) < 0.05")
    assert "now we pour the tea" in strip.get_attribute("title")


# -- from sample to sample, and states -------------------------------------------------------


def test_the_next_sample_brings_its_own_trees_and_keeps_what_was_set_up(page, app):
    page.goto(f"{app.url}/datasets/{app.dataset}")
    page.wait_for_selector("[data-cy=looker]", timeout=60_000)
    # The App's session still has the sample open that another test opened.
    page.evaluate("() => __foo__.executeOperator('close_sample', {})")
    page.wait_for_selector("[data-cy=modal-looker-container]", state="detached")
    page.wait_for_selector("[data-cy=looker] canvas[canvas-loaded=true]")
    page.locator("[data-cy=looker]").first.click()
    page.wait_for_selector("[data-cy=modal-looker-container]")
    show_panel(page)
    nodes = app.info["nodes"]
    assert count(page) == len(nodes["tea"])
    click(page, nodes["tea"][2])
    wait_for_playhead(page, "time > 1")
    page.get_by_label("Colour by").select_option("iou")
    lane(page).focus()
    page.keyboard.press("w")
    zoomed = view(page)

    page.locator("[data-cy=nav-right-button]").click()
    page.wait_for_selector(f"[data-tree=ground_truth][data-count='{len(nodes['bean'])}']")
    assert count(page, "coarse") == len(nodes["coarse bean"])
    assert page.get_by_test_id("details-node").count() == 0
    assert view(page) == pytest.approx(zoomed, abs=0.01)
    assert page.get_by_label("Colour by").input_value() == "iou"
    node = next(n for n in nodes["bean"] if zoomed[0] < n["start"] < n["end"] < zoomed[1])
    click(page, node)
    wait_for_start(page, app, node)

    page.reload()  # the panel is opened anew
    page.wait_for_selector("[data-cy=modal-looker-container]", timeout=60_000)
    show_panel(page)
    assert view(page) == pytest.approx(zoomed, abs=0.01)
    assert page.get_by_label("Colour by").input_value() == "iou"


def test_odd_texts_are_shown_as_text_and_break_nothing(open_sample, app):
    page = open_sample("odd")
    lane(page).focus()
    seen = ""
    for key in ["ArrowDown", *["ArrowDown", "ArrowRight"] * 3, "ArrowLeft", "ArrowUp"]:
        page.keyboard.press(key)
        seen += page.get_by_label("Details").inner_text()
    for text in (HEBREW, EMOJI, MARKUP, LONG.strip()):
        assert text in seen
    assert page.locator(f"{PANEL} h2").first.inner_text() == f"{MARKUP} {HEBREW}"
    assert page.locator(f"{PANEL} :is(img, b)").count() == 0
    assert page.evaluate("window.hacked") is None
    for by in ("actor", "level"):
        page.get_by_label("Colour by").select_option(by)
    page.get_by_label("Search the captions").fill("[(*")
    assert page.get_by_test_id("hits").inner_text() == "none"


def test_a_tree_that_is_longer_than_the_clip_says_so_and_can_be_shown_whole(open_sample, app):
    page = open_sample("long")
    nodes = app.info["nodes"]["birdhouse"]
    note = page.get_by_role("note")
    assert "This clip ends at 0:24. Ground truth goes on to 0:46" in note.inner_text()
    hidden = int(re.search(r"(\d+) segments not shown", note.inner_text()).group(1))
    assert hidden == sum(n["start"] >= 24 for n in nodes)
    assert view(page)[1] == pytest.approx(24, abs=0.1)
    note.get_by_role("button").click()
    assert view(page)[1] > 46
    last = max(nodes, key=lambda n: n["start"])
    click(page, last)
    wait_for_playhead(page, "time > 23.9")
    assert "after the clip" in page.get_by_label("Details").inner_text()


@needs_real_trees
def test_a_real_tree_is_drawn_whole_and_searched(open_sample):
    page = open_sample("real")
    tree = max(real_trees(), key=len)
    page.get_by_role("note").get_by_role("button").click()  # the video beside it is a short one
    assert count(page) == len(tree)
    assert view(page)[1] == pytest.approx(tree.duration, abs=1)
    said = tree.root.text("action", "brief")
    page.get_by_label("Search the captions").fill(said)
    page.get_by_test_id("hits").filter(has_text=re.compile("[1-9]")).wait_for()


def test_a_run_without_ground_truth_is_drawn_alone(open_sample):
    page = open_sample("run only")
    assert [t.get_attribute("aria-label") for t in page.locator("[role=tree]").all()] == ["coarse"]
    assert count(page, "coarse") == 3


def test_a_video_without_trees_offers_to_annotate_it(open_sample):
    page = open_sample("nothing")
    assert "annotate_videos" in page.locator(PANEL).inner_text()
    page.get_by_role("button", name="Annotate this video").click()
    page.get_by_text("1 video will be annotated").wait_for()


def test_an_error_in_python_is_shown_and_the_modal_stays_open(open_sample):
    page = open_sample("broken")
    alert = page.locator(f"{PANEL} [role=alert]")
    assert "compute_metadata" in alert.inner_text()
    alert.get_by_role("button", name="Retry").click()
    page.wait_for_selector(f"{PANEL} [role=alert]")
    assert page.locator("[data-cy=modal-looker-container]").is_visible()


def test_after_a_lost_connection_retry_loads_the_trees(page, app, open_sample):
    lose_calls(page, "get_trees")
    open_sample("tea")
    retry = page.locator(PANEL).get_by_role("button", name="Retry")
    retry.wait_for()
    page.unroute(CALLS)
    retry.click()
    page.wait_for_selector("[role=tree]")
    assert count(page) == len(app.info["nodes"]["tea"])


def test_very_large_trees_are_drawn_before_their_long_texts_are_there(page, app, open_sample):
    lose_calls(page, '"whole"')
    open_sample("large")
    nodes = app.info["nodes"]["tea"]
    assert lane(page).get_attribute("data-count") == str(len(nodes))
    page.get_by_text("The long texts could not be read").wait_for()
    page.get_by_label("Search the captions").fill("zebra")
    hits = page.get_by_test_id("hits")
    assert hits.inner_text() == "none in the brief texts so far"
    click(page, nodes[0])
    page.get_by_text("The long texts are not here yet").wait_for()
    page.get_by_text("Export", exact=True).click()
    for kind in ("SVG", "Markdown", "JSON"):
        assert page.get_by_role("menuitem", name=kind).is_disabled()

    page.unroute(CALLS)
    page.locator(f"{PANEL} [role=alert]").get_by_role("button", name="Retry").click()
    page.locator("[data-testid=hits]", has_text=re.compile(f"^1/{len(nodes)}$")).wait_for()
    click(page, nodes[0])
    page.locator("[data-field=plm_caption] mark", has_text="zebra").wait_for()


def test_an_app_that_lacks_what_the_panel_needs_says_which_and_the_modal_stays(browser, app):
    page = new_page(browser)
    # As the App of another version, which shares its packages without this one's atom.
    page.add_init_script(
        """let shared;
        Object.defineProperty(window, "__fos__", {
            get: () => shared,
            set: (given) => { shared = { ...given, modalLooker: undefined }; },
        });"""
    )
    page.goto(f"{app.url}/datasets/{app.dataset}")
    page.wait_for_selector("[data-cy=looker]", timeout=60_000)
    page.evaluate("(id) => __foo__.executeOperator('open_sample', { id })", app.info["ids"]["tea"])
    page.click("[data-cy=panel-tab-tree_of_captions]")
    page.get_by_role("alert").get_by_text("This App lacks __fos__.modalLooker").wait_for()
    assert page.locator("[data-cy=modal]").is_visible()
    assert page.failures == []
    page.context.close()


def test_going_from_sample_to_sample_leaves_nothing_behind(page, app):
    """The page's elements and listeners are as many after 30 changes as after 60."""
    open_panel(page, app, app.info["ids"]["tea"])
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable")

    def held():
        for _ in range(3):
            devtools.send("HeapProfiler.collectGarbage")
            page.wait_for_timeout(200)
        metrics = devtools.send("Performance.getMetrics")["metrics"]
        return {m["name"]: m["value"] for m in metrics}

    def change(times):
        for i in range(times):
            name = ("bean", "tea")[i % 2]
            sample_id = app.info["ids"][name]
            page.evaluate("(id) => __foo__.executeOperator('open_sample', { id })", sample_id)
            page.wait_for_url(f"**id={sample_id}*")
            page.locator(f"{PANEL} [data-tree=ground_truth]").wait_for()
            page.locator(f"{PANEL} h2", has_text=("Bean", "Tea")[i % 2]).wait_for()

    change(30)
    before = held()
    change(30)
    after = held()
    # A panel that stayed has some hundred elements and a dozen listeners.
    assert after["Nodes"] < before["Nodes"] + 1000
    assert after["JSEventListeners"] < before["JSEventListeners"] + 60


def test_annotate_mode_says_that_the_video_cannot_be_followed_and_leads_back(tea):
    page = tea
    page.click("[data-cy=annotate]")
    page.get_by_text("Annotate mode has a player of its own").wait_for()
    assert page.get_by_test_id("playhead").is_hidden()
    page.get_by_role("button", name="Switch to Explore").click()
    page.wait_for_selector("[data-testid=playhead][data-time]", state="attached")


def test_light_theme_and_400_pixels_leave_everything_readable(open_sample, app):
    page = open_sample("tea")
    dark = colour_at(page, *spot(page, app.info["nodes"]["tea"][0], at=0.97))
    page.evaluate('document.documentElement.setAttribute("data-mui-color-scheme", "light")')
    page.wait_for_timeout(100)
    light = colour_at(page, *spot(page, app.info["nodes"]["tea"][0], at=0.97))
    assert sum(map(int, light.split()[:3])) > sum(map(int, dark.split()[:3])) + 100
    page.locator(PANEL).evaluate("(panel) => { panel.style.width = '400px'; }")
    page.wait_for_timeout(200)
    click(page, app.info["nodes"]["tea"][2])
    wide = page.evaluate(
        """() => [...document.querySelectorAll(".a100m :is(header, .toolbar, .details, .timeline)")]
            .filter((each) => each.scrollWidth > each.clientWidth + 1)
            .map((each) => each.className)"""
    )
    assert wide == []
    assert selected(page)[0] == app.info["nodes"]["tea"][2]["id"]


# -- acting ----------------------------------------------------------------------------------


def test_a_segment_of_a_run_is_flagged_and_corrected_and_the_ground_truth_is_not(open_sample, app):
    page = open_sample("bean")
    page.get_by_label("Lower tree").select_option("coarse")
    node = app.info["nodes"]["coarse bean"][1]
    click(page, node, "coarse")
    review = page.get_by_role("form", name="Review")
    review.get_by_role("button", name="Flag").click()
    review.get_by_role("button", name="Flagged").wait_for()
    review.get_by_role("button", name="Correct or tag").click()
    review.get_by_label("Action").fill("sow the bean")
    review.get_by_label("Tags").fill("sowing, good")
    review.get_by_role("button", name="Save").click()
    review.get_by_text("corrected by").wait_for()
    assert review.locator(".tag").all_inner_texts() == ["sowing", "good"]
    action = page.locator("[data-field=plm_action][data-side=node]")
    assert "sow the bean" in action.inner_text()
    page.get_by_role("button", name="Filters").click()
    page.get_by_label("flagged only").check()
    assert count(page, "coarse") == 1
    page.get_by_role("button", name="Show all").click()
    page.get_by_role("button", name="Reload").click()
    page.wait_for_selector("[role=tree]")
    page.keyboard.press("0")
    click(page, node, "coarse")
    assert "sow the bean" in action.inner_text()
    click(page, app.info["nodes"]["bean"][1])
    assert review.count() == 0
    assert "read only" in page.get_by_label("Details").inner_text()


def test_a_review_that_is_saved_late_leaves_the_next_sample_as_it_is(page, app, open_sample):
    open_sample("bean")
    page.get_by_label("Lower tree").select_option("coarse")
    click(page, app.info["nodes"]["coarse bean"][2], "coarse")
    held = []
    page.route(
        CALLS,
        lambda route: (
            held.append(route) if '"flagged"' in route.request.post_data else route.continue_()
        ),
    )
    page.get_by_role("form", name="Review").get_by_role("button", name="Flag").click()
    tea = app.info["ids"]["tea"]
    page.evaluate("(id) => { __foo__.executeOperator('open_sample', { id }); }", tea)
    title = page.locator(f"{PANEL} h2", has_text="Tea")
    title.wait_for()
    with page.expect_response(CALLS):
        held[0].continue_()
    page.wait_for_timeout(1000)
    assert title.is_visible()
    assert count(page) == len(app.info["nodes"]["tea"])


@pytest.mark.parametrize(
    ("kind", "begins"),
    [("PNG", b"\x89PNG"), ("SVG", b"<svg"), ("Markdown", b"# How to"), ("JSON", b"{")],
)
def test_the_visible_trees_are_exported(tea, kind, begins):
    page = tea
    page.locator("summary", has_text="Export").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name=kind).click()
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(begins)
    assert len(content) > 500
    if kind != "PNG":
        assert b"<img" not in content.replace(b"\\<img", b"") or kind == "JSON"


def test_the_visible_level_opens_as_clips(open_sample, app):
    page = open_sample("tea")
    click(page, app.info["nodes"]["tea"][1])
    page.locator("summary", has_text="Export").click()
    page.get_by_role("menuitem", name="Open as clips: level 1").click()
    page.wait_for_selector("[data-cy=modal-looker-container]", state="detached")
    page.get_by_text("2 clips").first.wait_for()
    page.evaluate("() => __foo__.executeOperator('clear_view', {})")
    page.get_by_text("2 clips").first.wait_for(state="detached")


def test_beside_the_grid_a_selected_sample_shows_its_trees(page, app):
    page.goto(f"{app.url}/datasets/{app.dataset}")
    page.wait_for_selector("[data-cy=looker]", timeout=60_000)
    page.evaluate("() => __foo__.executeOperator('close_sample', {})")
    options = json.dumps({"name": "tree_of_captions", "layout": "horizontal"})
    page.evaluate(f"() => __foo__.executeOperator('open_panel', {options})")
    page.get_by_test_id("counts").wait_for()
    assert "With ground truth" in page.get_by_test_id("counts").inner_text()
    assert "Select a video" in page.locator(PANEL).inner_text()
    ids = json.dumps([app.info["ids"]["tea"]])
    page.evaluate(f"() => __foo__.executeOperator('set_selected_samples', {{samples: {ids}}})")
    page.wait_for_selector("[role=tree]")
    assert count(page) == len(app.info["nodes"]["tea"])
    click(page, app.info["nodes"]["tea"][1])
    assert selected(page)[0] == app.info["nodes"]["tea"][1]["id"]
    page.get_by_role("button", name="Open the video").click()
    page.wait_for_selector("[data-cy=modal-looker-container]")
    page.evaluate("() => __foo__.executeOperator('close_sample', {})")
    page.evaluate("() => __foo__.executeOperator('clear_selected_samples', {})")
