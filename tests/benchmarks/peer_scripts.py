"""What a user of each peer would write to have a list of prompts answered; run by ``tests.benchmarks.peers``.

``PYTHON peer_scripts.py NAME URL PROMPTS IN_FLIGHT`` runs in the peer's own environment, so it imports nothing of this
project. PROMPTS is a file of JSON texts, one a line. It exits with an error unless there are as many replies.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

MODEL = "test-model"


def data_designer(url: str, prompts: list[str], in_flight: int) -> int:
    """NVIDIA NeMo Data Designer: one text column over a seed dataset."""
    import data_designer.config as dd
    import pandas as pd
    from data_designer.interface import DataDesigner

    provider = dd.ModelProvider(name="local", endpoint=url, api_key="none")
    sampling = dd.ChatCompletionInferenceParams(temperature=0.7, max_tokens=64, max_parallel_requests=in_flight)
    model = dd.ModelConfig(alias="writer", model=MODEL, provider="local", inference_parameters=sampling)
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=pd.DataFrame({"asked": prompts})))
    builder.add_column(dd.LLMTextColumnConfig(name="reply", model_alias="writer", prompt="{{ asked }}"))
    with tempfile.TemporaryDirectory() as folder:
        designer = DataDesigner(artifact_path=folder, model_providers=[provider])
        return int(designer.create(builder, num_records=len(prompts)).load_dataset()["reply"].notna().sum())


def bespoke(url: str, prompts: list[str], in_flight: int) -> int:
    """Bespoke Curator: an LLM with the openai backend."""
    import litellm

    # It counts tokens with tiktoken, which would fetch its table; litellm, which it installs, has it at hand.
    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers")
    from bespokelabs import curator

    params = {"base_url": url, "max_concurrent_requests": in_flight, "max_requests_per_minute": 10**7}
    params |= {"max_tokens_per_minute": 10**10}
    llm = curator.LLM(
        model_name=MODEL,
        backend="openai",
        backend_params=params,
        generation_params={"temperature": 0.7, "max_tokens": 64},
    )
    with tempfile.TemporaryDirectory() as folder:
        return len(llm(prompts, working_dir=folder).dataset)


def sdg_hub(url: str, prompts: list[str], in_flight: int) -> int:
    """Red Hat SDG Hub: its chat block over a frame."""
    import pandas as pd
    from sdg_hub.core.blocks.llm.llm_chat_block import LLMChatBlock

    block = LLMChatBlock(
        block_name="ask",
        input_cols="messages",
        output_cols="reply",
        model=f"openai/{MODEL}",
        api_base=url,
        api_key="none",
        async_mode=True,
        temperature=0.7,
        max_tokens=64,
    )
    frame = pd.DataFrame({"messages": [[{"role": "user", "content": prompt}] for prompt in prompts]})
    return int(block(frame, _flow_max_concurrency=in_flight)["reply"].notna().sum())


def distilabel(url: str, prompts: list[str], in_flight: int) -> int:
    """Distilabel: a pipeline of one TextGeneration step; it asks a batch at a time."""
    from distilabel.models.llms import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    llm = OpenAILLM(
        model=MODEL, base_url=url, api_key="none", generation_kwargs={"temperature": 0.7, "max_new_tokens": 64}
    )
    with tempfile.TemporaryDirectory() as folder:
        with Pipeline(name="peer", cache_dir=folder) as pipeline:
            load = LoadDataFromDicts(data=[{"instruction": prompt} for prompt in prompts], batch_size=in_flight)
            load >> TextGeneration(llm=llm, input_batch_size=in_flight)
        rows = pipeline.run(use_cache=False)["default"]["train"]
        return sum(row["generation"] is not None for row in rows)


PEERS: dict[str, Callable[[str, list[str], int], int]] = {
    "data-designer": data_designer,
    "bespokelabs-curator": bespoke,
    "sdg-hub": sdg_hub,
    "distilabel": distilabel,
}

if __name__ == "__main__":
    # None of them is to ask the hub or the makers' servers anything, or to answer from a cache.
    os.environ |= {"HF_HUB_OFFLINE": "1", "TELEMETRY_ENABLED": "0", "NEMO_TELEMETRY_ENABLED": "false"}
    os.environ |= {"CURATOR_DISABLE_CACHE": "1", "OPENAI_API_KEY": "none", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    name, url, file, in_flight = sys.argv[1:]
    asked = [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines()]
    replies = PEERS[name](url, asked, int(in_flight))
    if replies != len(asked):
        sys.exit(f"{name}: {replies} replies to {len(asked)} prompts")
