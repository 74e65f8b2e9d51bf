"""A run's progress on standard error: a bar, lines, or JSON for programs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..runner import Progress

# While a video's texts come: seconds from one line of progress to the next.
_SECONDS_A_LINE = 30


class Reporter:
    """Shows a run's progress on standard error."""

    def __init__(self, style: str):
        if style == "auto":
            style = "bar" if sys.stderr.isatty() else "lines"
        self.style = style
        self._bar: Any = None
        self._stage = ""
        self._last, self._printed = ("", 0), 0.0

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, progress: Progress) -> None:
        if self.style == "json":
            print(json.dumps(vars(progress)), file=sys.stderr, flush=True)
        elif self.style == "lines":
            self._print_line(progress)
        elif self.style == "bar":
            self._update_bar(progress)

    def _print_line(self, progress: Progress) -> None:
        key = progress.stage, progress.done
        if key == self._last and progress.elapsed - self._printed < _SECONDS_A_LINE:
            return
        self._last, self._printed = key, progress.elapsed
        rate = progress.done / progress.elapsed if progress.elapsed else 0
        left = "" if progress.remaining is None else f", {progress.remaining:.0f} s left"
        video = f" ({progress.video})" if progress.video else ""
        print(
            f"{progress.stage}: {progress.done} of {progress.total} videos, "
            f"{progress.failed} failed, {rate:.2g} a second{_texts(progress)}{left}{video}",
            file=sys.stderr,
            flush=True,
        )

    def _update_bar(self, progress: Progress) -> None:
        from tqdm import tqdm

        if progress.stage != self._stage:
            if self._bar is not None:
                self._bar.close()
            self._stage = progress.stage
            self._bar = tqdm(
                total=progress.total, desc=f"{progress.stage:8}", unit="video", file=sys.stderr
            )
        failed = f"{progress.failed} failed" if progress.failed else ""
        self._bar.set_postfix_str(failed + _texts(progress), refresh=False)
        self._bar.update(progress.done - self._bar.n)
        self._bar.refresh()


def _texts(progress: Progress) -> str:
    if not progress.texts:
        return ""
    return f", {progress.texts} texts ({progress.texts / max(progress.elapsed, 0.1):.2g} a second)"
