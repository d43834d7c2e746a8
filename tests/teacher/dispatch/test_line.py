"""In which order requests are sent, and which go out as one."""

from __future__ import annotations

from curator_sdg.teacher import Request
from curator_sdg.teacher.dispatch.jobs import Batch, Job, jobs
from curator_sdg.teacher.dispatch.line import Line, pause
from tests.teacher.requests import make_request, make_requests


def batch(requests: list[Request]) -> Batch:
    return Batch([request.key for request in requests], {}, requests, None)


def names(found: list[Job]) -> list[list[tuple[str, int]]]:
    return [[(request.record_id, request.sample) for request in job.requests] for job in found]


def drain(line: Line, now: float) -> list[str]:
    taken = []
    while (job := line.first(now)) is not None:
        assert line.take(now) is job
        taken.append(job.requests[0].record_id)
    return taken


def test_fresh_requests_go_in_the_order_in_which_they_came() -> None:
    line = Line()
    line.add(jobs(batch(make_requests(2)), 1))
    line.add(jobs(batch(make_requests(2, first=2)), 1))
    assert line.fresh == 4
    assert drain(line, 0.0) == ["seed-0", "seed-1", "seed-2", "seed-3"]
    assert (line.fresh, line.waiting, bool(line)) == (0, 0, False)


def test_what_is_to_be_sent_again_waits_for_its_time_and_then_goes_first() -> None:
    line = Line()
    later, soon, *fresh = jobs(batch(make_requests(4)), 1)
    line.add(fresh)
    line.again(later, 20.0)
    line.again(soon, 10.0)
    assert (line.fresh, line.waiting, line.due()) == (2, 2, 10.0)
    first = line.first(9.9)
    assert first is fresh[0]
    assert drain(line, 15.0) == ["seed-1", "seed-2", "seed-3"]
    assert line.first(15.0) is None
    assert line
    assert drain(line, 20.0) == ["seed-0"]


def test_a_line_that_is_cleared_is_empty() -> None:
    line = Line()
    again, *fresh = jobs(batch(make_requests(3)), 1)
    line.add(fresh)
    line.again(again, 0.0)
    line.clear()
    assert (line.fresh, line.waiting, bool(line), line.first(1.0)) == (0, 0, False, None)


def test_pauses_grow_up_to_a_minute_and_come_on_top_of_what_the_server_asks_for() -> None:
    for troubles, most in [(1, 0.5), (2, 1), (3, 2), (7, 32), (8, 60), (1000, 60)]:
        pauses = [pause(troubles, 100.0, 0.5) for _ in range(200)]
        assert all(100 <= one <= 100 + most for one in pauses)
        assert max(pauses) - min(pauses) > most / 2, "full jitter"


def test_samples_of_one_prompt_go_out_together() -> None:
    samples = [make_request(record, sample=sample) for record in (1, 2) for sample in range(5)]
    assert names(jobs(batch(samples), 2)) == [
        [("seed-1", 0), ("seed-1", 1)],
        [("seed-1", 2), ("seed-1", 3)],
        [("seed-1", 4)],
        [("seed-2", 0), ("seed-2", 1)],
        [("seed-2", 2), ("seed-2", 3)],
        [("seed-2", 4)],
    ]
    assert [len(job.requests) for job in jobs(batch(samples), 8)] == [5, 5]
    assert [len(job.requests) for job in jobs(batch(samples), 1)] == [1] * 10


def test_samples_that_differ_in_anything_else_go_out_alone() -> None:
    differing = [
        make_request(1),
        make_request(2),
        make_request(1, messages=({"role": "user", "content": "something else"},)),
        make_request(1, sampling={"temperature": 0.7, "max_tokens": 64, "seed": 2}),
        make_request(1, schema={"type": "object"}),
        make_request(1, structured="none"),
        make_request(1, step="enrich"),
        make_request(1, model="another"),
        make_request(1, revision="b"),
        make_request(1, repair=1),
        make_request(1, retry=1),
    ]
    assert [len(job.requests) for job in jobs(batch(differing), 8)] == [1] * len(differing)


def test_styles_that_alternate_are_sorted_into_their_groups() -> None:
    styles = [({"role": "user", "content": style},) for style in ("knowledge", "reasoning")]
    votes = [make_request(1, sample=i, messages=styles[i % 2]) for i in range(5)]
    assert names(jobs(batch(votes), 4)) == [
        [("seed-1", 0), ("seed-1", 2), ("seed-1", 4)],
        [("seed-1", 1), ("seed-1", 3)],
    ]
