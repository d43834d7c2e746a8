import json
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize(
    ("key", "name", "content", "message"),
    [
        (
            "generate.prompts",
            "selection.j2",
            "{% block system %}{{ sed.x }}{% endblock %}{% block user %}{% endblock %}",
            "sed",
        ),
        ("enrich.prompts", "code.j2", "{% block system %}{% endblock %}", "has no block 'user'"),
        ("package.templates", "answer.j2", "{% block prompt %}{{ record.question {% endblock %}", "answer.j2"),
        ("package.templates", "answr.j2", "", "replaces no template"),
    ],
)
def test_validate_renders_every_prompt_and_template(tmp_path, key, name, content, message):
    path = tmp_path / "run.yaml"
    path.write_text("seeds: {tasks: [arc_easy]}\nteacher: {model: m, base_urls: ['http://h/v1']}\n")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / name).write_text(content)
    done = cli("validate", path, "--set", f"{key}={tmp_path / 'own'}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {key}: ")
    assert message in done.stderr


def test_a_folder_that_is_no_run_is_named(tmp_path):
    for command in ("show", "ledger"):
        run = cli(command, tmp_path)
        assert run.returncode == 1
        assert "is no run directory" in run.stderr


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds.data_root=nowhere", "seeds.data_root: {cwd}/nowhere is no folder"),
        ("teacher={model: m, engine: recorded, recording: gone}", "teacher.recording: {cwd}/gone does not exist"),
        ("teacher.api_key_env=SDG_UNSET", "teacher.api_key_env: the environment variable SDG_UNSET is not set"),
        ("cluster.memory_limit=lots", "cluster.memory_limit: 'lots' is no amount of memory"),
    ],
)
def test_what_a_configuration_points_to_is_checked_before_anything_is_done(tmp_path, override, message):
    path = tmp_path / "run.yaml"
    path.write_text("seeds: {tasks: [arc_easy]}\nteacher: {model: m, base_urls: ['http://h/v1']}\n")
    done = cli("validate", path, "--set", override, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message.format(cwd=tmp_path)}")
    assert len(done.stderr.splitlines()) == 1
    # A run names the same key; it asks for what the teacher needs only where the teacher is asked.
    done = cli("run", "--run-dir", tmp_path / "run", path, "--set", override, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {message.partition(':')[0]}: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("amount", ["4GiB", "auto", "0.25"])
def test_memory_is_an_amount_auto_or_a_share(tmp_path, amount):
    path = tmp_path / "run.yaml"
    path.write_text("seeds: {tasks: [arc_easy]}\nteacher: {model: m, base_urls: ['http://h/v1']}\n")
    assert cli("validate", path, "--set", f"cluster.memory_limit='{amount}'").returncode == 0


def test_a_file_in_the_run_directorys_place_is_itself_named(tmp_path):
    path, file = tmp_path / "run.yaml", tmp_path / "file"
    path.write_text("seeds: {tasks: [arc_easy]}\nteacher: {model: m, base_urls: ['http://h/v1']}\n")
    file.write_text("")
    done = cli("run", path, "--run-dir", file)
    assert done.stderr.strip() == f"error: {file}: a file is in the way; choose another run directory with --run-dir"
