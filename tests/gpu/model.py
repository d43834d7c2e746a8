"""A model of a real one's shape without its weights: `--load-format dummy` makes these up."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

# Llama 3.1 8B, from its model card's config.json.
LLAMA_8B = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "bos_token_id": 0,
    "eos_token_id": 1,
}
# Roles leave no trace, so that a prompt is the same tokens as one message or as several.
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{{ '\\n\\n' }}{% endfor %}"
_LEARNT = 8_000  # tokens; the rest are never read, only written


def make_model(folder: Path, texts: Iterable[str], **changes: int) -> None:
    """Write a configuration and a tokenizer that is learnt from ``texts``, so that these are of realistic length.

    Args:
        folder: Made.
        texts: What will be asked.
        changes: Fields of the configuration that differ: ``num_hidden_layers=2``.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    config = {**LLAMA_8B, **changes}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    size = config["vocab_size"]
    assert isinstance(size, int)
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=min(_LEARNT, size),
            special_tokens=["<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    # Random weights write any token there is, so each needs a text.
    tokenizer.add_tokens([AddedToken(f" word{n}") for n in range(size - tokenizer.get_vocab_size())])
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE
    )
    fast.save_pretrained(folder)
