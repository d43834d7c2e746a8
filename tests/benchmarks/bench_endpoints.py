"""How well the dispatcher uses endpoints that differ, queue, refuse or limit: beside a bare loop that knows them.

``python -m tests.benchmarks.bench_endpoints [speeds] [queueing] [refusing] [limited]`` runs these, or all:

* ``speeds``: three endpoints of different speed, 64 slots each. Used is the mean in flight over the slots: as long as
  there is something to ask, and from the first request to the last reply of any, so that what is idle while the
  slowest ends counts, too. That end is no longer for a run of days; ``--requests 20000`` shows it shrink.
* ``queueing``: an endpoint that works on 40 at once and queues the others, as vLLM does, asked with 128 in flight.
* ``refusing``: one that answers 429 beyond 40 in flight, asked with 128.
* ``limited``: one that answers 429 with Retry-After beyond 50 requests a second, asked with 128.

The bare loop has as many workers as the endpoint is known to take, so it shows what can be had; it asks the same
requests, which take the endpoints as long. Beside the rate limit, which a bare loop would only run into, the limit
itself is the bound.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp

from curator_sdg.config import TeacherSection
from curator_sdg.teacher import Completion, Request, ShardJournal, acquire, release
from curator_sdg.teacher.endpoint import wire
from tests.endpoint import Endpoint, running_endpoint
from tests.teacher.requests import MODEL, make_requests

THREADS = 4
MEDIANS = (0.5, 1.0, 2.0)
SLOTS = 64  # of each of these
PLACES = 40  # that queueing and refusing endpoints have
PER_SECOND = 50  # that a limited one allows
IN_FLIGHT = 128


def bare(endpoints: list[Endpoint], workers: int, asked: list[Request]) -> None:
    """Ask with so many plain workers an endpoint, all from one queue."""

    async def run() -> None:
        left = iter(asked)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def work(url: str) -> None:
                for request in left:
                    headers = {"Content-Type": "application/json", "X-Request-Id": request.key}
                    body = wire.body(request)
                    async with session.post(f"{url}/chat/completions", data=body, headers=headers) as response:
                        assert json.loads(await response.read())["choices"]

            await asyncio.gather(*(work(endpoint.url) for endpoint in endpoints for _ in range(workers)))

    asyncio.run(run())


def ours(endpoints: list[Endpoint], in_flight: int, asked: list[Request]) -> None:
    """Ask the same through one dispatcher, from several threads with a shard each."""
    urls = tuple(endpoint.url for endpoint in endpoints)
    dispatcher = acquire(TeacherSection(model=MODEL, base_urls=urls, max_in_flight=in_flight))
    with tempfile.TemporaryDirectory() as folder:

        def shard(number: int) -> None:
            with ShardJournal(Path(folder), "generate", f"shard-{number}", 1) as journal:
                outcomes = dispatcher.complete(asked[number::THREADS], journal)
            assert all(isinstance(outcome, Completion) for outcome in outcomes)

        try:
            with ThreadPoolExecutor(THREADS) as threads:
                list(threads.map(shard, range(THREADS)))
        finally:
            release(dispatcher)


def seen(options: list[dict[str, Any]], contender: Any, at_once: int, n: int) -> list[dict[str, Any]]:
    """Let a contender ask ``n`` requests of fresh endpoints; return what each of these counted."""
    with contextlib.ExitStack() as stack:
        endpoints = [stack.enter_context(running_endpoint(lean=True, **each)) for each in options]
        contender(endpoints, at_once, make_requests(n))
        return [endpoint.stats(short=True) for endpoint in endpoints]


def used(stats: list[dict[str, Any]]) -> list[float]:
    """Return the mean in flight of each endpoint over its slots, from the first request to the last reply of any."""
    seconds = max(each["last"] for each in stats) - min(each["first"] for each in stats)
    return [each["mean_in_flight"] * each["seconds"] / seconds / SLOTS for each in stats]


def used_while_asked(stats: list[dict[str, Any]]) -> list[float]:
    """Return the same until an endpoint gets its last request."""
    return [each["mean_in_flight_while_asked"] / SLOTS for each in stats]


def goodput(stats: dict[str, Any]) -> float:
    """Return replies a second, from the first request to the last reply."""
    return float(stats["replies"] / stats["seconds"])


def refused(stats: dict[str, Any]) -> str:
    """Return how many requests were refused for one reply."""
    return f"{sum(stats['faults'].values()) / stats['replies']:.2f} refused a reply"


def speeds(n: int, sigma: float) -> None:
    options = [{"latency_s": median, "sigma": sigma} for median in MEDIANS]
    most, own = seen(options, bare, SLOTS, n), seen(options, ours, SLOTS * len(MEDIANS), n)
    print(f"\nspeeds: {n:,} requests, {SLOTS} slots each, sigma {sigma:g}")
    print("                 replies   while asked: ours   bare   to the last reply: ours   bare")
    columns = (used_while_asked(own), used_while_asked(most), used(own), used(most))
    for median, stats, *shares in zip(MEDIANS, own, *columns, strict=True):
        print("  median {:3g} s {:9,} {:20.3f} {:6.3f} {:25.3f} {:6.3f}".format(median, stats["replies"], *shares))


def queueing(n: int, sigma: float) -> None:
    options = [{"latency_s": 0.5, "sigma": sigma, "slots": PLACES}]
    [limit], [own] = seen(options, bare, PLACES, n), seen(options, ours, IN_FLIGHT, n)
    print(f"\nqueueing: {n:,} requests, {PLACES} slots, {IN_FLIGHT} in flight, sigma {sigma:g}")
    print(f"  slots at work {own['mean_working'] / PLACES:.3f}; bare {limit['mean_working'] / PLACES:.3f}")
    print(f"  goodput {goodput(own):.1f} a second, {goodput(own) / goodput(limit):.3f} of bare; {refused(own)}")


def refusing(n: int, sigma: float) -> None:
    options = [{"latency_s": 0.5, "sigma": sigma, "capacity": PLACES}]
    [limit], [own] = seen(options, bare, PLACES, n), seen(options, ours, IN_FLIGHT, n)
    print(f"\nrefusing: {n:,} requests, room for {PLACES}, {IN_FLIGHT} in flight, sigma {sigma:g}")
    print(f"  goodput {goodput(own):.1f} a second, {goodput(own) / goodput(limit):.3f} of bare; {refused(own)}")


def limited(n: int, sigma: float) -> None:
    options = [{"latency_s": 0.5, "sigma": sigma, "requests_per_minute": PER_SECOND * 60}]
    [own] = seen(options, ours, IN_FLIGHT, n)
    print(f"\nlimited: {n:,} requests, {PER_SECOND} a second, {IN_FLIGHT} in flight, sigma {sigma:g}")
    print(f"  goodput {goodput(own):.1f} a second, {goodput(own) / PER_SECOND:.3f} of the limit; {refused(own)}")


SCENARIOS = {scenario.__name__: scenario for scenario in (speeds, queueing, refusing, limited)}
REQUESTS = {"speeds": 6000}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.bench_endpoints",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", default=[], metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--requests", type=int, help="default 6,000 for speeds, 2,000 for the others")
    parser.add_argument("--sigma", type=float, default=0.6, help="of the lognormal latency; default 0.6")
    options = parser.parse_args()
    if unknown := set(options.scenarios) - SCENARIOS.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    for name in options.scenarios or SCENARIOS:
        SCENARIOS[name](options.requests or REQUESTS.get(name, 2000), options.sigma)


if __name__ == "__main__":
    main()
