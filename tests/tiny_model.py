"""A language model made on the spot, for servers that are not ours: random weights, so it writes nonsense."""

from __future__ import annotations

import sys
from pathlib import Path

NAME = "tests/tiny"
TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)
SERVE = ("{python}", "-m", "transformers.cli.transformers", "serve", "{model}", "--host", "{host}", "--port", "{port}")


def environment(cache: Path) -> dict[str, str]:
    """Return what `transformers serve` needs in its environment to serve from ``cache``, without a network or GPU."""
    return {
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def make_model(cache: Path, name: str = NAME) -> None:
    """Put a tiny Llama and a tokenizer of single bytes into a cache folder, as if they came from the hub.

    `transformers serve` lists the models of its cache alone, so one in an ordinary folder would not be found.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {text: number for number, text in enumerate(["<s>", "</s>", "<pad>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", chat_template=TEMPLATE
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32_768,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
    )
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    model = LlamaForCausalLM(config)
    model.generation_config.do_sample = True  # else the server passes over the temperature that it is sent
    model.save_pretrained(snapshot)
    fast.save_pretrained(snapshot)


if __name__ == "__main__":
    make_model(Path(sys.argv[1]))
