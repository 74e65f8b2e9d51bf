"""The operator compare_with_ground_truth: metrics by video, agreement by node, the run."""

from __future__ import annotations

import pytest

from pipeline import dataset as datasets
from pipeline.metrics import compare
from tests.operating import (
    PLUGIN,
    add_run,
    changed,
    kit_dataset,
    messages,
    output_form,
    refusal,
    shallow,
    steps,
    work_off,
)

pytestmark = pytest.mark.fiftyone


@pytest.fixture(scope="module")
def foo(fo):
    import fiftyone.operators as foo

    return foo


@pytest.fixture
def dataset(kit, request):
    with kit_dataset(kit, f"compare-{request.node.name}", run="mine") as made:
        yield made


@pytest.fixture
def trees(kit):
    return [kit.trees()[spec.uid] for spec, _ in kit.videos[:2]]


def test_metrics_are_on_the_samples_and_their_means_in_the_run(foo, dataset, trees):
    results = foo.get_operator(f"{PLUGIN}/compare_with_ground_truth")(dataset, "mine")
    found = [compare(tree, shallow(tree)) for tree in trees]
    assert dataset.values("mine_boundary_f1") == [each.boundaries.f1 for each in found]
    assert dataset.values("mine_reference_iou") == [each.reference_overlap.mean for each in found]
    assert dataset.values("mine_prediction_iou") == [1.0, 1.0]
    assert dataset.values("mine_action_f1") == [each.text.action_f1 for each in found]
    assert results.compared == 2 and results.skipped == {}
    assert results.means["boundary_recall"] == pytest.approx(
        sum(each.boundaries.recall for each in found) / 2, abs=1e-4
    )
    config = dataset.get_run_info("mine_comparison").config
    assert config.method == "action100m/compare_with_ground_truth"
    assert (config.reference, config.prediction) == ("ground_truth", "mine")
    table = results.tables[trees[0].video_uid]
    assert "Time range" in table and "Prediction" in table and "Make a pot of tea" in table


def test_each_node_of_both_trees_knows_its_match(dataset, trees):
    tree = trees[0]
    gpt = {
        "summary": {"brief": "Tea", "detailed": "Tea"},
        "action": {"brief": "Pour", "detailed": "Pour", "actor": "A hand"},
    }
    other = changed(shallow(tree), 0, gpt=gpt)
    add_run(dataset, "odd", [other])
    datasets.compare_with_ground_truth(dataset, "odd")
    agreement = dataset.match({"video_uid": tree.video_uid}).first()["odd_agreement"]
    assert set(agreement["reference"]) == {s.node_id for s in tree.segments}
    assert set(agreement["prediction"]) == {s.node_id for s in other.segments}
    root = agreement["prediction"][tree.root.node_id]
    assert (root["match"], root["iou"]) == (tree.root.node_id, 1.0)
    assert 0 < root["text"] < 0.6
    assert agreement["prediction"][tree.segments[1].node_id]["text"] == 1.0
    leaf = agreement["reference"][tree.segments[-1].node_id]
    assert leaf["match"] in agreement["prediction"] and 0 < leaf["iou"] < 1
    nothing = dataset.match({"video_uid": trees[1].video_uid}).first()
    assert nothing["odd_agreement"] is None


def test_videos_without_a_tree_are_skipped_and_said(foo, dataset, trees):
    add_run(dataset, "half", [shallow(trees[0])])
    told = messages(foo, "compare_with_ground_truth", dataset, {"run_key": "half"})
    assert told[-1]["summary"] == (
        "1 video of run half compared, 1 without a tree of the run or the ground truth"
    )
    shares = [each["progress"] for each in steps(told)]
    assert shares == sorted(shares) and shares[-1] == 1
    assert any(each.get("operator_uri", "").endswith("reload_dataset") for each in told[:-1])
    assert next(row["mean"] for row in told[-1]["means"]) == "1.000"
    assert told[-1]["rows"][0] == {
        "video": trees[0].video_uid,
        "time": "0:00.00–0:24.00",
        "reference": told[-1]["rows"][0]["prediction"],
        "prediction": f"Make a pot of tea: {trees[0].root.text('summary', 'brief')}",
        "iou": "1.00",
    }
    assert output_form(foo, "compare_with_ground_truth", {}, told[-1]) == set(told[-1])


def test_a_second_comparison_replaces_the_first(foo, dataset):
    compare_operator = foo.get_operator(f"{PLUGIN}/compare_with_ground_truth")
    strict = compare_operator(dataset, "mine", tolerance=0)
    view = dataset.limit(1)
    assert compare_operator(view, "mine").compared == 1
    assert strict.compared == 2
    assert dataset.get_run_info("mine_comparison").config.tolerance == 0.5
    assert dataset.list_runs() == ["mine", "mine_comparison"]


def test_a_comparison_is_done_by_fiftyones_worker(foo, dataset):
    queued = foo.execute_operator(
        f"{PLUGIN}/compare_with_ground_truth",
        {"dataset": dataset, "request_delegation": True},
        params={"run_key": "mine"},
    )
    operation = work_off(queued)
    assert operation.result.result["summary"] == "2 videos of run mine compared"
    assert operation.status.progress == 1
    dataset.reload()
    assert dataset.exists("mine_agreement").count() == 2


def test_what_cannot_work_is_refused_in_one_sentence_at_its_field(foo, dataset, trees):
    import fiftyone as fo

    add_run(dataset, "other", [shallow(trees[0])])
    add_run(dataset, "taken", [shallow(trees[0])])
    dataset.register_run("other_comparison", dataset.init_run(method="theirs"))
    dataset.add_sample_field("taken_agreement", fo.DictField)
    cases = [
        ({}, "run_key", "Required property"),
        ({"run_key": "nope"}, "run_key", "there is no run 'nope'; there are mine, other, taken"),
        ({"run_key": "other"}, "run_key", "'other_comparison' is taken by another run"),
        ({"run_key": "taken"}, "run_key", "has the field(s) taken_agreement already"),
        ({"run_key": "mine", "tolerance": -1}, "tolerance", "-1 s is not 0 s or more"),
    ]
    for params, field, reason in cases:
        message = refusal(foo, "compare_with_ground_truth", {"dataset": dataset}, params)
        assert f"Path: {field}. Reason: " in message and reason in message, message
    nothing = {"view": dataset.match({"title": "none"})}
    message = refusal(foo, "compare_with_ground_truth", nothing, {"run_key": "mine"})
    assert "no video to be compared" in message
    dataset.delete_sample_field("ground_truth_tree")
    message = refusal(foo, "compare_with_ground_truth", {"dataset": dataset}, {"run_key": "mine"})
    assert "no ground truth to compare with" in message


def test_without_runs_the_form_says_what_to_do(foo, kit):
    with kit_dataset(kit, "compare-bare") as bare:
        message = refusal(foo, "compare_with_ground_truth", {"dataset": bare}, {"run_key": "x"})
        assert "make one with annotate_videos" in message
