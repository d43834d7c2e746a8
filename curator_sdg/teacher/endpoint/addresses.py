"""Where endpoints are: a file of addresses that servers on other nodes write, and the proxy on the way."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from loguru import logger

from curator_sdg.config import plain_url

ENDED = "# ended: "
"""Begins the line in which servers of our own say, in place of their addresses, why there will be none any more."""


class EndpointsFile:
    """A file of base URLs, one a line; lines that are empty or begin with ``#`` are passed over.

    It may be a folder of such files, ``*.txt``, one written by each of several machines. Each line that is no address
    is told once. A file that is not there has no addresses yet; one that cannot be read just now has those that it
    had.

    Args:
        path: ``teacher.endpoints_file``.

    Attributes:
        ended: Why there are no addresses and will be none, where the servers say so; else null.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ended: str | None = None
        self._told: set[str] = set()
        self._latest: dict[Path, list[str]] = {}

    def read(self) -> list[str]:
        """Return the addresses that stand there now, each once, in their order."""
        try:
            files = sorted(self.path.glob("*.txt")) if self.path.is_dir() else [self.path]
        except OSError as error:
            self._cannot_read(self.path, error)
            files = list(self._latest)
        self._latest = {file: self._lines(file) for file in files}
        found: dict[str, None] = {}
        ended: list[str | None] = []
        for file, lines in self._latest.items():
            ended.append(next((line.removeprefix(ENDED) for line in lines if line.startswith(ENDED)), None))
            for number, line in enumerate(lines, start=1):
                if not line or line.startswith("#"):
                    continue
                try:
                    found[plain_url(line)] = None
                except ValueError as error:
                    self._tell(f"{file}: line {number} is passed over: {error}")
        self.ended = ended[-1] if ended and all(ended) and not found else None
        return list(found)

    def _lines(self, file: Path) -> list[str]:
        try:
            return [line.strip() for line in file.read_text("utf-8", "replace").splitlines()]
        except FileNotFoundError:
            return []
        except OSError as error:
            self._cannot_read(file, error)
            return self._latest.get(file, [])

    def _cannot_read(self, path: Path, error: OSError) -> None:
        self._tell(f"{path}: cannot be read ({error.strerror}); the endpoints stay as they are")

    def _tell(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            logger.warning(message)


def proxy(url: str) -> str | None:
    """Return the proxy of the environment for ``url``."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc):
        return None
    return urllib.request.getproxies().get(parts.scheme)
