"""The operators in the real FiftyOne App, in Chromium, as a person finds and fills them."""

import pytest

from tests.app import CHROMIUM, CHROMIUM_ARGS, running_app

pytestmark = [pytest.mark.fiftyone, pytest.mark.browser, pytest.mark.slow]

MARKUP = '<img src=x onerror="window.hacked=true"> & <b>stir</b>'


def build_dataset(folder):
    """The kit's videos with their ground truth; one caption is markup."""
    from pipeline import dataset as datasets
    from pipeline.samplekit import make_kit
    from tests.operating import changed

    kit = make_kit(folder / "kit")
    trees = kit.trees()
    first = next(iter(trees))
    gpt = {
        "summary": {"brief": MARKUP, "detailed": MARKUP},
        "action": {"brief": MARKUP, "detailed": MARKUP, "actor": MARKUP},
    }
    trees[first] = changed(trees[first], 1, gpt=gpt)
    dataset = datasets.open_dataset("operator-tests")
    datasets.add_ground_truth(dataset, trees.values(), {v.spec.uid: v.path for v in kit.videos})
    found = datasets.find_segments(dataset, datasets.SegmentQuery(text="stir</b>"))
    return dataset, {"found": len(found)}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    if CHROMIUM is None:
        pytest.fail("Chromium is missing: run `make test`, which sets it up")
    with running_app(
        tmp_path_factory.mktemp("app"), "tests.test_operators_browser:build_dataset"
    ) as app:
        yield app


@pytest.fixture
def page(app):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        context = browser.new_context(viewport={"width": 1600, "height": 900})
        context.set_default_timeout(30_000)
        context.add_init_script("localStorage['fiftyone-enterprise-tooltip-seen'] = 'true'")
        page = context.new_page()
        yield page
        browser.close()


def test_find_segments_opens_the_hits_as_clips(page, app):
    page.goto(f"{app.url}/datasets/{app.dataset}")
    page.wait_for_selector("[data-cy=looker]", timeout=60_000)
    page.keyboard.press("`")
    page.get_by_placeholder("Search operations by name...").fill("find segments")
    page.keyboard.press("Enter")
    page.get_by_text("4 videos will be searched.").wait_for()
    page.get_by_text("give a text, or any other condition, to look for").wait_for()
    page.get_by_role("textbox").first.fill("stir</b>")
    page.get_by_role("button", name="Find", exact=True).click()
    page.get_by_text("1 segment in 1 video").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("1 clip", exact=True).wait_for()
    page.wait_for_selector("[data-cy=looker]")
    assert page.locator("[data-cy=looker]").count() == app.info["found"] == 1
    page.locator("[data-cy=looker]").get_by_text(MARKUP).wait_for()
    assert page.evaluate("window.hacked") is None


def test_annotate_videos_is_filled_in_watched_and_seen_in_the_panel(page, app):
    page.goto(f"{app.url}/datasets/{app.dataset}")
    page.wait_for_selector("[data-cy=looker]", timeout=60_000)
    page.evaluate("() => __foo__.executeOperator('clear_view', {})")  # another test's
    page.get_by_text("4 samples", exact=True).wait_for()
    page.keyboard.press("`")
    page.get_by_placeholder("Search operations by name...").fill("annotate videos")
    page.keyboard.press("Enter")
    page.get_by_text("4 videos will be annotated.").wait_for()
    page.get_by_label("Run key").or_(page.get_by_role("textbox").first).first.fill("9 lives")
    page.get_by_role("combobox").first.fill("embedded")
    page.keyboard.press("Enter")
    page.get_by_text("the run key '9 lives' cannot name fields").wait_for()
    page.get_by_role("textbox").first.fill("seen")
    page.get_by_text("less what the run has already").or_(
        page.get_by_text("whose lengths are not known yet")
    ).wait_for()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("embed: video").first.wait_for()
    assert page.request.get(f"{app.url}/fiftyone", timeout=5_000).ok  # the App stays free
    assert page.get_by_text("embed: video").or_(page.get_by_text("segment: video")).count()
    page.get_by_text("seen: 4 videos done (0 of them before), 0 failed").wait_for(timeout=180_000)
    page.keyboard.press("Escape")  # the dialog in which the progress was
    page.locator("[data-cy=looker]").first.click()
    page.get_by_text("Tree-of-Captions").first.click()
    page.locator("[role=tree][aria-label=seen]").first.wait_for(state="attached")
