from __future__ import annotations

import os
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from curator_sdg.config import TeacherSection
from curator_sdg.errors import TeacherError
from curator_sdg.teacher import make_teacher
from curator_sdg.teacher.servers.launch import command, environment, interpreter, prepare, visible_gpus
from curator_sdg.teacher.servers.vllm import VllmTeacher


def teacher(model: str = "org/model", revision: str | None = None, **vllm: Any) -> TeacherSection:
    return TeacherSection.model_validate({"engine": "vllm", "model": model, "revision": revision, "vllm": vllm})


def smi(folder: Path, script: str) -> dict[str, str]:
    """Put an `nvidia-smi` of our own into the place where it is looked for."""
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


TWO = "echo 'GPU 0: NVIDIA H200 (UUID: GPU-6b1)'; echo 'GPU 1: NVIDIA H200 (UUID: GPU-e07)'"


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")


@pytest.fixture
def with_vllm(tmp_path: Path) -> Path:
    """An environment of its own that has a package of that name."""
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    (packages,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (packages / "vllm").mkdir()
    (packages / "vllm" / "__init__.py").touch()
    return tmp_path / "env" / "bin" / "python"


def test_the_gpus_are_those_of_the_environment_or_else_those_that_nvidia_smi_lists(tmp_path: Path) -> None:
    path = smi(tmp_path, TWO)
    assert visible_gpus(path) == ("0", "1")
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "3, GPU-6b1", **path}) == ("3", "GPU-6b1")
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "", **path}) == ()
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": "1,-1,0", **path}) == ("1",)
    assert visible_gpus({"PATH": str(tmp_path / "empty")}) == ()
    assert visible_gpus(smi(tmp_path, "echo 'NVIDIA-SMI has failed' >&2; exit 9")) == ()


def test_gpus_are_grouped_and_what_fills_no_group_is_left_idle(with_vllm: Path, four_gpus: None) -> None:
    assert prepare(teacher(python=with_vllm)) == [("0",), ("1",), ("2",), ("3",)]
    assert prepare(teacher(python=with_vllm, tensor_parallel=2)) == [("0", "1"), ("2", "3")]
    assert prepare(teacher(python=with_vllm, tensor_parallel=3)) == [("0", "1", "2")]
    assert prepare(teacher(python=with_vllm, gpus=[2, 0])) == [("2",), ("0",)]


def test_too_few_gpus_or_others_than_there_are_is_an_error(with_vllm: Path, four_gpus: None) -> None:
    with pytest.raises(TeacherError, match=r"tensor_parallel: 8 GPUs a server, but there are only 4 \(0, 1, 2, 3\)"):
        prepare(teacher(python=with_vllm, tensor_parallel=8))
    with pytest.raises(TeacherError, match=r"teacher\.vllm\.gpus: there is no GPU 5, 7; there are 0, 1, 2, 3"):
        prepare(teacher(python=with_vllm, gpus=[3, 5, 7]))


def test_without_a_gpu_the_error_says_what_else_can_be_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(TeacherError, match=r"needs a GPU, and there is none .*`curator-sdg serve`.* engine: endp"):
        prepare(teacher())


def test_another_servers_command_needs_neither_gpu_nor_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert prepare(teacher(command=["serve", "{model}"])) == [()]
    assert prepare(teacher(command=["serve", "{model}"], gpus=[0, 1])) == [("0",), ("1",)]


def test_an_interpreter_that_is_not_there_or_has_no_vllm_is_an_error_with_the_install_command(
    tmp_path: Path, four_gpus: None
) -> None:
    with pytest.raises(
        TeacherError, match=r"there is no interpreter .*/nowhere/python; .*different versions of numba"
    ):
        prepare(teacher(python=tmp_path / "nowhere" / "python"))
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    with pytest.raises(
        TeacherError, match=r"env/bin/python has no vLLM; .*`python -m venv vllm-env && .* install vllm`"
    ):
        prepare(teacher(python=tmp_path / "env" / "bin" / "python"))
    not_python = tmp_path / "python"
    not_python.write_text("#!/bin/sh\necho 'bad magic' >&2; exit 1\n")
    not_python.chmod(0o755)
    with pytest.raises(TeacherError, match=r"is no usable Python interpreter \(bad magic\)"):
        prepare(teacher(python=not_python))


def test_the_command_names_the_model_as_requests_do_and_shares_prefixes(with_vllm: Path) -> None:
    config = teacher(revision="abc", python=with_vllm, tensor_parallel=2, args=["--max-model-len", "8192"])
    assert command(config, "127.0.0.1", 8200) == [
        *(str(with_vllm), "-m", "vllm.entrypoints.cli.main", "serve", "org/model"),
        *("--host", "127.0.0.1", "--port", "8200", "--served-model-name", "org/model", "--tensor-parallel-size", "2"),
        *("--revision", "abc", "--enable-prefix-caching", "--disable-uvicorn-access-log", "--max-model-len", "8192"),
    ]


def test_placeholders_of_another_command_are_filled_in_once_and_other_braces_stay() -> None:
    words = ["{python}", "--m={model}", "{host}:{port}", "-tp{tensor_parallel}", '{"a": {}}', "{other}"]
    assert command(teacher(model="{port}", command=words, tensor_parallel=4), "0.0.0.0", 99) == [
        *(sys.executable, "--m={port}", "0.0.0.0:99", "-tp4", '{"a": {}}', "{other}")
    ]


def test_a_bare_interpreter_is_found_as_a_shell_does_and_a_link_is_kept(tmp_path: Path) -> None:
    assert interpreter(teacher(python="python3")) == "python3"
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    assert interpreter(teacher(python=link)) == str(link)


def test_a_server_sees_its_own_gpus_in_the_order_of_nvidia_smi() -> None:
    there = environment(teacher(), ("2", "3"))
    assert (there["CUDA_VISIBLE_DEVICES"], there["CUDA_DEVICE_ORDER"]) == ("2,3", "PCI_BUS_ID")


def test_the_engine_makes_the_teacher() -> None:
    assert isinstance(make_teacher(teacher()), VllmTeacher)
