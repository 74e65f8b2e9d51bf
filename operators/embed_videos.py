"""Operator ``embed_videos``: the first stage alone."""

from .annotating import PipelineOperator, config_of


class EmbedVideos(PipelineOperator):
    """Embeds videos and keeps the vectors with the run."""

    stages = ("embed",)
    done = "embedded"

    @property
    def config(self):
        return config_of(
            "embed_videos",
            "Embed videos (stage 1a)",
            (
                "Turn each video into a vector for every fourth frame, the first half of the "
                "pipeline's first stage; other stages of the run go on from it"
            ),
            "grain",
        )

    def __call__(self, samples, run_key, preset=None, resume=False, delegate=False, changes=()):
        """Embed videos from Python.

        Args:
            samples: a dataset, or a view of the videos
            run_key: names the run and its fields, ``<run_key>_tree`` first of all
            preset: a preset's name, or the path of a YAML file; a run that goes on has its own
            resume: whether ``run_key`` names a run that is to go on
            delegate: whether to queue the work for ``fiftyone delegated launch``
            changes: of the preset, like "refine.model=NAME"; a run that goes on has its own

        Example::

            import fiftyone as fo
            import fiftyone.operators as foo

            embed_videos = foo.get_operator("@action100m/action100m-fiftyone/embed_videos")
            dataset = fo.load_dataset("action100m")
            embed_videos(dataset.take(4), "baseline", "embedded")
        """
        return self._call(samples, run_key, preset, resume, changes, delegate)
