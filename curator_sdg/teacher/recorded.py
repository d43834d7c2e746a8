"""A teacher that replays journals: no GPU, no key, no network, the same replies every time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from curator_sdg.errors import TeacherError
from curator_sdg.teacher.base import Request
from curator_sdg.teacher.dispatch.places import Place, Places
from curator_sdg.teacher.journal.segment import PLAIN, SEALED, Reply, read_segment


class RecordedTeacher:
    """Answers each request with the completion that was journalled under its key.

    Args:
        recording: A segment of a journal (``.jsonl``, ``.jsonl.zst``), or a folder of them at any depth.
    """

    def __init__(self, recording: Path) -> None:
        self._recording = recording
        self._known: dict[str, Reply] = {}

    async def open(self, places: Places) -> None:
        """Read the recording, which is one place; of several replies under one key the first in path order counts.

        Raises:
            TeacherError: If there is no recording at that place.
            StoreError: If it is damaged.
        """
        for path in self._files():
            for completion in read_segment(path):
                self._known.setdefault(completion.key, completion)
        places.add(str(self._recording))

    async def ask(self, requests: Sequence[Request], place: Place) -> list[Reply]:  # noqa: ARG002 - there is one place
        """Return the recorded replies.

        Raises:
            TeacherError: If a request was never recorded, as it then differs from what was.
        """
        return [self._reply(request) for request in requests]

    async def close(self) -> None:
        """Let go of the replies."""
        self._known.clear()

    def _reply(self, request: Request) -> Reply:
        if (completion := self._known.get(request.key)) is None:
            turns = "".join(f" {name} {n}" for name in ("repair", "retry") if (n := getattr(request, name)))
            raise TeacherError(
                f"the recording {self._recording} has no completion for {request.step} of {request.record_id} "
                f"sample {request.sample}{turns}: the prompt, the seeds, the model name or the sampling changed "
                "since it was recorded; record anew (see README) or use another teacher"
            )
        return completion

    def _files(self) -> list[Path]:
        if self._recording.is_file():
            return [self._recording]
        if not self._recording.is_dir():
            raise TeacherError(
                f"teacher.recording: {self._recording} does not exist; name a journal file or a folder of them"
            )
        names = [path for path in self._recording.rglob("*") if path.name.endswith((PLAIN, SEALED))]
        if not (files := sorted(path for path in names if path.is_file() and not path.name.startswith("."))):
            raise TeacherError(f"teacher.recording: {self._recording} holds no {PLAIN} or {SEALED} files")
        return files
