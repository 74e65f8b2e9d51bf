"""Trees in FiftyOne: ground truth, label fields, runs, the light view, trees from samples."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline import dataset as datasets
from pipeline.parquet import read_trees
from pipeline.tree import Tree
from tests.clips import H264, clip

pytestmark = pytest.mark.fiftyone


@pytest.fixture
def dataset(fo, request):
    made = datasets.open_dataset(f"test-{request.node.name}"[:60], overwrite=True)
    yield made
    made.delete()


@pytest.fixture
def loaded(dataset, kit):
    """The kit's ground truth in a dataset."""
    datasets.add_ground_truth(dataset, kit.trees().values(), _paths(kit))
    return dataset


def _paths(kit):
    return {spec.uid: path for spec, path in kit.videos}


def _by_uid(dataset):
    return {sample.video_uid: sample for sample in dataset}


# -- labels ------------------------------------------------------------------------------------


def test_the_frames_of_children_tile_those_of_their_parent_on_every_real_tree(real_trees):
    for tree in read_trees(real_trees):
        for fps in (24.0, 25.0, 30000 / 1001, 30.0):
            clip = datasets.Clip(fps, round(tree.duration * fps))
            for segment in tree.segments:
                first, last = clip.support(segment.start, segment.end)
                assert 1 <= first <= last <= clip.frames
                if children := tree.children(segment):
                    (a, b), (c, d) = (clip.support(s.start, s.end) for s in children)
                    assert (a, b + 1, d) == (first, c, last)


def test_a_clip_cuts_its_last_segments_and_drops_those_beyond(kit):
    tree = kit.trees()["kitTea_0001"]
    clip = datasets.Clip(25.0, 600, limit=10.0)
    labels = datasets.labels(tree, clip, "plm_caption").detections
    by_node = {label.node_id: label for label in labels}
    assert {s.node_id for s in tree.segments if s.start < 10} == set(by_node)
    for segment in tree.segments:
        if label := by_node.get(segment.node_id):
            assert label.truncated == (segment.end > 10)
            assert label.support[1] == min(round(segment.end * 25), 250)
            assert (label.start, label.end) == (segment.start, segment.end)


def test_the_frames_that_sampling_adds_at_the_end_do_not_count_as_cut(kit):
    clip = datasets.Clip(25.0, 598)  # 150 samples stand for 600 frames
    labels = datasets.labels(kit.trees()["kitTea_0001"], clip, "plm_action").detections
    assert labels[0].support == [1, 598]
    assert not any(label.truncated for label in labels)


def test_labels_are_stored_just_as_fiftyone_itself_stores_them(fo, dataset, kit):
    tree = kit.trees()["kitTea_0001"]
    clip = datasets.Clip(25.0, 600, limit=10.0)
    detections = [
        fo.TemporalDetection(
            label=s.plm_caption,
            support=clip.support(s.start, s.end),
            node_id=s.node_id,
            parent_id=s.parent_id,
            level=s.level,
            tier=tree.tier(s),
            start=s.start,
            end=s.end,
            truncated=s.end > 10,
        )
        for s in tree.segments
        if s.start < 10
    ]
    theirs = fo.TemporalDetections(detections=detections).to_dict()
    ours = datasets.labels(tree, clip, "plm_caption").to_dict()
    for mine, other in zip(ours["detections"], theirs["detections"], strict=True):
        assert list(mine) == list(other)
        assert type(mine.pop("_id")) is type(other.pop("_id"))
    assert ours == theirs
    # The dataset's schema says the same of them as FiftyOne finds in them.
    datasets.add_ground_truth(dataset, [tree], _paths(kit), label_kinds="all")
    declared = dataset.get_field_schema(flat=True)
    dataset.add_dynamic_sample_fields()
    assert set(dataset.get_field_schema(flat=True)) == set(declared)
    found = dataset.get_dynamic_field_schema()
    assert not [path for path in found if "detections" in path]


# -- ground truth ------------------------------------------------------------------------------


def test_samples_have_exactly_the_designed_fields(loaded, kit):
    own = {"id", "filepath", "tags", "metadata", "created_at", "last_modified_at"}
    assert set(loaded.get_field_schema()) - own == {
        *("title", "description", "full_video_url", "upload_date", "view_count", "like_count"),
        *("full_video_duration", "transcript", "tree_depth", "ground_truth_tree", "video_uid"),
        *("gpt_summary_brief", "gpt_summary_detailed", "gpt_action_brief", "gpt_action_detailed"),
        *("gpt_action_actor", "transcript_segments"),
    }
    assert loaded.persistent
    samples = _by_uid(loaded)
    for uid, tree in kit.trees().items():
        sample = samples[uid]
        assert sample.title == tree.metadata["title"]
        assert sample.full_video_url == f"https://www.youtube.com/watch?v={uid}"
        assert sample.upload_date.strftime("%Y%m%d") == tree.metadata["upload_date"]
        assert sample.full_video_duration == pytest.approx(tree.duration)
        assert sample.tree_depth == tree.depth
        assert Tree.from_dict(sample.ground_truth_tree).segments == tree.segments
        labels = sample.gpt_action_brief.detections
        refined = [s for s in tree.segments if s.gpt is not None]
        assert [label.label for label in labels] == [s.text("action", "brief") for s in refined]
        assert [label.tier for label in labels] == [tree.tier(s) for s in refined]
        lines = tree.metadata["transcript"] or []
        assert len(sample.transcript_segments.detections) == len(lines)


def test_adding_again_updates_and_keeps_what_is_the_users(loaded, kit):
    sample = loaded.first()
    sample.tags = ["mine"]
    sample["rating"] = 5
    sample.title = "changed"
    sample.save()
    other = loaded.add_sample(sample.copy().__class__(filepath=sample.filepath))
    summary = datasets.add_ground_truth(loaded, kit.trees().values(), _paths(kit))
    assert (len(summary.added), len(summary.updated)) == (0, len(kit.videos))
    sample.reload()
    assert (sample.tags, sample.rating) == (["mine"], 5)
    assert sample.title == kit.trees()[sample.video_uid].metadata["title"]
    assert loaded[other].video_uid is None


def test_nulls_and_nonsense_in_the_annotations_load(dataset, kit):
    uid = kit.videos[0].spec.uid
    tree = kit.trees()[uid]
    metadata = dict.fromkeys(tree.metadata) | {
        "transcript": [{"time": None, "text": "a"}, {"time": "1.5", "text": "b  c"}],
    }
    bare = [
        dataclasses.replace(s, plm_action=None, plm_caption=None, gpt=None) for s in tree.segments
    ]
    partly = dataclasses.replace(bare[0], gpt={"summary": None, "action": {"brief": "x"}})
    odd = Tree(uid, (partly, *bare[1:]), metadata)
    summary = datasets.add_ground_truth(dataset, [odd], _paths(kit))
    assert summary.failed == {}
    sample = dataset.first()
    assert sample.title is None and sample.upload_date is None
    assert sample.tags == [] and not sample.has_field("load_error")
    assert sample.transcript == "b c"
    assert [label.label for label in sample.gpt_action_brief.detections] == ["x"]
    assert sample.gpt_summary_brief.detections == []


def test_a_video_that_cannot_be_read_is_reported_and_the_others_load(dataset, kit, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_text("no video")
    paths = _paths(kit) | {kit.videos[0].spec.uid: broken}
    summary = datasets.add_ground_truth(dataset, kit.trees().values(), paths)
    assert set(summary.failed) == {kit.videos[0].spec.uid}
    assert str(broken) in summary.failed[kit.videos[0].spec.uid]
    assert len(summary.added) == len(kit.videos) - 1
    sample = _by_uid(dataset)[kit.videos[0].spec.uid]
    assert sample.tags == ["load_failed"]
    assert sample.load_error == summary.failed[kit.videos[0].spec.uid]
    assert sample.gpt_action_brief is None
    summary = datasets.add_ground_truth(dataset, kit.trees().values(), _paths(kit))
    assert len(summary.updated) == len(kit.videos)
    sample.reload()
    assert (sample.tags, sample.load_error) == ([], None)
    assert sample.gpt_action_brief.detections


def test_raw_captions_become_labels_on_request_and_rebuild_the_whole_tree(dataset, kit):
    trees = kit.trees()
    datasets.add_ground_truth(dataset, trees.values(), _paths(kit), label_kinds="all")
    dataset.delete_sample_field("ground_truth_tree")
    for sample in dataset:
        (shown,) = datasets.sample_trees(sample)
        rebuilt = Tree.from_dict({"video_uid": sample.video_uid, "nodes": shown["nodes"]})
        rebuilt.validate()
        assert rebuilt.segments == trees[sample.video_uid].segments


def test_a_dataset_without_labels_has_the_trees_all_the_same(fo, dataset, kit):
    datasets.add_ground_truth(dataset, kit.trees().values(), _paths(kit), label_kinds="none")
    assert not dataset.get_field_schema(embedded_doc_type=fo.TemporalDetections)
    assert [tree["source"] for tree in datasets.sample_trees(dataset.first())] == ["tree"]


def test_five_real_trees_become_samples(dataset, real_trees, kit):
    trees = list(read_trees(real_trees))
    paths = {tree.video_uid: kit.videos[0].path for tree in trees}  # 24 s of each are "on disk"
    datasets.add_ground_truth(dataset, trees, paths)
    for tree in trees:
        sample = _by_uid(dataset)[tree.video_uid]
        (shown,) = datasets.sample_trees(sample)
        assert len(shown["nodes"]) == len(tree)
        inside = [s for s in tree.segments if s.gpt and s.start < 24]
        assert len(sample.gpt_summary_brief.detections) == len(inside)
        assert sample.gpt_summary_brief.detections[0].truncated


def test_the_light_view_has_everything_but_labels(fo, loaded):
    light = loaded.load_saved_view("light")
    assert not light.get_field_schema(embedded_doc_type=fo.TemporalDetections)
    assert light.has_sample_field("ground_truth_tree")
    assert len(light) == len(loaded)


def test_labels_do_not_lie_over_the_picture_unless_a_person_wants_them(fo, loaded, kit):
    assert loaded.app_config.active_fields.paths == ["tags", "title"]
    loaded.app_config.active_fields = fo.ActiveFields(paths=["gpt_action_brief"])
    loaded.save()
    datasets.add_ground_truth(loaded, kit.trees().values(), _paths(kit))
    loaded.reload()
    assert loaded.app_config.active_fields.paths == ["gpt_action_brief"]


# -- runs --------------------------------------------------------------------------------------


@pytest.fixture
def with_run(loaded, kit_run):
    samples = {s.video_uid: s.id for s in loaded}
    trees = list(read_trees(kit_run / "part-00000.parquet"))
    uid = trees[-1].video_uid
    datasets.start_run(loaded, "mine", {"preset": "embedded"})
    datasets.save_run(loaded, "mine", trees[:-1], {uid: "it broke"}, samples, {"nodes": 5})
    return loaded


def test_a_run_is_registered_with_its_configuration_and_results(with_run):
    assert datasets.run_keys(with_run) == ["mine"]
    assert with_run.get_run_info("mine").config.preset == "embedded"
    assert with_run.load_run_results("mine").nodes == 5


def test_a_run_has_a_tree_and_labels_beside_the_ground_truth(fo, with_run, kit_run):
    samples = _by_uid(with_run)
    *done, failed = read_trees(kit_run / "part-00000.parquet")
    for tree in done:
        sample = samples[tree.video_uid]
        names = [shown["name"] for shown in datasets.sample_trees(sample)]
        assert names == ["ground_truth", "mine"]
        refined = sum(s.gpt is not None for s in tree.segments)
        assert len(sample.mine_summary_brief.detections) == refined
        assert "mine_failed" not in sample.tags
    assert samples[failed.video_uid].mine_error == "it broke"
    assert samples[failed.video_uid].tags == ["mine_failed"]
    light = with_run.load_saved_view("light")
    assert not light.get_field_schema(embedded_doc_type=fo.TemporalDetections)


def test_a_video_that_failed_once_loses_its_mark_when_it_is_done(with_run, kit_run):
    *_, tree = read_trees(kit_run / "part-00000.parquet")
    samples = {s.video_uid: s.id for s in with_run}
    datasets.save_run(with_run, "mine", [tree], {}, samples, {})
    sample = with_run[samples[tree.video_uid]]
    assert (sample.tags, sample.mine_error) == ([], None)


@pytest.mark.parametrize(
    ("key", "resume", "reason"),
    [
        ("", False, "cannot name fields"),
        ("my run", False, "cannot name fields"),
        ("_x", False, "cannot name fields"),
        ("mine", False, "is taken: choose another, or resume that run"),
        ("gpt", False, "has the field(s) gpt_action_actor"),
        ("ground_truth", False, "is taken"),
        ("other", True, "no run 'other' to resume; runs of this dataset: mine"),
    ],
)
def test_a_run_key_that_cannot_be_used_is_refused(with_run, key, resume, reason):
    with pytest.raises(datasets.RunKeyError) as error:
        datasets.check_run_key(with_run, key, resume)
    assert reason in str(error.value)


def test_run_keys_that_can_be_used_pass(with_run):
    datasets.check_run_key(with_run, "other")
    datasets.check_run_key(with_run, "mine", resume=True)


def test_a_run_of_another_kind_is_left_alone(loaded):
    loaded.register_run("theirs", loaded.init_run(method="something/else"))
    assert datasets.run_keys(loaded) == []
    for resume in (False, True):
        with pytest.raises(datasets.RunKeyError, match="a run of another kind"):
            datasets.check_run_key(loaded, "theirs", resume)


def test_inputs_of_a_run_are_the_videos_with_their_metadata(fo, loaded, kit):
    inputs = {each.video_uid: each for each in datasets.run_inputs(loaded)}
    for uid, tree in kit.trees().items():
        assert inputs[uid].path == _paths(kit)[uid]
        assert inputs[uid].metadata["title"] == tree.metadata["title"]
        assert inputs[uid].metadata["upload_date"] == tree.metadata["upload_date"]
        lines = inputs[uid].metadata["transcript"]
        said = [" ".join(line["text"].split()) for line in tree.metadata["transcript"] or ()]
        assert [line["text"] for line in lines or ()] == said
    with pytest.raises(ValueError, match="no video to annotate"):
        datasets.run_inputs(loaded.match({"title": "none"}))
    copy = loaded.first().copy()
    loaded.add_sample(copy)
    with pytest.raises(ValueError, match="two samples are both video"):
        datasets.run_inputs(loaded)


def test_a_video_without_annotations_is_named_after_its_file(fo, kit):
    plain = fo.Dataset()
    plain.add_sample(fo.Sample(filepath=str(kit.videos[1].path)))
    (only,) = datasets.run_inputs(plain)
    assert only.video_uid == kit.videos[1].path.stem
    assert only.metadata is None
    plain.delete()


# -- trees from samples ------------------------------------------------------------------------


def test_trees_are_rebuilt_from_label_fields_alone(loaded, kit):
    loaded.delete_sample_field("ground_truth_tree")
    for sample in loaded:
        tree = kit.trees()[sample.video_uid]
        (shown,) = datasets.sample_trees(sample)
        assert (shown["name"], shown["source"]) == ("ground_truth", "labels")
        labelled = {s.node_id: s for s in tree.segments if s.gpt is not None}
        rebuilt = Tree.from_dict({"video_uid": tree.video_uid, "nodes": shown["nodes"]})
        assert [s.node_id for s in rebuilt.segments] == list(labelled)
        for segment in rebuilt.segments:
            original = labelled[segment.node_id]
            assert segment.gpt == original.gpt
            assert (segment.parent_id, segment.level) == (original.parent_id, original.level)
            assert (segment.start, segment.end) == (original.start, original.end)


def test_a_whole_tree_is_rebuilt_from_labels_made_elsewhere(fo, kit):
    """Other names, no times, no levels: ids and frames suffice."""
    spec, path = kit.videos[0]
    tree = kit.trees()[spec.uid]
    clip = datasets.Clip(float(spec.fps), spec.frames)
    made_elsewhere = [
        fo.TemporalDetection(
            label=label.label,
            support=label.support,
            node_id=label.node_id,
            parent_id=label.parent_id,
        )
        for label in datasets.labels(tree, clip, "plm_caption").detections
    ]
    sample = fo.Sample(filepath=str(path), events=fo.TemporalDetections(detections=made_elsewhere))
    with pytest.raises(ValueError, match="compute_metadata"):
        datasets.sample_trees(sample)
    sample.compute_metadata()
    (shown,) = datasets.sample_trees(sample)
    assert (shown["name"], shown["label"], shown["source"]) == ("events", "events", "labels")
    rebuilt = Tree.from_dict({"video_uid": spec.uid, "nodes": shown["nodes"]})
    assert [dataclasses.replace(s, plm_caption=None) for s in rebuilt.segments] == [
        dataclasses.replace(s, plm_action=None, plm_caption=None, llama3_caption=None, gpt=None)
        for s in tree.segments
    ]
    assert [s.plm_caption for s in rebuilt.segments] == [s.plm_caption for s in tree.segments]


def test_labels_whose_parents_go_in_a_circle_do_not_hang(fo, kit):
    circle = [
        fo.TemporalDetection(label=a, support=[1, 9], node_id=a, parent_id=b, start=0.0, end=1.0)
        for a, b in (("x", "y"), ("y", "x"))
    ]
    sample = fo.Sample(
        filepath=str(kit.videos[0].path), events=fo.TemporalDetections(detections=circle)
    )
    assert len(datasets.sample_trees(sample)[0]["nodes"]) == 2


def test_a_sample_without_trees_has_none(fo, kit):
    assert datasets.sample_trees(fo.Sample(filepath=str(kit.videos[0].path))) == []


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("plain.mp4", H264),
        ("silent.mp4", (*H264, "-an")),
        ("ntsc.mp4", (*H264, "-r", "30000/1001")),
        ("vfr.mp4", (*H264, "-vf", "select='lt(n,9)+not(mod(n,3))'", "-fps_mode", "vfr")),
        ("b_frames.mp4", (*H264, "-preset", "medium", "-bf", "3")),
        ("hevc.mp4", ("-c:v", "libx265", "-preset", "ultrafast", "-c:a", "aac")),
        ("video.mkv", H264),
        ("video.webm", ("-c:v", "libvpx", "-c:a", "libopus")),
        ("video.ts", H264),
        ("video.avi", ("-c:v", "mpeg4", "-an")),
    ],
)
def test_a_files_facts_are_those_that_fiftyone_finds(fo, tmp_path, name, encoding):
    from pipeline.dataset.ground_truth import _video_metadata

    clip(tmp_path / name, *encoding)
    expected = fo.VideoMetadata.build_for(str(tmp_path / name))
    assert _video_metadata(tmp_path / name).to_dict() == expected.to_dict()
