"""The operators through FiftyOne's own registry and executor, immediate and delegated."""

from __future__ import annotations

import pytest

from pipeline import dataset as datasets
from pipeline import presets
from tests.operating import work_off

pytestmark = pytest.mark.fiftyone

URI = "@action100m/action100m-fiftyone/annotate_videos"


@pytest.fixture(scope="module")
def foo(fo):
    import fiftyone.operators as foo

    return foo


@pytest.fixture
def dataset(fo, kit, request):
    made = datasets.open_dataset(f"op-{request.node.name}"[:60], overwrite=True)
    trees = [kit.trees()[spec.uid] for spec, _ in kit.videos[:2]]
    datasets.add_ground_truth(made, trees, {spec.uid: path for spec, path in kit.videos})
    yield made
    made.delete()


def _run(foo, dataset, **context):
    params = context.pop("params", {})
    context = {"dataset": dataset, **context} if dataset is not None else context
    return foo.execute_operator(URI, context, params={"preset": "embedded", **params})


def test_fiftyone_loads_the_plugin_with_its_operator_and_panel(foo):
    from fiftyone.operators.registry import OperatorRegistry

    registry = OperatorRegistry()
    assert registry.list_errors() == []
    uris = {operator.uri for operator in registry.list_operators()}
    assert {URI, "@action100m/action100m-fiftyone/tree_of_captions"} <= uris


def test_annotate_videos_stores_trees_labels_and_a_registered_run(foo, dataset):
    _run(foo, dataset, params={"run_key": "mine"})
    dataset.reload()
    info = dataset.get_run_info("mine")
    assert info.config.method == "action100m/annotate_videos"
    assert info.config.preset == "embedded"
    assert info.config.models["embed"] == "measured descriptors (no model)"
    results = dataset.load_run_results("mine")
    assert sorted(results.done) == sorted(dataset.values("video_uid"))
    assert set(results.seconds) == {"embed", "segment", "caption", "refine"}
    for sample in dataset:
        shown = [(tree["name"], tree["source"]) for tree in datasets.sample_trees(sample)]
        assert shown == [("ground_truth", "tree"), ("mine", "tree")]
        assert sample.mine_summary_brief.detections[0].tier == "root"
        assert sample.mine_error is None
    assert (datasets.run_folder(dataset, "mine") / "part-00000.parquet").exists()
    assert "mine_action_brief" not in dataset.load_saved_view("light").get_field_schema()


def test_only_the_view_or_the_selection_is_annotated(foo, dataset):
    first, second = dataset.values("id")
    foo.execute_operator(
        URI, {"view": dataset.select(second)}, params={"run_key": "view", "preset": "embedded"}
    )
    _run(
        foo,
        dataset,
        selected=[first],
        params={"run_key": "chosen", "view_target": "SELECTED_SAMPLES"},
    )
    dataset.reload()
    assert dataset.exists("view_tree").values("id") == [second]
    assert dataset.exists("chosen_tree").values("id") == [first]


def test_a_run_is_resumed_over_more_videos_and_keeps_what_it_has(foo, dataset):
    first, second = dataset.values("id")
    _run(foo, None, view=dataset.select(first), params={"run_key": "mine"})
    _run(foo, dataset, params={"run_key": "mine", "resume": True})
    dataset.reload()
    results = dataset.load_run_results("mine")
    assert results.reused == [dataset[first].video_uid]
    assert len(results.done) == 2
    assert dataset[second].mine_tree["nodes"]


def _messages(foo, dataset, params):
    """What an immediate run tells the App, the result last."""
    from fiftyone.operators.executor import ExecutionContext, Executor

    request = {"dataset_name": dataset.name, "params": params}
    context = ExecutionContext(request_params=request, executor=Executor())
    return [message.to_json() for message in foo.get_operator(URI).execute(context)]


def test_a_review_whose_segment_a_new_run_lacks_is_kept_and_said(foo, dataset):
    annotate = foo.get_operator(URI)
    annotate(dataset.limit(1), "mine", "embedded")
    dataset.reload()
    sample = dataset.first()
    shortest = min(sample.mine_tree["nodes"], key=lambda n: n["end"] - n["start"])
    shortest["review"] = {"flagged": True, "tags": [], "before": {}, "by": "me", "at": "now"}
    sample.save()

    changes = ["segment.min_duration=4"]
    messages = _messages(foo, dataset, {"run_key": "mine", "resume": True, "changes": changes})
    assert "1 review is set aside in mine_tree" in messages[-1]["body"]["warnings"][-1]
    sample.reload()
    (waiting,) = sample.mine_tree["set_aside"]
    assert (waiting["start"], waiting["end"]) == (shortest["start"], shortest["end"])
    assert waiting["review"]["flagged"] is True


def test_a_bad_video_is_marked_and_the_others_are_done(fo, foo, dataset, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    bad = dataset.add_sample(fo.Sample(filepath=str(text)))
    _run(foo, dataset, params={"run_key": "mine"})
    dataset.reload()
    assert dataset[bad].tags == ["mine_failed"]
    assert dataset[bad].mine_error.startswith(f"{text} is not a readable video")
    assert len(dataset.exists("mine_tree")) == 2
    assert list(dataset.load_run_results("mine").failed) == ["text"]


def test_what_cannot_work_is_refused_in_one_sentence_at_its_field(foo, dataset, tmp_path):
    from fiftyone.operators.executor import ExecutionError

    _run(foo, dataset, params={"run_key": "mine"})
    dataset.reload()
    mine = tmp_path / "mine.yaml"
    mine.write_text((presets.FOLDER / "embedded.yaml").read_text())
    cases = [
        ({"run_key": "x", "preset": "nope"}, "preset", "unknown preset 'nope'"),
        ({"run_key": "mine"}, "run_key", "the run key 'mine' is taken"),
        ({"run_key": "9"}, "run_key", "cannot name fields"),
        ({"run_key": "gpt"}, "run_key", "is taken: the dataset has the field(s)"),
        ({"run_key": "x", "resume": True}, "run_key", "no run 'x' to resume"),
        (
            {"run_key": "mine", "resume": True, "preset": str(mine)},
            "run_key",
            "was made with preset 'embedded'",
        ),
        ({}, "run_key", "Required property"),
        ({"run_key": "x", "preset": None}, "preset", "Required property"),
    ]
    for params, field, reason in cases:
        with pytest.raises(ExecutionError) as error:
            _run(foo, dataset, params=params)
        assert f"Path: {field}. Reason: " in str(error.value), (params, str(error.value))
        assert reason in str(error.value), (params, str(error.value))
    with pytest.raises(ExecutionError, match="no video to be annotated"):
        foo.execute_operator(
            URI, {"view": dataset.match({"title": "none"})}, params={"run_key": "y"}
        )
    assert datasets.run_keys(dataset) == ["mine"]


def test_an_immediate_run_tells_the_app_its_progress_and_its_result(fo, foo, dataset, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    dataset.add_sample(fo.Sample(filepath=str(text)))
    messages = _messages(foo, dataset, {"run_key": "mine", "preset": "embedded"})
    calls = [m["body"] for m in messages if m["cls"] != "ExecutionResult"]
    steps = [c["params"] for c in calls if c["operator_uri"].endswith("set_progress")]
    assert [step["progress"] for step in steps] == sorted(step["progress"] for step in steps)
    assert steps[-1]["progress"] == 1
    assert any(step["label"].startswith("embed: video 1 of 3") for step in steps)
    assert any(c["operator_uri"].endswith("reload_dataset") for c in calls)
    assert messages[-1]["body"]["summary"].startswith("2 videos done")


def test_a_call_from_python_needs_one_line(foo, dataset):
    foo.get_operator(URI)(dataset.limit(1), "quick", "embedded")
    dataset.reload()
    assert len(dataset.exists("quick_tree")) == 1


def test_a_preset_of_ones_own_is_found_from_where_the_call_is_made(
    foo, dataset, tmp_path, monkeypatch
):
    text = (presets.FOLDER / "embedded.yaml").read_text()
    (tmp_path / "-mine.yaml").write_text(text.replace("sentences: 4", "sentences: 2"))
    monkeypatch.chdir(tmp_path)
    foo.get_operator(URI)(dataset.limit(1), "mine", "-mine.yaml")
    dataset.reload()
    assert dataset.get_run_info("mine").config.configuration["refine"]["sentences"] == 2
    assert len(dataset.exists("mine_tree")) == 1


def test_a_delegated_run_is_done_by_fiftyones_worker(foo, dataset):
    queued = _run(foo, dataset, request_delegation=True, params={"run_key": "later"})
    assert queued.delegated
    assert "later" not in dataset.list_runs()
    operation = work_off(queued)
    assert operation.status.progress == 1
    assert operation.result.result["summary"].startswith("2 videos done")
    dataset.reload()
    assert len(dataset.exists("later_tree")) == 2
    assert dataset.load_run_results("later").failed == {}
