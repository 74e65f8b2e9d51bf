"""A log per video, without anything that must not be written down."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

# A shorter cookie value ("1", "en") is no secret, and hiding it would garble every line.
_SHORTEST_SECRET = 4


def hider(cookies: str | None, proxy: str | None) -> Callable[[str], str]:
    """A function that replaces the cookies' values and the proxy's password in a text.

    Args:
        cookies: in Netscape format
        proxy: its URL
    """
    secrets = {line.split("\t")[6] for line in (cookies or "").splitlines() if "\t" in line}
    if proxy is not None:
        password = urlsplit(proxy).password or ""
        secrets |= {password, unquote(password)}
    longest_first = sorted((s for s in secrets if len(s) >= _SHORTEST_SECRET), key=len)[::-1]
    if not longest_first:
        return lambda text: text
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return lambda text: pattern.sub("***", text)


class VideoLog:
    """One video's log of one run; also what yt-dlp wants as a ``logger``."""

    def __init__(self, path: Path, hide: Callable[[str], str]):
        self._path = path
        self._hide = hide
        path.parent.mkdir(exist_ok=True)
        path.write_text("", encoding="utf-8")

    def debug(self, message: str) -> None:
        """Add a message with the time of day; its lines stay lines of this entry."""
        text = self._hide(message).replace("\n", "\n    ")
        with self._path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def warning(self, message: str) -> None:
        """A message that says what it is."""
        self.debug(f"WARNING: {message}")

    def error(self, message: str) -> None:
        """A message of yt-dlp's that begins with "ERROR: " already."""
        self.debug(message)
