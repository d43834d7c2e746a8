"""The package: plain files for people and trainers, written from the published shards of examples.

``package/`` holds ``<variant>.jsonl`` (one example a line) and, under ``parquet/``, ``<variant>.parquet``. It is
replaced as a whole, by one rename.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curator_sdg.config import PackageSection
from curator_sdg.records import EXAMPLE
from curator_sdg.store import Shard, publish_dir, read_rows


def export(
    shards: Sequence[Shard], target: Path, config: PackageSection, manifest: Mapping[str, object]
) -> dict[str, int]:
    """Write the package and return the number of examples a variant.

    Shards are read one at a time and in order: memory stays that of one shard, and the files are the same whatever
    the workers were.
    """
    counts: dict[str, int] = dict.fromkeys(config.variants, 0)

    def write(folder: Path) -> None:
        with ExitStack() as files:
            lines: dict[str, TextIO] = {}
            tables: dict[str, pq.ParquetWriter] = {}
            for variant in config.variants:
                if "jsonl" in config.formats:
                    lines[variant] = files.enter_context((folder / f"{variant}.jsonl").open("w", encoding="utf-8"))
                if "parquet" in config.formats:
                    (folder / "parquet").mkdir(exist_ok=True)
                    path = folder / "parquet" / f"{variant}.parquet"
                    tables[variant] = files.enter_context(pq.ParquetWriter(path, EXAMPLE, compression="zstd"))
            for name, table in _by_variant(shards, config.variants):
                counts[name] += table.num_rows
                if name in tables:
                    tables[name].write_table(table)
                if name in lines:
                    for row in table.to_pylist():
                        lines[name].write(json.dumps(row, ensure_ascii=False) + "\n")
        summary = {**manifest, "examples": counts}
        (folder / "manifest.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")

    publish_dir(target, write)
    return counts


def _by_variant(shards: Sequence[Shard], variants: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    for shard in shards:
        table = read_rows(shard.path)
        for variant in variants:
            yield variant, table.filter(pc.equal(table["variant"], variant))
