"""The steps of a run: what the pipeline of each is, and what its output depends on.

A step's fingerprint is a digest of everything that can change its output: its part of the configuration, its prompts
and the fingerprint of the step before. A shard made under another fingerprint is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from nemo_curator.stages.base import ProcessingStage

from curator_sdg.collecting import collect_arguments
from curator_sdg.config import Asking, Config, EnrichSection, GenerateSection, TeacherSection
from curator_sdg.curation.quality import ComposeText, ToCurated, filter_stages
from curator_sdg.curation.questions import CheckQuestions, DropSeedCopies
from curator_sdg.epoch import Epoch
from curator_sdg.generation.answers import EnrichAnswers
from curator_sdg.generation.prompts import Prompts, check_prompts
from curator_sdg.generation.questions import GenerateQuestions
from curator_sdg.generation.repair import Corrections
from curator_sdg.identity import stable_hash
from curator_sdg.packaging.render import RenderExamples, Templates, check_templates
from curator_sdg.records import ANSWER, CURATED, EXAMPLE, QUESTION, SEED
from curator_sdg.rundir import STEPS, RunDir, fan_out
from curator_sdg.seeds.stages import CollectSeeds
from curator_sdg.shards import ReadShard, WriteShard
from curator_sdg.teacher.budget import Budget

# Raised when the code's own rules change what a step makes of the same input.
_RULES = {"collect": 3, "seeds": 2, "generate": 3, "dedup": 2, "enrich": 1, "curate": 1, "package": 1}

_OF_TEACHER = ("model", "revision", "structured", "context_tokens")
# The prompts are told apart by their texts, the teacher by what it is rather than by its name.
_NOT_OUTPUT = {"prompts", "teacher"}

Stages = list[ProcessingStage[Any, Any]]
Dependencies = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Context:
    """What the stages of a run are made from.

    Attributes:
        config: The run's configuration.
        run: The run's directory.
        epoch: This start of the run; what asks a teacher stops when a newer one begins. Null runs without a start.
        budget: When to ask no more.
        teachers: By key, those that are reached otherwise than the configuration says: servers that the run started.
    """

    config: Config
    run: RunDir
    epoch: Epoch | None = None
    budget: Budget | None = None
    teachers: Mapping[str, TeacherSection] = field(default_factory=dict)


def dependencies(config: Config) -> Dependencies:
    """Return what each step's output depends on beside the step before: a name and a digest each.

    A name is a key of the configuration, or says in words what else it is.
    """
    own: dict[str, dict[str, Any]] = {
        # What a task is collected from is compared task by task; see :func:`.collecting.task_states`.
        "collect": {"run.seed": config.run.seed},
        # A shard is a range of hashes, whatever the limit and the size of shards.
        "seeds": {"seeds.release": sorted(config.seeds.release)},
        "generate": {
            "generate": config.generate.model_dump(mode="json", exclude=_NOT_OUTPUT),
            "prompts of generate": _prompts("generate", config.generate),
            "curate.max_seed_overlap": config.curate.max_seed_overlap,
            **_teacher(config, "generate"),
        },
        "dedup": {},  # the order of the seeds decides what is kept, whatever the waves
        "enrich": {
            "enrich": config.enrich.model_dump(mode="json", exclude=_NOT_OUTPUT),
            "prompts of enrich": _prompts("enrich", config.enrich),
            **_teacher(config, "enrich"),
        },
        "curate": {"curate.filters": [choice.model_dump(mode="json") for choice in config.curate.filters]},
        "package": {
            "package.variants": list(config.package.variants),
            "templates of package": Templates(config.package.templates).hash,
            "teacher.obligations": config.obligations,
        },
    }
    return {
        step: {name: stable_hash(value) for name, value in {**own[step], "rules of the code": _RULES[step]}.items()}
        for step in STEPS
    }


def fingerprints(depends: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return each step's fingerprint, of what it depends on and of the step before.

    Another name for a teacher is no other teacher.
    """
    chained: dict[str, str] = {}
    upstream = ""
    for step in STEPS:
        found = {unnamed(name): digest for name, digest in depends[step].items()}
        upstream = chained[step] = stable_hash(step, found, upstream)
    return chained


def unnamed(name: str) -> str:
    """Return what a step depends on with the key of the default teacher instead of another one's."""
    key, _, field_name = name.rpartition(".")
    return f"teacher.{field_name}" if key.startswith("teachers.") else name


def _teacher(config: Config, step: Asking) -> dict[str, Any]:
    teacher, key = config.teacher_of(step), config.key_of(step)
    return {f"{key}.{name}": getattr(teacher, name) for name in _OF_TEACHER}


def _prompts(step: Asking, section: GenerateSection | EnrichSection) -> list[str]:
    own = Prompts(step, section.prompts).hash
    return [own, Corrections().hash] if section.repair_attempts else [own]


def check(config: Config, run: RunDir) -> None:
    """Build every step and render every prompt and template once, before anything is paid for.

    Raises:
        ConfigError: If a prompt, a template or a filter of the user's cannot be used.
    """
    check_prompts(Prompts("generate", config.generate.prompts), Prompts("enrich", config.enrich.prompts))
    check_templates(RenderExamples(config.package))
    for step in _MIDDLES:
        step_stages(step, Context(config, run))


def step_stages(step: str, context: Context, fingerprint: str = "") -> Stages:
    """Return the Curator stages of a step: a published shard (or a task's name) in, a published shard out.

    Args:
        step: One that is a pipeline: ``collect``, ``generate``, ``enrich``, ``curate`` or ``package``.
        context: What they are made from.
        fingerprint: The step's.

    Raises:
        ConfigError: If a prompt, a template or a filter of the user's cannot be used.
    """
    middle, schema = _MIDDLES[step](context)
    first = [] if step == "collect" else [ReadShard(fan_out(step, context.config))]
    return [*first, *middle, WriteShard(context.run.step(step), schema, fingerprint, context.epoch)]


def _collect(context: Context) -> tuple[Stages, pa.Schema]:
    return [CollectSeeds(**collect_arguments(context.config))], SEED


def _generate(context: Context) -> tuple[Stages, pa.Schema]:
    config = context.config
    return [
        GenerateQuestions(config=config.generate, **_asking(context, "generate")),
        CheckQuestions(),
        DropSeedCopies(context.run.step("seeds"), config.curate.max_seed_overlap),
    ], QUESTION


def _enrich(context: Context) -> tuple[Stages, pa.Schema]:
    return [EnrichAnswers(config=context.config.enrich, **_asking(context, "enrich"))], ANSWER


def place(key: str) -> str:
    """Return the Dask resource of the workers that ask the teacher with this key: ``TEACHER``, ``TEACHER:solver``."""
    return "TEACHER" if key == "teacher" else f"TEACHER:{key.removeprefix('teachers.')}"


def _asking(context: Context, step: Asking) -> dict[str, Any]:
    key = context.config.key_of(step)
    return {
        "teacher": context.teachers.get(key) or context.config.teacher_of(step),
        "place": place(key),
        "seed": context.config.run.seed,
        "journal": context.run.journal,
        "retries": context.run.retries,
        "epoch": context.epoch,
        "budget": context.budget,
    }


def _curate(context: Context) -> tuple[Stages, pa.Schema]:
    return [ComposeText(), *filter_stages(context.config.curate.filters), ToCurated()], CURATED


def _package(context: Context) -> tuple[Stages, pa.Schema]:
    config = context.config
    return [RenderExamples(config.package, config.run.seed, config.obligations)], EXAMPLE


_MIDDLES: dict[str, Callable[[Context], tuple[Stages, pa.Schema]]] = {
    "collect": _collect,
    "generate": _generate,
    "enrich": _enrich,
    "curate": _curate,
    "package": _package,
}
