"""Operator ``caption_segments``: the third stage alone."""

from .annotating import PipelineOperator, config_of


class CaptionSegments(PipelineOperator):
    """Captions every segment of a run's trees."""

    stages = ("caption",)
    done = "captioned"

    @property
    def config(self):
        return config_of(
            "caption_segments",
            "Caption segments (stage 2)",
            ("Describe every segment of a run's trees, and the middle frame of each leaf"),
            "closed_caption",
        )

    def __call__(self, samples, run_key, preset=None, resume=True, delegate=False, changes=()):
        """Caption segments from Python.

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

            caption_segments = foo.get_operator("@action100m/action100m-fiftyone/caption_segments")
            dataset = fo.load_dataset("action100m")
            caption_segments(dataset.take(4), "baseline")  # the run goes on
        """
        return self._call(samples, run_key, preset, resume, changes, delegate)
