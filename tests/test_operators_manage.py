"""The operator manage_runs: runs described, loaded, stopped, renamed, deleted without a trace."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from pipeline import dataset as datasets
from tests.operating import PLUGIN, add_run, kit_dataset, messages, output_form, refusal, shallow
from tests.scripted import Script, scripted
from tests.test_chat_stages import KEY, changes, reply

pytestmark = pytest.mark.fiftyone


@pytest.fixture(scope="module")
def foo(fo):
    import fiftyone.operators as foo

    return foo


@pytest.fixture
def dataset(kit, request):
    with kit_dataset(kit, f"manage-{request.node.name}") as made:
        yield made
        shutil.rmtree(datasets.run_folder(made, "x").parent.parent, ignore_errors=True)


@pytest.fixture
def trees(kit):
    return [kit.trees()[spec.uid] for spec, _ in kit.videos[:2]]


@pytest.fixture
def manage(foo):
    return foo.get_operator(f"{PLUGIN}/manage_runs")


def _with_run(dataset, trees, key="mine"):
    """A run of one video that failed on the other, compared, with saved views that name it."""
    uid = trees[1].video_uid
    add_run(dataset, key, [shallow(trees[0])], {uid: "it <b>broke</b>"})
    datasets.compare_with_ground_truth(dataset, key)
    dataset.save_view("theirs", dataset.exists(f"{key}_summary_brief"))
    dataset.save_view("failures", dataset.match_tags(f"{key}_failed"))
    dataset.save_view("deep", dataset.match({f"{key}_boundary_f1": {"$lt": 1}}))


def _everything(dataset):
    """All that a run could leave behind, in plain data."""
    collection = dataset._sample_collection
    documents = list(collection.find({}, {"last_modified_at": 0}))
    schema = dataset.get_field_schema(flat=True)
    folder = datasets.run_folder(dataset, "x").parent
    database = collection.database
    return {
        "documents": documents,
        "schema": {name: str(field) for name, field in schema.items()},
        "runs": dataset.list_runs(),
        "run documents": [d["key"] for d in database["runs"].find({"dataset_id": dataset._doc.id})],
        "results": sorted(str(d["_id"]) for d in database["fs.files"].find()),
        "views": {v.name: v.view_stages for v in dataset._doc.saved_views},
        "tags": dataset.count_sample_tags(),
        "files": sorted(map(str, folder.rglob("*"))),
    }


def _without_ids(value):
    """Saved views hold ids of their stages, which differ each time."""
    return json.loads(json.dumps(value, default=str))


def test_a_run_is_deleted_without_a_trace(dataset, trees, manage):
    add_run(dataset, "mine_2", [shallow(tree) for tree in trees])
    dataset.save_view("of the other", dataset.exists("mine_2_tree"))
    dataset.reload()
    before = _without_ids(_everything(dataset))
    _with_run(dataset, trees)
    assert len(_everything(dataset)["files"]) == len(before["files"]) + 3
    manage(dataset, "delete", "mine")
    dataset.reload()
    after = _without_ids(_everything(dataset))
    for what, value in before.items():
        assert after[what] == value, what


def test_a_comparison_is_deleted_and_its_run_stays(dataset, trees, manage):
    add_run(dataset, "mine", [shallow(tree) for tree in trees])
    before = _without_ids(_everything(dataset))
    datasets.compare_with_ground_truth(dataset, "mine")
    manage(dataset, "delete", "mine_comparison")
    dataset.reload()
    after = _without_ids(_everything(dataset))
    for what, value in before.items():
        assert after[what] == value, what


def test_where_the_fields_are_gone_the_rest_is_deleted_and_other_views_stay(dataset, trees, manage):
    """As after a deletion that was interrupted, or fields that somebody deleted."""
    _with_run(dataset, trees)
    dataset.save_view("of others", dataset.match({"title": "none"}))
    dataset.delete_sample_fields(list(datasets.comparison_fields("mine")))
    manage(dataset, "delete", "mine_comparison")
    assert set(dataset.list_saved_views()) == {"light", "of others", "theirs", "failures", "deep"}
    dataset.delete_sample_fields(list(datasets.run_fields("mine")))
    shutil.rmtree(datasets.run_folder(dataset, "mine"))
    manage(dataset, "delete", "mine")
    assert dataset.list_runs() == [] and not dataset.count_sample_tags()


def test_a_renamed_run_is_as_if_it_had_been_made_with_that_name(dataset, trees, manage):
    _with_run(dataset, trees)
    manage(dataset, "rename", "mine", "other")
    dataset.reload()
    assert dataset.list_runs() == ["other", "other_comparison"]
    assert not [name for name in dataset.get_field_schema() if name.startswith("mine")]
    assert "run other" in dataset.get_field("other_tree").description
    assert dataset.count_sample_tags() == {"other_failed": 1}
    folder = datasets.run_folder(dataset, "other")
    assert (folder / "run.json").exists() and not datasets.run_folder(dataset, "mine").exists()
    assert dataset.get_run_info("other").config.folder == str(folder)
    assert dataset.get_run_info("other_comparison").config.prediction == "other"
    assert [len(dataset.load_saved_view(n)) for n in ("theirs", "failures", "deep")] == [1, 1, 1]
    assert "other_summary_brief" not in dataset.load_saved_view("light").get_field_schema()
    assert list(dataset.load_run_results("other").failed) == [trees[1].video_uid]
    about = manage(dataset, "info", "other")
    assert about.comparison == "other_comparison"
    datasets.check_comparison(dataset, "other")
    manage(dataset, "delete", "other")
    assert dataset.list_runs() == [] and not folder.exists()


def test_info_tells_what_made_it_how_long_it_took_and_what_failed(foo, dataset, trees, manage):
    _with_run(dataset, trees)
    about = manage(dataset, "info", "mine")
    assert about.config["models"] == {"embed": "a model"}
    assert about.results["seconds"]["embed"] == 1.5
    assert about.failed == {trees[1].video_uid: "it <b>broke</b>"}
    assert (about.videos, about.made_by) == (1, "annotate_videos")
    assert set(about.saved_views) == {"theirs", "failures", "deep"}
    assert about.size == 2
    result = foo.execute_operator(
        manage.uri, {"dataset": dataset}, params={"run_key": "mine"}
    ).result
    facts = {row["name"]: row["value"] for row in result["facts"]}
    assert facts["models"] == "embed: a model"
    assert facts["seconds"] == "embed: 1.5, segment: 0.5"
    assert result["failed"] == [{"video": trees[1].video_uid, "reason": "it <b>broke</b>"}]
    assert output_form(foo, "manage_runs", {"run_key": "mine"}, result) == set(result)
    comparison = foo.execute_operator(
        manage.uri, {"dataset": dataset}, params={"run_key": "mine_comparison"}
    ).result
    facts = {row["name"]: row["value"] for row in comparison["facts"]}
    assert facts["made by"] == "compare_with_ground_truth"
    assert "boundary_f1: " in facts["means"]


def test_who_deletes_a_run_is_told_that_people_have_reviewed_it(foo, dataset, trees, manage):
    add_run(dataset, "mine", trees)
    assert manage(dataset, "info", "mine").reviews == 0
    review = {"flagged": True, "tags": [], "before": {}, "by": "Ada", "at": "2026-01-01"}
    dataset._sample_collection.update_one(
        {"video_uid": trees[0].video_uid},
        {"$set": {"mine_tree.nodes.1.review": review, "mine_tree.nodes.9.review": review}},
    )
    add_run(dataset, "mine", [shallow(tree) for tree in trees])  # the second waits then
    assert manage(dataset, "info", "mine").reviews == 2
    params = {"run_key": "mine", "action": "delete", "confirm": True}
    result = foo.execute_operator(manage.uri, {"dataset": dataset}, params=params).result
    assert "what people said of 2 segments" in result["summary"]


def test_a_runs_view_is_loaded(foo, dataset, trees, manage):
    _with_run(dataset, trees)
    uids = [trees[0].video_uid]
    assert manage(dataset, "load", "mine").values("video_uid") == uids
    assert manage(dataset, "load", "mine_comparison").values("video_uid") == uids
    result = foo.execute_operator(
        manage.uri, {"dataset": dataset}, params={"run_key": "mine", "action": "load"}
    )
    (request,) = result.executor.to_json()["requests"]
    assert request["operator_uri"].endswith("set_view")


def test_only_a_runs_own_folder_is_deleted(dataset, trees, manage, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    add_run(dataset, "mine", [shallow(trees[0])])
    config = dataset.get_run_info("mine").config
    config.folder = str(precious)
    dataset.update_run_config("mine", config)
    manage(dataset, "delete", "mine")
    assert precious.is_dir()


def test_what_cannot_work_is_refused_in_one_sentence_at_its_field(foo, dataset, trees):
    _with_run(dataset, trees)
    add_run(dataset, "second", [shallow(trees[0])])
    dataset.register_run("theirs", dataset.init_run(method="theirs"))
    (datasets.run_folder(dataset, "blocked")).mkdir()
    rename = {"run_key": "mine", "action": "rename"}
    cases = [
        ({}, "run_key", "Required property"),
        ({"run_key": "nope"}, "run_key", "there is no run 'nope'; there are mine, mine_comp"),
        ({"run_key": "theirs"}, "run_key", "there is no run 'theirs'"),
        ({"run_key": "mine", "action": "burn"}, "action", "'burn' is none of info, load"),
        ({"run_key": "mine", "action": "delete"}, "confirm", "tick this to delete the run"),
        (rename, "new_key", "Required property"),
        ({**rename, "new_key": "second"}, "new_key", "the run key 'second' is taken"),
        ({**rename, "new_key": "9"}, "new_key", "cannot name fields"),
        ({**rename, "new_key": "gpt"}, "new_key", "is taken: the dataset has the field(s)"),
        ({**rename, "new_key": "blocked"}, "new_key", "blocked is there already"),
        (
            {**rename, "run_key": "mine_comparison", "new_key": "x"},
            "run_key",
            "a comparison is named after its run: rename 'mine'",
        ),
    ]
    for params, field, reason in cases:
        message = refusal(foo, "manage_runs", {"dataset": dataset}, params)
        assert f"Path: {field}. Reason: " in message and reason in message, (params, message)
    assert set(dataset.list_runs()) == {"mine", "mine_comparison", "second", "theirs"}


def test_without_runs_the_form_says_what_to_do(foo, dataset):
    message = refusal(foo, "manage_runs", {"dataset": dataset}, {"run_key": "x"})
    assert "make one with annotate_videos" in message


# -- while a run goes on -----------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch) -> Iterator[Script]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with scripted() as script:
        script.answer, script.key, script.seconds = reply, KEY, 0.3
        yield script


@pytest.fixture
def under_way(foo, dataset, server) -> Iterator[psutil.Process]:
    """The process of a run that captions, through a server that takes its time."""
    params = {
        "run_key": "mine",
        "preset": "embedded",
        "changes": [*changes(server), "caption.concurrency=2"],
    }

    def annotate():
        try:
            messages(foo, "annotate_videos", dataset, params)
        except Exception as error:
            assert "killed by signal 9" in str(error)

    thread = threading.Thread(target=annotate)
    thread.start()
    _wait_for(lambda: len(server.requests) >= 2)
    (process,) = _pipelines()
    dataset.reload()
    yield process
    if process.is_running():
        process.kill()
    thread.join()


def _pipelines() -> list[psutil.Process]:
    """The processes of runs; of one that is ending there is no command line any more."""
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if "annotate" in process.cmdline():
                found.append(process)
    return found


def _wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_that_is_going_on_is_neither_deleted_nor_renamed(foo, dataset, under_way, manage):
    before = _without_ids(_everything(dataset))["schema"]
    reason = "run 'mine' is going on: stop it first (\"Stop it\", in Python manage_runs(dataset"
    delete = {"run_key": "mine", "action": "delete", "confirm": True}
    for params in (delete, {"run_key": "mine", "action": "rename", "new_key": "other"}):
        message = refusal(foo, "manage_runs", {"dataset": dataset}, params)
        assert f"Path: run_key. Reason: {reason}" in message, message
    with pytest.raises(datasets.InputError, match="is going on"):
        datasets.delete_run(dataset, "mine")
    with pytest.raises(datasets.InputError, match="is going on"):
        datasets.rename_run(dataset, "mine", "other")
    assert manage(dataset, "info", "mine").going_on
    assert under_way.is_running() and _without_ids(_everything(dataset))["schema"] == before

    manage(dataset, "stop", "mine")
    assert not manage(dataset, "info", "mine").going_on
    _wait_for(lambda: not _pipelines(), seconds=10)
    manage(dataset, "rename", "mine", "other")
    manage(dataset, "delete", "other")
    assert dataset.list_runs() == [] and not datasets.run_folder(dataset, "other").exists()


def test_a_run_that_was_killed_is_not_going_on(dataset, under_way, manage):
    os.kill(under_way.pid, signal.SIGKILL)
    under_way.wait()
    assert (datasets.run_folder(dataset, "mine") / ".lock").exists()
    assert not manage(dataset, "info", "mine").going_on
    manage(dataset, "delete", "mine")
    assert dataset.list_runs() == []


def test_a_run_whose_results_are_being_stored_is_going_on(dataset, trees, manage):
    add_run(dataset, "mine", [shallow(trees[0])])
    refused = []

    def made():
        yield trees[0]
        with pytest.raises(datasets.InputError, match="is going on") as error:
            datasets.delete_run(dataset, "mine")
        refused.append(error)
        yield trees[1]

    ids = dict(zip(*dataset.values(["video_uid", "id"]), strict=True))
    datasets.save_run(dataset, "mine", made(), {}, ids, {})
    assert refused and len(datasets.run_view(dataset, "mine")) == 2
    manage(dataset, "delete", "mine")
    with pytest.raises(datasets.RunKeyError, match="the run 'mine' was deleted or renamed"):
        datasets.save_run(dataset, "mine", made(), {}, ids, {})
    assert "mine_tree" not in dataset.get_field_schema()


def test_stopping_what_does_not_go_on_is_said(foo, dataset, trees):
    _with_run(dataset, trees)
    context = {"dataset": dataset}
    params = {"run_key": "mine", "action": "stop"}
    result = foo.execute_operator(f"{PLUGIN}/manage_runs", context, params=params).result
    assert result["summary"] == "run mine is not going on now; what is finished stays"
    params["run_key"] = "mine_comparison"
    message = refusal(foo, "manage_runs", context, params)
    assert "Path: run_key" in message and "only annotation runs can be stopped" in message
    assert not datasets.run_folder(dataset, "mine_comparison").exists()


def test_a_real_run_that_was_renamed_knows_its_folder_and_goes_on(foo, dataset, manage):
    annotate = foo.get_operator(f"{PLUGIN}/annotate_videos")
    annotate(dataset.limit(1), "mine", "embedded")
    dataset.reload()
    params = {"run_key": "mine", "action": "rename", "new_key": "other"}
    told = foo.execute_operator(manage.uri, {"dataset": dataset}, params=params)
    names = [each["operator_uri"] for each in told.executor.to_json()["requests"]]
    assert [name.rpartition("/")[2] for name in names] == ["clear_view", "reload_dataset"]
    dataset.reload()
    folder = datasets.run_folder(dataset, "other")
    results = manage(dataset, "info", "other").results
    assert results["folder"] == str(folder)
    assert results["parts"] == [str(folder / "part-00000.parquet")]
    annotate(dataset.limit(1), "other")
    dataset.reload()
    assert len(dataset.load_run_results("other").reused) == 1
