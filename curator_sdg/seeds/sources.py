"""Reading a training split, from a local mirror or the hub, row by row and as it is.

No value is converted on the way: text that looks like a date or a number stays text. Only the one file of the
one split is opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from curator_sdg.errors import SourceError
from curator_sdg.seeds.catalog import Source
from curator_sdg.seeds.splits import SplitPolicy, TrainingSplit

_BATCH = 1024
_ENCODE = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str).encode


class SourceRow(NamedTuple):
    """A row as it was read.

    Attributes:
        place: Its index in the split, from 0.
        row: Its columns; null where the line is no JSON object.
        text: The row's content as canonical JSON, or the line that is none. Equal rows have equal texts.
        fault: What is wrong with the line; empty where nothing is.
    """

    place: int
    row: dict[str, Any] | None
    text: str
    fault: str = ""


@dataclass(frozen=True)
class SourceRows:
    """The rows of a split; every iteration reads them anew."""

    _read: Callable[[], Iterator[SourceRow]]

    def __iter__(self) -> Iterator[SourceRow]:
        return iter(self._read())


def open_source(source: Source, data_root: Path | None, policy: SplitPolicy) -> TrainingSplit[SourceRows]:
    """Open a source, and nothing but its split.

    Args:
        source: The catalogued source.
        data_root: A local mirror ``<org>__<name>/<config or default>/<split>.jsonl`` (or ``.parquet``, or
            ``<org>/<name>/...``); null reads the hub.
        policy: What may be read at all.

    Raises:
        SplitDenied: If the policy does not name the split.
        SourceError: If a mirror is given and does not hold the split. Reading raises it too, when a file is
            damaged or the hub cannot be reached.
    """
    policy.check(*source.triple)
    if data_root is None:
        return TrainingSplit(source.split, SourceRows(partial(_hub, source)))
    file = mirror_file(source, data_root)
    read = _jsonl if file.suffix == ".jsonl" else _parquet
    return TrainingSplit(source.split, SourceRows(partial(read, file)))


def read_rows(source: Source, data_root: Path | None, policy: SplitPolicy) -> SourceRows:
    """Return the rows of a source; see :func:`open_source`."""
    return open_source(source, data_root, policy)[source.split]


def mirror_file(source: Source, data_root: Path) -> Path:
    """Return the file of a mirror that holds the split.

    Raises:
        SourceError: If there is none; with every path that was tried.
    """
    folders = (source.dataset_path.replace("/", "__"), source.dataset_path)
    tried = [
        data_root / folder / (source.dataset_name or "default") / f"{source.split}.{ending}"
        for folder in dict.fromkeys(folders)
        for ending in ("jsonl", "parquet")
    ]
    for path in tried:
        if path.is_file():
            return path
    raise SourceError(
        f"{source}: the local mirror does not hold this split; looked for {', '.join(map(str, tried))}. "
        "Put the file there, correct seeds.data_root, or leave it out to load from the hub"
    )


def source_state(source: Source, data_root: Path | None) -> str:
    """Return what changes when a source's file does: its size and time. Empty for the hub, and where there is none."""
    if data_root is None:
        return ""
    try:
        status = mirror_file(source, data_root).stat()
    except (SourceError, OSError):
        return ""
    return f"{status.st_size}-{status.st_mtime_ns}"


def _jsonl(file: Path) -> Iterator[SourceRow]:
    index = -1
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                index += 1
                yield _parse(line, index, f"{file}, line {number}")
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error.strerror}") from error


def _parse(line: bytes, index: int, where: str) -> SourceRow:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested without end
        return SourceRow(index, None, line.decode("utf-8", "replace").strip(), f"{where}: {error}")
    if not isinstance(row, dict):
        return SourceRow(index, None, _ENCODE(row), f"{where}: is no JSON object")
    return SourceRow(index, row, _ENCODE(row))


def _parquet(file: Path) -> Iterator[SourceRow]:
    try:
        with pq.ParquetFile(file) as table:
            rows = (row for batch in table.iter_batches(batch_size=_BATCH) for row in batch.to_pylist())
            yield from _numbered(rows)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{file}: is no readable Parquet file: {error}") from error


def _hub(source: Source) -> Iterator[SourceRow]:
    """Stream the split from the hub: loading it whole would download and write the held-out splits as well."""
    try:
        import datasets  # noqa: PLC0415 - takes a second, and a mirror needs none of it

        stream = datasets.load_dataset(
            source.dataset_path,
            source.dataset_name,
            split=source.split,
            revision=source.revision,
            streaming=True,
        )
        yield from _numbered(stream)
    except Exception as error:  # the library raises whatever its transports and parsers do
        raise SourceError(
            f"{source}: cannot be loaded from the hub ({type(error).__name__}: {error}). Check the network, or set "
            "seeds.data_root to a local mirror"
        ) from error


def _numbered(rows: Iterable[dict[str, Any]]) -> Iterator[SourceRow]:
    for index, row in enumerate(rows):
        yield SourceRow(index, row, _ENCODE(row))
