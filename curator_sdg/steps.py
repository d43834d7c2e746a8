"""The steps of a run: where each keeps its shards, what its pipeline is, and what its output depends on.

A step's fingerprint is a digest of everything that can change its output: its part of the configuration, its prompts
and the fingerprint of the step before. A shard made under another fingerprint is made anew.
"""

from __future__ import annotations

from typing import Any

from nemo_curator.stages.base import ProcessingStage
from pydantic import TypeAdapter

from curator_sdg.config import Config
from curator_sdg.curation.quality import ComposeText, ToCurated, filter_stages
from curator_sdg.curation.questions import CheckQuestions, DropSeedCopies
from curator_sdg.epoch import Epoch
from curator_sdg.generation.answers import EnrichAnswers
from curator_sdg.generation.prompts import Prompts
from curator_sdg.generation.questions import GenerateQuestions
from curator_sdg.identity import stable_hash
from curator_sdg.packaging.render import RenderExamples, Templates
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
    teacher = {"model": config.teacher.model, "revision": config.teacher.revision}
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


def _catalogued(config: Config) -> list[Any]:
    """Return what the catalogue says of the tasks that are used, for the fingerprint."""
    catalog = load_catalog()
    entries = [catalog.entry(choice.name) for choice in config.seeds.tasks]
    return [TypeAdapter(Entry).dump_python(entry, mode="json") for entry in entries]


def collect_stages(config: Config, run: RunDir, fingerprint: str) -> Stages:
    """Steps 1 and 2: a task's training rows become seeds."""
    root = str(config.seeds.data_root) if config.seeds.data_root else None
    return [
        CollectSeeds(data_root=root, seed=config.run.seed),
        WriteShard(run.step("collect"), SEED, fingerprint),
    ]


def generate_stages(config: Config, run: RunDir, fingerprint: str, epoch: Epoch | None) -> Stages:
    """Step 3: a shard of seeds becomes checked questions."""
    return [
        ReadShard(fan_out("generate", config)),
        GenerateQuestions(
            teacher=config.teacher, seed=config.run.seed, journal=run.journal, epoch=epoch, config=config.generate
        ),
        CheckQuestions(),
        DropSeedCopies(run.step("seeds"), config.curate.max_seed_overlap),
        WriteShard(run.step("generate"), QUESTION, fingerprint),
    ]


def enrich_stages(config: Config, run: RunDir, fingerprint: str, epoch: Epoch | None) -> Stages:
    """Step 4: the questions that dedup kept get voted answers."""
    return [
        ReadShard(),
        EnrichAnswers(
            teacher=config.teacher, seed=config.run.seed, journal=run.journal, epoch=epoch, config=config.enrich
        ),
        WriteShard(run.step("enrich"), ANSWER, fingerprint),
    ]


def curate_stages(config: Config, run: RunDir, fingerprint: str) -> Stages:
    """Step 5, filter: Curator's filters over what was answered."""
    return [
        ReadShard(),
        ComposeText(),
        *filter_stages(config.curate.filters),
        ToCurated(),
        WriteShard(run.step("curate"), CURATED, fingerprint),
    ]


def package_stages(config: Config, run: RunDir, fingerprint: str) -> Stages:
    """Step 5, package: every variant of every answered question, as text."""
    return [
        ReadShard(fan_out("package", config)),
        RenderExamples(config.package, config.run.seed, config.teacher.obligations),
        WriteShard(run.step("package"), EXAMPLE, fingerprint),
    ]
