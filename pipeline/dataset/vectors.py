"""Videos as vectors for the brain: a preset's encoder as a FiftyOne model, a run's embeddings."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import embedding, presets
from ..store import RunStore
from ..video import SAMPLING_STRIDE, SampledFrames
from .runs import RunKeyError, run_folder, run_keys

if TYPE_CHECKING:
    import fiftyone as fo
    from fiftyone.core.models import Model


def embedding_model(preset: str | os.PathLike[str]) -> Model:
    """A preset's encoder as a FiftyOne model: ``dataset.compute_embeddings(embedding_model(...))``.

    A video's embedding is the mean over time of its frames' vectors, (D,) float32. A clip's (of
    ``to_clips``) is that of its own frames. Weights are loaded with the first video and given back
    when FiftyOne is done.

    Args:
        preset: a name, or a YAML file; only its role ``embed`` counts

    Raises:
        PresetError: there is no such preset, or its encoder cannot be had

    See https://docs.voxel51.com/user_guide/model_zoo/design.html for FiftyOne's side.
    """
    from fiftyone.core.models import EmbeddingsMixin, Model

    encoder = embedding.load(presets.load(preset).embed)

    class EmbeddingModel(EmbeddingsMixin, Model):
        """Embeds what FiftyOne's video reader stands for."""

        media_type = "video"
        has_embeddings = True
        ragged_batches = False
        transforms = None
        preprocess = False

        def __exit__(self, *_: object) -> None:
            encoder.unload()

        def embed(self, arg: Any) -> np.ndarray:
            """(D,) float32 of a video reader's frames."""
            found = encoder.encode(_frames(arg, encoder))
            if not len(found):
                raise ValueError(f"{arg.inpath} has no frames to embed")
            return found.astype(np.float32).mean(axis=0)

    return EmbeddingModel()


def _frames(reader: Any, encoder: embedding.Encoder) -> Iterator[np.ndarray]:
    """The sampled frames among those that a reader is to read, as the encoder takes them.

    The reader's own frames would come at full size through a pipe, all of them.
    """
    numbers = [int(number) for number in re.findall(r"\d+", reader.frames)]  # "1-250", "7"
    first, last = numbers[0] - 1, numbers[-1] - 1  # from 0
    begin = -(-first // SAMPLING_STRIDE)
    end = max(begin, last // SAMPLING_STRIDE)  # a very short clip has the sample after its start
    frames = SampledFrames(reader.inpath, encoder.long_side, encoder.decoder)
    return islice(frames, begin, end + 1)


def run_vectors(dataset: fo.Dataset, key: str) -> tuple[list[str], np.ndarray]:
    """The videos' vectors out of a finished run, so that nothing is embedded twice.

    Returns:
        ids of the samples whose videos the run embedded, and their vectors (N, D) float32, each the
        mean over time

    Raises:
        RunKeyError: the dataset has no such run, or its files are gone
    """
    if key not in run_keys(dataset):
        known = ", ".join(run_keys(dataset)) or "none"
        raise RunKeyError(f"there is no run {key!r} on the dataset; its runs: {known}")
    folder = run_folder(dataset, key)
    found: dict[str, np.ndarray] = {}
    if folder.is_dir():
        store = RunStore(folder)
        fields = ["id", "filepath", *(["video_uid"] if dataset.has_field("video_uid") else [])]
        for sample_id, path, *uid in zip(*dataset.values(fields), strict=True):
            video = store.video(uid[0] if uid and uid[0] else Path(path).stem)
            for file in video.path.glob("embeddings-*.npy"):
                found[sample_id] = np.load(file, allow_pickle=False).mean(0, dtype=np.float32)
    if not found:
        raise RunKeyError(
            f"the embeddings of run {key!r} are not in {folder} any more; run it anew"
        )
    return list(found), np.stack(list(found.values()))
