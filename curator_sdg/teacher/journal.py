"""The journal: every reply that was paid for, on disk before anybody uses it.

Layout: ``journal/<step>/<shard>/<attempt>.jsonl``, one JSON object a line, later ``<attempt>.jsonl.zst``. A
segment has one writer, and a shard's journal reads only that shard's segments; nothing is locked.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

import pyarrow as pa

from curator_sdg.errors import StoreError
from curator_sdg.store import sync, writing
from curator_sdg.teacher.base import Completion, Refusal, Request

Reply = Completion | Refusal

PLAIN = ".jsonl"
SEALED = ".jsonl.zst"
_MOVE_AWAY = "move it away; its replies are then asked for again"


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
        for path in _segments(self.folder):
            for completion in _read_own(path):
                self._known.setdefault(completion.key, completion)

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
        line = _encode(reply, request)
        try:
            with writing(self.path):
                if self._file is None:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
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

        Raises:
            StoreError: If it cannot be written; the plain segment is then still there.
        """
        if self._closed or self._file is None:
            self._closed = True
            return
        self.close()
        sealed = self.folder / f"{self._attempt}{SEALED}"
        fresh = self.folder / f".{sealed.name}.tmp"
        with writing(sealed):
            try:
                with (
                    self.path.open("rb") as source,
                    fresh.open("wb") as sink,
                    pa.CompressedOutputStream(sink, "zstd") as packed,
                ):
                    shutil.copyfileobj(source, packed, 1 << 20)
                sync(fresh)
                fresh.replace(sealed)
                sync(self.folder)
            finally:
                fresh.unlink(missing_ok=True)
            self.path.unlink()

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


def read_segment(path: Path) -> Iterator[Reply]:
    """Yield the replies of one segment, plain or sealed, in the order they came.

    A last line without its end is what a killed process or a full disk leaves in a plain segment, or what another
    attempt is writing just now; it is passed over.

    Raises:
        FileNotFoundError: If the segment is not there.
        StoreError: If a line is damaged, naming the file and the line.
    """
    number = 0
    try:
        with _lines(path) as lines:
            for number, line in enumerate(lines, start=1):  # noqa: B007 - named in the error below
                if not line.endswith(b"\n") and not path.name.endswith(SEALED):
                    return
                yield _decode(line)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        hint = "" if getattr(error, "errno", None) else f"; {_MOVE_AWAY}"  # the system's refusal is no damage
        raise StoreError(f"{path}, after line {number}: cannot be read ({error}){hint}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        hint = _MOVE_AWAY if path.name.endswith(SEALED) else "remove that line, and the reply is asked for again"
        raise StoreError(
            f"{path}, line {number}: is no journalled reply ({type(error).__name__}: {error}); {hint}"
        ) from error


@contextlib.contextmanager
def _lines(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        if not path.name.endswith(SEALED):
            yield file
            return
        with pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd") as stream, io.BufferedReader(stream) as lines:
            yield cast("IO[bytes]", lines)


def _read_own(path: Path) -> Iterator[Reply]:
    """Read a segment that its writer may seal meanwhile, which moves it under another name."""
    try:
        yield from read_segment(path)
    except FileNotFoundError:
        yield from read_segment(path.with_name(path.name + SEALED.removeprefix(PLAIN)))


def _segments(folder: Path) -> list[Path]:
    """Return one path an attempt, in the attempts' order; sealed where both are there, for that one is whole."""
    found: dict[str, Path] = {}
    if folder.is_dir():
        names = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
        for suffix in (PLAIN, SEALED):
            found |= {name.removesuffix(suffix): folder / name for name in names if name.endswith(suffix)}
    return [found[attempt] for attempt in sorted(found)]


def _encode(reply: Reply, request: Request) -> bytes:
    entry: dict[str, Any] = {
        "key": reply.key,
        "record_id": request.record_id,
        "step": request.step,
        "sample": request.sample,
        "repair": request.repair,
    }
    if isinstance(reply, Refusal):
        entry |= {"refused": reply.status, "detail": reply.detail}
    else:
        entry |= _contents(reply)
    entry["time"] = datetime.now(UTC).isoformat(timespec="milliseconds")
    # backslashreplace writes a lone surrogate as \udXXX, which is how JSON writes it too.
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"


def _contents(completion: Completion) -> dict[str, Any]:
    return {
        "text": completion.text,
        "finish_reason": completion.finish_reason,
        "reasoning": completion.reasoning,
        "model": completion.model,
        "prompt_tokens": completion.prompt_tokens,
        "cached_tokens": completion.cached_tokens,
        "completion_tokens": completion.completion_tokens,
    }


def _decode(line: bytes) -> Reply:
    entry: dict[str, Any] = json.loads(line)
    if "refused" in entry:
        return Refusal(entry["key"], entry["refused"], entry["detail"])
    if not all(isinstance(entry[name], str) for name in ("key", "text", "finish_reason")):
        raise TypeError("key, text and finish_reason must be texts")
    return Completion(
        key=entry["key"],
        text=entry["text"],
        finish_reason=entry["finish_reason"],
        reasoning=entry.get("reasoning"),
        model=entry.get("model"),
        prompt_tokens=entry.get("prompt_tokens"),
        cached_tokens=entry.get("cached_tokens"),
        completion_tokens=entry.get("completion_tokens"),
    )
