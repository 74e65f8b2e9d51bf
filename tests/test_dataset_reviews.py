"""What people said of a run's segments when the run is done again."""

from __future__ import annotations

import logging
from copy import deepcopy
from dataclasses import replace

import pytest

from pipeline import dataset as datasets
from pipeline.tree import Tree
from tests.operating import add_run, changed, kit_dataset, shallow

pytestmark = pytest.mark.fiftyone

KEY = "mine"


@pytest.fixture
def dataset(fo, kit, request):
    with kit_dataset(kit, f"reviews-{request.node.name}") as made:
        yield made


@pytest.fixture
def tree(kit) -> Tree:
    """A video's true tree, of which some inner nodes are refined and the leaves are not."""
    return kit.trees()[kit.videos[0][0].uid]


def _number(tree: Tree, refined: bool) -> int:
    """A segment that is refined, or a leaf that is not; not the root."""
    return next(
        i
        for i, s in enumerate(tree.segments)
        if s.level and tree.is_refined(s) == refined and tree.is_leaf(s) != refined
    )


def _said(flagged=False, tags=(), before=None, at="2026-01-01T00:00:00+00:00"):
    return {"flagged": flagged, "tags": [*tags], "before": before or {}, "by": "Ada", "at": at}


def _review(dataset, tree, number, review, texts=None):
    """Say something of a segment, as the panel stores it."""
    sample = dataset.match({"video_uid": tree.video_uid}).first()
    stored = deepcopy(dict(sample[f"{KEY}_tree"]))
    node = next(n for n in stored["nodes"] if n["node_id"] == tree.segments[number].node_id)
    for field, text in (texts or {}).items():
        datasets.correct_text(node, field, text, review["before"])
    node["review"] = review
    sample[f"{KEY}_tree"] = stored
    datasets.update_labels(sample, KEY, [node])
    sample.save()


def _stored(dataset, tree):
    return dataset.match({"video_uid": tree.video_uid}).first()[f"{KEY}_tree"]


def _node(dataset, tree, number):
    own = tree.segments[number]
    nodes = _stored(dataset, tree)["nodes"]
    return next(n for n in nodes if (n["start"], n["end"]) == (own.start, own.end))


def _label(dataset, tree, node_id, name):
    sample = dataset.match({"video_uid": tree.video_uid}).first()
    return next(d for d in sample[f"{KEY}_{name}"].detections if d.node_id == node_id)


def _gpt(brief, actor="a person"):
    return {
        "summary": {"brief": "a summary", "detailed": "a long summary"},
        "action": {"brief": brief, "detailed": f"to {brief} at length", "actor": actor},
    }


def test_a_review_moves_to_the_same_segment_and_the_labels_agree(dataset, tree):
    number, leaf = _number(tree, refined=True), _number(tree, refined=False)
    first = changed(changed(tree, number, gpt=_gpt("sow")), leaf, plm_action="to sow")
    add_run(dataset, KEY, [first])
    _review(dataset, tree, number, _said(True, ["late"]), {"gpt.action.brief": "reap"})
    _review(dataset, tree, leaf, _said(), {"plm_action": "to reap"})

    # Other texts, and another id: what makes a segment the same is when it is.
    second = changed(changed(tree, number, gpt=_gpt("mow", "Bob")), leaf, plm_action="to mow")
    renamed = tuple(
        replace(s, node_id=f"new {s.node_id}", parent_id=s.parent_id and f"new {s.parent_id}")
        for s in second.segments
    )
    add_run(dataset, KEY, [replace(second, segments=renamed)])

    node = _node(dataset, tree, number)
    assert node["gpt"]["action"] == _gpt("mow", "Bob")["action"] | {"brief": "reap"}
    assert node["review"] == _said(True, ["late"], {"gpt.action.brief": "mow"})
    assert _node(dataset, tree, leaf)["plm_action"] == "to reap"
    assert _node(dataset, tree, leaf)["review"]["before"] == {"plm_action": "to mow"}
    assert "set_aside" not in _stored(dataset, tree)
    assert dataset.load_run_results(KEY).reviews_set_aside == {}

    names = ("action_brief", "action_actor", "summary_brief")
    labels = {name: _label(dataset, tree, node["node_id"], name) for name in names}
    assert {name: label.label for name, label in labels.items()} == {
        "action_brief": "reap",
        "action_actor": "Bob",
        "summary_brief": "a summary",
    }
    assert all(set(label.tags) == {"flagged", "late"} for label in labels.values())


def test_a_correction_that_the_model_has_come_to_itself_is_none_any_longer(dataset, tree):
    number = _number(tree, refined=True)
    add_run(dataset, KEY, [changed(tree, number, gpt=_gpt("sow"))])
    corrected = {"gpt.action.brief": "reap", "gpt.action.actor": "Bob"}
    _review(dataset, tree, number, _said(tags=["seen"]), corrected)
    add_run(dataset, KEY, [changed(tree, number, gpt=_gpt("reap"))])
    node = _node(dataset, tree, number)
    assert node["review"] == _said(tags=["seen"], before={"gpt.action.actor": "a person"})
    assert node["gpt"]["action"]["brief"] == "reap" and node["gpt"]["action"]["actor"] == "Bob"
    # From then on the model's word counts.
    add_run(dataset, KEY, [changed(tree, number, gpt=_gpt("mow"))])
    assert _node(dataset, tree, number)["gpt"]["action"]["brief"] == "mow"


def test_the_same_result_again_changes_nothing(dataset, tree):
    number = _number(tree, refined=True)
    add_run(dataset, KEY, [tree])
    _review(dataset, tree, number, _said(True), {"gpt.action.brief": "reap"})
    before = deepcopy(_stored(dataset, tree))
    add_run(dataset, KEY, [tree])
    assert _stored(dataset, tree) == before


def test_a_correction_waits_in_its_field_while_the_stages_run_one_by_one(dataset, tree):
    """Segmented anew there are no texts at first; captions and annotations come later."""
    number, leaf = _number(tree, refined=True), _number(tree, refined=False)
    add_run(dataset, KEY, [tree])
    _review(dataset, tree, number, _said(), {"gpt.action.brief": "reap"})
    _review(dataset, tree, leaf, _said(), {"plm_action": "to reap"})
    bare = replace(
        tree,
        segments=tuple(
            replace(s, plm_action=None, plm_caption=None, llama3_caption=None, gpt=None)
            for s in tree.segments
        ),
    )
    add_run(dataset, KEY, [bare])
    assert _node(dataset, tree, number)["gpt"]["action"]["brief"] == "reap"
    assert _node(dataset, tree, leaf)["plm_action"] == "to reap"
    Tree.from_dict(_stored(dataset, tree)).validate()
    add_run(dataset, KEY, [changed(tree, number, gpt=_gpt("mow"))])
    node = _node(dataset, tree, number)
    assert node["gpt"] == _gpt("mow") | {"action": _gpt("mow")["action"] | {"brief": "reap"}}
    assert node["review"]["before"] == {"gpt.action.brief": "mow"}
    assert _node(dataset, tree, leaf)["review"]["before"] == {
        "plm_action": tree.segments[leaf].plm_action
    }


def test_reviews_of_segments_that_are_no_more_are_set_aside_counted_and_come_back(
    dataset, tree, caplog
):
    deep = next(i for i, s in enumerate(tree.segments) if s.level == 4)
    add_run(dataset, KEY, [tree])
    _review(dataset, tree, deep, _said(True, ["late"]), {"plm_action": "to reap"})
    _review(dataset, tree, deep + 1, _said(at="2026-01-02T00:00:00+00:00"))  # taken back
    with caplog.at_level(logging.WARNING):
        add_run(dataset, KEY, [shallow(tree)])
    (said,) = (r.getMessage() for r in caplog.records if r.name == "pipeline.dataset.runs")
    assert said == (
        "Run mine: 1 review is set aside in mine_tree, since the trees no longer have their "
        "segments or texts; a tree that has them again brings them back"
    )
    assert dataset.load_run_results(KEY).reviews_set_aside == {tree.video_uid: 1}
    own = tree.segments[deep]
    (waiting,) = _stored(dataset, tree)["set_aside"]
    assert (waiting["start"], waiting["end"]) == (own.start, own.end)
    assert waiting["texts"] == {"plm_action": "to reap"}
    assert waiting["review"] == _said(True, ["late"], {"plm_action": own.plm_action})

    add_run(dataset, KEY, [shallow(tree)])  # it goes on waiting
    assert len(_stored(dataset, tree)["set_aside"]) == 1
    add_run(dataset, KEY, [tree])
    assert "set_aside" not in _stored(dataset, tree)
    assert _node(dataset, tree, deep)["plm_action"] == "to reap"
    assert _node(dataset, tree, deep)["review"] == waiting["review"]


def test_where_a_segment_is_a_leaf_now_its_flag_moves_and_the_refined_texts_wait(dataset, tree):
    number = next(i for i, s in enumerate(tree.segments) if s.level == 2 and tree.is_refined(s))
    add_run(dataset, KEY, [tree])
    _review(dataset, tree, number, _said(True), {"gpt.action.brief": "reap"})
    leaves = shallow(tree)
    leaves = replace(
        leaves,
        segments=tuple(
            replace(s, gpt=s.gpt if leaves.is_refined(s) else None) for s in leaves.segments
        ),
    )
    add_run(dataset, KEY, [leaves])
    node = _node(dataset, tree, number)
    assert node["gpt"] is None and node["review"] == _said(True)
    (waiting,) = _stored(dataset, tree)["set_aside"]
    assert waiting["texts"] == {"gpt.action.brief": "reap"}

    # Somebody says more meanwhile: the last word holds, and the text that waited is kept.
    later = _said(False, ["seen"], at="2026-03-01T00:00:00+00:00")
    _review(dataset, tree, number, later, {"plm_action": "to reap"})
    add_run(dataset, KEY, [tree])
    node = _node(dataset, tree, number)
    assert "set_aside" not in _stored(dataset, tree)
    assert node["gpt"]["action"]["brief"] == "reap" and node["plm_action"] == "to reap"
    before = {
        "gpt.action.brief": tree.segments[number].gpt["action"]["brief"],
        "plm_action": tree.segments[number].plm_action,
    }
    assert node["review"] == later | {"before": before}


def test_what_another_process_has_said_counts_not_what_is_in_memory(dataset, tree):
    add_run(dataset, KEY, [tree])
    held = dataset[dataset.match({"video_uid": tree.video_uid}).first().id]
    assert held is dataset[held.id]  # FiftyOne gives out what is in memory
    dataset._sample_collection.update_one(
        {"_id": held._id}, {"$set": {f"{KEY}_tree.nodes.3.review": _said(True)}}
    )
    assert "review" not in held[f"{KEY}_tree"]["nodes"][3]
    add_run(dataset, KEY, [tree])
    stored = dataset._sample_collection.find_one({"_id": held._id})[f"{KEY}_tree"]
    assert stored["nodes"][3]["review"] == _said(True)


def test_videos_that_failed_or_were_not_done_keep_their_trees_and_reviews(dataset, tree):
    add_run(dataset, KEY, [tree])
    _review(dataset, tree, 1, _said(True))
    before = deepcopy(_stored(dataset, tree))
    add_run(dataset, KEY, [], {tree.video_uid: "it broke"})
    assert _stored(dataset, tree) == before
