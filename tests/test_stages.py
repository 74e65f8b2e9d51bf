"""The four stages with the preset ``embedded``, on the sample kit's real video files."""

from __future__ import annotations

import json
import re
from fractions import Fraction

import numpy as np
import pytest

from pipeline import captioning, embedding, measured, presets, refinement, segmentation
from pipeline.parquet import read_trees
from pipeline.tree import NOT_APPLICABLE, Segment, Tree, node_id
from pipeline.video import SampledFrames, VideoError, VideoInfo

ENCODER = embedding.load({"backend": "measured"})


@pytest.fixture(scope="module")
def embedded(kit):
    """(spec, embeddings, info) of each kit video."""
    return [(spec, *embedding.embed(path, ENCODER)) for spec, path in kit.videos]


@pytest.fixture(scope="module")
def trees(kit_run):
    return list(read_trees(kit_run / "part-00000.parquet"))


# -- embed -------------------------------------------------------------------------------------


def test_there_is_one_vector_for_each_fourth_frame(embedded):
    for spec, embeddings, info in embedded:
        assert (info.fps, info.frames) == (spec.fps, spec.frames)
        assert (info.width, info.height) == spec.size
        assert embeddings.shape[0] == -(-spec.frames // 4)
        assert embeddings.dtype == np.float16
        assert np.isfinite(embeddings).all()


def test_embedding_a_video_twice_gives_the_same_vectors(kit, embedded):
    path = kit.videos[0].path
    assert np.array_equal(embedding.embed(path, ENCODER)[0], embedded[0][1])


def test_frames_are_those_that_were_drawn(kit):
    from pipeline.samplekit import frames as drawn

    spec, path = kit.videos[0]
    originals = [bgr[..., ::-1] for i, bgr in enumerate(drawn(spec)) if i % 4 == 0]
    decoded = list(SampledFrames(path, max(spec.size)))
    assert len(decoded) == len(originals)
    for original, frame in list(zip(originals, decoded, strict=True))[::10]:
        assert frame.shape == original.shape
        assert np.abs(frame.astype(int) - original).mean() < 6  # what H.264 may lose


# -- segment -----------------------------------------------------------------------------------


def _coarsest_cuts(embeddings, fps, count: int) -> list[float]:
    """Seconds of the cuts that are left when Ward has joined all but ``count + 1`` clusters."""
    merges = segmentation.ward_dendrogram(embeddings)
    samples = len(embeddings)
    spans = {i: (i, i + 1) for i in range(samples)}
    for row, (a, b) in enumerate(merges[: samples - count - 1].tolist()):
        first, second = sorted((spans.pop(a), spans.pop(b)))
        spans[samples + row] = (first[0], second[1])
    return [(4 * start - 2) / float(fps) for start, _ in sorted(spans.values())[1:]]


def test_the_coarsest_cuts_are_the_true_scene_changes(embedded):
    for spec, embeddings, info in embedded:
        found = _coarsest_cuts(embeddings, info.fps, len(spec.scene_changes))
        assert found == pytest.approx([float(t) for t in spec.scene_changes], abs=0.5), spec.uid


def test_scene_changes_are_not_found_in_noise(embedded):
    """The test above can fail: vectors that know nothing of the video give other cuts."""
    spec, embeddings, info = embedded[-1]
    noise = np.random.default_rng(0).normal(size=embeddings.shape)
    found = _coarsest_cuts(noise, info.fps, len(spec.scene_changes))
    assert found != pytest.approx([float(t) for t in spec.scene_changes], abs=0.5)


def test_every_true_change_is_a_boundary_of_the_tree(embedded):
    for spec, embeddings, info in embedded:
        tree = segmentation.segment(embeddings, info.fps, spec.uid)
        boundaries = np.array([segment.start for segment in tree.segments])
        for change in (*spec.scene_changes, *spec.step_changes, *spec.motion_changes):
            assert np.abs(boundaries - float(change)).min() <= 0.5, (spec.uid, change)


# -- caption -----------------------------------------------------------------------------------


def test_the_samples_of_children_tile_those_of_their_parent(trees):
    for tree in trees:
        info = VideoInfo(_kit_fps(tree), round(tree.duration * _kit_fps(tree)), 1, 1)
        assert captioning.sample_range(tree.root, info) == range(info.samples)
        for segment in tree.segments:
            samples = captioning.sample_range(segment, info)
            assert len(samples) >= 1
            if children := tree.children(segment):
                first, second = (captioning.sample_range(child, info) for child in children)
                assert (first.start, first.stop, second.stop) == (
                    samples.start,
                    second.start,
                    samples.stop,
                )


def _kit_fps(tree: Tree) -> Fraction:
    from pipeline.samplekit import KIT_VIDEOS

    return next(spec.fps for spec in KIT_VIDEOS if spec.uid == tree.video_uid)


def test_evenly_spaced_frames_are_distinct_and_no_more_than_there_are():
    assert captioning.evenly_spaced(range(5, 9), 32) == [5, 6, 7, 8]
    chosen = captioning.evenly_spaced(range(100, 500), 32)
    assert len(set(chosen)) == 32
    assert set(np.diff(chosen)) <= {12, 13}
    assert chosen[0] - 100 == pytest.approx(499 - chosen[-1], abs=1)


def test_every_node_has_a_caption_and_an_action_and_only_leaves_an_image_caption(trees):
    for tree in trees:
        tree.validate()
        for segment in tree.segments:
            assert segment.plm_caption and segment.plm_action
            assert (segment.llama3_caption is not None) == tree.is_leaf(segment)


def test_captions_differ_between_scenes_and_name_what_is_there(trees):
    for tree in trees:
        captions = {leaf.llama3_caption for leaf in tree.leaves()}
        assert len(captions) > len(tree.leaves()) / 4  # neither fixed nor constant


def _clip(moves: tuple[int, int], colour=(220, 30, 30), frames=12) -> list[np.ndarray]:
    """A square on a blue ground that moves by (right, down) pixels from frame to frame."""
    result = []
    for i in range(frames):
        frame = np.full((90, 160, 3), (40, 60, 200), np.uint8)
        x, y = 70 + moves[0] * (i - frames // 2), 38 + moves[1] * (i - frames // 2)
        frame[y : y + 18, x : x + 18] = colour
        result.append(frame)
    return result


@pytest.mark.parametrize(
    ("moves", "phrase"),
    [
        ((3, 0), "move the red shape to the right"),
        ((-3, 0), "move the red shape to the left"),
        ((0, -2), "move the red shape up"),
        ((0, 2), "move the red shape down"),
        ((0, 0), "hold still"),
    ],
)
def test_the_action_says_what_moves_and_which_way(moves, phrase):
    assert measured.action_phrase(list(measured.looks(_clip(moves), 0.16))) == phrase


def test_captions_state_speed_colours_and_brightness():
    looks = list(measured.looks(_clip((4, 0)), 0.16))
    caption = measured.video_caption(looks)
    speed = int(re.search(r"by about (\d+)% of the width a second", caption)[1])
    assert speed == pytest.approx(100 * 4 / 160 / 0.16, rel=0.2)
    assert "mostly blue" in caption
    brightness = int(re.search(r"(\d+)% of white", measured.image_caption(looks[0]))[1])
    assert brightness == pytest.approx(100 * (0.299 * 40 + 0.587 * 60 + 0.114 * 200) / 255, abs=4)


def test_a_cut_is_not_taken_for_a_movement():
    before = [np.full((90, 160, 3), 30, np.uint8)] * 3
    rng = np.random.default_rng(1)
    after = [rng.integers(0, 255, (90, 160, 3), np.uint8)] * 3
    looks = list(measured.looks([*before, *after], 0.16))
    assert [look.motion for look in looks] == [None] * 6


# -- refine ------------------------------------------------------------------------------------


def test_refined_nodes_follow_every_rule_of_the_format(trees):
    for tree in trees:
        for segment in tree.segments:
            assert (segment.gpt is not None) == tree.is_refined(segment)
            if segment.gpt is None:
                continue
            summary, action = segment.gpt["summary"], segment.gpt["action"]
            assert not summary["brief"].endswith(".")
            assert not action["brief"].endswith(".")
            assert len(summary["brief"]) <= 355 and len(summary["detailed"]) <= 1646
            assert not re.search(r"\d+:\d\d|\d+(\.\d+)? s\b", json.dumps(summary))  # no times
            if action["brief"] == NOT_APPLICABLE:
                assert set(action.values()) == {NOT_APPLICABLE}
            else:
                assert not action["brief"].split()[0].endswith("ing")
                assert action["detailed"].endswith(".")
                assert action["detailed"][0].isupper()
                assert action["actor"] in action["brief"]


def test_summaries_are_made_of_the_subtrees_own_sentences(trees):
    for tree in trees:
        for segment in tree.segments:
            if segment.gpt is None:
                continue
            said = " ".join(s.plm_caption.lower() for s in tree.depth_first(segment))
            sentences = segment.gpt["summary"]["detailed"].removesuffix(".").split(". ")
            for sentence in (*sentences, segment.gpt["summary"]["brief"]):
                assert sentence.lower() in said


def _captioned(leaf_actions: list[str]) -> Tree:
    """A root of 8 s with two leaves of 4 s."""
    times = [(0.0, 8.0), (0.0, 4.0), (4.0, 8.0)]
    actions = ["hold still", *leaf_actions]
    ids = [node_id("v", *span) for span in times]
    return Tree(
        "v",
        tuple(
            Segment(ids[i], ids[0] if i else None, min(i, 1), *times[i], actions[i], "A. B.")
            for i in range(3)
        ),
    )


def _refined(tree: Tree, earlier=()) -> list[dict]:
    saved: list[dict] = []
    refinement.load({"backend": "extractive"}).refine(tree, earlier, saved.append)
    return saved


def test_a_segment_in_which_nothing_moves_has_no_action_and_no_actor():
    (line,) = _refined(_captioned(["hold still", "hold still"]))
    assert set(line["gpt"]["action"].values()) == {NOT_APPLICABLE}


def test_the_action_is_the_one_that_lasts_longest():
    tree = _captioned(["hold still", "move the red shape up"])
    (line,) = _refined(tree)
    assert line["node_id"] == tree.root.node_id
    assert line["gpt"]["action"] == {
        "brief": "move the red shape up",
        "detailed": "Move the red shape up.",
        "actor": "the red shape",
    }
    assert _refined(tree, [line]) == []


# -- video files that are none -----------------------------------------------------------------


def test_files_that_are_no_videos_are_named_with_what_to_do(kit, tmp_path):
    whole = kit.videos[0].path.read_bytes()
    cases = {
        "text.mp4": (b"hello\n", "is not a readable video"),
        "empty.mp4": (b"", "is empty (0 bytes); download it again"),
        "half.mp4": (whole[: len(whole) // 2], "ends early"),
    }
    for name, (content, reason) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(VideoError, match=re.escape(str(path))) as error:
            list(SampledFrames(path, 64))
        assert reason in str(error.value)
    with pytest.raises(VideoError, match="no such file"):
        list(SampledFrames(tmp_path / "none.mp4", 64))


# -- presets -----------------------------------------------------------------------------------


def test_a_copied_preset_is_loaded_by_its_path_and_named_after_its_file(tmp_path):
    copy = tmp_path / "mine.yaml"
    text = (presets.FOLDER / "embedded.yaml").read_text().replace("sentences: 4", "sentences: 2")
    copy.write_text(text)
    preset = presets.load(copy)
    assert preset.name == "mine"
    assert preset.refine["sentences"] == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a list", "no mapping"),
        ("embed: [", "not readable as YAML"),
        ("nonsense: 1", "unknown key"),
        ("embed: {backend: measured}", "lacks a mapping 'segment'"),
        ("embed: {}\nsegment: {}\ncaption: {}\nrefine: {}", "names no backend for 'embed'"),
    ],
)
def test_a_broken_preset_is_named_with_the_reason(tmp_path, text, reason):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(presets.PresetError, match=re.escape(str(path))) as error:
        presets.load(path)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("load", "config", "reason"),
    [
        (embedding.load, {"backend": "random"}, "unknown backend 'random'"),
        (captioning.load, {"backend": "measured", "frame": 3}, "unknown option(s) frame"),
        (captioning.load, {"backend": "measured", "frames": 0}, "at least 1"),
        (captioning.load, {"backend": "measured", "frames": "32"}, "must be of type int"),
        (refinement.load, {"backend": "extractive", "sentences": 0}, "at least 1"),
    ],
)
def test_what_a_backend_does_not_know_is_an_error_and_never_replaced(load, config, reason):
    with pytest.raises(presets.PresetError, match=re.escape(reason)):
        load(config)
