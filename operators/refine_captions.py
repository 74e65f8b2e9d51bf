"""Operator ``refine_captions``: the last stage alone."""

from .annotating import PipelineOperator
from .work import config_of


class RefineCaptions(PipelineOperator):
    """Refines the captions of a run's trees.

    Example::

        import fiftyone as fo
        import fiftyone.operators as foo

        refine_captions = foo.get_operator("@action100m/action100m-fiftyone/refine_captions")
        dataset = fo.load_dataset("action100m")
        refine_captions(dataset.take(4), "baseline", changes=["refine.rounds=1"])
    """

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
