import json
import subprocess
import sys

import curator_sdg


def cli(*args, **options):
    command = [sys.executable, "-m", "curator_sdg.cli", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def test_help_and_version_import_nothing_heavy():
    code = (
        "import sys\nfrom curator_sdg import cli\n"
        "sys.argv = ['curator-sdg', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'ray', 'torch', 'pandas', 'pyarrow', 'dask', 'distributed', 'lm_eval', 'nemo_curator', 'pydantic'}\n"
        "print('HEAVY', sorted(heavy & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in run.stdout
    assert cli("--version").stdout.strip() == curator_sdg.__version__


def test_tasks_are_listed_as_json_with_all_their_fields():
    rows = json.loads(cli("tasks", "--json").stdout)
    keys = {"task", "family", "group", "domain", "output_type", "dataset_path", "dataset_name", "split"}
    keys |= {"licence", "status", "reason"}
    assert all(row.keys() == keys for row in rows)
    assert {"arc_easy", "gsm8k", "mbpp"} <= {row["task"] for row in rows}


def test_one_task_can_be_asked_about_and_a_wrong_name_gets_the_nearest():
    assert [row["task"] for row in json.loads(cli("tasks", "gsm8k", "--json").stdout)] == ["gsm8k"]
    run = cli("tasks", "gsm8kk")
    assert run.returncode == 1
    assert "gsm8k" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_wrong_configuration_is_one_message_and_no_traceback(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("seeds: {tasks: [arc_easy], data_rot: x}\nteacher: {model: m, base_urls: ['http://h/v1']}\n")
    run = cli("validate", path)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.strip() == f"error: {path}: seeds.data_rot: unknown key; did you mean 'data_root'?"


def test_validate_checks_tasks_and_filters_too(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("seeds: {tasks: [arc_eazy]}\nteacher: {model: m, base_urls: ['http://h/v1']}\n")
    assert "arc_easy" in cli("validate", path).stderr
    run = cli("validate", path, "--set", "seeds.tasks=[arc_easy]", "--set", "curate.filters=[{filter: 'os:path'}]")
    assert "curate.filters.0.filter" in run.stderr
    assert cli("validate", path, "--set", "seeds.tasks=[arc_easy]").returncode == 0


def test_a_folder_that_is_no_run_is_named(tmp_path):
    for command in ("show", "ledger"):
        run = cli(command, tmp_path)
        assert run.returncode == 1
        assert "is no run directory" in run.stderr
