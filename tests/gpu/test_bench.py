"""What of the benchmark needs no GPU."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from tests.gpu.bench_vllm import Load, Throughput, bench_command, load_of, prompts, throughput
from tests.gpu.model import make_model

OPTIONS = Namespace(requests=24, concurrency=8, output=16)


def test_the_load_is_read_from_the_servers_metrics() -> None:
    text = (
        "# TYPE vllm:num_requests_running gauge\n"
        'vllm:num_requests_running{engine="0",model_name="m"} 12.0\n'
        'vllm:num_requests_running{engine="1",model_name="m"} 3.0\n'
        'vllm:num_requests_waiting{engine="0",model_name="m"} 5.0\n'
        'vllm:generation_tokens_total{engine="0",model_name="m"} 1.5e+06\n'
        'vllm:prompt_tokens_total{engine="0",model_name="m"} 7.0\n'
    )
    assert load_of(text) == Load(20.0, 1_500_000.0)


def test_throughput_counts_from_the_first_request_to_the_last_reply() -> None:
    looks = [(0.0, Load(0, 50)), (1.0, Load(0, 50)), (2.0, Load(4, 60)), (3.0, Load(4, 90)), (4.0, Load(0, 110))]
    idle = [(5.0, Load(0, 110)), (6.0, Load(0, 110))]
    assert throughput(looks + idle) == Throughput(60, 3.0)


def test_both_clients_ask_the_same_tokens(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    texts = prompts(tmp_path, OPTIONS)
    assert len(texts) == len(set(texts)) == OPTIONS.requests
    make_model(tmp_path / "model", texts, vocab_size=9_000)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert len(tokenizer) == json.loads((tmp_path / "model" / "config.json").read_text())["vocab_size"] == 9_000
    assert tokenizer.decode([8_999]).strip().startswith("word")
    system, user = texts[0].split("\n\n", 1)
    messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    several = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    one = tokenizer.apply_chat_template([{"role": "user", "content": texts[0]}], tokenize=False)
    assert several == one
    letters, tokens = len(texts[0]), len(tokenizer(texts[0]).input_ids)
    assert 2.5 < letters / tokens < 12  # as text is, not single bytes
    command = bench_command(tmp_path, "python", "http://localhost:8200/v1", 24, OPTIONS)
    assert command[command.index("--base-url") + 1] == "http://localhost:8200"
