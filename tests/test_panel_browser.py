"""The Tree-of-Captions panel in the real FiftyOne App, in Chromium, with videos that play."""

import re
from dataclasses import replace

import pytest

from tests.app import CHROMIUM, CHROMIUM_ARGS, running_app

pytestmark = [pytest.mark.fiftyone, pytest.mark.browser, pytest.mark.slow]

MARKUP = '<img src=x onerror="window.hacked=true"> & <b>stir</b>'
PANEL = "[data-testid=tree-of-captions]"


# -- the dataset, built in the App's process -------------------------------------------------


def build_dataset(folder):
    """Six samples of the kit's videos; the returned names say what is special about each."""
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
        trees_and_samples.start_run(dataset, key, {"preset": "embedded"})
        ids = dict(zip(*dataset.values(["video_uid", "id"]), strict=True))
        trees_and_samples.save_run(dataset, key, made, {}, ids, {})

    video = str(videos[tea.video_uid])
    others = {
        # the tree of a longer video, as where a clip was downloaded and not the whole video
        "long": fo.Sample(filepath=video, ground_truth_tree=birdhouse.to_dict()),
        "run only": fo.Sample(filepath=video, coarse_tree=coarse(tea, 1).to_dict()),
        "nothing": fo.Sample(filepath=video),
        # labels that say neither when they are nor let it be computed
        "broken": fo.Sample(
            filepath=video,
            old_plm_action=fo.TemporalDetections(
                detections=[fo.TemporalDetection(label="stir", support=[1, 9], node_id="a")]
            ),
        ),
    }
    ids = dataset.add_samples(list(others.values()), dynamic=True, progress=False)
    names |= dict(zip(others, ids, strict=True))
    info = {
        "ids": names,
        "tea": [s.node_id for s in tea.segments],
        "last of birdhouse": max(birdhouse.segments, key=lambda s: s.start).node_id,
        "counts": {
            "tea": len(tea),
            "bean": len(bean),
            "sunset": len(sunset),
            "birdhouse": len(birdhouse),
            "coarse tea": len(coarse(tea, 2)),
            "coarse bean": len(coarse(bean, 3)),
            "fine tea": len(coarse(tea, 4)),
        },
        "starts": {s.node_id: s.start for s in tea.segments},
        "fps": dataset.first().metadata.frame_rate,
    }
    return dataset, info


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


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1600, "height": 900})
    context.set_default_timeout(30_000)
    page = context.new_page()
    # A pop-over that advertises another product would take the clicks.
    page.add_init_script('localStorage["fiftyone-enterprise-tooltip-seen"] = "true"')
    page.failures = []
    page.on("pageerror", lambda error: page.failures.append(str(error)))
    yield page
    failures = page.failures
    context.close()
    assert failures == []


@pytest.fixture
def open_sample(page, app):
    """Open a sample of the dataset in the modal, and the panel in it."""

    def open_it(name):
        page.goto(app.sample_url(app.info["ids"][name]))
        page.wait_for_selector("[data-cy=modal-looker-container]", timeout=60_000)
        show_panel(page)
        return page

    return open_it


def show_panel(page):
    page.click("[data-cy=panel-tab-tree_of_captions]")
    page.wait_for_selector(PANEL)
    # It docks beside the video, which mounts it a second time.
    page.wait_for_selector("[data-cy=modal-looker-container]")
    page.wait_for_selector(f"{PANEL} :is([role=tree], .message:not(:has(.spinner)))")


def count(page, tree):
    return page.locator(f"[data-tree={tree}] [role=treeitem]").count()


def bar(page, node_id, tree="ground_truth"):
    return page.locator(f'[data-tree={tree}] [data-node-id="{node_id}"]')


def playhead(page):
    """The playhead's time in seconds."""
    return float(page.locator("[data-testid=playhead]").get_attribute("data-time"))


def wait_for_playhead(page, condition):
    page.wait_for_function(
        f"""() => {{
            const playhead = document.querySelector("[data-testid=playhead]");
            const time = playhead ? Number(playhead.dataset.time) : NaN;
            return {condition};
        }}"""
    )


def wait_for_start(page, app, node_id):
    """Wait until the playhead is on the first frame of a node of the first video."""
    start, frame = app.info["starts"][node_id], 1 / app.info["fps"]
    wait_for_playhead(page, f"Math.abs(time - {start}) <= {frame / 2 + 0.001}")


# -- tests -----------------------------------------------------------------------------------


def test_both_trees_are_drawn_beside_the_video(open_sample, app):
    page = open_sample("tea")
    assert count(page, "ground_truth") == app.info["counts"]["tea"]
    assert count(page, "coarse") == app.info["counts"]["coarse tea"]
    assert page.locator("[data-cy=modal-looker-container]").is_visible()
    trees = page.locator("[role=tree]").all()
    assert [t.get_attribute("aria-label") for t in trees] == ["Ground truth", "coarse"]
    root = bar(page, app.info["tea"][0])
    assert re.fullmatch(r".+, 0\.00 to 24\.00 s", root.get_attribute("aria-label"))
    assert root.get_attribute("aria-level") == "1"


def test_another_run_can_be_chosen(open_sample, app):
    page = open_sample("tea")
    page.get_by_label("Run").select_option("fine")
    assert count(page, "fine") == app.info["counts"]["fine tea"]
    assert count(page, "coarse") == 0


def test_a_click_seeks_the_video_and_shows_the_captions(open_sample, app):
    page = open_sample("tea")
    node_id = app.info["tea"][2]
    assert app.info["starts"][node_id] > 1
    bar(page, node_id).click()
    wait_for_start(page, app, node_id)
    assert bar(page, node_id).get_attribute("aria-selected") == "true"
    assert page.locator(f'[data-active-node="{node_id}"]').count() >= 1
    shown = page.locator("[data-testid=timeline-playhead-time]").inner_text()
    minutes, seconds = re.search(r"(\d+):([\d.]+)", shown).groups()
    assert int(minutes) * 60 + float(seconds) == pytest.approx(playhead(page), abs=0.011)
    details = page.get_by_label("Details")
    assert "level 1" in details.inner_text()
    assert details.locator("[data-field='plm_caption']").inner_text().strip()


def test_arrow_keys_move_the_selection_and_enter_seeks(open_sample, app):
    page = open_sample("tea")
    root, first, second = app.info["tea"][:3]
    address = page.url
    bar(page, root).click()
    for key, expected in [
        ("ArrowDown", first),
        ("ArrowRight", second),
        ("ArrowLeft", first),
        ("ArrowUp", root),
        ("ArrowUp", root),
        ("ArrowLeft", root),
    ]:
        page.keyboard.press(key)
        page.wait_for_selector(f'[data-node-id="{expected}"][aria-selected=true]:focus')
    assert playhead(page) == 0
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    wait_for_start(page, app, second)
    assert page.url == address  # the App's own shortcut would have opened another sample


def test_playing_moves_the_playhead_and_redraws_no_bars(open_sample, app):
    page = open_sample("tea")
    page.evaluate(
        """() => {
            window.redrawn = 0;
            const observer = new MutationObserver((list) => { window.redrawn += list.length; });
            for (const bar of document.querySelectorAll("[role=treeitem]"))
                observer.observe(bar, { attributes: true, childList: true, characterData: true });
        }"""
    )
    assert playhead(page) == 0
    page.click("[data-testid=timeline-controls-play-pause]")
    wait_for_playhead(page, "time > 1")
    page.click("[data-testid=timeline-controls-play-pause]")
    assert page.evaluate("window.redrawn") == 0


def test_the_next_sample_brings_its_own_trees(page, app):
    page.goto(f"{app.url}/datasets/{app.dataset}")
    page.wait_for_selector("[data-cy=looker]", timeout=60_000)
    # The App's session still has the sample open that another test opened.
    page.evaluate("() => __foo__.executeOperator('close_sample', {})")
    page.wait_for_selector("[data-cy=modal-looker-container]", state="detached")
    page.wait_for_selector("[data-cy=looker] canvas[canvas-loaded=true]")
    page.locator("[data-cy=looker]").first.click()
    page.wait_for_selector("[data-cy=modal-looker-container]")
    show_panel(page)
    assert count(page, "ground_truth") == app.info["counts"]["tea"]
    bar(page, app.info["tea"][2]).click()
    wait_for_playhead(page, "time > 1")

    page.locator("[data-cy=nav-right-button]").click()
    page.wait_for_function(
        f"""() => document.querySelectorAll("[data-tree=ground_truth] [role=treeitem]").length
            === {app.info["counts"]["bean"]}"""
    )
    assert count(page, "coarse") == app.info["counts"]["coarse bean"]
    assert page.locator("[aria-selected=true]").count() == 0
    page.locator("[data-tree=ground_truth] [aria-level='2']").nth(1).click()
    wait_for_playhead(page, "time > 1")


def test_markup_in_captions_is_shown_as_text(open_sample):
    page = open_sample("tea")
    root = page.locator("[data-tree=coarse] [role=treeitem]").first
    assert root.inner_text() == MARKUP
    root.click()
    assert page.locator("[data-field=plm_action]").inner_text() == MARKUP
    assert page.locator(f"{PANEL} :is(img, b)").count() == 0
    assert page.evaluate("window.hacked") is None


def test_a_tree_that_is_longer_than_the_clip_says_so_and_can_be_shown_whole(open_sample, app):
    page = open_sample("long")
    note = page.get_by_role("note")
    assert "This clip ends at 0:24. Ground truth goes on to 0:46" in note.inner_text()
    hidden = int(re.search(r"(\d+) segments not shown", note.inner_text()).group(1))
    assert 0 < hidden == app.info["counts"]["birdhouse"] - count(page, "ground_truth")
    note.get_by_role("button").click()
    assert count(page, "ground_truth") == app.info["counts"]["birdhouse"]
    bar(page, app.info["last of birdhouse"]).click()
    wait_for_playhead(page, "time > 23.9")
    assert "after the clip" in page.get_by_label("Details").inner_text()


def test_a_run_without_ground_truth_is_drawn_alone(open_sample):
    page = open_sample("run only")
    assert [t.get_attribute("aria-label") for t in page.locator("[role=tree]").all()] == ["coarse"]
    assert count(page, "coarse") == 3


def test_a_video_without_trees_says_what_to_do(open_sample):
    page = open_sample("nothing")
    assert "annotate_videos" in page.locator(PANEL).inner_text()


def test_an_error_in_python_is_shown_and_the_modal_stays_open(open_sample):
    page = open_sample("broken")
    alert = page.locator(f"{PANEL} [role=alert]")
    assert "compute_metadata" in alert.inner_text()
    alert.get_by_role("button", name="Retry").click()
    page.wait_for_selector(f"{PANEL} [role=alert]")
    assert page.locator("[data-cy=modal-looker-container]").is_visible()


def test_after_a_lost_connection_retry_loads_the_trees(page, app, open_sample):
    lose = "**/operators/execute*"
    page.route(
        lose,
        lambda route: (
            route.abort() if "get_trees" in (route.request.post_data or "") else route.continue_()
        ),
    )
    open_sample("tea")
    retry = page.locator(PANEL).get_by_role("button", name="Retry")
    retry.wait_for()
    page.unroute(lose)
    retry.click()
    page.wait_for_selector("[role=tree]")
    assert count(page, "ground_truth") == app.info["counts"]["tea"]


def test_annotate_mode_says_that_the_video_cannot_be_followed(open_sample):
    page = open_sample("tea")
    page.click("[data-cy=annotate]")
    page.get_by_text("Annotate mode has a player of its own").wait_for()
    assert page.locator("[data-testid=playhead]").count() == 0
    page.click("[data-cy=explore]")
    page.wait_for_selector("[data-testid=playhead]", state="attached")
