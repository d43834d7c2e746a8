"""The run directory: shards published by one rename, their figures in the Parquet footer.

A shard is a folder ``<step>/<shard>/`` with ``rows.parquet``, ``rejects.parquet`` and ``pending.parquet``. It
is written beside its place, synced, and renamed into it: a reader sees all of it or nothing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curator_sdg.errors import StoreError
from curator_sdg.ledger import Account, Counts
from curator_sdg.records import REJECT, to_table
from curator_sdg.spent import ShardSpent

_FOOTER = b"curator_sdg"
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{32}\.(?:tmp|old)")
_ROW_GROUP = 16_384  # rows: what a reader that streams holds at a time
ROWS, REJECTS, PENDING = "rows.parquet", "rejects.parquet", "pending.parquet"


@dataclass(frozen=True)
class Shard:
    """A published shard, known from its footer."""

    path: Path
    step: str
    fingerprint: str
    upstream: str  # content hash of what it was made from
    content: str  # content hash of its own rows
    counts: Counts
    spent: ShardSpent | None = None  # null in shards of old

    @property
    def name(self) -> str:
        """The shard's name within its step."""
        return self.path.name

    @property
    def rows(self) -> Path:
        """The Parquet file of its rows."""
        return self.path / ROWS


def shard_name(index: int, of: int) -> str:
    """Return the name of one of ``of`` ranges of the hashes; those of one cut sort in their order."""
    return f"{of:06d}-{index:06d}"


def ancestors(name: str) -> list[str]:
    """Return the names of the ranges that the range of a shard was split from, by halves, the smallest first."""
    if not (match := re.fullmatch(r"(\d{6,})-(\d{6,})", name)):
        return []
    of, index = int(match[1]), int(match[2])
    found = []
    while of and of % 2 == 0:
        of, index = of // 2, index // 2
        found.append(shard_name(index, of))
    return found


def remove_shard(path: Path) -> None:
    """Make a shard go by one rename: no reader ever sees a part of it."""
    with writing(path):
        old = path.with_name(f".{path.name}.{uuid.uuid4().hex}.old")
        path.rename(old)
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the file system's refusals into one clear error.

    Raises:
        StoreError: When the disk is full, the place read-only or not ours, or the system refuses for another reason.
    """
    reasons = {
        errno.ENOSPC: "the disk is full; free room and run the same command again",
        errno.EDQUOT: "the disk quota is used up; free room and run the same command again",
        errno.EROFS: "the file system is read-only; choose another run directory with --run-dir",
        errno.EACCES: "it may not be written; choose another run directory with --run-dir",
        errno.EPERM: "it may not be written; choose another run directory with --run-dir",
        errno.ENOENT: "its folder is gone or cannot be made; choose another run directory with --run-dir",
        errno.ENOTDIR: "a file is in the way; choose another run directory with --run-dir",
        errno.EEXIST: "a file is in the way; choose another run directory with --run-dir",
    }
    try:
        yield
    except OSError as error:
        cause = error.strerror or str(error) or type(error).__name__
        reason = reasons.get(error.errno or 0, f"cannot be written ({cause}); run the same command again")
        if error.errno in (errno.ENOTDIR, errno.EEXIST):  # what is in the way may be the run directory itself
            path = next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), path)
        raise StoreError(f"{path}: {reason}") from error


def publish_dir(target: Path, write: Callable[[Path], None]) -> None:
    """Make ``target`` appear whole: ``write`` fills a folder beside it, which is synced and renamed.

    An older ``target`` is moved aside first; if the process dies in between, nothing half-written is ever in its
    place, and the next start makes it anew.
    """
    parent = target.parent
    with writing(target):
        parent.mkdir(parents=True, exist_ok=True)
        fresh = parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
        fresh.mkdir()
        try:
            write(fresh)
            for file in fresh.rglob("*"):
                sync(file)
            sync(fresh)
            _put(fresh, target)
            sync(parent)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def _put(fresh: Path, target: Path) -> None:
    """Rename a folder into its place, from which an older one goes; two attempts at once may both come here."""
    while True:
        try:
            fresh.rename(target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
        old = target.with_name(f".{target.name}.{uuid.uuid4().hex}.old")
        with contextlib.suppress(FileNotFoundError):  # the other attempt was quicker
            target.rename(old)
        shutil.rmtree(old, ignore_errors=True)


def publish_file(target: Path, text: str) -> None:
    """Replace the text file ``target`` by one rename."""
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            fresh.write_text(text, encoding="utf-8")
            sync(fresh)
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Return once a file, or a folder's list of names, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def content_hash(table: pa.Table) -> str:
    """Return a digest of a table's values, however it is chunked; a slice may have another one than a copy of it."""
    digest = hashlib.blake2b(digest_size=16)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as writer:
        writer.write_table(table.combine_chunks().replace_schema_metadata(None))
    digest.update(sink.getvalue())
    return digest.hexdigest()


def publish_shard(step_dir: Path, rows: pa.Table, account: Account, fingerprint: str) -> Shard:
    """Publish one shard of a step.

    Raises:
        StoreError: If its rows do not balance, or the directory cannot be written.
    """
    counts = Counts.of(account, rows.num_rows)
    if not counts.balanced:
        raise StoreError(
            f"{step_dir.name}/{account.shard}: {counts.planned} rows were planned, but {counts.out} came out, "
            f"{counts.rejected.total()} were rejected, {counts.pending} are pending and {counts.surplus} surplus; "
            "a stage of the pipeline dropped rows without a reject, or lost the task's _metadata"
        )
    content = content_hash(rows)
    rejects = to_table(account.rejects, REJECT)
    spent = ShardSpent.of(rows, rejects)
    footer = {
        "step": step_dir.name,
        "fingerprint": fingerprint,
        "upstream": account.upstream,
        "content": content,
        "counts": counts.to_json(),
        "spent": spent.to_json(),
    }
    tagged = rows.replace_schema_metadata({_FOOTER: json.dumps(footer).encode()})

    def write(folder: Path) -> None:
        pq.write_table(tagged, folder / ROWS, compression="zstd", write_page_checksum=True, row_group_size=_ROW_GROUP)
        for name, table in ((REJECTS, rejects), (PENDING, to_table(account.pending, REJECT))):
            pq.write_table(table, folder / name, compression="zstd", write_page_checksum=True)

    target = step_dir / account.shard
    publish_dir(target, write)
    return Shard(target, step_dir.name, fingerprint, account.upstream, content, counts, spent)


def read_shard(path: Path) -> Shard | None:
    """Return the shard at ``path`` from its footer alone, or null where there is none.

    Raises:
        StoreError: If something is there that is no shard of ours.
    """
    file = path / ROWS
    try:
        status = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _read_footer(path, status.st_ino, status.st_mtime_ns)


@cache
def _read_footer(path: Path, inode: int, modified: int) -> Shard:  # noqa: ARG001 - they tell one file from its successor
    """Return a shard from its footer, which is read once a process: every wave looks at all shards before it."""
    file = path / ROWS
    try:
        footer = json.loads((pq.read_schema(file).metadata or {})[_FOOTER])
        counts = Counts.from_json(footer["counts"])
        spent = ShardSpent.from_json(footer["spent"]) if "spent" in footer else None
        return Shard(path, footer["step"], footer["fingerprint"], footer["upstream"], footer["content"], counts, spent)
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise StoreError(f"{file}: is no shard of this project ({error}); move it away and run again") from error


def list_shards(step_dir: Path) -> dict[str, Shard]:
    """Return the published shards of a step by name, in order."""
    if not step_dir.is_dir():
        return {}
    names = sorted(p.name for p in step_dir.iterdir() if p.is_dir() and not p.name.startswith("."))
    found = {name: read_shard(step_dir / name) for name in names}
    return {name: shard for name, shard in found.items() if shard is not None}


def read_rows(shard: Path, file: str = ROWS, columns: list[str] | None = None) -> pa.Table:
    """Return the rows of a published shard (or its rejects, or what is pending).

    Raises:
        StoreError: If the file is missing or damaged.
    """
    path = shard / file
    with _reading(path):
        return pq.read_table(path, columns=columns, page_checksum_verification=True).replace_schema_metadata(None)


def read_columns(shard: Path, columns: Iterable[str], file: str = ROWS) -> pa.Table:
    """Return some columns of a published shard, without those that shards of an older version lack.

    It takes no threads of its own: a caller has many shards to read at once.

    Raises:
        StoreError: If the file is missing or damaged.
    """
    path = shard / file
    with _reading(path), pq.ParquetFile(path, page_checksum_verification=True) as parquet:
        there = set(parquet.schema_arrow.names)
        table = parquet.read([name for name in columns if name in there], use_threads=False)
        return table.replace_schema_metadata(None)


def stream_rows(shard: Path, batch_size: int = 4096, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield the rows of a published shard in order, so many at a time: for those too large to hold.

    Raises:
        StoreError: If the file is missing or damaged.
    """
    path = shard / ROWS
    with _reading(path), pq.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
        for batch in file.iter_batches(batch_size, columns=columns):
            yield pa.Table.from_batches([batch]).replace_schema_metadata(None)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what can go wrong with a file of a shard into one clear error."""
    try:
        yield
    except MemoryError:
        raise
    except FileNotFoundError:
        raise StoreError(f"{path}: is missing; move the folder {path.parent} away and run again") from None
    except (pa.ArrowException, OSError) as error:
        cause = " ".join(str(error).split())
        raise StoreError(
            f"{path}: cannot be read ({cause}); move the folder {path.parent} away and run again"
        ) from error


def read_json(path: Path) -> Any:
    """Return a JSON file's content, or null where there is none.

    Raises:
        StoreError: If it is not JSON, or cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise StoreError(f"{path}: is not JSON ({error}); move it away and run again") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name is what an interrupted write left."""
    return _LEFTOVER.fullmatch(name) is not None


def clean_leftovers(step_dir: Path) -> None:
    """Remove what an interrupted write left beside its place."""
    if step_dir.is_dir():
        for path in step_dir.iterdir():
            if is_leftover(path.name):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
