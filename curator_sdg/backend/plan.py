"""Which stages run together: a pipeline's stages become groups, and a group is one Dask task per input.

Neighbouring CPU stages that are placed on the same kind of worker are fused, so that a batch of documents goes
through all of them without leaving its process. Fusing stops where it would cost parallelism or change meaning:
at GPU stages, after a stage that fans out (its outputs should spread over the workers), at a stage that takes
several tasks at once or limits its own workers, and where the placement changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from nemo_curator.backends.utils import RayStageSpecKeys
from nemo_curator.stages.base import ProcessingStage

from curator_sdg.errors import SdgError

Stage: TypeAlias = ProcessingStage[Any, Any]

# Stages whose workers talk to each other: one task at a time is not what they mean.
_COLLECTIVE = (RayStageSpecKeys.IS_RAFT_ACTOR, RayStageSpecKeys.IS_LSH_STAGE, RayStageSpecKeys.IS_SHUFFLE_STAGE)


@dataclass(frozen=True)
class Group:
    """Neighbouring stages that run as one Dask task, one after the other."""

    stages: tuple[Stage, ...]
    resources: dict[str, float]
    """What one running task of the group takes of its worker, as Dask resources: ``{"CPU": 1}``."""
    batch_size: int = 1
    """Input tasks to one Dask task; above 1 only for a stage alone in its group."""
    fans_out: bool = False
    """Whether one input can give many outputs, each of which the next group takes on its own."""
    max_running: int | None = None
    """At most so many of the group's tasks at a time (``num_workers()``)."""

    @property
    def name(self) -> str:
        """The names of the stages, joined by ``+``."""
        return "+".join(stage.name for stage in self.stages)


def plan(stages: Sequence[Stage]) -> list[Group]:
    """Divide a pipeline's stages into groups, in order.

    Args:
        stages: Execution stages; composite stages are already decomposed, as ``Pipeline.build()`` does.

    Returns:
        The groups; every stage is in exactly one.

    Raises:
        SdgError: A stage needs workers that exchange data among themselves, or asks for no sensible resources.
    """
    groups: list[Group] = []
    for stage in stages:
        group = _alone(stage)
        if groups and _fusible(groups[-1], group):
            previous = groups.pop()
            group = Group((*previous.stages, stage), group.resources, fans_out=group.fans_out)
        groups.append(group)
    return groups


def placement(stage: Stage) -> dict[str, float]:
    """What one call of a stage takes of a worker, as Dask resources.

    A stage says so itself in an attribute ``dask_resources``; otherwise it takes one CPU worker, and the GPUs of its
    ``resources``. More than one of ``resources.cpus`` is not asked for: a CPU worker is one process with one thread.

    Raises:
        SdgError: ``dask_resources`` is not a mapping of names to positive numbers.
    """
    declared = getattr(stage, "dask_resources", None)
    if declared is None:
        gpus = {"GPU": float(stage.resources.gpus)} if stage.resources.requires_gpu else {}
        return {"CPU": 1.0, **gpus}
    if not isinstance(declared, dict) or not declared or not all(amount > 0 for amount in declared.values()):
        raise SdgError(
            f"Stage {stage.name!r} has dask_resources={declared!r}; it should map the names of worker resources to "
            'positive numbers, as {"TEACHER": 1}.'
        )
    return {str(name): float(amount) for name, amount in declared.items()}


def _alone(stage: Stage) -> Group:
    spec = stage.ray_stage_spec()
    if any(spec.get(key) for key in _COLLECTIVE):
        raise SdgError(
            f"Stage {stage.name!r} shuffles data between its workers, which this executor does not do. "
            "Run it with Curator's RayActorPoolExecutor."
        )
    # A source stage makes the partitions of the run, whatever its annotation says.
    fans_out = stage.is_source_stage or stage.is_fanout_stage() or spec.get(RayStageSpecKeys.IS_FANOUT_STAGE)
    return Group(
        (stage,),
        placement(stage),
        batch_size=stage.batch_size or 1,
        fans_out=bool(fans_out),
        max_running=stage.num_workers() or None,
    )


def _fusible(previous: Group, following: Group) -> bool:
    return (
        previous.resources == following.resources
        and not previous.fans_out
        and not any(
            "GPU" in group.resources or group.batch_size > 1 or group.max_running is not None
            for group in (previous, following)
        )
    )
