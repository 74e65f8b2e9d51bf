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


@pytest.fixture
def panel(fo, dataset):
    """``panel(method, **params)``: what a method of the panel answers."""
    import fiftyone.operators as foo

    def call(method, **params):
        params = {"__method__": method, "panel_id": "panel", "panel_state": {}, **params}
        return foo.execute_operator(URI, {"dataset": dataset, "params": params}).result

    return call


@pytest.fixture
def run(dataset, kit):
    """The key of a run whose trees are the true ones."""
    trees = list(kit.trees().values())[:2]
    models = {"embed": "eyes", "caption": "a captioner", "refine": "a refiner"}
    trees_and_samples.start_run(dataset, "mine", {"preset": "embedded", "models": models})
    ids = dict(zip(*dataset.values(["video_uid", "id"]), strict=True))
    trees_and_samples.save_run(dataset, "mine", trees, {}, ids, {})
    return "mine"


def test_the_panel_is_registered_for_the_modal_and_the_grid(fo):
    import fiftyone.operators as foo

    panel = foo.get_operator(URI)
    assert panel.config.surfaces == "grid modal"
    assert panel.resolve_panel_config()["label"] == "Tree-of-Captions"


def test_render_names_the_component_of_the_bundle_and_the_method_that_it_calls(fo):
    import fiftyone.operators as foo

    view = foo.get_operator(URI).render(None).to_json()["view"]
    assert view["component"] == "TreeOfCaptionsView"
    assert view["composite_view"] is True
    for method in ("get_trees", "get_counts", "review", "open_clips", "open_sample", "annotate"):
        assert view[method] == f"{URI}#{method}"


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


def test_trees_come_with_their_models_agreement_and_whether_they_can_be_edited(
    get_trees, dataset, run
):
    sample = dataset.first()
    sample["mine_agreement"] = {"prediction": {"a": {"iou": 1.0, "text": 0.5}}}
    sample.save()
    truth, mine = get_trees(sample.id)["trees"]
    assert (truth["editable"], truth["models"], truth["agreement"]) == (False, {}, None)
    assert mine["editable"] is True
    assert mine["models"]["plm_caption"] == mine["models"]["llama3_caption"] == "a captioner"
    assert mine["models"]["gpt"] == "a refiner"
    assert mine["agreement"] == {"prediction": {"a": {"iou": 1.0, "text": 0.5}}}


def test_where_two_models_caption_each_text_has_its_own(get_trees, dataset, run):
    caption = {"model": "org/segments", "leaf": {"model": "org/leaves"}}
    models = {"caption": "segments and leaves", "refine": "a refiner"}
    config = {"preset": "two", "models": models, "configuration": {"caption": caption}}
    trees_and_samples.start_run(dataset, run, config)
    found = get_trees(dataset.first().id)["trees"][1]["models"]
    assert found["plm_caption"] == "org/segments"
    assert found["llama3_caption"] == "org/leaves"
    assert found["gpt"] == "a refiner"


def test_the_transcript_comes_with_times(get_trees, dataset, fo):
    sample = dataset.first()
    sample["transcript_segments"] = fo.TemporalDetections(
        detections=[
            fo.TemporalDetection(label="hello", support=[1, 50], start=0.0, end=2.1),
            fo.TemporalDetection(label="there", support=[51, 75]),
        ]
    )
    sample.save()
    lines = get_trees(sample.id)["transcript"]
    assert lines[0] == {"start": 0.0, "end": 2.1, "text": "hello"}
    assert lines[1]["start"] == pytest.approx(50 / sample.metadata.frame_rate)


def test_very_large_trees_come_without_their_long_texts_until_these_are_asked_for(
    get_trees, panel, dataset
):
    sample = dataset.first()
    tree = dict(sample["ground_truth_tree"])
    refined = {
        "summary": {"brief": "Tea is made.", "detailed": "long " * 100},
        "action": {"brief": "make tea", "detailed": "long " * 100, "actor": "a hand"},
    }
    review = {"flagged": True, "tags": [], "before": {}, "by": "me", "at": "now"}
    only = dict.fromkeys(("plm_action", "llama3_caption", "gpt"))
    root, leaf = tree["nodes"][0], tree["nodes"][-1]
    tree["nodes"] = [
        {**root, "plm_caption": "long " * 300_000, "gpt": refined, "review": review},
        {**leaf, **only, "plm_caption": "a pot is lifted " * 50},
    ]
    sample["ground_truth_tree"] = tree
    sample.save()

    answer = get_trees(sample.id)
    assert answer["whole"] is False
    first, last = answer["trees"][0]["nodes"]
    place = ("node_id", "parent_id", "level", "start", "end")
    assert {name: first[name] for name in place} == {name: root[name] for name in place}
    assert first["gpt"] == {
        "summary": {"brief": "Tea is made."},
        "action": {"brief": "make tea", "actor": "a hand"},
    }
    assert first["review"] == review and "plm_caption" not in first
    assert "a pot is lifted " * 50 > last["plm_caption"] > "a pot is lifted " * 12

    answer = panel("get_trees", sample_id=sample.id, whole=True)
    assert answer["whole"] is True
    assert answer["trees"][0]["nodes"] == tree["nodes"]


def test_trees_of_the_usual_size_come_whole(get_trees, dataset):
    answer = get_trees(dataset.first().id)
    assert answer["whole"] is True
    assert answer["trees"][0]["nodes"] == dataset.first()["ground_truth_tree"]["nodes"]


def test_the_dataset_is_counted(panel, dataset, run):
    counts = panel("get_counts")
    assert counts["videos"] == 2
    assert counts["trees"] == [
        {"label": "With ground truth", "count": 2},
        {"label": "With run mine", "count": 2},
    ]


def _refined(dataset):
    sample = dataset.first()
    return sample, next(n for n in sample["mine_tree"]["nodes"] if n["gpt"])


def test_a_correction_is_kept_with_who_and_when_in_the_tree_and_the_labels(panel, dataset, run):
    sample, node = _refined(dataset)
    target = {"sample_id": sample.id, "tree": "mine", "node_id": node["node_id"]}
    truth = sample["ground_truth_tree"]
    said = {"flagged": True, "tags": ["late", " late", ""], "action": "sow", "actor": None}
    answer = panel("review", **target, **said)
    assert answer["sample_id"] == sample.id and "error" not in answer

    dataset.reload()
    sample = dataset[sample.id]
    changed = next(n for n in sample["mine_tree"]["nodes"] if n["node_id"] == node["node_id"])
    assert changed["gpt"]["action"]["brief"] == "sow"
    assert changed["gpt"]["action"]["actor"] == node["gpt"]["action"]["actor"]
    review = changed["review"]
    assert review["flagged"] and review["tags"] == ["late"] and review["by"]
    assert review["at"].endswith("+00:00")
    assert review["before"] == {"gpt.action.brief": node["gpt"]["action"]["brief"]}
    (label,) = (d for d in sample["mine_action_brief"].detections if d.node_id == node["node_id"])
    assert label.label == "sow" and set(label.tags) == {"flagged", "late"}
    assert sample["ground_truth_tree"] == truth

    # Taken back: the model's text stands, and the labels lose what was said, not other tags.
    label.tags.append("other")
    sample.save()
    panel("review", **target, flagged=False, tags=[], action=node["gpt"]["action"]["brief"])
    sample.reload()
    changed = next(n for n in sample["mine_tree"]["nodes"] if n["node_id"] == node["node_id"])
    assert changed["review"]["before"] == {}
    (label,) = (d for d in sample["mine_action_brief"].detections if d.node_id == node["node_id"])
    assert label.label == node["gpt"]["action"]["brief"] and label.tags == ["other"]


def test_a_leaf_is_corrected_where_its_action_is(panel, dataset, run):
    sample = dataset.first()
    leaf = next(n for n in sample["mine_tree"]["nodes"] if not n["gpt"])
    target = {"sample_id": sample.id, "tree": "mine", "node_id": leaf["node_id"]}
    panel("review", **target, flagged=False, tags=[], action="lift the lid", actor="a hand")
    sample.reload()
    changed = next(n for n in sample["mine_tree"]["nodes"] if n["node_id"] == leaf["node_id"])
    assert changed["plm_action"] == "lift the lid"
    assert changed["gpt"] is None


def test_what_was_said_outlives_that_the_run_is_done_again(panel, dataset, fo):
    """A real run, cut into longer segments, and then as it was."""
    import fiftyone.operators as foo

    def operate(name, *arguments, **options):
        foo.get_operator(f"@action100m/action100m-fiftyone/{name}")(
            dataset.limit(1), "real", *arguments, **options
        )
        dataset.reload()
        return dataset.first()["real_tree"]

    def node(tree, wanted):
        times = (wanted["start"], wanted["end"])
        return next((n for n in tree["nodes"] if (n["start"], n["end"]) == times), None)

    nodes = operate("annotate_videos", "embedded")["nodes"]
    root = nodes[0]
    short = next(n for n in nodes if n["end"] - n["start"] < 2)
    for reviewed, action in ((root, "sow"), (short, "reap")):
        target = {"sample_id": dataset.first().id, "tree": "real", "node_id": reviewed["node_id"]}
        answer = panel("review", **target, flagged=True, tags=["late"], action=action)
        assert "error" not in answer
    by_hand = dataset.first()["real_tree"]

    operate("segment_videos", changes=["segment.min_duration=2"])
    operate("caption_segments")
    tree = operate("refine_captions")
    assert node(tree, root)["gpt"]["action"]["brief"] == "sow"
    assert node(tree, root)["review"]["before"] == {
        "gpt.action.brief": root["gpt"]["action"]["brief"]
    }
    labels = dataset.first()["real_action_brief"].detections
    (label,) = (label for label in labels if label.node_id == root["node_id"])
    assert label.label == "sow" and set(label.tags) == {"flagged", "late"}
    assert node(tree, short) is None
    assert [each["texts"] for each in tree["set_aside"]] == [{"plm_action": "reap"}]
    (count,) = dataset.load_run_results("real").reviews_set_aside.values()
    assert count == 1

    back = ["segment.min_duration=0.5"]
    assert operate("annotate_videos", "embedded", resume=True, changes=back) == by_hand


def test_a_review_is_of_the_tree_that_is_stored_not_of_one_that_is_in_memory(panel, dataset, run):
    sample = dataset[dataset.first().id]
    node = sample["mine_tree"]["nodes"][0]
    dataset._sample_collection.update_one(  # as a run of another process does
        {"_id": sample._id}, {"$set": {"mine_tree.nodes.1.plm_caption": "anew"}}
    )
    panel(
        "review", sample_id=sample.id, tree="mine", node_id=node["node_id"], flagged=True, tags=[]
    )
    stored = dataset._sample_collection.find_one({"_id": sample._id})["mine_tree"]["nodes"]
    assert stored[0]["review"]["flagged"] and stored[1]["plm_caption"] == "anew"


def test_what_cannot_be_reviewed_is_an_error_that_says_why(panel, dataset, run):
    sample, node = _refined(dataset)
    target = {"sample_id": sample.id, "tree": "mine", "node_id": node["node_id"], "tags": []}
    refused = {
        "never changed": {**target, "tree": "ground_truth"},
        "no tree of a run": {**target, "tree": "other"},
        "changed meanwhile": {**target, "node_id": "gone"},
        "cannot be empty": {**target, "action": "  "},
    }
    for reason, params in refused.items():
        assert reason in panel("review", **params)["error"]
    assert dataset[sample.id]["mine_tree"] == sample["mine_tree"]


def test_clips_of_another_tree_or_of_nothing_are_an_error(panel, dataset):
    target = {"sample_id": dataset.first().id, "tree": "ground_truth"}
    assert "within this clip" in panel("open_clips", **target, node_ids=[])["error"]
    assert "error" in panel("open_clips", **{**target, "tree": "none"}, node_ids=[])
    node_ids = [n["node_id"] for n in dataset.first()["ground_truth_tree"]["nodes"][1:3]]
    assert panel("open_clips", **target, node_ids=node_ids) == {"clips": 2}
