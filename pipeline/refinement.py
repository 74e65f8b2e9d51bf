"""Stage 3, refine: the captions of a subtree become summary, action and actor.

Inner nodes of at least 4 s are refined, and nothing else (paper, section on aggregation).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

from . import measured
from .presets import PresetError, options
from .tree import NOT_APPLICABLE, Segment, Tree

#: Part of the stamps: raise it when the same input and configuration give another result.
VERSION = 1

Annotation = dict[str, dict[str, str]]

# "move the red shape to the right" -> "the red shape"
_OBJECT = re.compile(r"^\w+ (the .+? shape)\b")


class Refiner(Protocol):
    """Something that refines captions. ``name`` is for people."""

    name: str

    def refine(self, tree: Tree, skip: Collection[str]) -> Iterator[tuple[str, Annotation]]:
        """Yield (node_id, gpt) of each node as it is done.

        Args:
            tree: with its captions and metadata
            skip: nodes that are refined already
        """


class ExtractiveRefiner:
    """The ``embedded`` preset: takes sentences and actions out of the subtree's own captions."""

    name = "extracts of captions (no model)"

    def __init__(self, sentences: int):
        self.sentences = sentences

    def refine(self, tree: Tree, skip: Collection[str]) -> Iterator[tuple[str, Annotation]]:
        """See :class:`Refiner`."""
        for segment in tree.segments:
            if tree.is_refined(segment) and segment.node_id not in skip:
                yield segment.node_id, self._annotation(tree, segment)

    def _annotation(self, tree: Tree, segment: Segment) -> Annotation:
        leaves = [s for s in tree.depth_first(segment) if tree.is_leaf(s)]
        captions = [(s.plm_caption or "", s.duration) for s in (segment, *leaves)]
        brief = measured.extract(captions, 1)
        detailed = measured.extract(captions, self.sentences)
        return {
            "summary": {
                "brief": " ".join(brief),
                "detailed": " ".join(f"{sentence}." for sentence in detailed),
            },
            "action": self._action(leaves),
        }

    @staticmethod
    def _action(leaves: list[Segment]) -> dict[str, str]:
        lasting: dict[str, float] = {}
        for leaf in leaves:
            if leaf.plm_action and _OBJECT.match(leaf.plm_action):
                lasting[leaf.plm_action] = lasting.get(leaf.plm_action, 0.0) + leaf.duration
        if not lasting:
            return dict.fromkeys(("brief", "detailed", "actor"), NOT_APPLICABLE)
        longest = sorted(lasting, key=lasting.__getitem__, reverse=True)[:3]
        brief = longest[0]
        steps = [action for action in lasting if action in longest]  # in order of time
        moved = _OBJECT.match(brief)
        assert moved is not None
        return {
            "brief": brief,
            "detailed": _sentence(", then ".join(steps)),
            "actor": moved[1],
        }


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def load(config: Mapping[str, Any]) -> Refiner:
    """The refiner that a preset names; PresetError for an unknown backend or option."""
    if config["backend"] != "extractive":
        raise PresetError(f"refine: unknown backend {config['backend']!r}; known is extractive")
    chosen = options("refine", config, sentences=4)
    if chosen["sentences"] < 1:
        raise PresetError(f"refine: sentences must be at least 1, not {chosen['sentences']}")
    return ExtractiveRefiner(chosen["sentences"])
