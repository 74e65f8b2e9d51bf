"""Operator ``refine_captions``: the last stage alone."""

from .annotating import PipelineOperator, config_of


class RefineCaptions(PipelineOperator):
    """Refines the captions of a run's trees."""

    stages = ("refine",)
    done = "refined"

    @property
    def config(self):
        return config_of(
            "refine_captions",
            "Refine captions (stage 3)",
            (
                "Turn the captions of a run's trees into summary, action and actor, in rounds "
                "of Self-Refine"
            ),
            "auto_fix_high",
        )

    def __call__(self, samples, run_key, preset=None, resume=True, delegate=False, changes=()):
        """Refine captions from Python.

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

            refine_captions = foo.get_operator("@action100m/action100m-fiftyone/refine_captions")
            dataset = fo.load_dataset("action100m")
            refine_captions(dataset.take(4), "baseline")  # the run goes on
        """
        return self._call(samples, run_key, preset, resume, changes, delegate)
