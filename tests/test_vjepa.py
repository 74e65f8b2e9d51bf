"""The V-JEPA 2 encoder, on a tiny checkpoint of the real architecture, loaded from disk."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import weakref
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import VJEPA2Config, VJEPA2Model

from pipeline import embedding, presets, runner, vjepa
from pipeline.ahead import read_ahead
from pipeline.parquet import read_models, read_trees
from pipeline.presets import PresetError
from pipeline.store import RunStore
from tests.tiny import CROP, WINDOW, SmallDevice, save_checkpoint

STRIDE = 4


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """On matrices this small several threads mostly wait for each other, twenty times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A folder as the hub would give it, with random weights."""
    return save_checkpoint(tmp_path_factory.mktemp("models") / "tiny-vjepa2")


@pytest.fixture
def copy(checkpoint, tmp_path) -> Path:
    """The checkpoint, to be damaged."""
    return shutil.copytree(checkpoint, tmp_path / "model")


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """70 frames of 48 x 36 that differ: noise around a colour that changes every few frames."""
    rng = np.random.default_rng(0)
    colours = np.repeat(rng.integers(0, 200, (14, 1, 1, 3)), 5, axis=0)
    noise = rng.integers(0, 56, (70, 36, 48, 3))
    return list((colours + noise).astype(np.uint8))


def _encoder(checkpoint: Path, **chosen) -> vjepa.VJepa2Encoder:
    options = {"window": WINDOW, "stride": STRIDE, "device": "cpu", **chosen}
    encoder = embedding.load({"backend": "vjepa2", "model": str(checkpoint), **options})
    assert isinstance(encoder, vjepa.VJepa2Encoder)
    return encoder


# -- against a slow, obvious reference ---------------------------------------------------------


def _reference(model, frames, interpolation: str) -> np.ndarray:
    """Every window on its own; every frame's vectors in a list, and then their mean."""
    count = len(frames)
    pixels = [vjepa.preprocess(torch.from_numpy(frame), CROP) for frame in frames]
    starts = [s for s in range(count) if s % STRIDE == 0 and s + WINDOW <= count]
    if count <= WINDOW:
        starts = [0]
    elif starts[-1] + WINDOW < count:
        starts.append(count - WINDOW)
    vectors = defaultdict(list)
    for start in starts:
        clip = [pixels[min(start + i, count - 1)] for i in range(WINDOW)]
        with torch.no_grad():
            tokens = model(torch.stack(clip)[None], skip_predictor=True).last_hidden_state[0]
        patches = (CROP // 16) ** 2
        tubelets = [
            sum(token.double().numpy() for token in tokens[k * patches : (k + 1) * patches])
            / patches
            for k in range(WINDOW // 2)
        ]
        for i in range(min(WINDOW, count - start)):
            if interpolation == "repeat" or i == 0 or i == WINDOW - 1:
                vector = tubelets[i // 2]
            elif i % 2:  # a quarter of a tubelet behind the centre of its own
                vector = 0.75 * tubelets[i // 2] + 0.25 * tubelets[i // 2 + 1]
            else:
                vector = 0.75 * tubelets[i // 2] + 0.25 * tubelets[i // 2 - 1]
            vectors[start + i].append(vector)
    return np.array([sum(vectors[i]) / len(vectors[i]) for i in range(count)])


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    """To a thousandth of what the vectors' entries have for a size."""
    return float(np.abs(one.astype(float) - other).max()) <= 1e-3 * float(np.abs(other).max())


@pytest.mark.parametrize("interpolation", ["linear", "repeat"])
def test_every_length_of_video_agrees_with_the_reference(checkpoint, frames, interpolation):
    encoder = _encoder(checkpoint, interpolation=interpolation, batch_size=3)
    model = VJEPA2Model.from_pretrained(checkpoint)
    for count in range(1, len(frames) + 1):
        found = encoder.encode(iter(frames[:count]))
        assert (found.shape, found.dtype) == ((count, 32), np.float16)
        assert _close(found, _reference(model, frames[:count], interpolation)), count


def test_the_reference_can_be_missed(checkpoint, frames):
    """The test above can fail: other windows, or the other interpolation, are further away."""
    reference = _reference(VJEPA2Model.from_pretrained(checkpoint), frames, "linear")
    for other in ({"stride": STRIDE + 1}, {"window": WINDOW - 2}, {"interpolation": "repeat"}):
        assert not _close(_encoder(checkpoint, **other).encode(frames), reference), other


def test_the_result_does_not_depend_on_the_batch_size(checkpoint, frames):
    one = _encoder(checkpoint, batch_size=1).encode(frames)
    for size in (0, 2, 5, 100):
        assert _close(_encoder(checkpoint, batch_size=size).encode(frames), one), size


def test_no_frames_give_no_rows(checkpoint):
    assert _encoder(checkpoint).encode([]).shape == (0, 32)


@pytest.mark.parametrize(("window", "stride"), [(4, 1), (4, 3), (4, 4), (6, 2)])
def test_windows_cover_every_frame_in_order_and_end_at_the_last(window, stride):
    for count in range(1, 20):
        laid = list(vjepa.windows(range(count), window, stride))
        starts = [start for start, _, _ in laid]
        assert starts == sorted(set(starts)) and starts[0] == 0
        assert all(b - a <= stride for a, b in itertools.pairwise(starts))
        for start, covered, chosen in laid:
            assert chosen == [min(start + i, count - 1) for i in range(window)]
            assert covered == min(window, count)
        assert laid[-1][0] + laid[-1][1] == count
    assert list(vjepa.windows([], window, stride)) == []


# -- preprocessing -----------------------------------------------------------------------------

SIZES = [(36, 48), (48, 36), (100, 100), (99, 203), (480, 854), (31, 17)]


def _weights(before: int, after: int) -> np.ndarray:
    """(after, before): a triangle over the pixels that each new one comes from, antialiased."""
    scale = before / after
    reach = max(scale, 1.0)
    centres = (np.arange(after) + 0.5) * scale
    distances = np.abs(np.arange(before) + 0.5 - centres[:, None]) / reach
    weights = np.clip(1 - distances, 0, None)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_is_resized_cropped_and_normalised(size):
    frame = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    height, width = size
    short = 36  # 32 * 256 / 224 = 36.57
    new = (short, int(short * width / height))
    if height > width:
        new = (int(short * height / width), short)
    rows, columns = _weights(height, new[0]), _weights(width, new[1])
    resized = np.einsum("ah,hwc,bw->abc", rows, frame.astype(float), columns, optimize=True)
    top, left = (new[0] - CROP) // 2, (new[1] - CROP) // 2
    cut = resized[top : top + CROP, left : left + CROP] / 255
    expected = (cut - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    found = vjepa.preprocess(torch.from_numpy(frame), CROP)
    assert (found.shape, found.dtype) == ((3, CROP, CROP), torch.float32)
    # Levels of brightness are whole after each of the two directions.
    assert np.abs(found.permute(1, 2, 0).numpy() - expected).max() < 1.6 / 255 / 0.224


@pytest.mark.parametrize("crop", [CROP, 256, 384])
def test_preprocessing_equals_the_models_own_video_processor(crop):
    try:
        from transformers import VJEPA2VideoProcessor

        processor = VJEPA2VideoProcessor(crop_size=crop)
    except Exception as error:
        pytest.skip(
            f"the model's own processor cannot be imported: {' '.join(str(error).split())[:99]}"
        )
    for size in SIZES:
        frames = np.random.default_rng(2).integers(0, 256, (2, *size, 3), np.uint8)
        own = processor([*frames], return_tensors="pt", do_sample_frames=False)
        ours = torch.stack([vjepa.preprocess(torch.from_numpy(f), crop) for f in frames])
        assert torch.equal(ours, own["pixel_values_videos"][0]), size


# -- memory ------------------------------------------------------------------------------------


class _Model:
    """The real model; ``before`` is called with the batch size before each use of it."""

    def __init__(self, model, before):
        self.model, self.before = model, before

    def get_vision_features(self, clips):
        self.before(len(clips))
        return self.model.get_vision_features(clips)

    def __getattr__(self, name):
        return getattr(self.model, name)


def test_frames_are_held_no_longer_than_their_windows_whatever_the_length(checkpoint, frames):
    encoder = _encoder(checkpoint, batch_size=2)
    produced, gone, ahead, held = 0, [], [], []

    def video(count):
        nonlocal produced
        for produced in range(1, count + 1):
            frame = frames[produced % len(frames)].copy()
            weakref.finalize(frame, gone.append, produced)
            yield frame
            del frame

    def before(_):
        used = WINDOW + STRIDE * (2 * len(ahead) + 1)  # by the end of this batch
        ahead.append(produced - used)
        held.append(produced - len(gone))

    encoder.model = _Model(encoder.model, before)
    assert len(encoder.encode(video(600))) == 600
    assert len(ahead) > 70
    assert max(ahead) <= vjepa._AHEAD + 1
    assert max(held) <= vjepa._AHEAD + 2


def test_a_window_too_many_for_the_memory_is_tried_in_halves_and_remembered(checkpoint, frames):
    expected = _encoder(checkpoint).encode(frames)
    encoder = _encoder(checkpoint, batch_size=8)
    sizes = []

    def before(size):
        sizes.append(size)
        if size > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    encoder.model = _Model(encoder.model, before)
    assert _close(encoder.encode(frames), expected)
    assert sizes[:3] == [8, 4, 2]
    assert set(sizes[2:]) <= {1, 2}
    assert encoder.batch_size == 2
    sizes.clear()
    assert _close(encoder.encode(frames), expected)
    assert max(sizes) == 2


def test_memory_too_small_for_one_window_is_said_in_a_sentence(checkpoint, frames):
    encoder = _encoder(checkpoint, batch_size=2)

    def before(_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    encoder.model = _Model(encoder.model, before)
    with pytest.raises(MemoryError, match="one window of 16 frames does not fit into the memory"):
        encoder.encode(frames)


def test_a_window_of_the_papers_model_has_so_many_tokens():
    vit_g = VJEPA2Config(crop_size=384, hidden_size=1408, mlp_ratio=48 / 11)
    assert vjepa.tokens(vit_g, 64) == 18432


# -- memory ------------------------------------------------------------------------------------


def _memory_for(checkpoint: Path, frames, windows: int) -> int:
    """Bytes that a batch of so many windows takes, beside what is there all the time."""
    device = SmallDevice(10**12)
    _on(checkpoint, device, batch_size=windows).encode(frames)
    return device.peak


def _on(checkpoint: Path, device: SmallDevice, **chosen) -> vjepa.VJepa2Encoder:
    options = {"window": WINDOW, "stride": STRIDE, **chosen}
    return vjepa.VJepa2Encoder({"model": str(checkpoint), **options}, device)


def test_the_batch_is_what_fits_after_the_first_window_was_measured(checkpoint, frames):
    one, many = (_memory_for(checkpoint, frames, n) for n in (1, 8))
    assert many > 2 * one  # the count tells batches apart
    roomy, tight = SmallDevice(20 * one), SmallDevice(int(1.5 * one))
    encoders = [_on(checkpoint, device) for device in (roomy, tight)]
    results = [encoder.encode(frames) for encoder in encoders]
    assert encoders[0].batch_size > 4 and roomy.refusals == 0
    assert encoders[1].batch_size == 1
    np.testing.assert_allclose(results[0], results[1], rtol=1e-3, atol=1e-3)


def test_a_batch_that_is_too_much_is_halved_for_good(checkpoint, frames):
    expected = _encoder(checkpoint).encode(frames)
    limit = _memory_for(checkpoint, frames, 4)
    device = SmallDevice(limit)
    encoder = _on(checkpoint, device, batch_size=14)
    np.testing.assert_allclose(encoder.encode(frames), expected, rtol=1e-3, atol=1e-3)
    assert device.refusals >= 1
    assert 1 <= encoder.batch_size < 14
    before = device.refusals
    encoder.encode(frames)
    assert device.refusals == before  # it is remembered


def test_a_window_that_does_not_fit_at_all_is_a_sentence(checkpoint, frames):
    device = SmallDevice(_memory_for(checkpoint, frames, 1) // 4)
    with pytest.raises(MemoryError, match="does not fit into the memory that is free on cpu; end"):
        _on(checkpoint, device, batch_size=1).encode(frames)


def test_unloading_gives_the_weights_back_and_the_next_use_loads_them_again(checkpoint, frames):
    encoder = _encoder(checkpoint)
    before = encoder.encode(frames)
    weights = weakref.ref(encoder.model)
    encoder.unload()
    assert weights() is None
    np.testing.assert_array_equal(encoder.encode(frames), before)


def test_a_stages_model_is_gone_before_the_next_stage_begins(kit, preset, tmp_path):
    loaded: list[weakref.ref] = []
    alive: dict[str, bool] = {}

    def look(progress: runner.Progress) -> None:
        for (role, _), model in runner._loaded.items():
            if role == "embed" and "model" in vars(model):
                loaded.append(weakref.ref(model.model))
        alive[progress.stage] = any(ref() is not None for ref in loaded)

    video = runner.Video("v", kit.videos[0].path)
    runner.annotate([video], preset, RunStore(tmp_path / "run"), workers=1, on_progress=look)
    assert loaded
    assert alive == {"embed": True, "segment": False, "caption": False, "refine": False}


# -- what a result depends on ------------------------------------------------------------------


def test_what_is_about_speed_alone_leaves_finished_embeddings_alone(
    kit, preset, checkpoint, tmp_path
):
    video = runner.Video("v", kit.videos[0].path)
    store = RunStore(tmp_path / "run")
    runner.annotate([video], preset, store, ("embed",))

    def again(**changed) -> list[str]:
        embed = {**preset.embed, **changed}
        other = presets.Preset(**{**preset.to_dict(), "embed": embed})
        return runner.annotate([video], other, store, ("embed",)).reused

    assert again(batch_size=2, device="cpu", compile=False) == ["v"]
    moved = shutil.copytree(checkpoint, tmp_path / "moved")
    assert again(model=str(moved)) == ["v"]  # its content counts, not where it is
    for changed in ({"stride": 2}, {"interpolation": "repeat"}, {"dtype": "bfloat16"}):
        assert again(**changed) == []
    assert again() == []
    save_checkpoint(moved, seed=1)
    assert again(model=str(moved)) == []


def test_the_number_of_workers_changes_nothing(kit, preset, tmp_path):
    videos = [runner.Video(path.stem, path) for _, path in kit.videos[:2]]
    results = []
    for workers in (1, 2):
        store = RunStore(tmp_path / str(workers))
        assert not runner.annotate(videos, preset, store, ("embed",), workers).failed
        files = sorted(store.folder.glob("*/embeddings-*.npy"))
        results.append([np.load(file).astype(np.float32) for file in files])
    assert len(results[0]) == 2
    for one, two in zip(*results, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-3)


def test_on_a_cpu_one_process_has_the_model(checkpoint):
    assert _encoder(checkpoint).places == ("",)


# -- reading ahead -----------------------------------------------------------------------------


def test_what_reading_ahead_raises_comes_in_its_place():
    def items():
        yield from range(3)
        raise OSError("the disk is gone")

    got = []
    with pytest.raises(OSError, match="the disk is gone"):
        for item in read_ahead(items(), 8):
            got.append(item)
    assert got == [0, 1, 2]


def test_reading_ahead_stops_when_nobody_listens():
    made = []
    ahead = read_ahead((made.append(i) or i for i in itertools.count()), 4)
    assert [next(ahead), next(ahead)] == [0, 1]
    ahead.close()
    count = len(made)
    assert count <= 6
    assert len(made) == count


# -- in a run ----------------------------------------------------------------------------------


@pytest.fixture
def preset(checkpoint, tmp_path) -> presets.Preset:
    path = tmp_path / "mine.yaml"
    text = (presets.FOLDER / "embedded.yaml").read_text()
    ours = f"backend: vjepa2\n  model: {checkpoint}\n  window: {WINDOW}\n  device: cpu"
    path.write_text(text.replace("backend: measured", ours, 1))
    return presets.load(path)


def test_a_preset_names_the_model_and_a_run_uses_it(kit, preset, checkpoint, tmp_path):
    spec, path = min(kit.videos, key=lambda video: video.spec.frames)
    store = RunStore(tmp_path / "run")
    video = runner.Video(spec.uid, path)
    summary = runner.annotate([video], preset, store, ("embed", "segment"))
    assert summary.failed == {}
    assert summary.models["embed"] == str(checkpoint)
    (part,) = store.parts()
    assert read_models(part)["embed"] == str(checkpoint)
    (tree,) = read_trees(part)
    tree.validate()
    assert len(tree) > 1
    (file,) = (store.folder / spec.uid).glob("embeddings-*.npy")
    found = np.load(file)
    assert found.shape == (-(-spec.frames // 4), 32)
    assert runner.annotate([video], preset, store, ("embed", "segment")).reused == [spec.uid]


def test_the_weights_are_loaded_on_first_use_and_not_for_the_name(checkpoint, frames):
    encoder = _encoder(checkpoint)
    assert encoder.name == str(checkpoint)
    assert "model" not in vars(encoder)
    encoder.encode(frames[:1])
    assert "model" in vars(encoder)
    assert embedding.load(
        {"backend": "vjepa2", "model": str(checkpoint), "revision": "main"}
    ).name.endswith("@main")


def test_compiling_the_layers_changes_no_result(checkpoint, frames, monkeypatch):
    compiled = []
    # What the compiler makes of a layer is torch's affair: here only that it is asked to, for each.
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda self, **options: compiled.append(type(self).__name__)
    )
    found = _encoder(checkpoint, compile=True).encode(frames)
    assert compiled == ["VJEPA2Layer"] * 2
    assert _close(found, _encoder(checkpoint).encode(frames))


# -- what cannot be -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "reason"),
    [
        ({"model": ""}, "model is missing, for example facebook/"),
        ({"model": "/no/such/folder"}, "'/no/such/folder' is not to be had"),
        ({"window": 15}, "a multiple of the model's tubelets (2 frames), not 15"),
        ({"window": 0, "stride": 0}, "stride must be 1 to window"),
        ({"stride": 17}, "stride must be 1 to window (16)"),
        ({"stride": 0}, "stride must be 1 to window"),
        ({"interpolation": "cubic"}, "interpolation must be one of linear, repeat, not 'cubic'"),
        ({"batch_size": -1}, "batch_size must be 0"),
        ({"decoder": "magic"}, "decoder must be one of software, cuda, not 'magic'"),
        ({"dtype": "int8"}, "dtype must be one of auto, bfloat16"),
        ({"device": "tpu"}, "device must be auto, cpu, cuda or cuda:N, not 'tpu'"),
        ({"device": "cuda:99"}, "device cuda:99 is not there: torch sees"),
        ({"windows": 16}, "unknown option(s) windows; known are model,"),
        ({"compile": 1}, "compile must be one of auto, true, false, not 1"),
    ],
)
def test_an_option_that_cannot_be_is_a_sentence(checkpoint, chosen, reason):
    with pytest.raises(PresetError, match=re.escape(reason)) as error:
        _encoder(checkpoint, **chosen)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_another_architecture_is_refused(copy):
    content = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**content, "model_type": "vit"}))
    with pytest.raises(PresetError, match="a checkpoint of 'vit' and not of V-JEPA 2"):
        _encoder(copy)


def test_a_folder_without_weights_is_refused_before_any_work(copy):
    (copy / "model.safetensors").unlink()
    with pytest.raises(PresetError, match="holds no weights"):
        _encoder(copy)


def test_weights_that_lack_some_are_not_filled_with_random_ones(copy, frames):
    weights = load_file(copy / "model.safetensors")
    lacking = {k: v for k, v in weights.items() if not k.startswith("encoder.layer.1.")}
    save_file(lacking, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PresetError, match=r"lacks \d+ of the model's weights"):
        _encoder(copy).encode(frames)


def test_damaged_weights_are_a_sentence(copy, frames):
    data = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(PresetError, match=r"the weights of .* cannot be loaded \(.*\); download"):
        _encoder(copy).encode(frames)


def test_weights_lost_during_a_run_are_that_videos_reason(kit, preset, checkpoint, tmp_path, copy):
    _, path = kit.videos[0]
    damaged = presets.Preset(
        **{**preset.to_dict(), "embed": {"backend": "vjepa2", "model": str(copy)}}
    )
    store = RunStore(tmp_path / "run")
    videos = [runner.Video(name, path) for name in ("first", "second")]

    def lose(_: runner.Progress) -> None:  # the first video is done with what was loaded before
        runner._unload()
        (copy / "model.safetensors").write_bytes(b"")

    summary = runner.annotate(videos, damaged, store, ("embed",), 1, lose)
    assert summary.done == ["first"]
    assert summary.failed["second"]["reason"].startswith("embed: the weights of")
    assert not (store.folder / "errors.log").exists()


def test_damaged_weights_end_a_run_before_any_work(kit, preset, checkpoint, tmp_path, copy):
    damaged = presets.Preset(
        **{**preset.to_dict(), "embed": {"backend": "vjepa2", "model": str(copy)}}
    )
    (copy / "model.safetensors").write_bytes(b"")
    with pytest.raises(PresetError, match=r"the weights of .* cannot be loaded"):
        runner.annotate(
            [runner.Video("v", kit.videos[0].path)], damaged, RunStore(tmp_path / "run")
        )
    assert not list((tmp_path / "run").glob("v/*"))


def test_without_transformers_the_command_that_installs_it_is_named(checkpoint, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(PresetError, match=r"needs torch and transformers .*`make models`"):
        _encoder(checkpoint)


def test_a_model_that_cannot_be_fetched_ends_the_command_before_any_work(
    cli, kit, preset, checkpoint, tmp_path
):
    file = tmp_path / "mine.yaml"
    file.write_text(file.read_text().replace(str(checkpoint), "nobody/no-such-model"))
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    call = ("annotate", kit.videos[0].path, "--preset", file, "--out", "run", "--workers", 1)
    result = cli(*call, env=offline)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: embed: the model 'nobody/no-such-model' is not to be had")
    assert not list((tmp_path / "run").glob("*/*"))
