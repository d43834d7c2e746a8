"""The journal: every reply that was paid for, on disk before anybody uses it.

Layout: ``journal/<step>/<shard>/<attempt>.jsonl``, one JSON object a line, later ``<attempt>.jsonl.zst``, and
``usage.json``, which only counts. A segment has one writer, and a shard's journal reads only that shard's segments,
and those of the shards that it was split from when the run grew.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from curator_sdg.errors import StoreError
from curator_sdg.store import ancestors, writing
from curator_sdg.teacher.base import Request
from curator_sdg.teacher.journal.segment import (
    PLAIN,
    SEALED,
    Reply,
    create,
    encode,
    plain_segments,
    read_segment,
    read_whole,
    seal,
    segments,
)
from curator_sdg.teacher.journal.usage import shard_usage

__all__ = ["PLAIN", "SEALED", "Reply", "ShardJournal", "read_segment"]


class ShardJournal:
    """The replies for one shard of one step: those of all earlier attempts, and a segment for this one.

    Args:
        root: The run's ``journal`` folder.
        step: The step's name.
        shard: The shard's name, the same in all steps.
        epoch_number: Of this start of the run; orders the attempts.

    Raises:
        StoreError: If a segment is damaged other than by a torn last line, or cannot be read.
    """

    def __init__(self, root: Path, step: str, shard: str, epoch_number: int) -> None:
        self.folder = root / step / shard
        self._attempt = f"{epoch_number:06d}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._file: int | None = None  # opened by the first reply, so that an attempt that asks nothing leaves nothing
        self._closed = False
        self._known: dict[str, Reply] = {}
        for name in (shard, *ancestors(shard)):
            for path in segments(root / step / name):
                for entry in read_whole(path):
                    self._known.setdefault(entry.reply.key, entry.reply)

    def __len__(self) -> int:
        return len(self._known)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """This attempt's segment while it is written; not there before the first reply."""
        return self.folder / f"{self._attempt}{PLAIN}"

    def get(self, key: str) -> Reply | None:
        """Return the reply to the request with ``key``, or null where it was never answered."""
        return self._known.get(key)

    def append(self, reply: Reply, request: Request) -> None:
        """Write one reply; once this returns, it outlives the process.

        Raises:
            StoreError: If it cannot be written whole. The journal takes no more then; what it holds stays good.
        """
        if self._closed:
            raise StoreError(f"{self.path}: the journal is closed; no reply can be kept")
        line = encode(reply, request)
        try:
            with writing(self.path):
                if self._file is None:
                    self._file = create(self.path)
                # One write; a second one only where the system took a part of it, which is how a full disk begins.
                while line:
                    line = line[os.write(self._file, line) :]
        except (OSError, StoreError) as error:
            # The segment may now end in a torn line, so nothing may follow it.
            self._close_file()
            self._closed = True
            if isinstance(error, StoreError):
                raise
            raise StoreError(
                f"{self.path}: cannot be written ({error.strerror}); run the same command again"
            ) from error
        self._known.setdefault(reply.key, reply)

    def seal(self) -> None:
        """Close this attempt's segment and compress it; call it when the shard is published.

        So are the segments that killed or superseded attempts left plain, once their writers are gone; see
        :func:`curator_sdg.teacher.segment.seal`.

        Raises:
            StoreError: If one cannot be written, which is then still there as it was.
        """
        self.close()
        for path in plain_segments(self.folder):
            seal(path, mine=path == self.path)
        shard_usage(self.folder)  # keeps the figures, so that the next start need not read the replies

    def close(self) -> None:
        """Sync and close this attempt's segment; more than once is fine."""
        self._closed = True
        if self._file is not None:
            with writing(self.path):
                try:
                    os.fsync(self._file)
                finally:
                    self._close_file()

    def _close_file(self) -> None:
        if self._file is not None:
            handle, self._file = self._file, None
            with contextlib.suppress(OSError):  # the error that counts is the one of the write before
                os.close(handle)
