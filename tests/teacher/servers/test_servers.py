from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from curator_sdg.config import TeacherSection
from curator_sdg.errors import ConfigError, TeacherError
from curator_sdg.teacher.endpoint.addresses import ENDED, EndpointsFile
from curator_sdg.teacher.servers.supervisor import Servers, serving
from tests.runs import ROOT, alive, children, wait_until

# Our own test endpoint stands for vLLM here: it starts in a second. It knows no /health, only /v1/models.
ENDPOINT = ("{python}", "-m", "tests.endpoint", "--port={port}", "--model={model}")
# A server with an engine of its own process group that does not care for SIGTERM.
STUBBORN = (
    "trap '' TERM; setsid sleep 987 & (sleep 986 &); exec {python} -m tests.endpoint --port={port} --model={model}"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def teacher(*command: str, **vllm: Any) -> TeacherSection:
    settings = {"command": command or ENDPOINT, "port": free_port(), "start_timeout_s": 60} | vllm
    return TeacherSection.model_validate({"engine": "vllm", "model": "test-model", "vllm": settings})


def models(url: str) -> list[str]:
    with urllib.request.urlopen(f"{url}/models", timeout=10) as answer:
        return [model["id"] for model in json.load(answer)["data"]]


def server_of(keeper: int) -> int:
    return int(subprocess.run(["pgrep", "-P", str(keeper), "-o"], capture_output=True, text=True, check=True).stdout)


def keepers() -> list[int]:
    found = subprocess.run(
        ["pgrep", "-P", str(os.getpid()), "-f", "keeper.py"], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in found.stdout.split()]


@pytest.fixture(autouse=True)
def _nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(ROOT)
    yield
    assert keepers() == []


@pytest.fixture
def said() -> list[str]:
    return []


def test_there_is_a_server_for_each_group_of_gpus(tmp_path: Path) -> None:
    config = teacher(gpus=[0, 1, 2, 3, 4], tensor_parallel=2)
    others = children(os.getpid())  # such as multiprocessing's resource tracker, which other tests start
    with Servers(config, tmp_path) as servers:
        assert [models(url) for url in servers.urls] == [["test-model"], ["test-model"]]
        assert servers.endpoints == tmp_path / "endpoints.txt"
        assert servers.endpoints.read_text().split() == list(servers.urls)
        seen = [(Path("/proc") / str(server_of(keeper)) / "environ").read_bytes().split(b"\0") for keeper in keepers()]
        gpus = [line for variables in seen for line in variables if line.startswith(b"CUDA_VISIBLE_DEVICES=")]
        assert sorted(gpus) == [b"CUDA_VISIBLE_DEVICES=0,1", b"CUDA_VISIBLE_DEVICES=2,3"]
        there = [pid for pid in children(os.getpid()) if pid not in others]
    assert alive(there) == []
    assert not (tmp_path / "endpoints.txt").exists()


def test_the_log_has_the_output_of_each_server_under_a_line_for_each_start(tmp_path: Path) -> None:
    for _ in range(2):
        with Servers(teacher(), tmp_path) as servers:
            url = servers.urls[0]
    lines = (tmp_path / "vllm-0.log").read_text().splitlines()
    assert [line[:5] for line in lines if line.startswith("====")] == ["==== "] * 2
    assert f"{sys.executable} -m tests.endpoint --port=" in lines[0]
    assert lines[-1] == url  # what the endpoint prints


def test_a_killed_server_is_left_out_and_started_again(tmp_path: Path, said: list[str]) -> None:
    with Servers(teacher(), tmp_path, say=said.append) as servers:
        (url,), file = servers.urls, servers.endpoints
        assert file is not None
        os.kill(server_of(keepers()[0]), signal.SIGKILL)
        wait_until(lambda: file.read_text() == "")
        wait_until(lambda: file.read_text() == f"{url}\n")
        assert models(url) == ["test-model"]
        assert servers.failure is None
    assert f"server 0 ended with signal 9; see {tmp_path / 'vllm-0.log'}; restart 1 of 3" in said
    assert said.count(f"server 0 answers at {url}") == 2


def kill(servers: Servers, url: str) -> None:
    """Kill the server at an address, and return once that is known."""
    port = f"--port={url.split(':')[2].removesuffix('/v1')}"
    found = [server_of(keeper) for keeper in keepers()]
    (pid,) = (pid for pid in found if port in Path(f"/proc/{pid}/cmdline").read_text().split("\0"))
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: url not in servers.urls)


def test_a_server_that_dies_too_often_is_left_out_and_the_others_go_on(tmp_path: Path) -> None:
    with Servers(teacher(gpus=[0, 1], max_restarts=1), tmp_path) as servers:
        first, second = servers.urls
        file = servers.endpoints
        assert file is not None
        kill(servers, first)
        wait_until(lambda: servers.urls == (first, second))
        kill(servers, first)
        wait_until(lambda: len(keepers()) == 1)
        assert servers.failure is None
        assert file.read_text() == f"{second}\n"
        kill(servers, second)
        wait_until(lambda: servers.urls == (second,))
        kill(servers, second)
        why = servers.wait(60)
        assert why is not None
        assert why.startswith("teacher.vllm: no server is left: server 1 (GPU 1) ended with signal 9; see ")
        assert why.endswith("vllm-1.log, after 1 restart; look there, and run the same command again")
        wait_until(lambda: file.read_text() == f"# ended: {why}\n")


def test_a_server_that_ends_before_it_answers_is_one_error_with_its_last_words(tmp_path: Path) -> None:
    program = "import sys; [print(f'line {n}') for n in range(50)]; sys.exit('no kernel image for this GPU')"
    with pytest.raises(TeacherError) as error, Servers(teacher("{python}", "-c", program), tmp_path):
        pass
    first, *last = str(error.value).splitlines()
    assert first == (
        f"teacher.vllm: server 0 ended with status 1 before it answered; the last lines of {tmp_path / 'vllm-0.log'}:"
    )
    assert len(last) == 20
    assert "no kernel image for this GPU" in last


def test_errors_further_up_in_the_log_are_told_too(tmp_path: Path) -> None:
    program = (
        "print('(EngineCore pid=7) ValueError: Free memory on device cuda:0 (1.5/139.8 GiB) is too little');"
        "[print(f'  File {n}\\n    ^^^^^') for n in range(40)]; raise RuntimeError('Engine core failed, see above')"
    )
    with pytest.raises(TeacherError) as error:
        Servers(teacher("{python}", "-u", "-c", program), tmp_path).__enter__()
    _, cause, gap, *last = str(error.value).splitlines()
    assert (cause[:33], gap, len(last)) == ("(EngineCore pid=7) ValueError: Fr", "...", 20)
    assert last[-1] == "RuntimeError: Engine core failed, see above"
    assert "^" not in str(error.value)


def test_last_words_hold_nothing_that_a_terminal_would_obey(tmp_path: Path) -> None:
    program = r"import os; os.write(1, b'\x1b[31mred\x1b[0m\tand\r\n\x1b[2J\xff\0\n' + b'x' * 10**4); exit(3)"
    with pytest.raises(TeacherError) as error:
        Servers(teacher("{python}", "-c", program), tmp_path).__enter__()
    _, *last = str(error.value).splitlines()
    assert last == ["red and", "\ufffd[2J\ufffd\ufffd", "x" * 500 + " ..."]


def test_a_command_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"status 127 .*\n.*no-such-server cannot be started: No such file"):
        Servers(teacher("no-such-server", "{port}"), tmp_path).__enter__()


def test_one_server_that_cannot_start_ends_the_others(tmp_path: Path) -> None:
    only_first = "if [ $CUDA_VISIBLE_DEVICES = 1 ]; then exit 4; fi; exec " + " ".join(ENDPOINT)
    with pytest.raises(
        TeacherError, match=r"server 1 \(GPU 1\) ended with status 4 before it answered; it wrote nothing"
    ):
        Servers(teacher("bash", "-c", only_first, gpus=[0, 1]), tmp_path).__enter__()
    assert keepers() == []


def test_a_server_that_takes_too_long_to_start_is_one_error(tmp_path: Path) -> None:
    config = teacher("sleep", "1000", start_timeout_s=0.5)
    with pytest.raises(TeacherError, match=r"the 0\.5 s of teacher\.vllm\.start_timeout_s, and ended before it ans"):
        Servers(config, tmp_path).__enter__()


def test_servers_that_are_no_longer_wanted_while_they_start_are_ended(tmp_path: Path, said: list[str]) -> None:
    servers = Servers(teacher("sleep", "1000"), tmp_path, say=said.append)
    stopper = threading.Thread(target=lambda: (wait_until(keepers), servers.stop()))
    stopper.start()
    with pytest.raises(TeacherError, match="no longer wanted"):
        servers.__enter__()
    stopper.join()


def test_a_killed_parent_leaves_no_process_behind_and_the_next_start_waits_for_that(
    tmp_path: Path, said: list[str]
) -> None:
    program = (
        "import sys, time; from pathlib import Path; from curator_sdg.teacher.servers.supervisor import Servers;"
        "from tests.teacher.servers.test_servers import STUBBORN, teacher;"
        "Servers(teacher('bash', '-c', STUBBORN), Path(sys.argv[1])).__enter__(); print('up', flush=True);"
        "time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        there = children(parent.pid)
        assert len(there) == 4  # the keeper, the endpoint and two that sleep
        parent.kill()
    with Servers(teacher(), tmp_path, say=said.append):
        assert alive(there) == []
    assert said[0] == "waiting until the servers of an earlier start are gone"


def test_a_server_that_dies_takes_its_engines_along(tmp_path: Path) -> None:
    with Servers(teacher("bash", "-c", STUBBORN), tmp_path):
        (keeper,) = keepers()
        engines = children(keeper)
        assert len(engines) == 3
        os.kill(server_of(keeper), signal.SIGKILL)
        wait_until(lambda: alive([keeper, *engines]) == [])


def test_a_port_that_is_taken_is_passed_over(tmp_path: Path, said: list[str]) -> None:
    config = teacher(gpus=[0, 1])
    port = config.vllm.port
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with Servers(config, tmp_path, say=said.append) as servers:
            assert [int(url.split(":")[2].removesuffix("/v1")) for url in servers.urls] == [port + 1, port + 2]
    assert f"server 0: port {port} is taken, so it listens at {port + 1}" in said


def test_a_port_that_another_program_takes_meanwhile_is_given_up(tmp_path: Path, said: list[str]) -> None:
    begun, taken = tmp_path / "begun", tmp_path / "taken"
    command = f"touch {begun}; until test -e {taken}; do sleep 0.02; done; exec {' '.join(ENDPOINT)}"
    config = teacher("sh", "-c", command)
    servers = Servers(config, tmp_path / "logs", say=said.append)

    def take() -> None:
        wait_until(begun.exists)
        # It knows no GET, so it is not taken for ours.
        with http.server.HTTPServer(("127.0.0.1", config.vllm.port), http.server.BaseHTTPRequestHandler) as other:
            taken.touch()
            while not given_up.is_set():
                other.timeout = 0.05
                other.handle_request()

    given_up = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(take)
        try:
            with servers:
                assert servers.urls == (f"http://127.0.0.1:{config.vllm.port + 1}/v1",)
        finally:
            given_up.set()
        other.result(30)
    assert "server 0 lost its port to another program; restart 1 of 3" in said


def test_who_can_be_told_nothing_any_more_still_has_servers(tmp_path: Path) -> None:
    def closed(line: str) -> None:
        raise BrokenPipeError(line)

    with Servers(teacher(), tmp_path, say=closed) as servers:
        [url] = servers.urls
        [keeper] = keepers()
        os.kill(server_of(keeper), signal.SIGKILL)
        wait_until(lambda: keepers() not in ([keeper], []) and servers.urls == (url,))
        assert models(url) == ["test-model"]


def test_a_start_waits_until_the_servers_of_an_earlier_one_are_gone(tmp_path: Path, said: list[str]) -> None:
    first, second = Servers(teacher(), tmp_path), Servers(teacher(), tmp_path, say=said.append)
    with first:
        (keeper,) = keepers()
        ours = threading.Thread(target=second.__enter__)
        ours.start()
        wait_until(lambda: said)
        assert said == ["waiting until the servers of an earlier start are gone"]
        assert keepers() == [keeper]
    ours.join(60)
    assert second.urls
    second.__exit__(None, None, None)


def test_a_key_is_handed_to_the_servers_and_used_to_look_at_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVERS_KEY", "s3cret")
    config = teacher("bash", "-c", " ".join(ENDPOINT) + " --key=$VLLM_API_KEY")
    with Servers(config.model_copy(update={"api_key_env": "SERVERS_KEY"}), tmp_path) as servers:
        assert len(servers.urls) == 1
    assert "s3cret" not in (tmp_path / "vllm-0.log").read_text()
    monkeypatch.delenv("SERVERS_KEY")
    with pytest.raises(TeacherError, match="SERVERS_KEY is not set"):
        Servers(config.model_copy(update={"api_key_env": "SERVERS_KEY"}), tmp_path).__enter__()


def test_machines_register_in_a_folder_that_they_share(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    with Servers(teacher(), tmp_path / "a", register=shared, host="localhost") as one:
        with Servers(teacher(), tmp_path / "b", register=shared, host="localhost") as other:
            lines = {file.read_text().strip() for file in shared.glob("*.txt")}
            assert lines == {*one.urls, *other.urls}
            assert models(other.urls[0]) == ["test-model"]
        assert [file.read_text().strip() for file in shared.glob("*.txt")] == list(one.urls)
        assert one.endpoints == shared / f"localhost-{one.urls[0].split(':')[2].removesuffix('/v1')}.txt"
    assert list(shared.iterdir()) == []


def test_a_shared_folder_is_read_as_one_list(tmp_path: Path) -> None:
    file = EndpointsFile(tmp_path / "shared")
    assert file.read() == []
    file.path.mkdir()
    (file.path / "b-8200.txt").write_text("http://b:8200/v1\nhttp://b:8201/v1\n")
    (file.path / "a-8200.txt").write_text("# node a\nhttp://a:8200/v1\n\nhttp://b:8200/v1\n")
    (file.path / ".c-8200.txt.0.tmp").write_text("http://half")
    (file.path / "logs").mkdir()
    assert file.read() == ["http://a:8200/v1", "http://b:8200/v1", "http://b:8201/v1"]
    (file.path / "b-8200.txt").unlink()
    assert file.read() == ["http://a:8200/v1", "http://b:8200/v1"]


def test_only_when_the_servers_of_all_machines_have_ended_there_will_be_none(tmp_path: Path) -> None:
    file = EndpointsFile(tmp_path)
    (tmp_path / "a.txt").write_text(f"{ENDED}no GPU answers\n")
    assert (file.read(), file.ended) == ([], "no GPU answers")
    (tmp_path / "b.txt").write_text("")  # those of another machine are still to come
    assert (file.read(), file.ended) == ([], None)
    (tmp_path / "b.txt").write_text("http://b:8200/v1\n")
    assert (file.read(), file.ended) == (["http://b:8200/v1"], None)


def test_a_file_in_the_place_of_the_shared_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "endpoints").write_text("http://other/v1\n")
    with pytest.raises(ConfigError, match="endpoints: is a file; name a folder"):
        Servers(teacher(), tmp_path / "logs", register=tmp_path / "endpoints").__enter__()


def test_without_a_folder_the_logs_stay_only_if_something_went_wrong(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Servers(teacher(), say=said.append):
        folder = Path(said[0].split("logs in ")[1])
        assert (folder / "vllm-0.log").exists()
    assert not folder.exists()
    with pytest.raises(TeacherError, match="the last lines of") as error:
        Servers(teacher("bash", "-c", "echo broken; exit 1")).__enter__()
    assert "broken" in Path(str(error.value).split("the last lines of ")[1].split(":\n")[0]).read_text()


def test_a_run_is_given_a_teacher_that_asks_its_servers(tmp_path: Path) -> None:
    with serving(teacher(), tmp_path / "servers") as served:
        assert served.engine == "endpoint"
        assert served.endpoints_file == tmp_path / "servers" / "endpoints.txt"
        assert models(served.endpoints_file.read_text().strip()) == ["test-model"]
    other = TeacherSection(model="m", base_urls=("http://localhost:1/v1",))
    with serving(other, tmp_path / "none") as served:
        assert served is other
