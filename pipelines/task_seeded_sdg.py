"""All five steps in one go; what `curator-sdg run` does, as a script to build on.

python pipelines/task_seeded_sdg.py configs/quickstart.yaml
"""

from arguments import config_from_arguments, start
from rich.console import Console

from curator_sdg.progress import Progress
from curator_sdg.report.tables import ledger_table
from curator_sdg.workflow import Run


def main() -> None:
    """Run all steps, wave by wave, or go on where an earlier start stopped."""
    console = Console()
    with Run(config_from_arguments(main.__doc__ or ""), Progress(console)) as run:
        run.collect()
        run.cut()
        run.ask_and_curate()  # generate, dedup and enrich, wave by wave
        run.package()
        console.print(ledger_table(run.account(), width=console.width))
        if run.stopped:
            console.print(run.stopped)


if __name__ == "__main__":
    start(main)
