"""Stage 3, refine: the captions of a subtree become summary, action and actor.

Inner nodes of at least 4 s are refined, and nothing else (paper, section on aggregation): a draft,
then Self-Refine (Madaan et al., 2023), three rounds in all. Each round's answer is saved as soon as
it is there, so that nothing is asked twice after a kill.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from . import chat, measured, prompts
from .chat import Answer, Backend, Chat, ChatError, Question
from .chat.answers import cost, parse_json
from .presets import PresetError, options
from .tree import NOT_APPLICABLE, Segment, Tree

#: Part of the stamps: raise it when the same input and configuration give another result.
VERSION = 2

#: The options of refinement by a chat model; a preset has them beside those of its backend.
OPTIONS: Mapping[str, Any] = {
    "rounds": 3,  # a draft and what is made of it; 1 to 10
    "max_tokens": 4096,  # of an answer, a reasoning model's thoughts included
    "guidelines": "",  # instead of ``prompts.GUIDELINES``
}

#: What came of one request: ``node_id``, ``round``, ``gpt`` (None where there is none), ``broken``
#: (rules), ``error``, ``final`` (nothing more is asked), ``cost``.
Line = dict[str, Any]

# Tokens that the words around the quotations, a chat template and what one counts wrongly may take.
_MARGIN = 200
# Tokens that captions have at least: with fewer there is nothing to refine.
_LEAST_ROOM = 500
# Characters of a video's description at most, and where the shared part has to be short.
_DESCRIPTION, _SHORT_DESCRIPTION = 4000, 500
# Times that a question which the server finds too long is made shorter by a fifth.
_SHORTER = 4

# "move the red shape to the right" -> "the red shape"
_OBJECT = re.compile(r"^\w+ (the .+? shape)\b")


class Refiner(Backend, Protocol):
    """Something that refines captions."""

    def refine(self, tree: Tree, earlier: Sequence[Line], save: Callable[[Line], None]) -> None:
        """Refine the nodes that are not final yet.

        Args:
            tree: with its captions and metadata
            earlier: lines that were saved before
            save: called in this thread with each line as it comes

        Raises:
            ChatError: nothing can be asked any more
        """


class ChatRefiner:
    """A chat model in several rounds of Self-Refine.

    A round whose answer is no JSON, breaks the schema or could not go into a tree is asked once
    more; if that fails too, the rounds before have to do (see :class:`Refined`).
    """

    def __init__(self, model: Chat, rounds: int = 3, max_tokens: int = 4096, guidelines: str = ""):
        self._chat, self._rounds, self._max_tokens = model, rounds, max_tokens
        self._guidelines = guidelines or prompts.GUIDELINES
        self.name, self.places, self.threads = model.name, model.places, model.threads
        self.identity: Mapping[str, Any] = {
            "chat": dict(model.identity),
            "rounds": rounds,
            "max_tokens": max_tokens,
            # The words themselves, so that changing them is a change of the configuration.
            "prompt": [self._guidelines, prompts.request(None), prompts.request({})],
        }

    def check(self) -> None:
        """Make sure that the model can be had; ChatError if not."""
        self._chat.check()

    def unload(self) -> None:
        """See ``Backend``."""
        self._chat.unload()

    def refine(self, tree: Tree, earlier: Sequence[Line], save: Callable[[Line], None]) -> None:
        """See :class:`Refiner`."""
        nodes = {s.node_id: _Node(tree, s) for s in tree.depth_first() if tree.is_refined(s)}
        for line in earlier:
            nodes[line["node_id"]].take(line)
        for node in nodes.values():
            if node.final and not node.drafts:  # another run may have more luck
                node.final, node.failures = False, 0
        waiting = [node for node in nodes.values() if not node.final]
        if not waiting:
            return
        room = self._chat.context - self._max_tokens - _MARGIN
        room -= self._chat.count(self._guidelines)
        if room < _LEAST_ROOM:
            raise ChatError(
                f"{self.name} takes {self._chat.context} tokens, which leaves no room for captions "
                f"beside max_tokens ({self._max_tokens}) and the guidelines; lower max_tokens, or "
                "raise context if the model takes more"
            )
        shared = self._shared(tree, room // 2)
        room -= self._chat.count(shared)
        # A short one alone: what it shares with the others is in the server's cache then.
        batch = [min(waiting, key=lambda node: node.segment.duration)]
        while batch:
            self._ask(batch, shared, room, save)
            batch = [node for node in waiting if not node.final]

    def _ask(
        self, nodes: Sequence[_Node], shared: str, room: int, save: Callable[[Line], None]
    ) -> None:
        """Ask the next question of each of the nodes."""
        asked = []
        for node in nodes:
            if node.context is None and not self._fit(node, room):
                line = {"node_id": node.segment.node_id, "round": node.round, "gpt": None}
                error = "its own captions are longer than the model's context"
                save(node.take({**line, "error": error, "final": True}))
            else:
                asked.append(node)

        def answered(index: int, answer: Answer) -> None:
            if answer.finish == "context" and asked[index].shortened < _SHORTER:
                asked[index].shorten()
            else:
                save(asked[index].take(self._line(asked[index], answer)))

        self._chat.ask([self._question(node, shared) for node in asked], answered)

    def _question(self, node: _Node, shared: str) -> Question:
        draft = node.drafts[-1] if node.drafts else {}
        asked = prompts.request(draft.get("gpt"), draft.get("broken", ()))
        text = f"{shared}\n\n{node.context}\n\n{asked}"
        return Question(self._guidelines, (text,), self._max_tokens, prompts.SCHEMA)

    def _line(self, node: _Node, answer: Answer) -> Line:
        """What the answer to a node's question makes of it."""
        line: Line = {"node_id": node.segment.node_id, "round": node.round, "gpt": None}
        error = answer.error
        if not error:
            try:
                gpt = parse_json(answer.text, prompts.SCHEMA)
                prompts.check(gpt)
            except ValueError as problem:
                error = _why(answer, str(problem))
            else:
                line |= {"gpt": gpt, "broken": prompts.broken_rules(gpt)}
        if error:
            line["error"] = error
        final = node.failures > 0 if error else node.round == self._rounds
        return {**line, "final": final, "cost": cost(answer)}

    # -- what fits into the model's context ----------------------------------------------------

    def _shared(self, tree: Tree, room: int) -> str:
        """The part that all nodes of a video share, within so many tokens.

        Lower levels of the global tree go first, then the transcript from its end, then most of the
        description.
        """
        lines = len((tree.metadata or {}).get("transcript") or ())
        for levels in range(prompts.GLOBAL_LEVELS, 0, -1):
            text = prompts.shared_context(tree, levels, lines, _DESCRIPTION)
            if self._chat.count(text) <= room:
                return text
        for description in (_DESCRIPTION, _SHORT_DESCRIPTION):
            fitting = _most(
                lines,
                lambda n, d=description: (  # type: ignore[misc]
                    self._chat.count(prompts.shared_context(tree, 1, n, d)) <= room
                ),
            )
            if fitting is not None:
                return prompts.shared_context(tree, 1, fitting, description)
        return prompts.shared_context(tree, 0, 0, 0)

    def _fit(self, node: _Node, room: int) -> bool:
        """Find the most captions of a node's subtree that fit into so many tokens.

        The deepest captions go first, of one level those of the shortest segments. The same ones go
        into each round, so that a server's cache serves the later ones. False if not even the
        node's own fits.
        """
        room = int(room * 0.8**node.shortened) - self._max_draft()
        inside = [s for s in node.tree.depth_first(node.segment) if s is not node.segment]
        inside.sort(key=lambda s: (s.level, -s.duration))

        def context(kept: int) -> str:
            without = {s.node_id for s in inside[kept:]}
            return prompts.subtree_context(node.tree, node.segment, without)

        kept = _most(len(inside), lambda n: self._chat.count(context(n)) <= room)
        if kept is not None:
            node.context = context(kept)
        return kept is not None

    def _max_draft(self) -> int:
        """Tokens that the draft of the round before may take; longer ones are rare."""
        return min(1500, self._max_tokens)


def _most(total: int, fits: Callable[[int], bool]) -> int | None:
    """The largest number up to ``total`` that fits, as all smaller ones do; None if 0 does not."""
    if fits(total):
        return total
    low, high = -1, total
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return None if low < 0 else low


def _why(answer: Answer, problem: str) -> str:
    if answer.finish == "length":
        return f"the answer was cut off after {answer.usage.completion} tokens"
    return "the answer is empty" if not answer.text.strip() else problem


@dataclass
class _Node:
    """A node on its way through the rounds: what its lines so far make of it.

    Attributes:
        drafts: lines of the rounds that are done
        failures: answers of this round that were none
        context: its subtree's captions, as far as they fit; None until that has been found out
        shortened: how often that was still too long for the server
    """

    tree: Tree
    segment: Segment
    drafts: list[Line] = field(default_factory=list)
    failures: int = 0
    final: bool = False
    context: str | None = None
    shortened: int = 0

    @property
    def round(self) -> int:
        """The one that is asked for next, from 1."""
        return len(self.drafts) + 1

    def take(self, line: Line) -> Line:
        """Go on by a line, and return it."""
        self.final = line["final"]
        if line["gpt"] is None:
            self.failures += 1
        else:
            self.drafts.append(line)
            self.failures = 0
        return line

    def shorten(self) -> None:
        """Find its context anew, a fifth shorter."""
        self.shortened += 1
        self.context = None


@dataclass(frozen=True)
class Refined:
    """What a node's lines come to.

    Attributes:
        gpt: the latest of the drafts that break the fewest rules; None without drafts
        why: why there is none, or why it is of an earlier round; "" where all went well
        broken: the rules that it breaks
    """

    gpt: dict[str, Any] | None
    why: str
    broken: tuple[str, ...]


def refined(lines: Sequence[Line]) -> dict[str, Refined]:
    """The nodes that are final, by node id, from all lines of a video."""
    by_node: dict[str, list[Line]] = {}
    for line in lines:
        by_node.setdefault(line["node_id"], []).append(line)
    result = {}
    for node_id, said in by_node.items():
        if not said[-1]["final"]:
            continue
        drafts = [line for line in said if line["gpt"] is not None]
        best = min(reversed(drafts), key=lambda line: len(line.get("broken", ())), default=None)
        why = said[-1].get("error", "")
        if best is None:
            result[node_id] = Refined(None, why, ())
        else:
            why = f"round {said[-1]['round']} failed: {why}" if why else ""
            result[node_id] = Refined(best["gpt"], why, tuple(best.get("broken", ())))
    return result


class ExtractiveRefiner:
    """The ``embedded`` preset: takes sentences and actions out of the subtree's own captions."""

    name = "extracts of captions (no model)"
    places: tuple[str, ...] = ("",) * (os.cpu_count() or 1)
    threads = 1

    def __init__(self, sentences: int):
        self.sentences = sentences
        self.identity = {"backend": "extractive", "sentences": sentences}

    def check(self) -> None:
        """There is nothing to be had."""

    def refine(self, tree: Tree, earlier: Sequence[Line], save: Callable[[Line], None]) -> None:
        """See :class:`Refiner`."""
        done = {line["node_id"] for line in earlier}
        for segment in tree.segments:
            if tree.is_refined(segment) and segment.node_id not in done:
                gpt = self._annotation(tree, segment)
                save({"node_id": segment.node_id, "gpt": gpt, "final": True})

    def unload(self) -> None:
        """There are no weights."""

    def _annotation(self, tree: Tree, segment: Segment) -> dict[str, dict[str, str]]:
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


def load(config: Mapping[str, Any], folder: Path | None = None) -> Refiner:
    """The refiner that a preset names; PresetError for an unknown backend or option.

    Args:
        folder: of the run, for logs
    """
    if config["backend"] == "extractive":
        chosen = options("refine", config, sentences=4)
        if chosen["sentences"] < 1:
            raise PresetError(f"refine: sentences must be at least 1, not {chosen['sentences']}")
        return ExtractiveRefiner(chosen["sentences"])
    if config["backend"] not in chat.BACKENDS:
        known = ", ".join((*chat.BACKENDS, "extractive"))
        raise PresetError(f"refine: unknown backend {config['backend']!r}; known are {known}")
    own = {"backend": ""} | {k: v for k, v in config.items() if k in OPTIONS}
    chosen = options("refine", own, **OPTIONS)
    if not 1 <= chosen["rounds"] <= 10:
        raise PresetError(f"refine: rounds must be 1 to 10, not {chosen['rounds']}")
    if chosen["max_tokens"] < 1:
        raise PresetError(f"refine: max_tokens must be at least 1, not {chosen['max_tokens']}")
    rest = {k: v for k, v in config.items() if k not in OPTIONS}
    return ChatRefiner(chat.load("refine", rest, folder), **chosen)
