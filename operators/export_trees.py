"""Operator ``export_trees``: the ground truth or a run as files."""

from pathlib import Path

import fiftyone.operators as foo
from fiftyone.operators import types

from ..pipeline import dataset as datasets
from . import forms
from .work import carry_out, config_of


class ExportTrees(foo.Operator):
    """Writes trees as parquet, JSON, Markdown, a FiftyOne dataset or a Hugging Face dataset."""

    @property
    def config(self):
        return config_of(
            "export_trees",
            "Export Trees-of-Captions",
            (
                "Write the ground truth or a run to Action100M's parquet, JSON, Markdown, a "
                "FiftyOne dataset or a Hugging Face dataset"
            ),
            "file_download",
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        export_trees_inputs(ctx, inputs)
        view = types.View(label="Export Trees-of-Captions", submit_button_label="Export")
        return types.Property(inputs, view=view)

    def resolve_placement(self, ctx):
        return forms.placement(self)

    def execute(self, ctx):
        samples = ctx.target_view()
        tree, kind, path, overwrite = _arguments(ctx.params)
        copy_videos = bool(ctx.params.get("copy_videos"))
        datasets.check_export(samples, tree, kind, path, overwrite)
        total = datasets.count_trees(samples, tree)

        def work(report):
            def on_video(number):
                report(number / total, f"video {number} of {total}")

            count = datasets.export_trees(
                samples, tree, kind, path, overwrite, copy_videos, on_video
            )
            what = f"{forms.of_many(count, 'video')} of {forms.tree_label(tree).lower()}"
            return {"summary": f"{what} written to {path}", "path": path, "count": count}

        return carry_out(ctx, work)

    def resolve_output(self, ctx):
        outputs = types.Object()
        outputs.str("summary", label="Result")
        return types.Property(outputs, view=types.View(label="Export Trees-of-Captions"))

    def __call__(
        self,
        samples,
        format,
        path,
        tree=datasets.GROUND_TRUTH,
        *,
        overwrite=False,
        copy_videos=False,
        delegate=False,
    ):
        """Export trees from Python.

        Args:
            samples: a dataset, or a view of the videos to export
            format: "parquet", "json", "jsonl", "markdown", "fiftyone" or "huggingface"
            path: the file, or the folder of the last three
            tree: "ground_truth" or a run key
            overwrite: whether to replace an earlier export
            copy_videos: whether a FiftyOne dataset gets the videos too, else their paths
            delegate: whether to queue the work for ``fiftyone delegated launch``

        Returns:
            the absolute path

        Example::

            import fiftyone as fo
            import fiftyone.operators as foo

            export_trees = foo.get_operator("@action100m/action100m-fiftyone/export_trees")
            dataset = fo.load_dataset("action100m")
            export_trees(dataset, "parquet", "baseline.parquet", "baseline")
        """
        path = Path(path).expanduser().absolute()
        params = {
            "format": format,
            "path": str(path),
            "tree": tree,
            "overwrite": overwrite,
            "copy_videos": copy_videos,
        }
        forms.call(self, samples, params, delegate)
        return path


def export_trees_inputs(ctx, inputs):
    """Build the form: the target, the trees, the format, the path, whether to replace."""
    samples = forms.target_input(ctx, inputs, "exported")
    tree = forms.tree_input(ctx, inputs)
    choices = types.DropdownView()
    for name, kind in datasets.FORMATS.items():
        choices.add_choice(name, label=kind.label, description=kind.description)
    inputs.str(
        "format", default="parquet", label="Format", description="What is written", view=choices
    )
    kind = datasets.FORMATS.get(ctx.params.get("format", "parquet"))
    is_file = kind is None or kind.suffix
    inputs.str(
        "path",
        required=True,
        label="File" if is_file else "Folder",
        description="The absolute path on the machine on which FiftyOne runs",
    )
    if kind is datasets.FORMATS["fiftyone"]:
        inputs.bool(
            "copy_videos",
            default=False,
            label="Copy the videos",
            description="Else the dataset keeps the paths of the videos as they are",
        )
    inputs.bool(
        "overwrite",
        default=False,
        label="Replace",
        description="What an earlier export has left there",
    )
    if samples is not None and tree is not None and ctx.params.get("path"):
        forms.checked(inputs, lambda: datasets.check_export(samples, *_arguments(ctx.params)))


def _arguments(params):
    path = str(Path(params["path"].strip()).expanduser())
    tree = params.get("tree") or datasets.GROUND_TRUTH
    return tree, params.get("format", "parquet"), path, bool(params.get("overwrite"))
