"""What a start will keep and what it will make anew, said before anything is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from curator_sdg.collecting import task_states
from curator_sdg.config import Config
from curator_sdg.current import Current
from curator_sdg.rundir import STEPS, RunDir
from curator_sdg.seeds.repeats import task_of
from curator_sdg.steps import Dependencies, unnamed


def changes(run: RunDir, config: Config, depends: Dependencies, current: Current) -> list[str]:
    """Return lines for the user, none where nothing was published yet.

    Args:
        run: The run, as the start before left it, or the one that this run begins from.
        config: The configuration now.
        depends: What each step depends on now.
        current: The shards that are there.
    """
    states = task_states(config)
    read, holding = current.found("collect").keys() & states.keys(), current.shards("collect")
    again = [
        name for name in states if name in read and (name not in holding or holding[name].upstream != states[name])
    ]
    kept, stale, pending = {"collect": len(read) - len(again)}, {}, {}
    names = current.shards("seeds").keys()
    for step in STEPS[1:]:
        there = [
            name
            for name, shard in current.found(step).items()
            if name in names or (step == "seeds" and not current.as_collected(shard))
        ]
        good = [shard for name in there if (shard := current.get(step, name)) is not None]
        kept[step], stale[step] = len(good), len(there) - len(good)
        pending[step] = sum(shard.counts.pending for shard in good)
    lines = []
    if any(kept.values()):
        lines.append(f"kept: {_counted(kept, 'shards')}")
    if again:
        tasks = dict.fromkeys(task_of(name) for name in again)
        lines.append(f"read again: {', '.join(tasks)}; what follows is made anew where that changes its seeds")
    if any(stale.values()):
        found = list(reasons(run.config, config, depends))
        why = f" ({'; '.join(found)})" if found else ""
        asks = stale["generate"] or stale["enrich"]
        paid = "; where a request is the same, the journal's reply is used" if asks else ""
        lines.append(f"made anew: {_counted(stale, 'shards')}{why}{paid}")
    if any(pending.values()):
        lines.append(f"asked again: {_counted(pending, 'pending rows')}")
    return lines


def _counted(numbers: Mapping[str, int], unit: str) -> str:
    counted = ", ".join(f"{step} {number:,}" for step, number in numbers.items() if number)
    return f"{counted} {unit}"


def reasons(before: Path, config: Config, depends: Dependencies) -> Iterator[str]:
    """Yield what is no longer as it was: keys with both values, and in words what is no key."""
    if not before.is_file():
        return
    document = yaml.safe_load(before.read_text(encoding="utf-8"))
    old_depends = document.get("depends")
    if not old_depends:
        yield "an earlier version of this package made them"
        return
    old, new = _flat(document), _flat(config.model_dump(mode="json"))
    keys = [key for key in new.keys() | old.keys() if old.get(key) != new.get(key)]
    # Not every key of a section matters to its step, but one that does not is no reason.
    for name, former in sorted(_changed(depends, old_depends)):
        if name != former:
            yield f"{name} is {_short(new.get(name))}, {former} was {_short(old.get(former))}"
            continue
        own = sorted(key for key in keys if key == name or key.startswith(f"{name}."))
        if own:
            yield from (f"{key} is {_short(new.get(key))}, was {_short(old.get(key))}" for key in own)
        else:
            yield f"{name} changed"
    for key in ("run.limit", "run.accepted_per_task"):  # parts of what a shard is made from, not of how
        if key in keys:
            yield f"{key} is {_short(new.get(key))}, was {_short(old.get(key))}"


def _changed(depends: Dependencies, old: Dependencies) -> set[tuple[str, str]]:
    """Return what steps depend on and is another now: its name, and its name before where a teacher has another."""
    changed = set()
    for step in STEPS:
        now, then = (
            {unnamed(name): (name, digest) for name, digest in of.get(step, {}).items()} for of in (depends, old)
        )
        for key in now.keys() | then.keys():
            (name, digest), (former, before) = now.get(key, (key, "")), then.get(key, (key, ""))
            if digest != before:
                changed.add((name, former))
    return changed


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
