"""Where a run lives, how it is cut and where it computes; and the whole configuration."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, model_validator

from curator_sdg.config.base import Obligation, Section
from curator_sdg.config.seeds import SeedsSection
from curator_sdg.config.steps import CurateSection, EnrichSection, GenerateSection, PackageSection
from curator_sdg.config.teacher import Price, TeacherSection

Asking = Literal["generate", "enrich"]  # the steps that ask a teacher
ASKING: tuple[Asking, ...] = get_args(Asking)


class RunSection(Section):
    """Where the run lives and how its rows are cut."""

    dir: Path = Field(Path("runs/run"), description="The run directory; made when missing, resumed when there.")
    seed: int = Field(0, description="Seeds every drawn choice: samples of rows, target labels, permutations.")
    limit: int | None = Field(None, ge=1, description="Use only the first seeds in hash order.")
    shard_size: int = Field(512, ge=1, description="Seeds a shard: the unit of work, publishing and resume.")
    wave_size: int = Field(4_096, ge=1, description="Seeds a wave; a whole number of shards.")
    accepted_per_task: int | None = Field(
        None, ge=1, description="Package so many questions of each task: waves go on until they are there."
    )
    max_tokens: int | None = Field(
        None, ge=1, description="Ask no more once the run has used so many, prompt and completion, over all starts."
    )
    max_cost: float | None = Field(
        None,
        gt=0,
        description="Ask no more once the run has cost so much, over all starts; needs the price of every teacher.",
    )
    max_hours: float | None = Field(None, gt=0, description="Ask no more so long after this start began.")

    @model_validator(mode="after")
    def _whole_shards(self) -> RunSection:
        if self.wave_size % self.shard_size:
            raise ValueError(f"wave_size must be a multiple of shard_size ({self.shard_size})")
        return self


class ClusterSection(Section):
    """Where it runs."""

    kind: Literal["local"] = "local"
    workers: int = Field(default_factory=lambda: max(1, (os.cpu_count() or 2)), ge=1)
    memory_limit: str = Field("auto", description="Memory a worker, as Dask writes it: 4GiB, auto, 0.25.")


class Config(Section):
    """A whole run."""

    run: RunSection = RunSection()
    seeds: SeedsSection
    teacher: TeacherSection
    teachers: dict[str, TeacherSection] = Field(
        {}, description="Further teachers by name, for generate.teacher and enrich.teacher."
    )
    generate: GenerateSection = GenerateSection()
    enrich: EnrichSection = EnrichSection()
    curate: CurateSection = CurateSection()
    package: PackageSection = PackageSection()
    cluster: ClusterSection = Field(default_factory=ClusterSection)

    def key_of(self, step: Asking) -> str:
        """Return the key of the teacher that a step asks: ``teacher``, or ``teachers.NAME``."""
        name = self.generate.teacher if step == "generate" else self.enrich.teacher
        return "teacher" if name is None else f"teachers.{name}"

    def teacher_of(self, step: Asking) -> TeacherSection:
        """Return the teacher that a step asks."""
        return self.asked[self.key_of(step)]

    @property
    def asked(self) -> dict[str, TeacherSection]:
        """The teachers that the steps ask, each once, by key."""
        keys = dict.fromkeys((self.key_of("generate"), self.key_of("enrich")))
        return {
            key: self.teacher if key == "teacher" else self.teachers[key.removeprefix("teachers.")] for key in keys
        }

    @property
    def obligations(self) -> tuple[Obligation, ...]:
        """What the terms of all teachers that are asked want of their output."""
        return tuple(sorted({obligation for teacher in self.asked.values() for obligation in teacher.obligations}))

    @property
    def prices(self) -> dict[str, Price | None]:
        """What each model costs; null where that is not known."""
        return {teacher.model: teacher.price for teacher in (self.teacher, *self.teachers.values())}

    @model_validator(mode="after")
    def _teachers_are_there(self) -> Config:
        for step, name in (("generate", self.generate.teacher), ("enrich", self.enrich.teacher)):
            if name is not None and name not in self.teachers:
                near = difflib.get_close_matches(name, self.teachers, n=1, cutoff=0.5)
                known = ", ".join(self.teachers) or "none"
                hint = f"did you mean {near[0]!r}?" if near else f"`teachers` has {known}"
                raise ValueError(f"{step}.teacher: there is no teacher {name!r}; {hint}")
        prices: dict[str, Price | None] = {}
        for teacher in (self.teacher, *self.teachers.values()):
            if prices.setdefault(teacher.model, teacher.price) != teacher.price:
                raise ValueError(
                    f"two teachers with the model {teacher.model!r} have different prices; a model has one"
                )
        return self

    @model_validator(mode="after")
    def _gpus_are_disjoint(self) -> Config:
        taken: dict[int, str] = {}
        ours = {key: teacher.vllm.gpus for key, teacher in self.asked.items() if teacher.engine == "vllm"}
        for key, gpus in ours.items():
            if len(ours) > 1 and gpus is None:
                raise ValueError(f"{key}.vllm.gpus: of several teachers with engine: vllm, each needs GPUs of its own")
            for gpu in gpus or ():
                if (other := taken.setdefault(gpu, key)) != key:
                    raise ValueError(f"{key}.vllm.gpus: GPU {gpu} is one of {other}.vllm.gpus, too")
        return self

    @model_validator(mode="after")
    def _cost_is_known(self) -> Config:
        unknown = [key for key, teacher in self.asked.items() if teacher.price is None]
        if self.run.max_cost is not None and unknown:
            keys = " and ".join(f"{key}.price" for key in unknown)
            raise ValueError(f"run.max_cost needs {keys}: what a million prompt and completion tokens cost")
        return self

    @model_validator(mode="after")
    def _variants_have_traces(self) -> Config:
        asked = {self.enrich.styles[i % len(self.enrich.styles)] for i in range(self.enrich.samples)}
        for variant, style in (("context", "knowledge"), ("reasoning", "reasoning")):
            if variant in self.package.variants and style not in asked:
                raise ValueError(
                    f"package.variants has {variant!r}, which needs a sample of the style {style!r}; enrich.samples "
                    f"and enrich.styles ask only for {', '.join(sorted(asked))}"
                )
        return self
