"""The teacher that brings its own servers, outside of a run; our test endpoint stands for vLLM."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curator_sdg.config import TeacherSection
from curator_sdg.errors import SdgError, TeacherError, TeacherFailing
from curator_sdg.teacher import Completion, Dispatcher, Status, acquire, release
from tests.runs import ROOT, alive, children, wait_until
from tests.teacher.requests import MODEL, make_request, make_requests

ENDPOINT = ("{python}", "-m", "tests.endpoint", "--port={port}", "--model={model}")


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(ROOT)


def teacher(*command: str, **vllm: object) -> TeacherSection:
    settings = {"command": command or ENDPOINT, "gpus": (0, 1), "port": 8600, **vllm}
    return TeacherSection.model_validate({"engine": "vllm", "model": MODEL, "max_in_flight": 8, "vllm": settings})


def servers() -> list[int]:
    """Return all processes below this one that belong to a server, its keeper included."""
    keepers = [pid for pid in children(os.getpid()) if b"keeper.py" in command(pid)]
    return [*keepers, *(pid for keeper in keepers for pid in children(keeper))]


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def asking(dispatcher: Dispatcher) -> Iterator[list[Exception]]:
    """Ask one request in another thread; afterwards what came of it, where that was an error, is in the list."""
    told: list[Exception] = []

    def ask() -> None:
        try:
            dispatcher.complete([make_request(0)])
        except SdgError as error:
            told.append(error)

    caller = threading.Thread(target=ask)
    caller.start()
    try:
        yield told
    finally:
        release(dispatcher)
        caller.join(60)
        assert not caller.is_alive()


def test_the_first_request_starts_the_servers_and_the_last_release_ends_them(tmp_path: Path) -> None:
    dispatcher = acquire(teacher())
    try:
        assert servers() == []
        outcomes = dispatcher.complete(make_requests(16))
        assert all(isinstance(outcome, Completion) for outcome in outcomes)
        (folder,) = tmp_path.glob("curator-sdg-servers-*")
        assert len(list(folder.glob("vllm-*.log"))) == 2
        there = servers()
        assert len(there) == 4
    finally:
        release(dispatcher)
    assert alive(there) == []
    assert list(tmp_path.glob("curator-sdg-servers-*")) == []


def test_what_keeps_the_servers_from_starting_is_what_the_caller_is_told() -> None:
    dispatcher = acquire(teacher("bash", "-c", "echo out of memory; exit 1"))
    try:
        with pytest.raises(TeacherError, match=r"ended with status 1 before it answered; .*\nout of memory"):
            dispatcher.complete([make_request(0)])
    finally:
        release(dispatcher)


def test_servers_that_still_start_end_when_nobody_wants_them_any_more() -> None:
    with asking(acquire(teacher("sleep", "1000"))) as told:
        wait_until(lambda: len(servers()) == 4)
        there = servers()
    assert "closed" in str(told[0])
    assert alive(there) == []


def test_when_no_server_is_left_the_asking_ends_at_once_and_says_why() -> None:
    hanging = teacher("bash", "-c", " ".join(ENDPOINT) + " --hang=1 --fault-tries=-1", max_restarts=0)
    reports: list[Status] = []
    with asking(acquire(hanging, report=reports.append)) as told:
        wait_until(lambda: reports and reports[-1].in_flight)
        for pid in servers():
            if b"keeper.py" not in command(pid):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: told)
    assert isinstance(told[0], TeacherFailing)
    assert "no server is left: server" in str(told[0])
