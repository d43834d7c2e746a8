"""The command line. Anything heavy is imported by the command that needs it: ``--help`` answers at once."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

import curator_sdg
from curator_sdg.errors import SdgError

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
) -> None:
    """Run all steps, or go on where an earlier start stopped.

    Exit status: 0 done; 1 an error; 3 done, but rows are pending (run it again); 130 interrupted; 143 terminated.
    """
    from curator_sdg.config import load  # noqa: PLC0415
    from curator_sdg.report.tables import ledger_table  # noqa: PLC0415
    from curator_sdg.rundir import STEPS  # noqa: PLC0415

    if until is not None and until not in STEPS:
        raise SdgError(f"--until {until}: no such step; there are {', '.join(STEPS)}")
    extra = [f"run.dir={json.dumps(str(run_dir))}"] if run_dir else []
    extra += [f"run.limit={limit}"] if limit else []
    settings = load(config, [*(overrides or []), *extra])

    from curator_sdg.progress import Progress  # noqa: PLC0415
    from curator_sdg.workflow import Run  # noqa: PLC0415

    _quiet()  # after the import: NeMo Curator sets loguru up when it is imported
    last = until or STEPS[-1]
    # A batch system's SIGTERM ends a run as Ctrl-C does: workers stopped, everything paid for on disk.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with Run(settings, Progress(_err)) as start:
            ledger = start.execute(last)
    except KeyboardInterrupt:
        _err.print("interrupted; run the same command to go on", style="yellow")
        raise typer.Exit(INTERRUPTED) from None
    _out.print(ledger_table(ledger))
    if last == STEPS[-1]:
        _out.print(f"package: {start.dir.package}", highlight=False, soft_wrap=True)
    if ledger.pending:
        _err.print(
            f"{ledger.pending} rows are pending: their requests failed in transport; run the same command again",
            style="yellow",
        )
        raise typer.Exit(PENDING)


@app.command()
def validate(config: ConfigArgument, overrides: SetOption = None) -> None:
    """Check a configuration, its tasks and its prompts without running anything."""
    from curator_sdg.config import load  # noqa: PLC0415

    settings = load(config, overrides)
    from curator_sdg.curation.quality import filter_stages  # noqa: PLC0415
    from curator_sdg.seeds.stages import source_tasks  # noqa: PLC0415
    from curator_sdg.steps import fingerprints  # noqa: PLC0415

    tasks = source_tasks(settings.seeds.tasks)
    filter_stages(settings.curate.filters)
    fingerprints(settings)
    typer.echo(f"{config}: valid; {len(tasks)} tasks, teacher {settings.teacher.model}")


@app.command()
def tasks(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...")] = None, as_json: JsonOption = False
) -> None:
    """List the tasks whose training splits can be seeds."""
    from curator_sdg.report.tables import tasks_table  # noqa: PLC0415
    from curator_sdg.seeds.catalog import load_catalog  # noqa: PLC0415

    catalog = load_catalog()
    rows = catalog.rows()
    if names:
        for name in names:
            catalog.entry(name)
        rows = [row for row in rows if row["task"] in names]
    if as_json:
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        _out.print(tasks_table(rows))


@app.command()
def show(
    run_dir: RunArgument,
    step: Annotated[
        str, typer.Option(metavar="STEP", help="A step, or 'rejects' for those of all steps.")
    ] = "package",
    n: Annotated[int, typer.Option("-n", min=1, help="How many.")] = 5,
    rejects_only: Annotated[bool, typer.Option("--rejects", help="The step's rejects instead of its rows.")] = False,
    reason: Annotated[str | None, typer.Option(help="Only rejects with this reason.")] = None,
    task: Annotated[str | None, typer.Option(help="Only this lm-eval task.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print records of a run, or its rejects with the raw text that they were judged on."""
    from curator_sdg.report.show import records_text, rejects_text, select_records, select_rejects  # noqa: PLC0415

    if step == "rejects" or rejects_only or reason:
        only = None if step == "rejects" or (step == "package" and not rejects_only) else step
        found = select_rejects(run_dir, only, reason=reason, task=task, n=n)
        render = rejects_text
    else:
        found = select_records(run_dir, step, task=task, n=n)
        render = records_text
    if as_json:
        for record in found:
            typer.echo(json.dumps(record, ensure_ascii=False))
    else:
        _out.print(render(found))


@app.command()
def ledger(run_dir: RunArgument, as_json: JsonOption = False) -> None:
    """Account for every row of a run, from its shards."""
    from curator_sdg.report.tables import ledger_table  # noqa: PLC0415
    from curator_sdg.rundir import compute_ledger, load_run  # noqa: PLC0415

    accounts = compute_ledger(load_run(run_dir))
    if as_json:
        typer.echo(json.dumps(accounts.to_json(), indent=2))
    else:
        _out.print(ledger_table(accounts))
    accounts.check()


def _terminate(signal_number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's signature
    raise SystemExit(TERMINATED)


def _quiet() -> None:
    """Keep Curator's log lines off the screen; ``LOGURU_LEVEL=INFO`` brings them back."""
    from loguru import logger  # noqa: PLC0415

    logger.remove()
    logger.add(sys.stderr, level=os.environ.get("LOGURU_LEVEL", "WARNING"))


def main() -> None:
    """Run the command line; what the user can mend is one message, a bug keeps its traceback."""
    try:
        app()
    except SdgError as error:
        _err.print(f"error: {error}", style="red", highlight=False, markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
