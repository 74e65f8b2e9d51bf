"""Operator ``compare_with_ground_truth``: a run's trees against the ground truth's."""

import fiftyone.operators as foo
from fiftyone.operators import types

from ..pipeline import dataset as datasets
from ..pipeline.metrics import BOUNDARY_TOLERANCE
from . import forms
from .work import carry_out, config_of

_NAMES = {
    "boundary_precision": "Boundary precision",
    "boundary_recall": "Boundary recall",
    "boundary_f1": "Boundary F1",
    "reference_iou": "Temporal IoU of the ground truth's segments",
    "prediction_iou": "Temporal IoU of the run's segments",
    "action_f1": "Token F1 of brief actions",
    "summary_f1": "Token F1 of brief summaries",
}

# Not report.comparison_text: what the App shows letters of one width in comes from the network.
_COLUMNS = {
    "video": "Video",
    "time": "Time range",
    "reference": "Reference",
    "prediction": "Prediction",
    "iou": "IoU",
}


class CompareWithGroundTruth(foo.Operator):
    """Measures how well a run agrees with the ground truth, and stores it by video and by node."""

    @property
    def config(self):
        return config_of(
            "compare_with_ground_truth",
            "Compare with the ground truth",
            (
                "Measure how well a run's segments and texts agree with the ground truth, and "
                "store it on the samples"
            ),
            "compare",
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        compare_inputs(ctx, inputs)
        view = types.View(label="Compare with the ground truth", submit_button_label="Compare")
        return types.Property(inputs, view=view)

    def resolve_placement(self, ctx):
        return forms.placement(self)

    def execute(self, ctx):
        key = ctx.params["run_key"]
        tolerance = ctx.params.get("tolerance", BOUNDARY_TOLERANCE)
        samples = ctx.target_view()
        datasets.check_comparison(ctx.dataset, key, tolerance)
        count = samples.count()

        def work(report):
            def on_video(number):
                report(number / count, f"video {number} of {count}")

            found = datasets.compare_with_ground_truth(samples, key, tolerance, on_video)
            return _output(key, found)

        return carry_out(ctx, work, lambda output: [ctx.ops.reload_dataset()])

    def resolve_output(self, ctx):
        outputs = types.Object()
        outputs.str("summary", label="Result")
        means = forms.table(metric="Metric", mean="Mean of the videos")
        outputs.list("means", types.Object(), label="Agreement", view=means)
        rows = forms.table(**_COLUMNS)
        outputs.list("rows", types.Object(), label="Time range | reference | prediction", view=rows)
        return types.Property(outputs, view=types.View(label="Comparison"))

    def __call__(self, samples, run_key, tolerance=BOUNDARY_TOLERANCE, delegate=False):
        """Compare a run with the ground truth from Python.

        Args:
            samples: a dataset, or a view of the videos to compare
            run_key: of the run
            tolerance: seconds that two boundaries may be apart and still be the same
            delegate: whether to queue the work for ``fiftyone delegated launch``

        Returns:
            the results: ``compared``, ``means``, ``tables``, ``rows``, ``skipped``; None of queued
            work, whose results ``dataset.load_run_results("<run_key>_comparison")`` gives later

        Example::

            import fiftyone as fo
            import fiftyone.operators as foo

            name = "@action100m/action100m-fiftyone/compare_with_ground_truth"
            compare_with_ground_truth = foo.get_operator(name)
            dataset = fo.load_dataset("action100m")
            print(compare_with_ground_truth(dataset, "baseline").means)
        """
        params = {"run_key": run_key, "tolerance": tolerance}
        forms.call(self, samples, params, delegate)
        if delegate:
            return None
        dataset = samples._root_dataset
        dataset.reload()
        return dataset.load_run_results(datasets.comparison_key(run_key))


def compare_inputs(ctx, inputs):
    """Build the form: the target, the run, the tolerance."""
    forms.target_input(ctx, inputs, "compared")
    keys = datasets.run_keys(ctx.dataset)
    key = forms.run_input(
        ctx, inputs, keys, "Its trees are held against the ground truth's, by time and by text"
    )
    inputs.float(
        "tolerance",
        default=BOUNDARY_TOLERANCE,
        label="Tolerance",
        description="Seconds that two boundaries may be apart and still be the same",
    )
    if not key:
        return
    tolerance = ctx.params.get("tolerance", BOUNDARY_TOLERANCE)
    forms.checked(inputs, lambda: datasets.check_comparison(ctx.dataset, key, tolerance))
    if ctx.dataset.has_run(datasets.comparison_key(key)):
        note = "This run has been compared before: the new numbers will replace those."
        inputs.view("replaces", types.Notice(label=note))


def _output(key, found):
    summary = f"{forms.of_many(found.compared, 'video')} of run {key} compared"
    if found.skipped:
        summary += f", {len(found.skipped)} without a tree of the run or the ground truth"
    means = [
        {"metric": _NAMES[name], "mean": "–" if value is None else f"{value:.3f}"}
        for name, value in found.means.items()
    ]
    if (more := found.compared - len(found.tables)) > 0:
        summary += f"; the rows are of the first videos, {forms.of_many(more, 'other')} left out"
    return {"summary": summary, "means": means, "rows": found.rows}
