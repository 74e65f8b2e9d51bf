"""Operator ``segment_videos``: the second stage alone."""

from .annotating import PipelineOperator, config_of


class SegmentVideos(PipelineOperator):
    """Cuts embedded videos into trees."""

    stages = ("segment",)
    done = "segmented"

    @property
    def config(self):
        return config_of(
            "segment_videos",
            "Segment videos (stage 1b)",
            (
                "Cut embedded videos into trees of segments; with another threshold they are "
                "only cut again"
            ),
            "call_split",
        )

    def __call__(self, samples, run_key, preset=None, resume=True, delegate=False, changes=()):
        """Segment videos from Python.

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

            segment_videos = foo.get_operator("@action100m/action100m-fiftyone/segment_videos")
            dataset = fo.load_dataset("action100m")
            segment_videos(dataset.take(4), "baseline")  # the run goes on
        """
        return self._call(samples, run_key, preset, resume, changes, delegate)
