"""Operator ``find_segments``: segments by text, length, level, tier and actor, as clips."""

import fiftyone as fo
import fiftyone.operators as foo
from fiftyone.operators import types

from ..pipeline import dataset as datasets
from . import forms

#: Clips that are opened: the App carries their ids with every question that it asks.
LIMIT = 1000


class FindSegments(foo.Operator):
    """Finds segments in the ground truth or a run and opens them as clips."""

    @property
    def config(self):
        return foo.OperatorConfig(
            name="find_segments",
            label="Find segments",
            description=(
                "Find segments of the ground truth or a run by their captions, length, level, tier "
                "and actor, and open them as clips"
            ),
            icon="manage_search",
            dynamic=True,
        )

    def resolve_input(self, ctx):
        inputs = types.Object()
        find_segments_inputs(ctx, inputs)
        view = types.View(label="Find segments", submit_button_label="Find")
        return types.Property(inputs, view=view)

    def resolve_placement(self, ctx):
        return forms.placement(self)

    def execute(self, ctx):
        tree = ctx.params.get("tree") or datasets.GROUND_TRUTH
        limit = ctx.params.get("limit", LIMIT)
        hits = datasets.find_segments(ctx.target_view(), _query(ctx.params), tree)
        shown = [hit for hit in hits if hit.on_disk][:limit]
        output = {
            "summary": _summary(hits, shown, limit),
            "count": len(hits),
            "videos": len({hit.sample_id for hit in hits}),
            "view": None,
        }
        if shown:
            clips = datasets.segment_clips(ctx.dataset, shown, tree)
            output["view"] = clips._serialize()
            ctx.ops.set_view(view=clips)
            # Without it the clips do not show what they were found by.
            ctx.ops.set_active_fields([*(ctx.active_fields or ()), datasets.FOUND])
        return output

    def resolve_output(self, ctx):
        outputs = types.Object()
        outputs.str("summary", label="Result")
        return types.Property(outputs, view=types.View(label="Find segments"))

    def __call__(
        self,
        samples,
        text=None,
        *,
        tree=datasets.GROUND_TRUTH,
        min_duration=None,
        max_duration=None,
        min_level=None,
        max_level=None,
        tier=None,
        actor=None,
        not_applicable=None,
        limit=LIMIT,
    ):
        """Find segments from Python; all that is given has to hold.

        Args:
            samples: a dataset, or a view of the videos to search
            text: occurs in any caption of the segment, in whatever case
            tree: "ground_truth" or a run key
            min_duration, max_duration: seconds
            min_level, max_level: depth in the tree; the root is 0
            tier: "root", "mid" or "leaf"
            actor: occurs in who acts, in whatever case
            not_applicable: "only" = segments whose action is "N/A", "excluded" = no such segments
            limit: of clips, the first of them

        Returns:
            a clips view; each clip has the segment's text and ids in ``found_segments``. None if
            no segment was found within the files

        Example::

            import fiftyone as fo
            import fiftyone.operators as foo

            find_segments = foo.get_operator("@action100m/action100m-fiftyone/find_segments")
            clips = find_segments(fo.load_dataset("action100m"), "whisk", min_duration=5)
        """
        result = forms.call(
            self,
            samples,
            {
                "tree": tree,
                "text": text,
                "min_duration": min_duration,
                "max_duration": max_duration,
                "min_level": min_level,
                "max_level": max_level,
                "tier": tier,
                "actor": actor,
                "not_applicable": not_applicable,
                "limit": limit,
            },
        )
        if result["view"] is None:
            return None
        return fo.DatasetView._build(samples._root_dataset, result["view"])


def find_segments_inputs(ctx, inputs):
    """Build the form: the target, the trees, and what a segment has to be like."""
    forms.target_input(ctx, inputs, "searched")
    forms.tree_input(ctx, inputs)
    inputs.str("text", label="Text", description="Occurs in any caption, in whatever case")
    duration = "Seconds that a segment lasts"
    inputs.float("min_duration", label="Minimum duration", description=f"{duration} at least")
    inputs.float("max_duration", label="Maximum duration", description=f"{duration} at most")
    inputs.int("min_level", label="Minimum level", description="0 is the whole video")
    inputs.int("max_level", label="Maximum level", description="Deeper levels are left out")
    tiers = types.DropdownView()
    for tier, description in (
        ("root", "the whole video"),
        ("mid", "between root and leaves"),
        ("leaf", "has no children, at whatever level"),
    ):
        tiers.add_choice(tier, label=tier, description=description)
    inputs.str("tier", label="Tier", description="Where in the tree; empty is anywhere", view=tiers)
    inputs.str("actor", label="Actor", description="Occurs in who acts, in whatever case")
    actions = types.DropdownView()
    actions.add_choice("excluded", label="without them")
    actions.add_choice("only", label="nothing but them")
    inputs.str(
        "not_applicable",
        label='Segments whose action is "N/A"',
        description="What to do with segments in which nobody does anything; empty keeps them",
        view=actions,
    )
    limit = inputs.int(
        "limit", default=LIMIT, label="Clips", description="How many to open at most"
    )
    if ctx.params.get("limit", 1) < 1:
        forms.refuse(limit, "open 1 clip or more")
    forms.checked(inputs, lambda: _query(ctx.params))


_CONDITIONS = (
    *("text", "min_duration", "max_duration", "min_level", "max_level"),
    *("tier", "actor", "not_applicable"),
)


def _query(params):
    """The query of a call's parameters; a text of spaces alone is none."""
    values = {name: params.get(name) for name in _CONDITIONS}
    for name in ("text", "actor"):
        values[name] = (values[name] or "").strip() or None
    return datasets.SegmentQuery(**values)


def _summary(hits, shown, limit):
    videos = len({hit.sample_id for hit in hits})
    found = f"{forms.of_many(len(hits), 'segment')} in {forms.of_many(videos, 'video')}"
    on_disk = sum(hit.on_disk for hit in hits)
    more = []
    if len(shown) < on_disk:
        more.append(f"the first {limit:,} are open")
    if on_disk < len(hits):
        more.append(f"{len(hits) - on_disk:,} lie beyond the end of their files and have no clip")
    return "; ".join([found, *more])
