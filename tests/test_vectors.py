"""Videos as vectors in FiftyOne: its own functions on a tiny V-JEPA 2 and on a run's files."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline import dataset as datasets
from pipeline import embedding, presets
from pipeline.dataset import RunKeyError
from pipeline.presets import PresetError
from pipeline.store import RunStore
from pipeline.video import SampledFrames
from tests.tiny import WIDTH, WINDOW, save_checkpoint


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    save_checkpoint(folder / "model")
    path = folder / "mine.yaml"
    text = (presets.FOLDER / "embedded.yaml").read_text()
    ours = f"backend: vjepa2\n  model: {folder / 'model'}\n  window: {WINDOW}\n  device: cpu"
    path.write_text(text.replace("backend: measured", ours, 1))
    return path


@pytest.fixture
def dataset(fo, kit):
    dataset = fo.Dataset()
    dataset.add_samples([fo.Sample(filepath=str(path), video_uid=s.uid) for s, path in kit.videos])
    yield dataset
    dataset.delete()


def test_a_dataset_is_embedded_and_the_brain_takes_it(fo, kit, dataset, preset):
    import fiftyone.brain as fob

    vectors = dataset.compute_embeddings(datasets.embedding_model(preset))
    assert vectors.shape == (4, WIDTH) and vectors.dtype == np.float32
    encoder = embedding.load(presets.load(preset).embed)
    for (_, path), vector in zip(kit.videos, vectors, strict=True):
        frames = SampledFrames(path, encoder.long_side)
        expected = encoder.encode(frames).astype(np.float32).mean(axis=0)
        np.testing.assert_allclose(vector, expected, rtol=1e-3, atol=1e-3)
    points = fob.compute_visualization(
        dataset, embeddings=vectors, method="pca", brain_key="map", progress=False
    )
    assert points.points.shape == (4, 2)
    fob.compute_similarity(dataset, embeddings=vectors, brain_key="alike", progress=False)
    first = dataset.first()
    nearest = dataset.sort_by_similarity(first.id, brain_key="alike", k=4)
    assert nearest.first().id == first.id


def test_embeddings_go_into_a_field(dataset, preset):
    dataset.compute_embeddings(datasets.embedding_model(preset), embeddings_field="vector")
    assert all(len(vector) == WIDTH for vector in dataset.values("vector"))


def test_a_clip_is_embedded_from_its_own_frames(fo, kit, dataset, preset):
    sample = dataset.first()
    # Frames 41 to 104 of 1, 2, 3 ...: raw 40 to 103, samples 10 to 25.
    sample["part"] = fo.TemporalDetections(
        detections=[
            fo.TemporalDetection(label="some", support=[41, 104]),
            fo.TemporalDetection(label="one", support=[42, 43]),
        ]
    )
    sample.save()
    clips = dataset[:1].to_clips("part")
    some, one = clips.compute_embeddings(datasets.embedding_model(preset))
    encoder = embedding.load(presets.load(preset).embed)
    frames = list(SampledFrames(sample.filepath, encoder.long_side))
    for vector, shown in ((some, frames[10:26]), (one, frames[11:12])):
        expected = encoder.encode(iter(shown)).astype(np.float32).mean(axis=0)
        np.testing.assert_allclose(vector, expected, rtol=1e-3, atol=1e-3)


def test_the_embedded_preset_is_a_model_too(dataset):
    vectors = dataset.compute_embeddings(datasets.embedding_model("embedded"))
    assert vectors.shape[0] == 4 and np.isfinite(vectors).all()


def test_a_preset_that_is_not_there_is_a_sentence():
    with pytest.raises(PresetError, match="unknown preset 'no-such'"):
        datasets.embedding_model("no-such")


def test_a_runs_embeddings_are_taken_and_not_made_again(fo, kit, dataset, monkeypatch, tmp_path):
    monkeypatch.setattr(fo.config, "default_dataset_dir", str(tmp_path))
    with pytest.raises(RunKeyError, match="there is no run 'mine' on the dataset; its runs: none"):
        datasets.run_vectors(dataset, "mine")
    datasets.start_run(dataset, "mine", {"preset": "embedded"})
    with pytest.raises(RunKeyError, match="the embeddings of run 'mine' are not in"):
        datasets.run_vectors(dataset, "mine")
    store = RunStore(datasets.run_folder(dataset, "mine"))
    rng = np.random.default_rng(0)
    made = {spec.uid: rng.normal(size=(50, 8)).astype(np.float16) for spec, _ in kit.videos[:3]}
    for uid, vectors in made.items():
        store.video(uid).save("embeddings", "0" * 12, vectors)
    ids, vectors = datasets.run_vectors(dataset, "mine")
    assert vectors.shape == (3, 8) and vectors.dtype == np.float32
    for sample_id, vector in zip(ids, vectors, strict=True):
        uid = dataset[sample_id].video_uid
        np.testing.assert_allclose(vector, made[uid].astype(np.float32).mean(0), atol=1e-3)
