"""`curator-sdg serve`: servers on one machine for a run on another; our test endpoint stands for vLLM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.runs import ROOT, alive, children, environment, run, start, wait_until, write_config

ENDPOINT = ["{python}", "-m", "tests.endpoint", "--port={port}", "--model={model}"]
NO_GPU = environment(CUDA_VISIBLE_DEVICES="")


def config(folder: Path, port: int, **teacher: Any) -> Path:
    shared = {"base_urls": [], "endpoints_file": str(folder / "shared"), "patience_s": 60}
    vllm = {"command": ENDPOINT, "gpus": [0, 1], "port": port}
    return write_config(folder, "", run={"limit": 6}, teacher={**shared, "vllm": vllm, **teacher})


@contextmanager
def serving(path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    process = start("serve", path, "--host", "localhost", *options, cwd=ROOT, env=NO_GPU)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def stats(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.removesuffix("v1") + "stats?short", timeout=10) as answer:
        figures: dict[str, Any] = json.load(answer)
    return figures


def registered(folder: Path) -> list[str]:
    return [line for file in (folder / "shared").glob("*.txt") for line in file.read_text().split()]


def test_a_run_finds_the_servers_of_other_machines_and_they_end_when_told(tmp_path: Path) -> None:
    path = config(tmp_path, 8700)
    with serving(path) as servers:
        wait_until(lambda: len(registered(tmp_path)) == 2)
        done = run("run", path, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert all(stats(url)["max_in_flight"] > 0 for url in registered(tmp_path))
        there = children(servers.pid)
        servers.send_signal(signal.SIGTERM)
        out, err = servers.communicate(timeout=60)
    assert (servers.returncode, err) == (0, "")
    first, *_, up, ended = out.splitlines()
    assert first == (
        f"starting 2 servers of test-model, which may take minutes; logs in {tmp_path}/shared/logs/teacher-localhost"
    )
    assert up.startswith(f"2 of test-model at work, registered in {tmp_path}/shared/localhost-87")
    assert ended == "ended"
    assert registered(tmp_path) == []
    assert alive(there) == []


def test_when_no_server_is_left_it_ends_with_the_reason(tmp_path: Path) -> None:
    with serving(
        config(tmp_path, 8720), "--set", "teacher.vllm.gpus=[0]", "--set", "teacher.vllm.max_restarts=0"
    ) as it:
        wait_until(lambda: len(registered(tmp_path)) == 1)
        (server,) = (pid for pid in children(it.pid) if b"\0tests.endpoint\0" in _command(pid) and not _kept(pid))
        os.kill(server, signal.SIGKILL)
        _, err = it.communicate(timeout=60)
    assert it.returncode == 1
    assert err.startswith("error: teacher.vllm: no server is left: server 0 (GPU 0) ended with signal 9; see ")


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _kept(pid: int) -> bool:
    return b"keeper.py" in _command(pid)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--teacher", "grater"], "--teacher: there is no teacher 'grater'; did you mean 'greater'?"),
        (["--host", "no.such.host.invalid"], "--host: the name 'no.such.host.invalid' cannot be resolved"),
        (["--set", "teacher.vllm.command=null"], "teacher.engine: vllm needs a GPU, and there is none"),
        (
            ["--set", "teacher.engine=recorded", "--set", "teacher.recording=x"],
            "teacher.engine: a recording needs no servers",
        ),
    ],
)
def test_what_cannot_be_served_is_one_error(tmp_path: Path, options: list[str], message: str) -> None:
    path = config(tmp_path, 8740)
    path.write_text(path.read_text() + "\nteachers: {greater: {model: m, base_urls: ['http://localhost:1/v1']}}\n")
    done = run("serve", path, *options, cwd=ROOT, env=NO_GPU)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
