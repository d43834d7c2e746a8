"""CPU seconds per 1,000 requests: dispatcher, endpoint and journal against a bare aiohttp loop, side by side.

``python -m tests.benchmarks.bench_dispatch`` asks a local server without latency, in a process of its own, so that
this process's CPU time is the client's alone. The two take turns, and the median of the rounds counts. Ours is what
a run does: four threads, each with an open shard, requests with their keys computed anew, every reply journalled.
``python -m tests.benchmarks.peers`` puts other projects into the same table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp

from curator_sdg.config import TeacherSection
from curator_sdg.teacher import Completion, Request, ShardJournal, acquire, release
from curator_sdg.teacher.endpoint import wire
from tests.endpoint import running_endpoint
from tests.teacher.requests import make_request

THREADS = 4
PROMPT = (
    "Write one question that needs the same skill as this example, on another subject. " * 24
)  # about 2,000 letters


def requests(n: int) -> list[Request]:
    """Return requests about as long as those of a run."""
    return [
        make_request(number, messages=({"role": "user", "content": f"{PROMPT}\nItem {number}."},))
        for number in range(n)
    ]


def bare(config: TeacherSection, asked: list[Request]) -> float:
    """Post ready bodies from plain workers, and parse the answers."""
    bodies = [wire.body(request) for request in asked]
    url = f"{config.base_urls[0]}/chat/completions"

    async def run() -> None:
        left = iter(bodies)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def work() -> None:
                for body in left:
                    async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
                        assert json.loads(await response.read())["choices"]

            await asyncio.gather(*(work() for _ in range(config.max_in_flight)))

    start = time.process_time()
    asyncio.run(run())
    return time.process_time() - start


def ours(config: TeacherSection, asked: list[Request]) -> float:
    """Ask the same as a run does."""
    with tempfile.TemporaryDirectory() as folder:

        def shard(number: int) -> None:
            with ShardJournal(Path(folder), "generate", f"shard-{number}", 1) as journal:
                outcomes = dispatcher.complete(asked[number::THREADS], journal)
                journal.seal()
            assert all(isinstance(outcome, Completion) for outcome in outcomes)

        start = time.process_time()
        dispatcher = acquire(config)
        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(shard, range(THREADS)))
        release(dispatcher)
        return time.process_time() - start


def measure(
    contenders: Mapping[str, Callable[[TeacherSection, list[Request]], float]],
    config: TeacherSection,
    n: int,
    rounds: int,
) -> dict[str, list[float]]:
    """Let the contenders take turns; return the CPU seconds per 1,000 requests of each round after one to warm up."""
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, contender in contenders.items():
            seconds = contender(config, requests(n)) * 1000 / n
            print(f"{name:>20}: {seconds:.3f} CPU s / 1,000" + ("" if turn else " (warming up)"), flush=True)
            if turn:
                figures[name].append(seconds)
    return figures


def table(figures: dict[str, list[float]]) -> None:
    """Print the medians."""
    print(f"\n{'CPU s per 1,000 requests':>24}  median  least   most")
    for name, seconds in figures.items():
        print(f"{name:>24}  {statistics.median(seconds):6.3f} {min(seconds):6.3f} {max(seconds):6.3f}")


def main() -> None:
    """Run both in turns and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_dispatch", description=__doc__)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--max-in-flight", type=int, default=64)
    options = parser.parse_args()
    with running_endpoint(lean=True) as endpoint:
        config = TeacherSection(model="test-model", base_urls=(endpoint.url,), max_in_flight=options.max_in_flight)
        table(measure({"bare aiohttp": bare, "ours": ours}, config, options.requests, options.rounds))


if __name__ == "__main__":
    main()
