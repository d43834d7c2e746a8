"""One teacher writes and another answers: each is asked for its own step, at its own price and limits."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import yaml

from curator_sdg.teacher.journal.segment import read_segment
from tests.endpoint import running_endpoint
from tests.runs import ROOT, environment, ledger, run, start, wait_until, workers, write_config

pytestmark = pytest.mark.slow

MAKER = "tests.maker:project_reply"
WRITER, SOLVER = "test-model", "solver-model"
ENDPOINT = ["{python}", "-m", "tests.endpoint", "--port={port}", "--model={model}", f"--maker={MAKER}"]


def config_for(folder: Path, writer: str, solver: str, **sections: dict) -> Path:
    """A run whose questions one teacher writes and whose answers another one gives."""
    price = {"prompt": 1.0, "completion": 2.0}
    asked = {
        "teachers": {"solver": {"model": SOLVER, "base_urls": [solver], "max_in_flight": 4, "price": price}},
        "teacher": {"price": {"prompt": 10.0, "completion": 20.0}, "obligations": ["attribution"]},
        "enrich": {"teacher": "solver"},
    }
    return write_config(folder, writer, **{**asked, **sections})


def replies(run_dir: Path, step: str) -> list:
    segments = (run_dir / "journal" / step).rglob("*.jsonl*")
    return [reply for path in segments for reply in read_segment(path)]


def test_each_step_asks_its_own_teacher_and_the_bill_knows_both_prices(tmp_path):
    with running_endpoint(maker=MAKER) as writer, running_endpoint(maker=MAKER, model=SOLVER) as solver:
        done = run("run", config_for(tmp_path, writer.url, solver.url))
        assert done.returncode == 0, done.stderr
        assert solver.stats()["max_in_flight"] <= 4
    run_dir = tmp_path / "run"
    wrote, answered = replies(run_dir, "generate"), replies(run_dir, "enrich")
    assert ({reply.model for reply in wrote}, {reply.model for reply in answered}) == ({WRITER}, {SOLVER})
    example = json.loads((run_dir / "package" / "answer.jsonl").read_text().splitlines()[0])
    assert (example["teacher"], example["solver"]) == (WRITER, SOLVER)
    assert {"attribution", "unknown"} <= set(example["obligations"]), "both teachers' terms hold"
    usage = ledger(run_dir)["usage"]
    by_hand = sum(10 * r.prompt_tokens + 20 * r.completion_tokens for r in wrote) / 1e6
    by_hand += sum(r.prompt_tokens + 2 * r.completion_tokens for r in answered) / 1e6
    assert usage["cost"] == pytest.approx(by_hand)


def test_another_solver_asks_for_the_answers_anew_and_for_nothing_else(tmp_path):
    with running_endpoint(maker=MAKER) as writer, running_endpoint(maker=MAKER, model=SOLVER) as solver:
        assert run("run", write_config(tmp_path, writer.url)).returncode == 0
        asked = writer.stats()["asked"]
        done = run("run", config_for(tmp_path, writer.url, solver.url))
        assert done.returncode == 0, done.stderr
        assert writer.stats()["asked"] == asked
        assert sum(solver.stats()["asked"].values()) == len(replies(tmp_path / "run", "enrich")) // 2
    assert "teachers.solver.model is solver-model" in done.stderr.replace("\n", " ")


def test_a_teacher_by_another_name_is_no_other_teacher(tmp_path):
    name = "Org/Solver.2 ünï"  # as models are called
    with running_endpoint(maker=MAKER) as writer, running_endpoint(maker=MAKER, model=SOLVER) as solver:
        config = config_for(tmp_path, writer.url, solver.url)
        assert run("run", config).returncode == 0
        asked = solver.stats()["asked"]
        named = yaml.safe_load(config.read_text())
        named["teachers"][name] = named["teachers"].pop("solver")
        named["enrich"]["teacher"] = name
        config.write_text(yaml.safe_dump(named))
        renamed = run("run", config)
        assert renamed.returncode == 0, renamed.stderr
        assert "made anew" not in renamed.stderr
        fewer = run("run", config, "--set", "enrich.samples=3")
        assert fewer.returncode == 0, fewer.stderr
        assert solver.stats()["asked"] == asked
    said = " ".join(fewer.stderr.split())
    assert "enrich.samples is 3, was 5" in said
    assert f"teachers.{name}.model" not in said, "the model is the same"


def test_of_a_changed_teacher_only_what_differs_is_a_reason(tmp_path):
    with running_endpoint(maker=MAKER) as writer, running_endpoint(maker=MAKER, model=SOLVER) as solver:
        assert run("run", config_for(tmp_path, writer.url, solver.url), "--limit", "8").returncode == 0
        done = run("run", write_config(tmp_path, writer.url), "--limit", "8")
        assert done.returncode == 0, done.stderr
    said = " ".join(done.stderr.split())
    assert "(teacher.model is test-model, teachers.solver.model was solver-model; teacher.obligations is " in said
    assert "context_tokens" not in said, "it is null for both"


def test_a_budget_is_one_for_all_teachers_and_what_is_in_flight_is_kept(tmp_path):
    with (
        running_endpoint(maker=MAKER, latency_s=0.05, sigma=0.5) as writer,
        running_endpoint(maker=MAKER, model=SOLVER, latency_s=0.05, sigma=0.5) as solver,
    ):
        waves = {"dir": str(tmp_path / "run"), "shard_size": 4, "wave_size": 8, "max_tokens": 30_000}
        config = config_for(tmp_path, writer.url, solver.url, run=waves)
        done = run("run", config)
        assert done.returncode == 3, done.stderr
        assert "run.max_tokens" in done.stderr
        kept = [*replies(tmp_path / "run", "generate"), *replies(tmp_path / "run", "enrich")]
        answered = [endpoint.stats()["answered"] for endpoint in (writer, solver)]
        assert len(kept) == sum(map(len, answered)), "a reply that was paid for is not in the journal"
        assert sum(r.prompt_tokens + r.completion_tokens for r in kept) < 1.1 * 30_000
        rest = run("run", config, "--set", "run.max_tokens=null")
        assert rest.returncode == 0, rest.stderr
        assert all(max(endpoint.stats()["asked"].values()) == 1 for endpoint in (writer, solver))


def test_a_teacher_that_fails_ends_the_run_and_loses_nothing_of_the_others(tmp_path):
    with (
        running_endpoint(maker=MAKER, latency_s=0.05, sigma=0.5) as writer,
        running_endpoint(model=SOLVER, server_error=1.0, fault_tries=-1) as solver,
    ):
        run_section = {"dir": str(tmp_path / "run"), "shard_size": 4, "wave_size": 8}
        config = config_for(tmp_path, writer.url, solver.url, run=run_section)
        done = run("run", config, "--set", "teachers.solver.patience_s=2", "--set", "teachers.solver.max_retries=99")
        assert done.returncode == 3, done.stderr
        assert "teacher solver-model: no reply has come for 2 s" in " ".join(done.stderr.split())
        assert len(replies(tmp_path / "run", "generate")) == len(writer.stats()["answered"])


def own_servers(folder: Path, port: int, **teacher: object) -> Path:
    """A run that starts two servers of its own; the test endpoint stands for vLLM."""
    vllm = {"command": ENDPOINT, "gpus": [0, 1], "port": port}
    section = {"engine": "vllm", "base_urls": [], "vllm": vllm, **teacher}
    return write_config(folder, "", teacher=section, cluster={"workers": 2})


def without_gpus() -> dict[str, str]:
    return environment(CUDA_VISIBLE_DEVICES="", PYTHONPATH=str(ROOT))


def test_a_run_starts_its_own_servers_for_as_long_as_it_asks(tmp_path):
    config = own_servers(tmp_path, 8700)
    done = run("run", config, env=without_gpus(), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("answers at http://127.0.0.1:87") == 2
    folder = tmp_path / "run" / "servers" / "teacher"
    assert {path.name for path in folder.iterdir()} == {"vllm-0.log", "vllm-1.log", "lock"}
    assert len((tmp_path / "run" / "package" / "answer.jsonl").read_text().splitlines()) > 50
    again = run("run", config, env=without_gpus(), cwd=ROOT)
    assert again.returncode == 0, again.stderr
    assert "starting" not in again.stderr, "nothing is asked, so no server is needed"


def test_a_killed_teacher_worker_finds_the_servers_as_they_were(tmp_path):
    command = [*ENDPOINT, "--latency-s=0.2"]
    config = own_servers(tmp_path, 8720, vllm={"command": command, "gpus": [0], "port": 8720}, max_in_flight=4)
    process = start("run", config, env=without_gpus(), cwd=ROOT)
    journal = tmp_path / "run" / "journal"
    wait_until(lambda: list(journal.rglob("*.jsonl")))
    teachers = [pid for pid in workers(process.pid) if _threads(pid) > 8]
    for pid in teachers:
        os.kill(pid, signal.SIGKILL)
    _, err = process.communicate(timeout=240)
    assert teachers
    assert process.returncode == 0, err
    assert err.count("answers at") == 1, "a model that takes minutes to load was loaded again"


def test_without_a_gpu_the_run_says_so_before_it_does_anything(tmp_path):
    section = {"engine": "vllm", "base_urls": []}
    done = run("run", write_config(tmp_path, "", teacher=section), env=without_gpus())
    assert done.returncode == 1
    assert "vllm needs a GPU, and there is none" in " ".join(done.stderr.split())
    assert not (tmp_path / "run" / "collected").exists()


def _threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
