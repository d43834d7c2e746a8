"""How a server of our own is started: on which GPUs, by which interpreter, with which command.

Everything that can be found wrong before a model is loaded is found here, for loading takes minutes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping

from curator_sdg.config import TeacherSection
from curator_sdg.errors import TeacherError

Gpus = tuple[str, ...]
"""The GPUs of one server, as CUDA_VISIBLE_DEVICES names them; none: whatever the server finds."""

_ASK_TIMEOUT_S = 120.0  # a driver or a file system that has just woken up may take its time
_FIND_VLLM = "import importlib.util, sys; sys.exit(0 if importlib.util.find_spec('vllm') else 3)"
_NO_VLLM = 3
_INSTALL = (
    "give it an environment of its own, for vLLM and cudf want different versions of numba: "
    "`python -m venv vllm-env && vllm-env/bin/pip install vllm`, then teacher.vllm.python: vllm-env/bin/python"
)


def prepare(config: TeacherSection) -> list[Gpus]:
    """Return the GPUs of each server that ``config.vllm`` asks for, after looking for what it needs.

    Raises:
        TeacherError: If there are no GPUs, too few, or not those; if there is no such interpreter, or it lacks vLLM.
    """
    groups = _groups(config)
    vllm = config.vllm
    python = interpreter(config)
    needed = vllm.command is None or any("{python}" in word for word in vllm.command)
    if needed and shutil.which(python) is None:
        raise TeacherError(f"teacher.vllm.python: there is no interpreter {python}; {_INSTALL}")
    if vllm.command is None:
        _check_vllm(python)
    return groups


def interpreter(config: TeacherSection) -> str:
    """Return the interpreter that runs the servers."""
    if (python := config.vllm.python) is None:
        return sys.executable
    if python.name == str(python):
        return str(python)  # a bare name, to be found as a shell does
    # Not resolved: the interpreter of a virtual environment is a link, and resolved it would be another one.
    return str(python.expanduser().absolute())


def command(config: TeacherSection, host: str, port: int) -> list[str]:
    """Return the command line of a server of ``config.model`` that listens at ``host`` and ``port``."""
    vllm, model, python = config.vllm, config.model, interpreter(config)
    if vllm.command is not None:
        filled = {
            "{model}": model,
            "{host}": host,
            "{port}": str(port),
            "{tensor_parallel}": str(vllm.tensor_parallel),
            "{python}": python,
        }
        return [
            re.sub("|".join(map(re.escape, filled)), lambda found: filled[found[0]], word) for word in vllm.command
        ]
    return [
        *(python, "-m", "vllm.entrypoints.cli.main", "serve", model),
        *("--host", host, "--port", str(port), "--served-model-name", model),
        *("--tensor-parallel-size", str(vllm.tensor_parallel)),
        *(("--revision", config.revision) if config.revision is not None else ()),
        "--enable-prefix-caching",
        "--disable-uvicorn-access-log",  # a line a request: gigabytes in a long run
        *vllm.args,
    ]


def environment(config: TeacherSection, gpus: Gpus) -> dict[str, str]:
    """Return the environment of a server on ``gpus``."""
    changed = dict(os.environ)
    if gpus:
        changed["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        changed["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the order in which nvidia-smi counts
    if key := secret(config):
        changed["VLLM_API_KEY"] = key  # not on the command line, where every user of the machine could read it
    return changed


def secret(config: TeacherSection) -> str | None:
    """Return the key that clients of the servers must have, or null if none was asked for.

    Raises:
        TeacherError: If the variable that should hold it does not.
    """
    if (name := config.api_key_env) is None:
        return None
    if not (key := os.environ.get(name, "").strip()):
        raise TeacherError(f"teacher.api_key_env: the environment variable {name} is not set; export it")
    return key


def visible_gpus(environ: Mapping[str, str] = os.environ) -> Gpus:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES or else nvidia-smi names them.

    Raises:
        TeacherError: If nvidia-smi is there but does not answer.
    """
    if (listed := environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        named = [name.strip() for name in listed.split(",")]
        # As CUDA reads it: what stands after the first wrong name does not count.
        return tuple(named[: next((at for at, name in enumerate(named) if name in ("", "-1")), len(named))])
    if (smi := shutil.which("nvidia-smi", path=environ.get("PATH"))) is None:
        return ()
    try:
        answer = subprocess.run(  # noqa: S603
            [smi, "-L"], capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TeacherError(f"{smi} does not answer ({error}); is the NVIDIA driver well?") from None
    return tuple(re.findall(r"^GPU (\d+):", answer.stdout, re.MULTILINE)) if answer.returncode == 0 else ()


def _groups(config: TeacherSection) -> list[Gpus]:
    """Return the GPUs cut into groups of ``tensor_parallel``; what does not fill a group is left idle."""
    vllm = config.vllm
    found = visible_gpus()
    if not found and vllm.command is None:
        raise TeacherError(
            "teacher.engine: vllm needs a GPU, and there is none (nvidia-smi lists none, or CUDA_VISIBLE_DEVICES is "
            "empty); run it where there are some, start servers there with `curator-sdg serve`, or name other servers "
            "under engine: endpoint, base_urls"
        )
    chosen = found if vllm.gpus is None else tuple(str(gpu) for gpu in vllm.gpus)
    if found and (absent := [gpu for gpu in chosen if gpu not in found]):
        raise TeacherError(f"teacher.vllm.gpus: there is no GPU {', '.join(absent)}; there are {', '.join(found)}")
    if not chosen:
        return [()]  # another server's command, on a machine without GPUs
    size = vllm.tensor_parallel
    groups = [chosen[at : at + size] for at in range(0, len(chosen) - size + 1, size)]
    if not groups:
        raise TeacherError(
            f"teacher.vllm.tensor_parallel: {size} GPUs a server, but there are only {len(chosen)} "
            f"({', '.join(chosen)})"
        )
    return groups


def _check_vllm(python: str) -> None:
    """Make sure that an interpreter runs and has vLLM, without importing it, which takes long."""
    try:
        answer = subprocess.run(  # noqa: S603
            [python, "-c", _FIND_VLLM],
            capture_output=True,
            text=True,
            timeout=_ASK_TIMEOUT_S,
            check=False,
            cwd=os.sep,  # a folder named vllm in the current one would look like the package
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TeacherError(f"teacher.vllm.python: {python} cannot be run ({error})") from None
    if answer.returncode == _NO_VLLM:
        raise TeacherError(f"teacher.vllm.python: {python} has no vLLM; {_INSTALL}")
    if answer.returncode:
        why = answer.stderr.strip().splitlines()[-1:] or [f"exit status {answer.returncode}"]
        raise TeacherError(f"teacher.vllm.python: {python} is no usable Python interpreter ({why[0]})")
