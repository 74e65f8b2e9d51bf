"""Tree against tree."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pipeline.metrics import (
    best_matches,
    boundary_agreement,
    compare,
    comparison_rows,
    overlap,
    shape,
    temporal_iou,
    token_f1,
)
from pipeline.segmentation import segment
from pipeline.tree import Segment, Tree, node_id
from tests.real_trees import each_real_tree, needs_real_trees, real_trees


def node(start: float, end: float, parent: Segment | None = None, **texts) -> Segment:
    level = 0 if parent is None else parent.level + 1
    parent_id = None if parent is None else parent.node_id
    return Segment(node_id("v", start, end), parent_id, level, start, end, **texts)


def refined(action: str | None, summary: str | None) -> dict:
    return {
        "summary": {"brief": summary, "detailed": None},
        "action": {"brief": action, "detailed": None, "actor": None},
    }


def leaves_of(*cuts: float) -> Tree:
    """A root with the parts between the cuts below it (not binary: boundaries are all it needs)."""
    root = node(cuts[0], cuts[-1])
    parts = [node(a, b, root) for a, b in pairwise(cuts)]
    return Tree("v", (root, *parts) if len(parts) > 1 else (root,))


def drawn(seed: int, frames: int = 500) -> Tree:
    rng = np.random.default_rng(seed)
    return segment(rng.normal(size=(frames, 4)).cumsum(axis=0), 25, "v")


# -- overlap -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        ((0, 4), (0, 4), 1.0),
        ((0, 4), (2, 6), 2 / 6),
        ((0, 4), (1, 2), 1 / 4),
        ((0, 4), (4, 8), 0.0),
        ((0, 4), (6, 8), 0.0),
        ((3, 3), (3, 3), 0.0),
    ],
)
def test_temporal_iou_is_shared_time_over_covered_time(a, b, iou):
    assert temporal_iou(node(*a), node(*b)) == temporal_iou(node(*b), node(*a)) == iou


def test_best_matches_are_those_of_trying_every_pair():
    reference, prediction = drawn(1), drawn(2)
    matches = best_matches(reference, prediction)
    assert len(matches) == len(reference) > 100
    for s in reference.segments:
        matched, iou = matches[s.node_id]
        every = [temporal_iou(s, other) for other in prediction.segments]
        assert iou == pytest.approx(max(every), abs=1e-12)
        assert temporal_iou(s, prediction[matched]) == pytest.approx(iou, abs=1e-12)


def test_nodes_after_the_prediction_s_end_have_no_match():
    reference, prediction = leaves_of(0, 5, 10), leaves_of(0, 4)
    late = reference.segments[-1].node_id
    assert set(best_matches(reference, prediction)) == {
        s.node_id for s in reference.segments if s.node_id != late
    }
    assert best_matches(reference, Tree("v")) == best_matches(Tree("v"), reference) == {}


def test_five_thousand_nodes_against_five_thousand_take_a_moment():
    reference, prediction = drawn(3, 16_500), drawn(4, 16_500)
    assert min(len(reference), len(prediction)) >= 5000
    started = time.perf_counter()
    best_matches(reference, prediction)
    assert time.perf_counter() - started < 5


def test_overlap_is_the_mean_by_tier_and_level():
    reference, prediction = leaves_of(0, 5, 10), leaves_of(0, 10)
    assert overlap(reference, prediction).mean == pytest.approx((1 + 0.5 + 0.5) / 3, abs=1e-4)
    assert overlap(reference, prediction).by_tier == {"root": 1.0, "leaf": 0.5}
    assert overlap(reference, prediction).by_level == {0: 1.0, 1: 0.5}
    assert overlap(prediction, reference).mean == 1.0
    assert overlap(Tree("v"), reference).mean is None


# -- boundaries --------------------------------------------------------------------------------


def test_boundaries_are_matched_one_to_one_within_the_tolerance():
    reference, prediction = leaves_of(0, 5, 8, 20), leaves_of(0, 4.6, 4.9, 5.3, 9, 20)
    found = boundary_agreement(reference, prediction)
    assert (found.reference, found.prediction, found.matched) == (2, 4, 1)
    assert (found.precision, found.recall) == (0.25, 0.5)
    assert found.f1 == pytest.approx(2 / 6, abs=1e-4)
    assert boundary_agreement(reference, prediction, tolerance=1.0).matched == 2


def test_a_boundary_exactly_at_the_tolerance_is_matched():
    # 8.2 - 7.7 is a little more than 0.5 in binary.
    assert boundary_agreement(leaves_of(0, 7.7, 20), leaves_of(0, 8.2, 20)).f1 == 1.0
    assert boundary_agreement(leaves_of(0, 7.7, 20), leaves_of(0, 8.21, 20)).f1 == 0.0


def test_one_to_one_matching_is_as_large_as_possible():
    # 1.4 could take 1.0 or 1.8; all three pairs are found when it takes the first.
    reference, prediction = leaves_of(0, 1.0, 1.4, 1.8, 9), leaves_of(0, 1.4, 1.8, 2.2, 9)
    assert boundary_agreement(reference, prediction).matched == 3


def test_trees_without_boundaries_agree_with_each_other_only():
    alone, cut_once = leaves_of(0, 9), leaves_of(0, 4, 9)
    assert boundary_agreement(alone, alone).f1 == 1.0
    for found in (boundary_agreement(alone, cut_once), boundary_agreement(cut_once, alone)):
        assert (found.precision, found.recall, found.f1) == (0.0, 0.0, 0.0)


# -- texts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "f1"),
    [
        ("Peel an apple", "peel apple", 0.8),
        ("Peel, apple!", "apple: peel", 1.0),
        ("the the the", "the", 0.5),
        ("peel", "slice", 0.0),
        ("peel", "", 0.0),
        ("N/A", "N/A", 1.0),
        ("N/A", "a n", 0.0),
        ("don't stir", "don't mix", 0.5),
    ],
)
def test_token_f1_counts_lower_cased_words(a, b, f1):
    assert token_f1(a, b) == token_f1(b, a) == pytest.approx(f1)


@pytest.fixture
def two_trees() -> tuple[Tree, Tree]:
    def tree(middle: float, *texts: tuple[str | None, str | None]) -> Tree:
        root = node(0, 20, gpt=refined(*texts[0]))
        left = node(0, middle, root, gpt=refined(*texts[1]))
        right = node(middle, 20, root, plm_action="rest", plm_caption="They rest.")
        inner = [node(0, 2, left), node(2, middle, left)]
        return Tree("v", (root, left, right, *inner), {"title": "Apples"})

    return (
        tree(10, ("peel apple", "Someone peels"), ("N/A", None)),
        tree(12, ("peel the apple", "Someone peels"), ("N/A", "A knife")),
    )


def test_rows_are_the_described_reference_nodes_depth_first_beside_their_match(two_trees):
    rows = comparison_rows(*two_trees)
    assert [(r.reference.start, r.reference.end, r.reference.action) for r in rows] == [
        (0, 20, "peel apple"),
        (0, 10, "N/A"),
    ]
    assert [(r.prediction.end, r.prediction.action, r.iou) for r in rows if r.prediction] == [
        (20, "peel the apple", 1.0),
        (12, "N/A", 0.8333),
    ]


def test_a_prediction_without_gpt_is_shown_with_its_captions(two_trees):
    reference, _ = two_trees
    root = node(0, 20, plm_action="cook", plm_caption="They cook.")
    rows = comparison_rows(reference, Tree("v", (root,)))
    assert {(r.prediction.action, r.prediction.summary) for r in rows if r.prediction} == {
        ("cook", "They cook.")
    }
    assert compare(reference, Tree("v", (root,))).text.matched == 0


def test_text_agreement_is_the_mean_over_matched_nodes_with_gpt(two_trees):
    text = compare(*two_trees).text
    assert (text.described, text.matched) == (2, 2)
    assert text.action_f1 == pytest.approx((0.8 + 1) / 2)
    # A missing summary agrees with no text.
    assert text.summary_f1 == 0.5


def test_a_tree_agrees_fully_with_itself(two_trees):
    tree, _ = two_trees
    found = compare(tree, tree)
    assert found.title == "Apples"
    assert found.reference == found.prediction == shape(tree)
    assert found.boundaries.f1 == found.reference_overlap.mean == found.text.action_f1 == 1.0
    assert all(r.prediction == r.reference and r.iou == 1.0 for r in found.rows)


def test_shape_counts_nodes_and_durations(two_trees):
    found = shape(two_trees[0])
    assert (found.nodes, found.leaves, found.depth, found.described) == (5, 3, 2, 2)
    assert (found.duration, found.median_node, found.median_leaf) == (20, 10, 8)


def test_a_comparison_is_plain_json(two_trees):
    empty = Tree("v")
    for reference, prediction in (two_trees, (empty, two_trees[0]), (empty, empty)):
        found = json.loads(json.dumps(compare(reference, prediction).to_dict(), allow_nan=False))
        assert found["video_uid"] == "v"
    assert found["text"]["action_f1"] is None
    assert found["rows"] == []


@needs_real_trees
@each_real_tree
def test_real_tree_agrees_fully_with_itself_and_less_with_a_coarser_one(number):
    tree = real_trees()[number]
    same = compare(tree, tree)
    assert same.boundaries.f1 == same.reference_overlap.mean == same.text.summary_f1 == 1.0
    coarse = replace(tree, segments=tuple(s for s in tree.segments if s.level <= 4))
    found = compare(tree, coarse)
    assert found.boundaries.precision == found.prediction_overlap.mean == 1.0
    assert found.boundaries.recall < 1
    assert found.reference_overlap.mean is not None
    assert found.reference_overlap.mean < 1
