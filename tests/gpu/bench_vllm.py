"""How much of what vLLM can do our pipeline gets out of it, beside vLLM's own benchmark client.

``python -m tests.gpu.bench_vllm --python VLLM_ENV/bin/python`` on a machine with a GPU. It starts `vllm serve` under
our supervisor, with made-up weights in the shape of an 8B Llama, and saturates it twice with `vllm bench serve` and,
in between, once with `curator-sdg run --until generate`: the same prompts, to the token, the same requests at once,
the same length of replies. Both are measured by the server's own metrics, from the first request to the last reply;
its prefix cache is emptied before each. The ratio of ours to the mean of the other two is to be 0.95 or more.

It has not run on a GPU yet. What of it needs none is tested in `tests/gpu/test_bench.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from curator_sdg.config import GenerateSection, TeacherSection
from curator_sdg.generation.questions import GenerateQuestions
from curator_sdg.ledger import Account
from curator_sdg.teacher.servers.launch import interpreter
from curator_sdg.teacher.servers.supervisor import Servers
from tests.benchmarks.rows import TASKS, write_mirror
from tests.gpu.model import make_model
from tests.runs import run

WANTED = 0.95
_EVERY_S = 0.1
_LINE = re.compile(
    r"^vllm:(num_requests_running|num_requests_waiting|generation_tokens_total)(?:\{.*\})? (\S+)$", re.MULTILINE
)


class Load(NamedTuple):
    """What a server says of itself."""

    requests: float  # running or waiting
    tokens: float  # generated since it was started


class Throughput(NamedTuple):
    """What a client got out of it, from the first request to the last reply."""

    tokens: float
    seconds: float

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds


def load_of(metrics: str) -> Load:
    """Return what the text of `/metrics` says, summed over engines."""
    found: dict[str, float] = {}
    for name, value in _LINE.findall(metrics):
        found[name] = found.get(name, 0.0) + float(value)
    return Load(found["num_requests_running"] + found["num_requests_waiting"], found["generation_tokens_total"])


def throughput(looks: list[tuple[float, Load]]) -> Throughput:
    """Return the throughput between the first and the last look at which there was a request.

    Args:
        looks: Each with its time in seconds.
    """
    busy = [at for at, (_, load) in enumerate(looks) if load.requests]
    first, last = max(busy[0] - 1, 0), min(busy[-1] + 1, len(looks) - 1)
    return Throughput(looks[last][1].tokens - looks[first][1].tokens, looks[last][0] - looks[first][0])


def measured(url: str, work: Callable[[], object]) -> Throughput:
    """Return what ``work`` got out of the server at ``url``."""
    looks: list[tuple[float, Load]] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            with urllib.request.urlopen(f"{url.removesuffix('/v1')}/metrics", timeout=60) as answer:
                looks.append((time.monotonic(), load_of(answer.read().decode())))
            done.wait(_EVERY_S)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        work()
    finally:
        done.set()
        thread.join()
    return throughput(looks)


def forget(url: str) -> None:
    """Empty the server's prefix cache, which it lets one do in its development mode."""
    request = urllib.request.Request(f"{url.removesuffix('/v1')}/reset_prefix_cache", b"", method="POST")
    urllib.request.urlopen(request, timeout=60).close()


def run_config(folder: Path, options: argparse.Namespace, url: str) -> Path:
    """Write the configuration of our run."""
    config = {
        "run": {"dir": str(folder / "run"), "shard_size": 128, "wave_size": 128 * max(1, options.requests // 256)},
        "seeds": {"tasks": list(TASKS), "data_root": str(folder / "data")},
        "teacher": {
            "model": str(folder / "model"),
            "base_urls": [url],
            "max_in_flight": options.concurrency,
            "structured": "none",  # replies of one length are what can be compared
        },
        "generate": {"sampling": sampling(options)},
        "cluster": {"workers": 2},
    }
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def sampling(options: argparse.Namespace) -> dict[str, Any]:
    """Return how both clients sample."""
    return {"temperature": 1.0, "top_p": 0.95, "max_tokens": options.output, "extra": {"ignore_eos": True}}


def prompts(folder: Path, options: argparse.Namespace) -> list[str]:
    """Cut the seeds, and return what our run will ask about them, each prompt as one text."""
    import pyarrow.parquet as pq

    write_mirror(folder / "data", options.requests)
    done = run("run", run_config(folder, options, "http://localhost:1/v1"), "--until", "seeds")
    assert done.returncode == 0, done.stderr
    stage = GenerateQuestions(
        teacher=TeacherSection(model="m", base_urls=("http://localhost:1/v1",)),
        config=GenerateSection.model_validate({"sampling": sampling(options)}),
    )
    texts = []
    for shard in sorted((folder / "run" / "seeds").glob("*/rows.parquet")):
        for seed in pq.read_table(shard).to_pylist():
            requests = stage.requests(seed, Account(shard.parent.name, 1))
            texts.extend("\n\n".join(message["content"] for message in request.messages) for request in requests)
    return texts


def bench_command(folder: Path, python: str, url: str, count: int, options: argparse.Namespace) -> list[str]:
    """Return the command line of vLLM's own client."""
    return [
        *(python, "-m", "vllm.entrypoints.cli.main", "bench", "serve", "--backend", "openai-chat"),
        *("--base-url", url.removesuffix("/v1"), "--endpoint", "/v1/chat/completions"),
        *("--model", str(folder / "model"), "--tokenizer", str(folder / "model")),
        *("--dataset-name", "custom", "--dataset-path", str(folder / "prompts.jsonl"), "--skip-chat-template"),
        *("--num-prompts", str(count), "--disable-shuffle", "--custom-output-len", str(options.output)),
        *("--ignore-eos", "--temperature", "1.0", "--top-p", "0.95", "--max-concurrency", str(options.concurrency)),
        "--disable-tqdm",
    ]


def call(command: list[str]) -> None:
    """Run a command; what it prints is shown where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


@contextmanager
def serving(folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Start the server on one GPU; gives its address and the interpreter of its environment."""
    os.environ |= {"VLLM_SERVER_DEV_MODE": "1", "HF_HUB_OFFLINE": "1"}
    vllm = {
        "python": options.python,
        "gpus": [options.gpu],
        "args": ["--load-format", "dummy", "--max-model-len", "8192", "--max-num-seqs", str(options.concurrency)],
    }
    teacher = TeacherSection.model_validate({"engine": "vllm", "model": str(folder / "model"), "vllm": vllm})
    with Servers(teacher, folder / "servers", say=lambda line: print(line, flush=True)) as servers:
        yield servers.urls[0], interpreter(teacher)


def main() -> None:
    """Measure, print and tell by the exit status whether the goal is reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.bench_vllm", description=__doc__)
    parser.add_argument("--python", help="the interpreter of the environment that has vLLM; default: this one")
    parser.add_argument("--gpu", type=int, default=0)
    parser.add_argument("--requests", type=int, default=4096)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--output", type=int, default=256, help="tokens a reply")
    parser.add_argument("--layers", type=int, default=32)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-vllm-"))
    texts = prompts(folder, options)
    make_model(folder / "model", texts, num_hidden_layers=options.layers)
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    with serving(folder, options) as (url, python):
        call(bench_command(folder, python, url, min(options.concurrency, len(texts)), options))  # warms up

        def theirs() -> Throughput:
            forget(url)
            return measured(url, lambda: call(bench_command(folder, python, url, len(texts), options)))

        def ours() -> Throughput:
            forget(url)
            path = run_config(folder, options, url)
            command = [sys.executable, "-m", "curator_sdg.cli", "run", str(path), "--until", "generate"]
            return measured(url, lambda: call(command))

        results = {"vllm bench serve": theirs(), "curator-sdg run": ours(), "vllm bench serve, again": theirs()}
    for name, result in results.items():
        per_s = len(texts) / result.seconds
        print(f"{name:>24}: {result.rate:10,.0f} tokens/s {per_s:8.1f} requests/s {result.seconds:8.1f} s")
    first, own, second = results.values()
    ratio = own.rate / ((first.rate + second.rate) / 2)
    print(f"{'ratio':>24}: {ratio:.3f}, wanted {WANTED}; logs in {folder}")
    sys.exit(0 if ratio >= WANTED else 1)


if __name__ == "__main__":
    main()
