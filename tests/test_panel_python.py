"""The Python half of the Tree-of-Captions panel, called as the App's server calls it."""

import pytest

from pipeline import dataset as trees_and_samples
from pipeline.samplekit import make_kit

pytestmark = pytest.mark.fiftyone

URI = "@action100m/action100m-fiftyone/tree_of_captions"


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    return make_kit(tmp_path_factory.mktemp("kit"))


@pytest.fixture
def dataset(fo, kit):
    """The kit's first two videos with their true trees."""
    trees = list(kit.trees().values())[:2]
    videos = {v.spec.uid: v.path for v in kit.videos}
    dataset = fo.Dataset()
    trees_and_samples.add_ground_truth(dataset, trees, videos)
    yield dataset
    dataset.delete()


@pytest.fixture
def get_trees(fo, dataset):
    """``get_trees(sample_id)``: the panel's answer."""
    import fiftyone.operators as foo

    def call(sample_id=None, view=None, **context):
        params = {"__method__": "get_trees", "panel_id": "panel", "panel_state": {}}
        if sample_id is not None:
            params["sample_id"] = sample_id
        samples = {"dataset": dataset} if view is None else {"view": view}
        return foo.execute_operator(URI, {**samples, "params": params, **context}).result

    return call


def test_the_panel_is_registered_for_the_modal(fo):
    import fiftyone.operators as foo

    panel = foo.get_operator(URI)
    assert panel.config.surfaces == "modal"
    assert panel.resolve_panel_config()["label"] == "Tree-of-Captions"


def test_render_names_the_component_of_the_bundle_and_the_method_that_it_calls(fo):
    import fiftyone.operators as foo

    view = foo.get_operator(URI).render(None).to_json()["view"]
    assert view["component"] == "TreeOfCaptionsView"
    assert view["composite_view"] is True
    assert view["get_trees"] == f"{URI}#get_trees"


def test_an_answer_has_the_trees_and_what_places_them_in_time(get_trees, dataset, kit):
    sample = dataset.first()
    answer = get_trees(sample.id)
    tree = kit.trees()[sample["video_uid"]]
    assert answer["sample_id"] == sample.id
    assert answer["title"] == tree.metadata["title"]
    assert answer["fps"] == pytest.approx(sample.metadata.frame_rate)
    assert answer["frames"] == sample.metadata.total_frame_count
    assert answer["duration"] == pytest.approx(answer["frames"] / answer["fps"])
    (ground_truth,) = answer["trees"]
    assert ground_truth["name"] == "ground_truth"
    assert [n["node_id"] for n in ground_truth["nodes"]] == [s.node_id for s in tree.segments]


def test_the_sample_that_the_app_names_wins_over_the_one_that_the_server_believes_open(
    get_trees, dataset
):
    first, last = dataset.first().id, dataset.last().id
    assert get_trees(last, current_sample=first)["sample_id"] == last
    assert get_trees(current_sample=first)["sample_id"] == first


def test_a_clip_shows_the_trees_of_its_video(get_trees, dataset, fo):
    clips = dataset.to_clips("gpt_action_brief")
    answer = get_trees(clips.first().id, view=clips)
    assert answer["trees"] == get_trees(clips.first()["sample_id"])["trees"]


def test_a_video_without_metadata_and_title_is_measured_and_named_after_its_file(
    get_trees, dataset, fo, kit
):
    path = kit.videos[0].path
    dataset.add_sample(fo.Sample(filepath=str(path)))
    answer = get_trees(dataset.last().id)
    assert answer["title"] == path.stem
    assert answer["fps"] > 0
    assert answer["frames"] > 0
    assert answer["trees"] == []


def test_an_unknown_sample_is_an_error_that_names_it(get_trees):
    answer = get_trees("0" * 24)
    assert set(answer) == {"error"}
    assert "0" * 24 in answer["error"]


def test_no_open_sample_is_an_error(get_trees):
    assert get_trees() == {"error": "No sample is open."}


def test_a_video_that_cannot_be_read_is_an_error(get_trees, dataset, fo, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"not a video")
    dataset.add_sample(fo.Sample(filepath=str(tmp_path / "broken.mp4")))
    assert "could not be read" in get_trees(dataset.last().id)["error"]
