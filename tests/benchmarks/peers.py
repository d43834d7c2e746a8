"""CPU seconds per 1,000 requests of a peer, in one table with ours and a bare aiohttp loop.

Each peer lives in an environment of its own, made once::

    python -m venv /tmp/peer && /tmp/peer/bin/pip install data-designer
    python -m tests.benchmarks.peers data-designer --python /tmp/peer/bin/python

NAME is one of ``data-designer`` (NeMo Data Designer), ``bespokelabs-curator`` (Bespoke Curator), ``sdg-hub`` (SDG Hub)
and ``distilabel``, as PyPI calls them; distilabel wants ``pip install 'distilabel[openai]' requests``. They were
tried in versions 0.9.6, 0.1.31, 0.9.4 and 1.5.3. What is asked of them is in :mod:`tests.benchmarks.peer_scripts`.

A peer runs with few and with many prompts, and the difference of the two counts, so that what it takes to start and
to stop does not; it is the time of its process and of all that it started and waited for. The prompts are those of
:mod:`tests.benchmarks.bench_dispatch`, but for the schema, which not all of them can ask for.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from curator_sdg.config import TeacherSection
from curator_sdg.teacher import Request
from tests.benchmarks import peer_scripts
from tests.benchmarks.bench_dispatch import bare, measure, ours, table
from tests.benchmarks.bench_dispatch import requests as make_requests
from tests.endpoint import running_endpoint

_FEW = 200


def cpu_seconds(python: str, name: str, config: TeacherSection, asked: list[Request]) -> float:
    """Have a peer ask, and return what its processes used."""
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.jsonl"
        lines = (json.dumps(request.messages[0]["content"]) for request in asked)
        prompts.write_text("\n".join(lines), encoding="utf-8")
        with (Path(folder) / "log").open("w+") as log:
            command = [
                python,
                peer_scripts.__file__,
                name,
                config.base_urls[0],
                str(prompts),
                str(config.max_in_flight),
            ]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)  # it is waited for: Popen must not do it again
            if process.returncode:
                log.seek(0)
                sys.exit(f"{name} ended with status {process.returncode}: {log.read()[-2000:]}")
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Run all three in turns and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=peer_scripts.PEERS)
    parser.add_argument("--python", required=True, help="the interpreter of the environment that has the peer")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-in-flight", type=int, default=64)
    options = parser.parse_args()

    def peer(config: TeacherSection, asked: list[Request]) -> float:
        """Return the seconds for as many requests as were asked, without what a start takes."""
        few = cpu_seconds(options.python, options.name, config, make_requests(_FEW))
        many = cpu_seconds(options.python, options.name, config, make_requests(_FEW + len(asked)))
        return many - few

    with running_endpoint(lean=True) as endpoint:
        config = TeacherSection(model="test-model", base_urls=(endpoint.url,), max_in_flight=options.max_in_flight)
        contenders = {"bare aiohttp": bare, "ours": ours, str(options.name): peer}
        figures = measure(contenders, config, options.requests, options.rounds)
    table(figures)
    factor = statistics.median(figures[options.name]) / statistics.median(figures["ours"])
    print(f"{options.name} takes {factor:.1f} times as much as ours")


if __name__ == "__main__":
    main()
