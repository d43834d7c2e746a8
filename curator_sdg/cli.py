"""The command line. Anything heavy is imported by the command that needs it: ``--help`` answers at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

import curator_sdg
from curator_sdg.errors import ConfigError, SdgError

if TYPE_CHECKING:
    from curator_sdg.config import Config
    from curator_sdg.report.show import Kind

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Task-seeded synthetic data for late-stage pretraining, on NeMo Curator and Dask.",
)
_out = Console()
_err = Console(stderr=True)

INTERRUPTED, TERMINATED = 130, 143
PENDING = 3

ConfigArgument = Annotated[Path, typer.Argument(metavar="CONFIG", help="The run's YAML file.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=value", help="Override one key of the configuration.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _version(value: bool) -> None:
    if value:
        typer.echo(curator_sdg.__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    config: ConfigArgument,
    run_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Instead of run.dir.")] = None,
    overrides: SetOption = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first N seeds.")] = None,
    until: Annotated[str | None, typer.Option(metavar="STEP", help="Stop after this step.")] = None,
    reuse: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="Begin with what still holds of another run, and its journal."),
    ] = None,
    retry: Annotated[
        str | None,
        typer.Option(
            "--retry-rejects",
            metavar="REASONS",
            help="Ask again about rejects of generate and enrich with these reasons: cut,garbage.",
        ),
    ] = None,
) -> None:
    """Run all steps, or go on where an earlier start stopped.

    Exit status: 0 done; 1 an error; 3 rows are pending, run it again; 130 interrupted; 143 terminated.
    """
    from curator_sdg.config import load  # noqa: PLC0415
    from curator_sdg.report.tables import ledger_table  # noqa: PLC0415
    from curator_sdg.rundir import STEPS  # noqa: PLC0415

    if until is not None and until not in STEPS:
        raise SdgError(f"--until {until}: no such step; there are {', '.join(STEPS)}")
    extra = [f"run.dir={json.dumps(str(run_dir), ensure_ascii=False)}"] if run_dir else []
    extra += [f"run.limit={limit}"] if limit else []
    settings = load(config, [*(overrides or []), *extra])
    # What the teacher needs is checked where it is asked: a run with nothing left to ask needs none of it.
    check_paths(settings, asks=False)

    from curator_sdg.progress import Progress  # noqa: PLC0415
    from curator_sdg.workflow import Run  # noqa: PLC0415

    _quiet()  # after the import: NeMo Curator sets loguru up when it is imported
    last = until or STEPS[-1]
    again = [reason.strip() for reason in (retry or "").split(",") if reason.strip()]
    if retry is not None and not again:
        raise SdgError("--retry-rejects: name at least one reason, as in cut,garbage")
    with _interruptible(), Run(settings, Progress(_err), reuse=reuse, retry=again) as start:
        ledger = start.execute(last)
    _out.print(ledger_table(ledger, width=_out.width))
    if last == STEPS[-1]:
        _out.print(f"package: {start.dir.package}", highlight=False, soft_wrap=True)
    if ledger.pending or start.stopped:
        from curator_sdg.report.show import pending_reasons  # noqa: PLC0415

        reasons = ", ".join(f"{reason} {n}" for reason, n in pending_reasons(start.dir.path, ledger).most_common())
        why = start.stopped or "their requests failed in transport; run the same command again"
        message = f"{ledger.pending:,} rows are pending ({reasons}): {why}"
        _err.print(message, style="yellow", highlight=False, soft_wrap=True)
        raise typer.Exit(PENDING)


@app.command()
def validate(config: ConfigArgument, overrides: SetOption = None) -> None:
    """Check a configuration, its tasks and its prompts without running anything."""
    from curator_sdg.config import load  # noqa: PLC0415

    settings = load(config, overrides)
    check_paths(settings)
    from curator_sdg.collecting import selection_of  # noqa: PLC0415
    from curator_sdg.rundir import RunDir  # noqa: PLC0415
    from curator_sdg.steps import check  # noqa: PLC0415

    selection = selection_of(settings)
    check(settings, RunDir(settings.run.dir))
    for name, why in selection.left_out.items():
        typer.echo(f"left out: {name}: {why}")
    models = " and ".join(dict.fromkeys(teacher.model for teacher in settings.asked.values()))
    typer.echo(f"{config}: valid; {len(selection.chosen)} tasks, teacher {models}")


@app.command()
def preview(
    config: ConfigArgument,
    n: Annotated[int, typer.Option("-n", min=1, help="How many seeds.")] = 5,
    task: Annotated[str | None, typer.Option(help="Only seeds of this lm-eval task.")] = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a few seeds through every step, and print each prompt, reply and verdict side by side.

    The run's directory is only read. Replies are kept beside it, in <run.dir>.preview: none is paid for twice, and
    none is in the run's bill.

    Exit status: 0 done; 1 an error; 3 some requests failed in transport, ask again.
    """
    from curator_sdg.config import load  # noqa: PLC0415

    settings = load(config, overrides)
    check_paths(settings, asks=False)
    from curator_sdg.report import preview as report  # noqa: PLC0415
    from curator_sdg.rundir import RunDir  # noqa: PLC0415
    from curator_sdg.steps import check  # noqa: PLC0415

    _quiet("ERROR")  # Curator warns of every batch without rows, which is normal here
    check(settings, RunDir(settings.run.dir))
    picked = report.pick_seeds(settings, n, task)
    for line in picked.told:
        _err.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)
    with _err.status("") as status:
        trials = report.try_out(settings, picked.seeds, preview_dir(settings) / "journal", status.update)
    if as_json:
        for trial in trials:
            typer.echo(json.dumps(asdict(trial), ensure_ascii=False))
    else:
        systems, width = report.SystemPrompts(), _out.width if _out.is_terminal else 0
        for number, trial in enumerate(trials, start=1):
            _out.print(report.seed_text(trial, f"seed {number} of {len(trials)}", systems, width))
    summary = report.summarise(trials, settings.prices)
    (_err if as_json else _out).print(report.summary_text(summary))
    if summary.pending:
        raise typer.Exit(PENDING)


def preview_dir(config: Config) -> Path:
    """Return the folder that previews of a run keep their replies in."""
    run = config.run.dir.absolute()
    return run.with_name(f"{run.name}.preview")


@app.command()
def serve(
    config: ConfigArgument,
    teacher: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which of `teachers`; `teacher` if none is named.")
    ] = None,
    register: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="A folder that all machines share, for the addresses; else teacher.endpoints_file."
        ),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="The name by which others reach this machine, if not its full name.")
    ] = None,
    logs: Annotated[Path | None, typer.Option(metavar="DIR", help="For the servers' output.")] = None,
    overrides: SetOption = None,
) -> None:
    """Start a teacher's vLLM servers on this machine for runs on others, until Ctrl-C or SIGTERM."""
    from curator_sdg.config import load  # noqa: PLC0415
    from curator_sdg.teacher.servers.serve import serve as keep  # noqa: PLC0415

    signal.signal(signal.SIGTERM, _terminate)
    try:
        keep(load(config, overrides), teacher=teacher, register=register, host=host, logs=logs, say=typer.echo)
    except (KeyboardInterrupt, SystemExit):
        typer.echo("ended")  # that is how it is meant to end


@app.command()
def plan(
    config: ConfigArgument,
    pilot: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Ask about the run's first N seeds now: `run --limit N`; the run goes on from it."
        ),
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Plan from this run instead of run.dir.")
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Instead of run.dir.")] = None,
    overrides: SetOption = None,
    tokens_per_second: Annotated[
        float | None, typer.Option(min=0.001, metavar="X", help="Completion tokens a second, of all GPUs together.")
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many GPUs write them.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a run will take: seeds, requests, tokens, accepted questions, time and price, by task and in all.

    It goes by a pilot, or by what the run has done so far.

    Exit status: 0 done; 1 an error; 3 rows of the pilot are pending; 130 interrupted; 143 terminated.
    """
    from curator_sdg.config import load  # noqa: PLC0415

    if pilot is not None and source is not None:
        raise SdgError("--pilot and --from: plan from a pilot of this run, or from another run")
    extra = [f"run.dir={json.dumps(str(run_dir), ensure_ascii=False)}"] if run_dir else []
    settings = load(config, [*(overrides or []), *extra])
    check_paths(settings, asks=False)
    from curator_sdg.planning.plan import Given, make_plan  # noqa: PLC0415
    from curator_sdg.planning.trial import begun, seeds_to_pilot  # noqa: PLC0415
    from curator_sdg.report.plan import plan_table, plan_text  # noqa: PLC0415
    from curator_sdg.rundir import load_run  # noqa: PLC0415

    _quiet()
    pending = 0
    if pilot is not None:
        if (limit := seeds_to_pilot(settings, pilot)) is not None:
            pending = _pilot(settings, limit)
        else:
            _err.print(f"the run has asked about {pilot:,} seeds and more already; nothing is asked", style="dim")
    found = load_run(source) if source is not None else begun(settings)
    planned = make_plan(settings, found, Given(tokens_per_second, gpus))
    if as_json:
        typer.echo(json.dumps(planned.to_json(), indent=2, ensure_ascii=False))
    else:
        _out.print(plan_table(planned, width=_out.width))
        _out.print(plan_text(planned), highlight=False, markup=False, soft_wrap=True)
    if pending:
        raise typer.Exit(PENDING)


def _pilot(config: Config, limit: int) -> int:
    """Run a configuration for its first seeds, as `run --limit` does; returns how many rows are pending."""
    from curator_sdg.progress import Progress  # noqa: PLC0415
    from curator_sdg.workflow import Run  # noqa: PLC0415

    limited = config.model_copy(update={"run": config.run.model_copy(update={"limit": limit})})
    with _interruptible(), Run(limited, Progress(_err)) as start:
        ledger = start.execute()
    if start.stopped:
        _err.print(start.stopped, style="yellow", highlight=False, soft_wrap=True)
    if ledger.pending:
        _err.print(f"{ledger.pending:,} rows of the pilot are pending", style="yellow", highlight=False)
    return ledger.pending


@app.command()
def tasks(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Tasks, families, group:NAME, domain:NAME.")
    ] = None,
    excluded: Annotated[bool, typer.Option("--excluded", help="Tasks with a training split that are out.")] = False,
    include: Annotated[
        list[Path] | None,
        typer.Option("--include-path", metavar="DIR", help="A folder of your own tasks' YAML files."),
    ] = None,
    volume: Annotated[
        bool, typer.Option("--volume", help="How many seeds --config comes to, by family and group.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option(metavar="CONFIG", help="For --volume; configs/nemotron.yaml if none is given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the tasks whose training splits can be seeds, or say everything about some, and why others cannot."""
    if volume:
        if names or excluded or include:
            raise SdgError("--volume tells of what --config asks for: name tasks and folders there, under seeds")
        _volume(config, as_json=as_json)
        return
    if config is not None:
        raise SdgError("--config is for --volume; to list tasks of your own: --include-path FOLDER")
    from curator_sdg.report.tables import tasks_table  # noqa: PLC0415
    from curator_sdg.report.tasks import TaskBook  # noqa: PLC0415
    from curator_sdg.seeds.index import index_mismatch, load_index  # noqa: PLC0415
    from curator_sdg.seeds.loading import load_catalog  # noqa: PLC0415

    catalog, index = load_catalog(include=include or ()), load_index()
    if warning := index_mismatch(index):
        _err.print(warning, style="yellow", highlight=False, soft_wrap=True)
    book = TaskBook(catalog, index)
    found = [book.find(name) for name in names or ()]
    if as_json:
        listed = [task for item in found for task in item.tasks] if found else [*catalog.entries, *book.excluded()]
        rows = book.rows(listed)
        wanted = [row for row in rows if row["status"] == "excluded"] if excluded else rows
        typer.echo(json.dumps(wanted, indent=2, ensure_ascii=False))
    elif found:
        for item in found:
            if item.is_task:
                _out.print(book.details(item.title))
                continue
            rows = [row for row in book.rows(item.tasks) if not excluded or row["status"] == "excluded"]
            _out.print(tasks_table(rows, width=_out.width) if rows else f"{item.title}: no task of it is excluded")
    elif excluded:
        _out.print(book.exclusions())
    else:
        _out.print(book.families(width=_out.width))
        _out.print(book.summary(), highlight=False, soft_wrap=True)


def _volume(config: Path | None, *, as_json: bool) -> None:
    from curator_sdg.collecting import selection_of  # noqa: PLC0415
    from curator_sdg.config import load  # noqa: PLC0415
    from curator_sdg.report.volume import left_out_summary, volume_rows, volume_table  # noqa: PLC0415
    from curator_sdg.resources import data_dir  # noqa: PLC0415

    selection = selection_of(load(config or data_dir("nemotron.yaml")))
    if as_json:
        typer.echo(json.dumps(volume_rows(selection), indent=2))
        return
    _out.print(volume_table(selection))
    _out.print(left_out_summary(selection), highlight=False, soft_wrap=True)


@app.command()
def show(
    run_dir: RunArgument,
    step: Annotated[
        str | None,
        typer.Option(
            metavar="STEP",
            help="A step, or 'rejects' for those of all steps. Without it: rows of package, rejects of all steps.",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 5,
    rejects_only: Annotated[bool, typer.Option("--rejects", help="Rejects instead of rows.")] = False,
    pending_only: Annotated[bool, typer.Option("--pending", help="Rows that are pending instead, and why.")] = False,
    reason: Annotated[str | None, typer.Option(help="Only rejects (or pending rows) with this reason.")] = None,
    task: Annotated[str | None, typer.Option(help="Only this lm-eval task.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print records of a run, or its rejects with the raw text that they were judged on."""
    from curator_sdg.report.show import nothing, records_text, rejects_text, select  # noqa: PLC0415

    if pending_only and (rejects_only or step == "rejects"):
        raise SdgError("--pending: a row is either pending or a reject; ask for one of them")
    kind: Kind = "rows"
    if pending_only:
        kind = "pending rows"
    elif rejects_only or reason is not None or step == "rejects":
        kind = "rejects"
    step = step or ("package" if kind == "rows" else "rejects")
    only = None if step == "rejects" else step
    found = select(run_dir, kind, only, reason=reason, task=task, n=n)
    if as_json:
        for record in found:
            typer.echo(json.dumps(record, ensure_ascii=False))
    elif found:
        _out.print(records_text(found) if kind == "rows" else rejects_text(found))
    else:
        _out.print(nothing(run_dir, kind, only), highlight=False, soft_wrap=True)


@app.command()
def ledger(
    run_dir: RunArgument,
    by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Seeds, tokens and cost by task, family, group or language.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Account for every row of a run, from its shards, and for what they cost.

    Exit status: 0 every row is settled; 1 an error, or the figures do not balance; 3 rows are pending or not read yet.
    """
    from curator_sdg.current import compute_ledger  # noqa: PLC0415
    from curator_sdg.report.tables import ledger_table  # noqa: PLC0415
    from curator_sdg.rundir import load_run  # noqa: PLC0415

    if by is not None:
        _ledger_by(load_run(run_dir), by, as_json=as_json)
        return
    accounts = compute_ledger(load_run(run_dir))
    if as_json:
        typer.echo(json.dumps(accounts.to_json(), indent=2))
    else:
        _out.print(ledger_table(accounts, width=_out.width))
    accounts.check()
    if accounts.pending or not accounts.steps:  # a run that has only just begun is not done
        raise typer.Exit(PENDING)


def _ledger_by(config: Config, by: str, *, as_json: bool) -> None:
    from curator_sdg.report.by import GROUPINGS, parts_of, parts_table  # noqa: PLC0415

    if by not in GROUPINGS:
        raise SdgError(f"--by {by}: no such column; there are {', '.join(GROUPINGS)}")
    parts = parts_of(config, by)
    if as_json:
        typer.echo(json.dumps(parts, indent=2, ensure_ascii=False))
    else:
        _out.print(parts_table(parts, by, width=_out.width))


def check_paths(config: Config, *, asks: bool = True) -> None:
    """Make sure that what the configuration points to outside itself is there, before anything is done.

    Raises:
        ConfigError: Naming the key, and the place as an absolute path.
    """
    from dask.utils import parse_bytes  # noqa: PLC0415

    data, memory = config.seeds.data_root, config.cluster.memory_limit
    if data is not None and not data.is_dir():
        raise ConfigError(f"seeds.data_root: {data.absolute()} is no folder")
    for key, teacher in config.asked.items() if asks else ():
        if teacher.engine == "recorded" and teacher.recording is not None and not teacher.recording.exists():
            place = teacher.recording.absolute()
            raise ConfigError(f"{key}.recording: {place} does not exist; name a journal file or a folder of them")
        name = teacher.api_key_env
        if teacher.engine == "endpoint" and name is not None and not os.environ.get(name, "").strip():
            raise ConfigError(f"{key}.api_key_env: the environment variable {name} is not set; export it")
    try:
        usable = memory == "auto" or (bool(memory.strip()) and parse_bytes(memory) >= 0)
    except (ValueError, OverflowError):
        usable = False
    if not usable:
        raise ConfigError(f"cluster.memory_limit: {memory!r} is no amount of memory; write 4GiB, auto or 0.25")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C, and a batch system's SIGTERM, end a run in order: workers stopped, everything paid for on disk."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    except KeyboardInterrupt:
        _err.print("interrupted; run the same command to go on", style="yellow")
        raise typer.Exit(INTERRUPTED) from None
    except SystemExit:
        _err.print("terminated; run the same command to go on", style="yellow")
        raise


def _terminate(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's signature
    raise SystemExit(TERMINATED)


def _quiet(level: str = "WARNING") -> None:
    """Keep Curator's log lines below ``level`` off the screen; ``LOGURU_LEVEL=INFO`` brings them back."""
    from loguru import logger  # noqa: PLC0415

    logger.remove()
    logger.add(sys.stderr, level=os.environ.get("LOGURU_LEVEL", level))


def main() -> None:
    """Run the command line; what the user can mend is one message, a bug keeps its traceback."""
    try:
        app()
    except SdgError as error:
        _err.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
