"""A segment of the journal: the replies that one attempt at a shard was given, one JSON object a line.

``<attempt>.jsonl`` while it is written, ``<attempt>.jsonl.zst`` once it is sealed. Its writer holds a lock (``flock``)
on the plain file for as long as it is open, however it ends; whoever gets that lock knows that the writer is gone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import pyarrow as pa

from curator_sdg.errors import StoreError
from curator_sdg.store import sync, writing
from curator_sdg.teacher.base import Completion, Refusal, Request

Reply = Completion | Refusal

PLAIN = ".jsonl"
SEALED = ".jsonl.zst"
_MOVE_AWAY = "move it away; its replies are then asked for again"


class Entry(NamedTuple):
    """A line of the journal."""

    reply: Reply
    asked: str  # the model that was asked for; in lines of old the one that answered, empty where that is not known
    time: float | None  # when it came, in seconds since 1970; null where the line does not tell


def segments(folder: Path) -> list[Path]:
    """Return one path an attempt, in the attempts' order; sealed where both are there, for that one is whole.

    Raises:
        StoreError: If the folder cannot be read.
    """
    try:
        # One listing may miss both names of a segment that is sealed meanwhile; the next one then has the new name.
        # Names, not paths: a run has 20,000 such folders.
        names = {*os.listdir(folder), *os.listdir(folder)}  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(f"{folder}: cannot be read ({error.strerror})") from error
    found: dict[str, Path] = {}
    for suffix in (PLAIN, SEALED):
        found |= {
            name.removesuffix(suffix): folder / name
            for name in names
            if name.endswith(suffix) and not name.startswith(".")
        }
    return [found[attempt] for attempt in sorted(found)]


def plain_segments(folder: Path) -> list[Path]:
    """Return those that are not sealed, or whose sealing was interrupted before they were removed."""
    return sorted(path for path in folder.glob(f"*{PLAIN}") if not path.name.startswith("."))


def create(path: Path) -> int:
    """Return a new segment, open for appending and locked until it is closed.

    It comes under its name only when it is locked, lest somebody seals it in between. A file system without locks
    gives none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.rename(path)
    except BaseException:
        os.close(handle)
        fresh.unlink(missing_ok=True)
        raise
    return handle


def seal(path: Path, *, mine: bool = False) -> None:
    """Compress a plain segment whose writer is gone; one that is being written or sealed is left as it is.

    A last line without its end is dropped: its reply was never used. At every moment the plain or the sealed segment
    is there and whole, so that a crash loses nothing.

    Args:
        path: The plain segment.
        mine: The caller wrote and closed it. Others' segments are left as they are where there are no locks, or
            where they may not be written; locks that do not reach the other machines of a run are as good as none.

    Raises:
        StoreError: If it cannot be sealed; the plain segment is then still there.
    """
    sealed = _sealed(path)
    with writing(sealed):
        try:
            handle = os.open(path, os.O_RDWR)  # some network file systems lock for writing only what is open for it
        except FileNotFoundError:  # sealed by another
            return
        except OSError:
            if mine:
                raise
            return
        with os.fdopen(handle, "rb") as source:
            try:
                fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if not mine or error.errno == errno.EWOULDBLOCK:
                    return
            if not path.exists():  # sealed by another before the lock was ours
                return
            if not sealed.exists():  # else a crash came before the plain one was removed
                _pack(source, sealed)
            path.unlink()


def _pack(source: IO[bytes], sealed: Path) -> None:
    """Write the whole lines of ``source`` to ``sealed``, which appears by one rename."""
    fresh = sealed.with_name(f".{sealed.name}.tmp")
    try:
        with fresh.open("wb") as sink, pa.CompressedOutputStream(sink, "zstd") as packed:
            for line in source:
                if line.endswith(b"\n"):
                    packed.write(line)
        sync(fresh)
        fresh.replace(sealed)
        sync(sealed.parent)
    finally:
        fresh.unlink(missing_ok=True)


def read_segment(path: Path) -> Iterator[Reply]:
    """Yield the replies of one segment; see :func:`read_entries`."""
    return (entry.reply for entry in read_entries(path))


def read_entries(path: Path) -> Iterator[Entry]:
    """Yield the lines of one segment, plain or sealed, in the order they came.

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
        if getattr(error, "errno", None) == errno.ESTALE:  # removed on another machine while it was read here
            raise FileNotFoundError(errno.ESTALE, os.strerror(errno.ESTALE), str(path)) from error
        hint = "" if getattr(error, "errno", None) else f"; {_MOVE_AWAY}"  # the system's refusal is no damage
        raise StoreError(f"{path}, after line {number}: cannot be read ({error}){hint}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        hint = _MOVE_AWAY if path.name.endswith(SEALED) else "remove that line, and the reply is asked for again"
        raise StoreError(
            f"{path}, line {number}: is no journalled reply ({type(error).__name__}: {error}); {hint}"
        ) from error


def read_whole(path: Path) -> list[Entry]:
    """Return the lines of a segment that may be sealed meanwhile, which moves it under another name."""
    try:
        return list(read_entries(path))
    except FileNotFoundError:
        return list(read_entries(_sealed(path)))


def _sealed(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(PLAIN) + SEALED)


@contextlib.contextmanager
def _lines(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        if not path.name.endswith(SEALED):
            yield file
            return
        with pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd") as stream, io.BufferedReader(stream) as lines:
            yield cast("IO[bytes]", lines)


def encode(reply: Reply, request: Request) -> bytes:
    """Return the line of a reply."""
    entry: dict[str, Any] = {
        "key": reply.key,
        "record_id": request.record_id,
        "step": request.step,
        "sample": request.sample,
        "repair": request.repair,
        "asked": request.model,  # an endpoint may call the model that answered otherwise
    }
    if request.retry:
        entry["retry"] = request.retry
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


def _decode(line: bytes) -> Entry:
    entry: dict[str, Any] = json.loads(line)
    reply = _reply(entry)
    return Entry(reply, entry.get("asked") or entry.get("model") or "", _seconds(entry.get("time")))


def _seconds(time: Any) -> float | None:
    try:
        return datetime.fromisoformat(time).timestamp()
    except (TypeError, ValueError):
        return None


def _reply(entry: dict[str, Any]) -> Reply:
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
