"""README's first command, on the recording: every check catches something, and the prompts are as recorded."""

import json
import shutil
import sys

import pytest

from tests.runs import QUICKSTART, ROOT, ledger, package_digest, run

pytestmark = pytest.mark.slow

CONFIG = ROOT / "configs" / "quickstart.yaml"


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("quickstart") / "run"
    done = run("run", CONFIG, "--run-dir", run_dir, cwd=ROOT)
    assert done.returncode == 0, f"the recording does not fit; record anew (see README): {done.stderr}"
    return run_dir


def test_every_check_catches_something(quickstart):
    accounts = ledger(quickstart)
    assert accounts["balanced"]
    reasons = {step["step"]: set(step["rejected"]) for step in accounts["steps"]}
    assert reasons["collect"] >= {"gold_out_of_range", "gold_missing", "duplicate"}
    assert reasons["generate"] >= {"cut", "garbage", "schema", "seed_copy", "code_syntax", "catch_all_option"}
    assert reasons["generate"] >= {"answer_not_in_options", "span_not_in_context"}
    assert reasons["dedup"] == {"duplicate"}
    assert reasons["enrich"] == {"no_majority", "several_right"}
    assert reasons["curate"] == {"WordCountFilter"}


def test_the_package_holds_plain_records_of_both_groups_and_all_variants(quickstart):
    examples = [json.loads(line) for path in (quickstart / "package").glob("*.jsonl") for line in path.open()]
    assert len(examples) > 100
    assert {e["group"] for e in examples} == {"knowledge", "reasoning"}
    assert {e["variant"] for e in examples} == {"answer", "reasoning", "context"}
    for example in examples:
        assert all(example[key] for key in ("answer", "text", "variant", "task", "seed_id"))


def test_a_vote_outweighs_a_wrong_number_of_the_generator(quickstart):
    shown = run("show", quickstart, "--step", "enrich", "--task", "gsm8k", "-n", 9, "--json").stdout.splitlines()
    [record] = [record for record in map(json.loads, shown) if not record["agrees"]]
    assert (record["proposed_answer"], record["answer"], record["share"]) == ("10", "16", 1.0)


def test_a_trace_that_cites_a_letter_is_not_kept(quickstart):
    recorded = (QUICKSTART / "recording" / "enrich.jsonl").read_text()
    assert "Option C is therefore ruled out" in recorded
    packaged = "".join(path.read_text() for path in (quickstart / "package").glob("*.jsonl"))
    assert "Option C is therefore ruled out" not in packaged


def test_nothing_of_the_recording_is_unused(quickstart):
    """A completion that no request asks for is left over from another version of the prompts."""
    recorded = {json.loads(line)["key"] for path in (QUICKSTART / "recording").iterdir() for line in path.open()}
    accounts = {step["step"]: step for step in ledger(quickstart)["steps"]}
    assert len(recorded) == accounts["generate"]["planned"] + 5 * accounts["enrich"]["planned"]


def test_a_changed_prompt_misses_the_recording_with_one_clear_error(tmp_path):
    prompts = tmp_path / "prompts"
    shutil.copytree(ROOT / "curator_sdg" / "generation" / "prompts" / "generate", prompts)
    with (prompts / "_rules.j2").open("a") as rules:
        rules.write("One more rule.\n")
    done = run("run", CONFIG, "--run-dir", tmp_path / "run", "--set", f"generate.prompts={prompts}", cwd=ROOT)
    assert done.returncode == 1
    assert "has no completion for generate" in done.stderr
    assert "record anew" in done.stderr
    assert "Traceback" not in done.stderr


def test_records_and_rejects_can_be_read_in_the_terminal(quickstart):
    records = run("show", quickstart, "-n", 2).stdout
    assert "Question:" in records
    rejects = run("show", quickstart, "--step", "rejects", "--reason", "several_right").stdout
    assert "3x several_right" in rejects


def test_the_pipeline_scripts_make_the_same_package_step_by_step(quickstart, tmp_path):
    import subprocess

    for name in ("collect", "generate", "enrich", "filter", "package"):
        command = [sys.executable, f"pipelines/{name}.py", CONFIG, "--set", f"run.dir={tmp_path / 'run'}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert package_digest(tmp_path / "run") == package_digest(quickstart)


def test_the_script_of_all_steps_makes_the_same_package(quickstart, tmp_path):
    import subprocess

    command = [sys.executable, "pipelines/task_seeded_sdg.py", CONFIG, "--set", f"run.dir={tmp_path / 'run'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert package_digest(tmp_path / "run") == package_digest(quickstart)
