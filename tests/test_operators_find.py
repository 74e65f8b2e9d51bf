"""The operator find_segments, and the search behind it."""

from __future__ import annotations

import asyncio

import pytest

from pipeline import dataset as datasets
from pipeline.dataset import SegmentQuery
from pipeline.report import one_line
from tests.operating import PLUGIN, add_run, changed, kit_dataset, refusal

pytestmark = pytest.mark.fiftyone

STRANGE = "(a+b)* [50 %] $x \\d <b>É</b>"


@pytest.fixture(scope="module")
def foo(fo):
    import fiftyone.operators as foo

    return foo


@pytest.fixture(scope="module")
def dataset(fo, kit):
    with kit_dataset(kit, "find-segments", run="mine") as made:
        trees = [kit.trees()[spec.uid] for spec, _ in kit.videos[:2]]
        action = {"brief": "N/A", "detailed": "N/A", "actor": "N/A"}
        gpt = {"summary": {"brief": "Nothing happens", "detailed": "Nothing"}, "action": action}
        add_run(made, "odd", [changed(trees[0], 3, plm_caption=STRANGE, gpt=gpt)])
        yield made


@pytest.fixture(scope="module")
def segments(kit):
    """(tree, segment) of the two videos' ground truth."""
    trees = [kit.trees()[spec.uid] for spec, _ in kit.videos[:2]]
    return [(tree, segment) for tree in trees for segment in tree.segments]


@pytest.fixture
def find(foo):
    return foo.get_operator(f"{PLUGIN}/find_segments")


def _texts(segment):
    gpt = segment.gpt or {"summary": {}, "action": {}}
    texts = [segment.plm_action, segment.plm_caption, segment.llama3_caption]
    texts += [*gpt["summary"].values(), *gpt["action"].values()]
    return "\n".join(filter(None, texts)).lower()


CASES = {
    "a text, in whatever case": ({"text": "WATER"}, lambda t, s: "water" in _texts(s)),
    "a minimum duration": ({"min_duration": 5}, lambda t, s: s.duration >= 5),
    "a maximum duration": ({"max_duration": 3}, lambda t, s: s.duration <= 3),
    "one level": ({"min_level": 2, "max_level": 2}, lambda t, s: s.level == 2),
    "the roots": ({"tier": "root"}, lambda t, s: s.parent_id is None),
    "the leaves": ({"tier": "leaf"}, lambda t, s: t.is_leaf(s)),
    "inner nodes": ({"tier": "mid"}, lambda t, s: t.tier(s) == "mid"),
    "an actor": ({"actor": "Yellow"}, lambda t, s: "yellow" in (s.text("action", "actor") or "")),
    "all of it": (
        {"text": "the", "min_duration": 2, "tier": "mid", "max_level": 3},
        lambda t, s: "the" in _texts(s) and s.duration >= 2 and t.tier(s) == "mid" and s.level <= 3,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_search_finds_what_python_finds(dataset, segments, case):
    query, fits = CASES[case]
    hits = datasets.find_segments(dataset, SegmentQuery(**query))
    expected = [(s.node_id, t.tier(s)) for t, s in segments if fits(t, s)]
    assert expected
    assert [(hit.node_id, hit.tier) for hit in hits] == expected


def test_a_text_is_a_text_and_no_pattern(dataset):
    for text in (STRANGE, STRANGE.lower(), "(a+b)*", "\\d", "$x", "É</b>"):
        assert len(datasets.find_segments(dataset, SegmentQuery(text=text), "odd")) == 1, text
    for text in (".*", "zero\0byte", "^", "|"):
        assert datasets.find_segments(dataset, SegmentQuery(text=text), "odd") == [], text


def test_segments_without_an_action_can_be_had_alone_or_left_out(dataset):
    every = datasets.find_segments(dataset, SegmentQuery(min_level=0), "odd")
    only = datasets.find_segments(dataset, SegmentQuery(not_applicable="only"), "odd")
    rest = datasets.find_segments(dataset, SegmentQuery(not_applicable="excluded"), "odd")
    assert [hit.text for hit in only] == ["Nothing happens"]
    assert len(rest) == len(every) - 1


def test_each_hit_is_a_clip_of_its_frames_with_its_text(dataset, find):
    clips = find(dataset, "water")
    hits = datasets.find_segments(dataset, SegmentQuery(text="water"))
    assert clips.media_type == "video" and len(clips) == len(hits) > 1
    for clip, hit in zip(clips, hits, strict=True):
        sample = dataset[clip.sample_id]
        label = clip[datasets.FOUND]
        of_clip = datasets.Clip(sample.metadata.frame_rate, sample.metadata.total_frame_count)
        assert clip.support == of_clip.support(hit.start, hit.end)
        assert (label.node_id, label.level, label.tier) == (hit.node_id, hit.level, hit.tier)
        assert one_line(label.label) == one_line(hit.text) != ""
        assert clip.title == sample.title
    assert dataset.exists(datasets.FOUND).count() == 0


def test_a_view_of_hits_can_be_saved_and_comes_back(dataset, find):
    clips = find(dataset, "water")
    dataset.save_view("hits", clips)
    try:
        assert dataset.load_saved_view("hits").values("support") == clips.values("support")
    finally:
        dataset.delete_saved_view("hits")


def test_a_run_is_searched_where_it_is_named(dataset, find):
    assert find(dataset, tree="mine", min_level=3) is None
    assert len(find(dataset, tree="mine", min_level=2)) == len(
        datasets.find_segments(dataset, SegmentQuery(min_level=2, max_level=2))
    )


def test_only_the_view_or_the_selection_is_searched(foo, dataset, find):
    first, second = dataset.values("id")
    assert set(find(dataset.select(second), min_level=0).values("sample_id")) == {second}
    clips_of_clips = find(find(dataset.select(second), tier="root"), min_level=0)
    assert set(clips_of_clips.values("sample_id")) == {second}
    result = foo.execute_operator(
        f"{PLUGIN}/find_segments",
        {"dataset": dataset, "selected": [first]},
        params={"tier": "root", "view_target": "SELECTED_SAMPLES"},
    ).result
    assert (result["count"], result["videos"]) == (1, 1)


def test_what_the_file_has_not_is_counted_and_not_opened(kit, foo, find):
    tree = kit.trees()[kit.videos[0][0].uid]
    with kit_dataset(kit, "find-short") as dataset:
        sample = dataset.match({"video_uid": tree.video_uid}).first()
        sample.metadata.total_frame_count //= 2
        sample.save()
        result = foo.execute_operator(
            find.uri, {"view": dataset.select(sample.id)}, params={"min_level": 0}
        ).result
        clips = find(dataset.select(sample.id), min_level=0)
        half = tree.duration / 2
        inside = sum(s.start < half for s in tree.segments)
        assert result["count"] == len(tree) > inside == len(clips)
        assert f"{len(tree) - inside} lie beyond the end" in result["summary"]
        assert max(last for _, last in clips.values("support")) == sample.metadata.total_frame_count
        limited = find(dataset.select(sample.id), min_level=0, limit=3)
        assert len(limited) == 3


def test_the_app_opens_the_clips_and_is_told_the_count(foo, dataset, find):
    result = foo.execute_operator(find.uri, {"dataset": dataset}, params={"tier": "root"})
    assert result.result["summary"] == "2 segments in 2 videos"
    first, second = result.executor.to_json()["requests"]
    assert first["operator_uri"].endswith("set_view")
    assert second["operator_uri"].endswith("set_active_fields")
    assert second["params"]["fields"] == [datasets.FOUND]
    nothing = foo.execute_operator(find.uri, {"dataset": dataset}, params={"text": "xyzzy"})
    assert nothing.result["summary"] == "0 segments in 0 videos"
    assert nothing.executor.to_json()["requests"] == []


def test_a_notebook_gets_the_clips_too(dataset, find):
    async def cell():
        return find(dataset, tier="root")

    assert len(asyncio.run(cell())) == 2


REFUSED = [
    ({}, "text", "give a text, or any other condition"),
    ({"text": "  "}, "text", "give a text, or any other condition"),
    ({"min_duration": -1}, "min_duration", "-1 s is not 0 s or more"),
    ({"max_duration": -0.5}, "max_duration", "-0.5 s is not 0 s or more"),
    ({"min_duration": 5, "max_duration": 4}, "max_duration", "4 s is less than the minimum of 5 s"),
    ({"min_level": -1}, "min_level", "-1 is not 0 or more"),
    ({"min_level": 3, "max_level": 2}, "max_level", "2 is less than the minimum of 3"),
    ({"tier": "branch"}, "tier", "'branch' is none of root, mid, leaf"),
    ({"not_applicable": "maybe"}, "not_applicable", "'maybe' is none of only, excluded"),
    ({"text": "a", "tree": "theirs"}, "tree", "no trees of 'theirs'; it has those of"),
    ({"text": "a", "limit": 0}, "limit", "open 1 clip or more"),
]


@pytest.mark.parametrize(("params", "field", "reason"), REFUSED)
def test_what_cannot_work_is_refused_in_one_sentence_at_its_field(
    foo, dataset, params, field, reason
):
    message = refusal(foo, "find_segments", {"dataset": dataset}, params)
    assert f"Path: {field}. Reason: " in message and reason in message


def test_where_there_is_nothing_to_search_the_form_says_so(fo, foo, dataset, kit):
    nothing = dataset.match({"title": "none"})
    message = refusal(foo, "find_segments", {"view": nothing}, {"text": "a"})
    assert "There is no video to be searched" in message
    bare = datasets.open_dataset("find-bare", overwrite=True)
    bare.add_sample(fo.Sample(filepath=str(kit.videos[0][1])))
    try:
        message = refusal(foo, "find_segments", {"dataset": bare}, {"text": "a"})
        assert "Path: tree. Reason: the dataset has no trees of 'ground_truth'" in message
    finally:
        bare.delete()


@pytest.mark.slow
def test_the_search_is_measured_against_iterating_and_finds_the_same(fo):
    from benchmarks import bench_find

    before = fo.list_datasets()
    rows = {row.what: row for row in bench_find.run(videos=6)}
    found = rows["find_segments, a rare word"]
    assert found.ratio == 1 and found.more["hits"] > 0
    assert rows["Dataset.values of the trees, a rare word"].more == found.more
    assert fo.list_datasets() == before
