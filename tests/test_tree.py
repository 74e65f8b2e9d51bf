"""The model of the data: walks, tiers, and every invariant broken one at a time."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.tree import InvalidTree, Segment, Tree, node_id
from tests.real_trees import each_real_tree, needs_real_trees, real_trees

UID = "-a_video"
GPT = {
    "summary": {"brief": "Someone peels an apple", "detailed": "Someone peels a red apple."},
    "action": {"brief": "peel apple", "detailed": "Peel the apple.", "actor": "a cook"},
}
NOT_SEEN = {"brief": "N/A", "detailed": "N/A", "actor": "N/A"}


def make_tree(*spans: tuple[float, float]) -> Tree:
    """A tree of these spans: the parent of each is the shortest that holds it."""
    parents: dict[tuple[float, float], tuple[float, float] | None] = {}
    for start, end in spans:
        around = [(a, b) for a, b in spans if a <= start and end <= b and (a, b) != (start, end)]
        parents[start, end] = min(around, key=lambda s: s[1] - s[0], default=None)

    def level(span: tuple[float, float] | None) -> int:
        return -1 if span is None else 1 + level(parents[span])

    segments = [
        Segment(
            node_id(UID, start, end),
            None if parent is None else node_id(UID, *parent),
            level((start, end)),
            start,
            end,
        )
        for (start, end), parent in parents.items()
    ]
    return Tree(UID, tuple(sorted(segments, key=lambda s: (s.level, s.start))))


@pytest.fixture
def tree() -> Tree:
    """Root 0-20, children 0-6 and 6-20; 6-20 is cut at 7 and its second part at 13."""
    return make_tree((0, 20), (0, 6), (6, 20), (6, 7), (7, 20), (7, 13), (13, 20))


def times(segments) -> list[tuple[float, float]]:
    return [(s.start, s.end) for s in segments]


def changed(tree: Tree, number: int, **values: Any) -> Tree:
    """The tree with one of its nodes changed."""
    segments = list(tree.segments)
    segments[number] = replace(segments[number], **values)
    return Tree(tree.video_uid, tuple(segments))


# -- walks -------------------------------------------------------------------------------------


def test_breadth_first_goes_level_by_level(tree):
    shuffled = Tree(UID, tuple(reversed(tree.segments)))
    for t in (tree, shuffled):
        assert times(t.breadth_first()) == [
            (0, 20), (0, 6), (6, 20), (6, 7), (7, 20), (7, 13), (13, 20),
        ]  # fmt: skip


def test_depth_first_gives_parents_before_their_children_in_order_of_time(tree):
    walk = [(0, 20), (0, 6), (6, 20), (6, 7), (7, 20), (7, 13), (13, 20)]
    assert times(tree.depth_first()) == walk
    assert times(tree.depth_first(tree.segments[2])) == walk[2:]


def test_children_and_leaves_come_in_order_of_time(tree):
    shuffled = Tree(UID, tuple(reversed(tree.segments)))
    assert times(shuffled.children(shuffled.root)) == [(0, 6), (6, 20)]
    assert times(shuffled.leaves()) == [(0, 6), (6, 7), (7, 13), (13, 20)]
    assert shuffled.children(shuffled.leaves()[0]) == ()


def test_a_leaf_is_a_node_without_children_at_whatever_level(tree):
    assert [tree.tier(s) for s in tree.segments] == [
        "root", "leaf", "mid", "leaf", "mid", "leaf", "leaf",
    ]  # fmt: skip
    assert [tree.is_leaf(s) for s in tree.segments].count(True) == 4


def test_a_root_alone_is_the_root_and_a_leaf():
    tree = make_tree((0, 3))
    tree.validate()
    assert tree.tier(tree.root) == "root"
    assert tree.is_leaf(tree.root)
    assert (tree.depth, len(tree), tree.duration) == (0, 1, 3)


def test_only_inner_nodes_of_at_least_four_seconds_are_refined(tree):
    assert times(s for s in tree.segments if tree.is_refined(s)) == [(0, 20), (6, 20), (7, 20)]
    short = make_tree((0, 4), (0, 2), (2, 4))
    assert short.is_refined(short.root)
    shorter = make_tree((0, 3.99), (0, 2), (2, 3.99))
    assert not shorter.is_refined(shorter.root)


def test_nodes_are_found_by_id(tree):
    last = tree.segments[-1]
    assert tree[last.node_id] is last
    with pytest.raises(KeyError):
        tree["nowhere"]


def test_a_tree_without_nodes_can_be_walked():
    empty = Tree(UID)
    assert list(empty.depth_first()) == list(empty.breadth_first()) == list(empty.leaves()) == []
    assert (empty.depth, empty.duration, len(empty)) == (0, 0.0, 0)


def test_a_walk_ends_even_where_the_nodes_lead_in_a_circle(tree):
    a, b = tree.segments[1:3]
    circle = Tree(UID, (replace(a, parent_id=b.node_id), replace(b, parent_id=a.node_id)))
    assert len(list(circle.depth_first(circle.segments[0]))) == 2


def test_text_is_none_where_any_of_it_is_null():
    assert Segment("i", None, 0, 0, 1).text("summary", "brief") is None
    assert Segment("i", None, 0, 0, 1, gpt={"summary": None}).text("summary", "brief") is None
    assert Segment("i", None, 0, 0, 1, gpt=GPT).text("action", "actor") == "a cook"


def test_an_id_is_made_of_the_video_and_the_times_with_six_decimals():
    name = "-a_video|0.000000|219.150000"
    assert node_id(UID, 0, 219.15) == str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def test_a_tree_is_equal_to_its_plain_data_read_again(tree):
    full = replace(changed(tree, 0, gpt=GPT, plm_action="peel"), metadata={"title": "T"})
    assert Tree.from_dict(json.loads(json.dumps(full.to_dict()))) == full


@pytest.mark.parametrize("key", ["node_id", "level", "start", "end"])
def test_plain_data_without_a_node_s_place_is_refused(tree, key):
    row = tree.to_dict()
    row["nodes"][3][key] = None
    with pytest.raises(ValueError, match=f"node 3 has no {key}"):
        Tree.from_dict(row)


# -- invariants --------------------------------------------------------------------------------


def test_a_tree_is_valid_with_and_without_its_texts(tree):
    tree.validate()
    full = changed(tree, 0, gpt=GPT, plm_action="peel", plm_caption="Peeling.")
    full = changed(full, 1, llama3_caption="An apple.", plm_caption="An apple is peeled.")
    full = changed(full, 2, gpt=GPT | {"action": NOT_SEEN})
    full.validate()
    changed(full, 4, gpt=GPT | {"action": GPT["action"] | {"actor": "N/A"}}).validate()
    changed(full, 4, gpt={"summary": None, "action": None}).validate()


def other_id(tree: Tree) -> Tree:
    return changed(tree, 5, node_id=node_id("another video", 7, 13))


def shifted(tree: Tree) -> Tree:
    """Starts at 1 s; all ids are right."""
    return make_tree((1, 20), (1, 6), (6, 20))


BROKEN: dict[str, tuple[Callable[[Tree], Tree], str]] = {
    "no nodes": (lambda t: Tree(UID), "has no nodes"),
    "repeated id": (
        lambda t: Tree(UID, (*t.segments, replace(t.segments[-1], plm_action="again"))),
        r"1 node\(s\) repeat another node's id",
    ),
    "root's id below the root": (
        lambda t: changed(t, 1, node_id=t.root.node_id),
        r"1 node\(s\) repeat another node's id",
    ),
    "two roots": (lambda t: changed(t, 1, parent_id=None), "2 roots instead of one"),
    "no root": (lambda t: changed(t, 0, parent_id=t.segments[1].node_id), "0 roots"),
    "late start": (shifted, "the root starts at 1 s instead of 0"),
    "depth-first order": (
        lambda t: Tree(UID, tuple(make_tree((0, 9), (0, 6), (0, 3), (3, 6), (6, 9)).depth_first())),
        "not sorted by level and start",
    ),
    "order of time": (
        lambda t: Tree(UID, (t.segments[0], t.segments[2], t.segments[1], *t.segments[3:])),
        "not sorted by level and start",
    ),
    "unknown parent": (lambda t: changed(t, 6, parent_id="nobody"), "a parent nobody that does"),
    "cannot be reached": (
        lambda t: changed(t, 6, parent_id=t.segments[6].node_id),
        "cannot be reached from the root",
    ),
    "level": (lambda t: changed(t, 6, level=4), "is at level 4, which is not its depth"),
    "id": (other_id, r"has an id that is not made of its video and times \(7 to 13\)"),
    "no duration": (lambda t: make_tree((0, 0)), "ends at 0, not after its start 0"),
    "endless": (
        lambda t: Tree(UID, (Segment(node_id(UID, 0, float("nan")), None, 0, 0, float("nan")),)),
        "ends at nan, not after its start 0",
    ),
    "too short": (lambda t: make_tree((0, 9), (0, 0.4), (0.4, 9)), "lasts 0.4 s, less than 0.5 s"),
    "one child": (lambda t: Tree(UID, t.segments[:-1]), "has 1 children instead of 0 or 2"),
    "three children": (
        lambda t: make_tree((0, 9), (0, 3), (3, 6), (6, 9)),
        "has 3 children instead of 0 or 2",
    ),
    "gap": (lambda t: make_tree((0, 9), (0, 4), (5, 9)), "not tiled exactly by its two children"),
    "overlap": (lambda t: make_tree((0, 9), (0, 5), (4, 9)), "not tiled exactly"),
    "early end": (lambda t: make_tree((0, 9), (0, 5), (5, 8)), "not tiled exactly"),
    "llama3_caption of an inner node": (
        lambda t: changed(t, 2, llama3_caption="An apple."),
        "has a llama3_caption",
    ),
    "gpt of a leaf": (lambda t: changed(t, 1, gpt=GPT), "has a gpt, but is a leaf or shorter"),
    "gpt of a short node": (
        lambda t: changed(make_tree((0, 3.9), (0, 2), (2, 3.9)), 0, gpt=GPT),
        "has a gpt, but is a leaf or shorter than 4 s",
    ),
    "N/A in the brief action only": (
        lambda t: changed(t, 0, gpt=GPT | {"action": GPT["action"] | {"brief": "N/A"}}),
        "says N/A in a part of its action only",
    ),
    "N/A with an actor": (
        lambda t: changed(t, 0, gpt=GPT | {"action": NOT_SEEN | {"actor": "a cook"}}),
        "says N/A in a part of its action only",
    ),
    "N/A summary": (
        lambda t: changed(t, 0, gpt=GPT | {"summary": GPT["summary"] | {"brief": "N/A"}}),
        "says N/A in its summary",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_broken_invariant_is_reported_by_a_sentence(tree, name):
    breaks, sentence = BROKEN[name]
    with pytest.raises(InvalidTree, match=sentence) as error:
        breaks(tree).validate()
    assert repr(UID) in str(error.value)


def test_a_tree_with_many_problems_names_three_and_counts_the_others(tree):
    broken = Tree("another video", tree.segments)
    with pytest.raises(InvalidTree, match=r"and 4 more") as error:
        broken.validate()
    assert len(error.value.problems) == 7


def test_a_circle_of_repeated_ids_is_reported_and_not_walked_for_ever(tree):
    root = tree.root
    circle = [replace(root, parent_id=root.node_id, level=1, plm_action=str(i)) for i in range(3)]
    with pytest.raises(InvalidTree, match=r"3 node\(s\) repeat"):
        Tree(UID, (root, *circle)).validate()


@needs_real_trees
@each_real_tree
def test_real_tree_holds_every_invariant(number):
    tree = real_trees()[number]
    tree.validate()
    assert len(tree.leaves()) * 2 - 1 == len(tree)
    for s in tree.segments:
        assert (s.llama3_caption is not None) == tree.is_leaf(s)
        assert (s.gpt is not None) == tree.is_refined(s)
