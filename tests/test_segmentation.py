"""Segmentation against a brute-force reference, planted cuts and the real trees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.segmentation import cut, segment, ward_dendrogram
from pipeline.tree import Segment, Tree, node_id
from tests.brute_force import cut_merges, merge_costs, ward_merges
from tests.real_trees import each_real_tree, needs_real_trees, real_trees

NTSC = Fraction(30000, 1001)
FILM = Fraction(24000, 1001)
RATES = [Fraction(24), Fraction(25), Fraction(30), FILM, NTSC, Fraction(60), Fraction(12)]


def times(tree: Tree) -> list[tuple[int, float, float]]:
    return [(s.level, s.start, s.end) for s in tree.segments]


def random_walk(seed: int, frames: int, values: int = 3) -> np.ndarray:
    """Embeddings that drift, with a jump now and then, like those of a video."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(frames, values))
    steps[rng.random(frames) < 0.1] *= 10
    return steps.cumsum(axis=0)


def random_merges(seed: int, frames: int) -> list[tuple[int, int]]:
    """Any dendrogram over a chain, whether or not Ward would make it."""
    rng = np.random.default_rng(seed)
    chain, merges = list(range(frames)), []
    while len(chain) > 1:
        at = int(rng.integers(len(chain) - 1))
        merges.append((chain[at], chain[at + 1]))
        chain[at : at + 2] = [frames + len(merges) - 1]
    return merges


def assert_like_real_trees(tree: Tree, fps: Fraction, samples: int) -> None:
    """What holds for all of the authors' trees, apart from what the texts add."""
    tree.validate()
    cuts = {0.0: 0, round(4 * samples / float(fps), 2): 4 * samples}
    cuts |= {round((4 * i - 2) / float(fps), 2): 4 * i - 2 for i in range(1, samples)}

    def frames(s: Segment) -> int:
        return cuts[s.end] - cuts[s.start]  # KeyError: not midway between two samples

    assert tree.segments[0] == tree.root
    assert (tree.root.start, tree.root.end) == (0.0, round(4 * samples / float(fps), 2))
    assert [(s.level, s.start) for s in tree.segments] == sorted(
        (s.level, s.start) for s in tree.segments
    )
    for s in tree.segments:
        children = tree.children(s)
        assert len(children) in (0, 2)
        assert s.node_id == node_id(tree.video_uid, s.start, s.end)
        if children:
            first, second = children
            assert (first.start, first.end, second.end) == (s.start, second.start, s.end)
            assert first.level == second.level == s.level + 1
            assert all(frames(child) * 2 >= fps for child in children)  # half a second


# -- the dendrogram ----------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [2, 3, 4, 5, 17, 40])
@pytest.mark.parametrize("seed", range(4))
def test_dendrogram_of_random_frames_is_that_of_brute_force(seed, frames):
    for embeddings in (
        random_walk(seed, frames),
        np.random.default_rng(seed).normal(size=(frames, 3)),
    ):
        assert ward_dendrogram(embeddings).tolist() == list(map(list, ward_merges(embeddings)))


@pytest.mark.parametrize("frames", [2, 3, 7, 16, 33])
def test_static_video_is_joined_in_the_order_of_ids(frames):
    embeddings = np.full((frames, 4), 0.3)
    merges = ward_dendrogram(embeddings)
    assert merges.tolist() == list(map(list, ward_merges(embeddings)))
    assert merges[0].tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(6))
def test_repeated_frames_are_joined_as_by_brute_force(seed):
    # Sixteen bits a value, so that sums over repeated rows are exact and only zeros are tied.
    rng = np.random.default_rng(seed)
    scenes = rng.normal(size=(6, 3)).astype(np.float16)
    embeddings = np.repeat(scenes, rng.integers(1, 7, size=6), axis=0)
    assert ward_dendrogram(embeddings).tolist() == list(map(list, ward_merges(embeddings)))


@pytest.mark.parametrize("seed", range(12))
def test_every_merge_of_tied_frames_is_among_the_cheapest(seed):
    # Means of integers are rounded, so that equal costs can differ in the last bit: any of the
    # tied pairs is right.
    embeddings = np.random.default_rng(seed).integers(0, 3, size=(24, 2))
    merges = ward_dendrogram(embeddings)
    assert len(merges) == 23
    for cost, cheapest in merge_costs(embeddings, list(map(tuple, merges.tolist()))):
        assert cost <= cheapest * (1 + Fraction(1, 10**9))


def test_half_precision_gives_the_dendrogram_of_the_same_numbers_in_double_precision():
    embeddings = random_walk(1, 200, 16).astype(np.float16)
    half, double = ward_dendrogram(embeddings), ward_dendrogram(embeddings.astype(np.float64))
    assert np.array_equal(half, double)


def test_one_frame_has_no_merges():
    assert ward_dendrogram([[1.0, 2.0]]).shape == (0, 2)


def test_heights_that_fall_going_up_are_there_and_do_not_matter():
    """With neighbours only, a merge can cost less than the one before: no cut may look at that."""
    from scipy.sparse import diags_array
    from sklearn.cluster import ward_tree

    falls = 0
    for seed in range(20):
        embeddings = np.random.default_rng(seed).normal(size=(40, 2))
        links = np.ones(39)
        chain = diags_array([links, links], offsets=[-1, 1])
        *_, heights = ward_tree(embeddings, connectivity=chain, return_distance=True)
        falls += int((np.diff(heights) < 0).sum())
        assert times(segment(embeddings, 25, "uid")) == cut_merges(
            ward_merges(embeddings), Fraction(25), Fraction(1, 2)
        )
    assert falls > 10


# -- the cut -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("seed", range(3))
def test_segments_are_those_of_brute_force(seed, fps):
    embeddings = random_walk(seed, 45)
    tree = segment(embeddings, fps, "-uid")
    tree.validate()
    assert times(tree) == cut_merges(ward_merges(embeddings), fps, Fraction(1, 2))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(1, 60),
    fps=st.sampled_from(RATES),
    min_duration=st.sampled_from([Fraction(1, 2), Fraction(1), Fraction(2, 3), Fraction(5)]),
)
def test_any_dendrogram_is_cut_into_a_valid_tree(seed, frames, fps, min_duration):
    merges = np.array(random_merges(seed, frames), int).reshape(-1, 2)
    tree = cut(merges, fps, "uid", min_duration=float(min_duration))
    tree.validate()
    assert times(tree) == cut_merges(merges.tolist(), fps, min_duration)
    assert all(
        s.duration >= float(min_duration) - 0.0101 for s in tree.segments if s.parent_id is not None
    )


KINDS = {
    "random": lambda rng, frames: rng.normal(size=(frames, 3)),
    "drifting": lambda rng, frames: rng.normal(size=(frames, 3)).cumsum(axis=0),
    "tied": lambda rng, frames: rng.integers(0, 3, size=(frames, 2)).astype(float),
    "constant": lambda rng, frames: np.full((frames, 3), rng.normal()),
    "duplicated": lambda rng, frames: rng.normal(size=(7, 3))[np.sort(rng.integers(0, 7, frames))],
}


@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    seed=st.integers(0, 2**32 - 1),
    frames=st.one_of(st.integers(1, 3), st.integers(4, 80)),
    fps=st.sampled_from(RATES),
    half=st.booleans(),
)
def test_whatever_the_embeddings_the_tree_is_like_the_real_ones(kind, seed, frames, fps, half):
    embeddings = KINDS[kind](np.random.default_rng(seed), frames)
    embeddings = embeddings.astype(np.float16 if half else np.float64)
    merges = ward_dendrogram(embeddings)
    for cost, cheapest in merge_costs(embeddings, list(map(tuple, merges.tolist()))):
        assert cost <= cheapest * (1 + Fraction(1, 10**9)) + Fraction(1, 10**24)
    tree = segment(embeddings, fps, "-uid")
    assert_like_real_trees(tree, fps, frames)
    # A split is kept if it can be: no leaf's split in the dendrogram has two long children.
    assert times(tree) == cut_merges(merges.tolist(), fps, Fraction(1, 2))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), fps=st.sampled_from([Fraction(24), Fraction(30), NTSC]))
def test_planted_boundaries_are_found_wherever_they_lie(seed, fps):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(8, 60, size=rng.integers(2, 12))
    scenes = np.eye(len(lengths)) * 10
    embeddings = np.repeat(scenes, lengths, axis=0)
    embeddings += rng.normal(size=embeddings.shape) * 0.1
    tree = segment(embeddings.astype(np.float16), fps, "uid")
    assert_like_real_trees(tree, fps, int(lengths.sum()))
    planted = [round((4 * int(e) - 2) / float(fps), 2) for e in lengths.cumsum()[:-1]]
    edges = [0.0, *planted, tree.duration]
    assert set(pairwise(edges)) <= {(s.start, s.end) for s in tree.segments}


def test_cuts_lie_midway_between_sampled_frames():
    embeddings = np.repeat([[0.0], [9.0]], [5, 7], axis=0)
    tree = segment(embeddings, 24, "uid")
    # Samples 4 and 5 are the raw frames 16 and 20; the cut is at 18.
    assert times(tree)[:3] == [(0, 0.0, 2.0), (1, 0.0, 0.75), (1, 0.75, 2.0)]


@pytest.mark.parametrize(
    ("fps", "at_start", "inside", "at_end"),
    [(24, 4, 3, 3), (25, 4, 4, 3), (30, 5, 4, 4), (FILM, 4, 3, 3), (NTSC, 5, 4, 4)],
)
def test_half_a_second_is_measured_in_whole_frames(fps, at_start, inside, at_end):
    # n samples last 4n - 2 frames at the very start, 4n inside and 4n + 2 at the very end.
    def is_cut(lengths: list[int]) -> bool:
        values = np.repeat([0.0, 5.0, 40.0], lengths)
        cuts = {s.start for s in segment(values[:, None], fps, "uid").segments}
        edges = [lengths[0], lengths[0] + lengths[1]]
        wanted = {round((4 * e - 2) / float(fps), 2) for e in edges if 0 < e < len(values)}
        return wanted <= cuts

    for lengths, least in (((0, 0, 30), at_start), ((30, 0, 30), inside), ((30, 30, 0), at_end)):
        short = lengths.index(0)
        for samples, expected in ((least, True), (least - 1, False)):
            lengths_now = [*lengths[:short], samples, *lengths[short + 1 :]]
            assert is_cut(lengths_now) is expected, lengths_now


@pytest.mark.parametrize(("frames", "duration"), [(1, 0.16), (2, 0.32), (3, 0.48)])
def test_a_few_frames_give_a_root_alone(frames, duration):
    tree = segment(random_walk(0, frames), 25, "uid", {"title": "short"})
    tree.validate()
    assert times(tree) == [(0, 0.0, duration)]
    assert tree.root.node_id == node_id("uid", 0.0, duration)
    assert tree.metadata == {"title": "short"}


def test_a_time_that_falls_between_two_hundredths_is_rounded_as_in_the_authors_files():
    # 5160 frames last exactly 215.215 s, but a little less where fps is a floating-point number.
    assert segment(np.zeros((1290, 1)), FILM, "uid").duration == 215.21


def test_static_video_gives_a_valid_tree():
    tree = segment(np.zeros((1500, 2)), NTSC, "uid")
    tree.validate()
    assert tree.duration == 200.2


@pytest.mark.parametrize("seed", range(5))
def test_planted_boundaries_are_found(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(8, 60, size=12)
    scenes = rng.normal(size=(12, 32)) * 5
    embeddings = np.repeat(scenes, lengths, axis=0) + rng.normal(size=(lengths.sum(), 32)) * 0.5
    tree = segment(embeddings.astype(np.float16), NTSC, "uid")
    tree.validate()
    planted = {round((4 * int(e) - 2) / float(NTSC), 2) for e in lengths.cumsum()[:-1]}
    assert planted <= {s.start for s in tree.segments}
    # They are the highest cuts: each scene is one node, whether or not it is cut further.
    edges = [0.0, *sorted(planted), tree.duration]
    assert set(pairwise(edges)) <= {(s.start, s.end) for s in tree.segments}


def test_a_fps_given_as_float_cuts_as_its_fraction():
    embeddings = random_walk(3, 300)
    for fraction in RATES:
        exact = segment(embeddings, fraction, "uid")
        assert segment(embeddings, float(fraction), "uid") == exact
        assert segment(embeddings, np.float64(float(fraction)), "uid") == exact


def test_a_dendrogram_can_be_cut_again_with_another_threshold():
    merges = ward_dendrogram(random_walk(5, 400))
    coarse, fine = cut(merges, 25, "uid", min_duration=2.0), cut(merges, 25, "uid")
    coarse.validate()
    assert len(coarse) < len(fine)
    assert set(coarse.segments) <= set(fine.segments)


def test_a_tree_of_three_thousand_levels_is_cut_without_recursion():
    # Groups of four frames, joined one after the other from the left.
    groups = 3000
    frames = 4 * groups
    merges, tops = [], []
    for group in range(groups):
        a, b, c, d = range(4 * group, 4 * group + 4)
        base = frames + len(merges)
        merges += [(a, b), (base, c), (base + 1, d)]
        tops.append(base + 2)
    left = tops[0]
    for top in tops[1:]:
        merges.append((left, top))
        left = frames + len(merges) - 1
    tree = cut(merges, 25, "uid")
    tree.validate()
    assert tree.depth == groups - 1


# -- the real trees ----------------------------------------------------------------------------


def frame_grid(tree: Tree) -> tuple[Fraction, dict[float, int]]:
    """The fps at which all of a tree's cuts are raw frames 4i + 2, and the samples before each."""
    cuts = sorted({s.start for s in tree.segments} - {0.0})
    for fps in RATES:
        samples = {t: round((t * float(fps) + 2) / 4) for t in cuts}
        if all(round((4 * n - 2) / float(fps), 2) == t for t, n in samples.items()):
            return fps, samples | {0.0: 0, tree.duration: round(tree.duration * float(fps) / 4)}
    raise AssertionError(f"{tree.video_uid}: no usual fps puts all cuts on frames 4i + 2")


@needs_real_trees
@each_real_tree
def test_real_tree_is_what_cut_makes_of_its_dendrogram(number):
    tree = real_trees()[number]
    fps, samples = frame_grid(tree)
    frames = samples[tree.duration]
    merges: list[tuple[int, int]] = []

    def join(a: int, b: int) -> int:
        merges.append((a, b))
        return frames + len(merges) - 1

    # Leaves are joined frame by frame, which leaves no split that could be kept.
    cluster = {}
    for s in sorted(tree.segments, key=lambda s: -s.level):
        if tree.is_leaf(s):
            top, *others = range(samples[s.start], samples[s.end])
            for frame in others:
                top = join(top, frame)
        else:
            top = join(*(cluster[child.node_id] for child in tree.children(s)))
        cluster[s.node_id] = top

    assert_like_real_trees(tree, fps, frames)
    made = cut(merges, fps, tree.video_uid)
    assert times(made) == times(tree)
    assert [(s.node_id, s.parent_id) for s in made.segments] == [
        (s.node_id, s.parent_id) for s in tree.segments
    ]


# -- hours of video ----------------------------------------------------------------------------

_LONG = """
import json, re
from pathlib import Path
import numpy as np
from pipeline.segmentation import segment
import scipy.sparse, sklearn.cluster
status = Path("/proc/self/status")
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", status.read_text())[1])
embeddings = np.random.default_rng(0).integers(-9, 9, (8000, 1408), np.int8).astype(np.float16)
before = peak()
segment(embeddings, 30, "uid")
print(json.dumps((peak() - before) / (4 * embeddings.size)))
"""


def test_memory_is_that_of_the_clustering(repo):
    """scikit-learn holds the sums of all 2 T - 1 clusters in float64: 4 times T * D in float32."""
    done = subprocess.run(
        [sys.executable, "-c", _LONG],
        env={**os.environ, "PYTHONPATH": str(repo)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert 3 < json.loads(done.stdout) < 4.5


def test_hours_of_video_are_cut_again_without_clustering():
    embeddings = random_walk(0, 100_000, 2)
    merges = ward_dendrogram(embeddings)
    sizes = []
    for seconds in (0.5, 2, 30):
        tree = cut(merges, NTSC, "uid", min_duration=seconds)
        assert_like_real_trees(tree, NTSC, 100_000)
        sizes.append(len(tree))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 10_000


# -- what cannot be segmented ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("embeddings", "sentence"),
    [
        (np.zeros((0, 8)), "no frames"),
        (np.zeros((8, 0)), "no values"),
        (np.zeros(8), r"shape \(T, D\), not \(8,\)"),
        (np.zeros((2, 3, 4)), r"shape \(T, D\)"),
        (np.array([[1.0], [2.0], [np.nan]]), "NaN or infinity in 1 rows, first in 2"),
        (np.array([[np.inf], [2.0]], np.float16), "NaN or infinity in 1 rows, first in 0"),
        (np.array([["a"], ["b"]]), "real numbers"),
        (np.array([[1j], [2j]]), "real numbers"),
    ],
)
def test_embeddings_that_cannot_be_segmented_are_named(embeddings, sentence):
    with pytest.raises(ValueError, match=sentence):
        segment(embeddings, 25, "uid")


@pytest.mark.parametrize("fps", [0, -25, float("nan"), float("inf"), "fast", None])
def test_fps_must_be_a_finite_number_above_zero(fps):
    with pytest.raises(ValueError, match="fps must be a finite number above 0"):
        segment(np.zeros((9, 2)), fps, "uid")


def test_fps_that_leaves_no_time_for_the_frames_is_refused():
    with pytest.raises(ValueError, match="check the fps"):
        segment(np.zeros((1, 2)), 1000, "uid")


@pytest.mark.parametrize("min_duration", [0, -1, float("nan"), 0.001])
def test_min_duration_must_be_one_that_times_in_hundredths_can_tell(min_duration):
    with pytest.raises(ValueError, match="min_duration"):
        segment(np.zeros((9, 2)), 25, "uid", min_duration=min_duration)


@pytest.mark.parametrize(
    ("merges", "sentence"),
    [
        ([(0, 2), (1, 3)], "row 0 of merges joins 0 and 2"),
        ([(0, 1), (1, 2)], "do not end in one cluster"),
        ([(0, 1), (0, 1)], "do not end in one cluster"),
        ([(0, 4), (1, 2)], "row 0 of merges joins 0 and 4"),
        ([(0, -1)], "row 0"),
        ([(0, 0)], "row 0"),
        ([0, 1], r"must be \(T - 1, 2\) integers"),
        ([(0.5, 1.0)], r"must be \(T - 1, 2\) integers"),
    ],
)
def test_merges_that_are_no_dendrogram_of_a_chain_are_refused(merges, sentence):
    with pytest.raises(ValueError, match=sentence):
        cut(merges, 25, "uid")
