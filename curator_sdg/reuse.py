"""Begin a run from another one: what of it still holds is linked, and its journal comes along.

Shards and sealed segments never change once they are there, so a hard link is as good as a copy and costs no room;
across file systems they are copied. The other run is only read, and may go on.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path

from curator_sdg.current import Current
from curator_sdg.errors import ConfigError, StoreError
from curator_sdg.rundir import STEPS, RunDir, load_run
from curator_sdg.store import (
    Shard,
    list_shards,
    publish_dir,
    publish_file,
    read_json,
    read_shard,
    remove_shard,
    writing,
)
from curator_sdg.teacher.journal.shard import PLAIN, SEALED

_MARK = "from.json"


def check_source(source: Path | None, run: RunDir) -> RunDir | None:
    """Return the run that a start begins from: the one that is named, or one whose take-over was interrupted.

    Null where there is none, or what it had was taken over by an earlier start.

    Args:
        source: The directory that is named; null where none is.
        run: The new run.

    Raises:
        SdgError: If ``source`` is no run or this one, or the new run has begun otherwise.
    """
    mark = read_json(run.path / _MARK)
    if source is None:
        if mark is None or mark["done"]:
            return None
        source = Path(mark["from"])
    old = RunDir(source.absolute())
    load_run(old.path)
    if old.path.resolve() == run.path.resolve():
        raise ConfigError(f"--from {source}: is this run's own directory; name another one with --run-dir")
    if mark is not None and mark["from"] != str(old.path):
        raise StoreError(f"{run.path}: has begun from {mark['from']}; leave --from out to go on, or begin elsewhere")
    if mark is None and run.config.exists():
        raise StoreError(f"{run.path}: has begun without --from; leave that out to go on, or begin elsewhere")
    return None if mark is not None and mark["done"] else old


def take_over(old: RunDir, run: RunDir, current: Current) -> str:
    """Link into a new run what still holds of another one, and return what that comes to, for the user.

    It may be repeated after a crash.

    Args:
        old: The other run, as :func:`check_source` returned it.
        run: The new run.
        current: A look at the new run; it knows the fingerprints that shards must have.

    Raises:
        StoreError: If something cannot be written.
    """
    publish_file(run.path / _MARK, json.dumps({"from": str(old.path), "done": False}))
    if (cut := read_json(old.cut)) is not None:
        publish_file(run.cut, json.dumps(cut) + "\n")
    if (quota := read_json(old.quota)) is not None:
        publish_file(run.quota, json.dumps(quota, indent=2, ensure_ascii=False) + "\n")
    shards = 0
    for step in STEPS:
        for name, shard in list_shards(old.step(step)).items():
            if shard.fingerprint == current.fingerprint(step):
                shards += _take_shard(shard, run.step(step) / name)
    # Last, so that the replies behind every shard are among them, where the other run goes on.
    segments = sum(_take_segment(path, run.path / path.relative_to(old.path)) for path in _files(old.journal))
    for path in _files(old.retries):
        _link(path, run.path / path.relative_to(old.path))
    publish_file(run.path / _MARK, json.dumps({"from": str(old.path), "done": True}))
    return f"taken over from {old.path}: {shards:,} shards and {segments:,} segments of the journal"


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]


def _take_shard(shard: Shard, target: Path) -> bool:
    """Take a shard; returns whether it is there, which one that changed or went meanwhile is not."""

    def write(fresh: Path) -> None:
        for file in shard.path.iterdir():
            _link(file, fresh / file.name)

    if not target.exists():
        try:
            publish_dir(target, write)
        except StoreError:
            if shard.path.exists():
                raise
        if target.exists() and read_shard(shard.path) != shard:
            remove_shard(target)
    return target.exists()


def _take_segment(source: Path, target: Path) -> bool:
    """Take a file of the journal; returns whether it is a segment."""
    if source.name.endswith(PLAIN):
        try:
            whole = source.read_bytes()  # it may still grow, so it is copied as far as it is whole
        except FileNotFoundError:  # sealed since it was listed
            sealed = SEALED.removeprefix(PLAIN)
            return _take_segment(source.with_name(source.name + sealed), target.with_name(target.name + sealed))
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(whole[: whole.rfind(b"\n") + 1])
        return True
    _link(source, target)
    return ".jsonl" in source.name


def _link(source: Path, target: Path) -> None:
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return
        try:
            os.link(source, target)
        except OSError:  # another file system, or one without hard links
            fresh = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
            shutil.copy2(source, fresh)
            fresh.replace(target)
