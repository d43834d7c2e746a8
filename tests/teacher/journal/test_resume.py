"""What is paid for once is not paid for again, however the process ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from curator_sdg.errors import Superseded
from tests.endpoint import running_endpoint
from tests.teacher.client import CAP, ask_all

REQUESTS = 400
ROOT = Path(__file__).parents[2]


def start(url: str, run_dir: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.teacher.client", url, str(run_dir), str(REQUESTS)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_after_kill_9_only_what_was_in_flight_is_repeated(tmp_path: Path) -> None:
    kills = 3
    with running_endpoint(latency_s=0.02, sigma=0.6) as endpoint:
        for kill in range(1, kills + 1):
            with start(endpoint.url, tmp_path / "killed") as process:
                while sum(endpoint.stats()["answered"].values()) < 80 * kill:
                    assert process.poll() is None
                process.send_signal(signal.SIGKILL)
        texts = ask_all(endpoint.url, tmp_path / "killed", REQUESTS)
        stats = endpoint.stats()
        assert texts == ask_all(endpoint.url, tmp_path / "unharmed", REQUESTS)
    asked = stats["asked"]
    assert len(asked) == len(texts) == REQUESTS
    assert sum(asked.values()) - REQUESTS <= kills * CAP


def test_a_finished_run_asks_nothing(tmp_path: Path) -> None:
    with running_endpoint() as endpoint:
        first = ask_all(endpoint.url, tmp_path, REQUESTS)
        before = endpoint.stats()["asked"]
        assert ask_all(endpoint.url, tmp_path, REQUESTS) == first
        assert endpoint.stats()["asked"] == before
    assert set(before.values()) == {1}


def test_a_second_start_takes_over_and_the_first_one_stops(tmp_path: Path) -> None:
    with running_endpoint(latency_s=0.1) as endpoint:
        with start(endpoint.url, tmp_path) as first:
            while sum(endpoint.stats()["answered"].values()) < 20:
                assert first.poll() is None
            texts = ask_all(endpoint.url, tmp_path, REQUESTS)
            _, stderr = first.communicate()
        assert len(texts) == REQUESTS
    assert first.returncode != 0
    assert Superseded.__name__ in stderr


@pytest.mark.parametrize("faults", [{"server_error": 0.2, "drop": 0.1}])
def test_faults_change_nothing(tmp_path: Path, faults: dict[str, float]) -> None:
    with running_endpoint(**faults) as faulty, running_endpoint() as sound:
        assert ask_all(faulty.url, tmp_path / "a", 40) == ask_all(sound.url, tmp_path / "b", 40)
