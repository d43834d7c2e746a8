"""A server that is not ours, `transformers serve`, with a model that writes nonsense.

What it does otherwise than vLLM: it passes over ``response_format`` with a warning; answers 422 to any field that is
not OpenAI's; lists the models of its cache alone, whatever it serves; names the model with its revision in replies;
counts no cached tokens; and it takes one request at a time.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from curator_sdg.config import TeacherSection
from curator_sdg.errors import TeacherError
from curator_sdg.report.show import select
from curator_sdg.teacher import Completion, acquire, journal_usage, release
from curator_sdg.teacher.servers.supervisor import Servers
from tests.recording import recorded
from tests.runs import ROOT, alive, children, run, wait_until, write_config
from tests.teacher.requests import make_request
from tests.tiny_model import NAME, SERVE, environment, make_model

pytestmark = pytest.mark.slow

ROWS = 8


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("models")
    make_model(cache)
    return cache


@pytest.fixture(autouse=True)
def _serves_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(model).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with Servers(teacher(), tmp_path / "servers") as running:
        yield running


def teacher(model: str = NAME, **vllm: object) -> TeacherSection:
    settings = {"command": SERVE, "port": 8800, "start_timeout_s": 120, **vllm}
    return TeacherSection.model_validate({"engine": "vllm", "model": model, "vllm": settings})


def server() -> int:
    """Return the process that serves: the keeper's child."""
    keeper = next(pid for pid in children(os.getpid()) if b"keeper.py" in Path(f"/proc/{pid}/cmdline").read_bytes())
    return children(keeper)[0]


def test_its_nonsense_ends_in_rejects_and_the_accounts_are_its_own(servers: Servers, tmp_path: Path) -> None:
    with recorded(servers.urls[0]) as recording:
        path = write_config(
            tmp_path,
            recording.url,
            run={"limit": ROWS},
            teacher={"model": NAME, "max_in_flight": 4},
            generate={"sampling": {"temperature": 1.5, "max_tokens": 150}},
        )
        done = run("run", path)
    assert done.returncode == 0, done.stderr
    run_dir = tmp_path / "run"
    rejects = select(run_dir, "rejects", "generate", n=100)
    assert len(rejects) == len(recording.replies) == ROWS

    # A reply that ran out of room is cut, and one that ended by itself garbage.
    ends = Counter(reply["choices"][0]["finish_reason"] for reply in recording.replies)
    reasons = Counter(reject["reason"] for reject in rejects)
    assert set(reasons) <= {"cut", "garbage"}
    assert reasons == Counter({"cut": ends["length"], "garbage": ends["stop"]})
    assert sorted(reject["raw"] for reject in rejects) == sorted(
        reply["choices"][0]["message"]["content"] for reply in recording.replies
    )
    assert {request["response_format"]["type"] for request in recording.requests} == {"json_schema"}

    used = journal_usage(run_dir / "journal")["generate"][NAME]
    assert (used.replies, used.cached_tokens, used.uncounted) == (ROWS, 0, 0)
    assert used.prompt_tokens == recording.usage("prompt_tokens")
    assert used.completion_tokens == recording.usage("completion_tokens")
    figures = f"{ROWS} replies, {used.prompt_tokens:,} prompt and {used.completion_tokens:,} completion tokens"
    assert figures in done.stdout


def test_it_is_asked_again_once_it_was_killed_and_started_anew(servers: Servers) -> None:
    assert servers.endpoints is not None
    served = TeacherSection(model=NAME, endpoints_file=servers.endpoints, max_in_flight=2)
    dispatcher = acquire(served)
    try:
        first, second = make_request(0, model=NAME), make_request(1, model=NAME)
        assert isinstance(dispatcher.complete([first])[0], Completion)
        killed = server()
        os.kill(killed, signal.SIGKILL)
        assert isinstance(dispatcher.complete([second])[0], Completion)
        assert server() != killed
    finally:
        release(dispatcher)


def test_a_model_that_it_does_not_have_is_an_error_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(TeacherError) as error:
        Servers(teacher("tests/other"), tmp_path).__enter__()
    first, *words = str(error.value).splitlines()
    assert first.startswith("teacher.vllm: server 0 ended with status 1 before it answered; the last lines of ")
    assert any(line.startswith("OSError: We couldn't connect") for line in words)
    assert [pid for pid in alive(children(os.getpid())) if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes()] == []


def test_a_killed_start_of_a_run_leaves_no_server_behind(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from curator_sdg.teacher.servers.supervisor import Servers;"
        "from tests.teacher.endpoint.test_other_server import teacher;"
        "Servers(teacher(), Path(sys.argv[1])).__enter__(); print('up', flush=True); time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        there = children(parent.pid)
        parent.kill()
    wait_until(lambda: alive(there) == [])
