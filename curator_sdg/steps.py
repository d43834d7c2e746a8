"""The steps of a run: where each keeps its shards, what its pipeline is, and what its output depends on.

A step's fingerprint is a digest of everything that can change its output: its part of the configuration, its prompts
and the fingerprint of the step before. A shard made under another fingerprint is made anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from nemo_curator.stages.base import ProcessingStage
from pydantic import TypeAdapter

from curator_sdg.config import Config
from curator_sdg.curation.quality import ComposeText, ToCurated, filter_stages
from curator_sdg.curation.questions import CheckQuestions, DropSeedCopies
from curator_sdg.epoch import Epoch
from curator_sdg.generation.answers import EnrichAnswers
from curator_sdg.generation.prompts import Prompts, check_prompts
from curator_sdg.generation.questions import GenerateQuestions
from curator_sdg.identity import stable_hash
from curator_sdg.packaging.render import RenderExamples, Templates, check_templates
from curator_sdg.records import ANSWER, CURATED, EXAMPLE, QUESTION, SEED
from curator_sdg.rundir import STEPS, RunDir, fan_out
from curator_sdg.seeds.catalog import Entry, load_catalog
from curator_sdg.seeds.stages import CollectSeeds
from curator_sdg.shards import ReadShard, WriteShard

# Raised when the code's own rules change what a step makes of the same input.
_RULES = {"collect": 1, "seeds": 1, "generate": 1, "dedup": 1, "enrich": 1, "curate": 1, "package": 1}

Stages = list[ProcessingStage[Any, Any]]


def fingerprints(config: Config) -> dict[str, str]:
    """Return each step's fingerprint."""
    teacher = config.teacher.model_dump(include={"model", "revision", "structured"})
    seeds = config.seeds.model_dump(mode="json", exclude={"strict"})
    parts: dict[str, Any] = {
        "collect": [seeds, config.run.seed, _catalogued(config)],
        # run.limit only ends the order of seeds early: it is no part of what a shard holds.
        "seeds": [config.run.shard_size, config.run.wave_size],
        "generate": [
            config.generate.model_dump(mode="json", exclude={"prompts"}),
            Prompts("generate", config.generate.prompts).hash,
            teacher,
            config.curate.max_seed_overlap,
        ],
        "dedup": [],
        "enrich": [
            config.enrich.model_dump(mode="json", exclude={"prompts"}),
            Prompts("enrich", config.enrich.prompts).hash,
            teacher,
        ],
        "curate": [[choice.model_dump(mode="json") for choice in config.curate.filters]],
        "package": [
            list(config.package.variants),
            Templates(config.package.templates).hash,
            sorted(config.teacher.obligations),
        ],
    }
    chained: dict[str, str] = {}
    upstream = ""
    for step in STEPS:
        upstream = chained[step] = stable_hash(step, _RULES[step], parts[step], upstream)
    return chained


def check(config: Config, run: RunDir) -> None:
    """Build every step and render every prompt and template once, before anything is paid for.

    Raises:
        ConfigError: If a prompt, a template or a filter of the user's cannot be used.
    """
    check_prompts(Prompts("generate", config.generate.prompts), Prompts("enrich", config.enrich.prompts))
    check_templates(RenderExamples(config.package))
    for step in _MIDDLES:
        step_stages(step, config, run, "", None)


def _catalogued(config: Config) -> list[Any]:
    """Return what the catalogue says of the tasks that are used, for the fingerprint."""
    catalog = load_catalog()
    entries = [catalog.entry(choice.name) for choice in config.seeds.tasks]
    return [TypeAdapter(Entry).dump_python(entry, mode="json") for entry in entries]


def step_stages(step: str, config: Config, run: RunDir, fingerprint: str, epoch: Epoch | None) -> Stages:
    """Return the Curator stages of a step: a published shard (or a task's name) in, a published shard out.

    Args:
        step: One that is a pipeline: ``collect``, ``generate``, ``enrich``, ``curate`` or ``package``.
        config: The run's configuration.
        run: The run's directory.
        fingerprint: The step's.
        epoch: This start of the run; what asks a teacher stops when a newer one begins.

    Raises:
        ConfigError: If a prompt, a template or a filter of the user's cannot be used.
    """
    middle, schema = _MIDDLES[step](config, run, epoch)
    first = [] if step == "collect" else [ReadShard(fan_out(step, config))]
    return [*first, *middle, WriteShard(run.step(step), schema, fingerprint, epoch)]


def _collect(config: Config, run: RunDir, epoch: Epoch | None) -> tuple[Stages, pa.Schema]:  # noqa: ARG001
    root = str(config.seeds.data_root) if config.seeds.data_root else None
    return [CollectSeeds(data_root=root, seed=config.run.seed)], SEED


def _generate(config: Config, run: RunDir, epoch: Epoch | None) -> tuple[Stages, pa.Schema]:
    seed, journal = config.run.seed, run.journal
    return [
        GenerateQuestions(teacher=config.teacher, seed=seed, journal=journal, epoch=epoch, config=config.generate),
        CheckQuestions(),
        DropSeedCopies(run.step("seeds"), config.curate.max_seed_overlap),
    ], QUESTION


def _enrich(config: Config, run: RunDir, epoch: Epoch | None) -> tuple[Stages, pa.Schema]:
    seed, journal = config.run.seed, run.journal
    return [
        EnrichAnswers(teacher=config.teacher, seed=seed, journal=journal, epoch=epoch, config=config.enrich)
    ], ANSWER


def _curate(config: Config, run: RunDir, epoch: Epoch | None) -> tuple[Stages, pa.Schema]:  # noqa: ARG001
    return [ComposeText(), *filter_stages(config.curate.filters), ToCurated()], CURATED


def _package(config: Config, run: RunDir, epoch: Epoch | None) -> tuple[Stages, pa.Schema]:  # noqa: ARG001
    return [RenderExamples(config.package, config.run.seed, config.teacher.obligations)], EXAMPLE


_MIDDLES: dict[str, Callable[[Config, RunDir, Epoch | None], tuple[Stages, pa.Schema]]] = {
    "collect": _collect,
    "generate": _generate,
    "enrich": _enrich,
    "curate": _curate,
    "package": _package,
}
