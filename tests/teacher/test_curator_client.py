"""Curator's own synthetic stages, asking a real server through our teacher."""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pytest
from nemo_curator.models.client.llm_client import ConversationFormatter, GenerationConfig
from nemo_curator.pipeline import Pipeline
from nemo_curator.stages.synthetic.nemotron_cc.nemotron_cc import WikipediaParaphrasingStage
from nemo_curator.stages.synthetic.qa_multilingual_synthetic import QAMultilingualSyntheticStage
from nemo_curator.tasks import DocumentBatch, EmptyTask

from curator_sdg.backend import ClusterSpec, DaskExecutor
from curator_sdg.errors import ConfigError, SdgError, TeacherError
from curator_sdg.teacher.curator_client import Reply, TeacherClient, Unanswered
from curator_sdg.teacher.journal.usage import add_up, journal_usage
from tests.endpoint import running_endpoint
from tests.teacher.requests import MODEL, config_for

CHAT = [{"role": "user", "content": "Name a river."}]


def query(client: TeacherClient, messages: Any = CHAT, **fields: Any) -> list[Any]:
    """Ask once, on a loop that ends with it."""
    return asyncio.run(client.query_model(messages=messages, model=MODEL, **fields))


def batch(first: int, n: int = 20) -> DocumentBatch:
    texts = [f"The river number {number} is long." for number in range(first, first + n)]
    return DocumentBatch(dataset_name="rivers", data=pd.DataFrame({"text": texts}))


def rephrase(client: TeacherClient) -> WikipediaParaphrasingStage:
    return WikipediaParaphrasingStage(client=client, model_name=MODEL, input_field="text", output_field="new")


def test_a_stage_is_answered_batch_after_batch_each_on_a_loop_of_its_own_whatever_fails_on_the_way() -> None:
    with running_endpoint(server_error=0.2, drop=0.1, rate_limit=0.1, bad_body=0.1, fault_tries=2) as endpoint:
        stage = rephrase(TeacherClient(config_for(endpoint)))
        stage.setup()
        frames = [stage.process(batch(20 * number)).to_pandas() for number in range(3)]
        stats = endpoint.stats()
    texts = [text for frame in frames for text in frame["new"]]
    assert len(set(texts)) == len(texts) == 60
    assert all(texts)
    assert len(stats["answered"]) == 60
    assert stats["max_in_flight"] <= 8
    assert {"server_error", "drop", "rate_limit", "bad_body"} <= stats["faults"].keys()


def test_threads_that_each_run_a_loop_share_one_limit() -> None:
    with running_endpoint(latency_s=0.05) as endpoint:
        client = TeacherClient(config_for(endpoint, max_in_flight=4))
        with ThreadPoolExecutor(3) as threads:
            asked = threads.map(lambda first: rephrase(client).process(batch(first)), (0, 20, 40))
            assert sum(found.num_items for found in asked) == 60
        assert endpoint.stats()["max_in_flight"] == 4


def test_as_many_queries_as_the_teacher_takes_are_in_flight() -> None:
    with running_endpoint(latency_s=0.3) as endpoint:
        rephrase(TeacherClient(config_for(endpoint, max_in_flight=40))).process(batch(0, 60))
        assert endpoint.stats()["max_in_flight"] == 40


def test_the_pipeline_runs_on_dask_where_stages_are_pickled() -> None:
    with running_endpoint(server_error=0.2, fault_tries=1) as endpoint:
        pipeline = Pipeline("mine", stages=[rephrase(TeacherClient(config_for(endpoint)))])
        executor = DaskExecutor(cluster=ClusterSpec(cpu_workers=2))
        found = pipeline.run(executor, initial_tasks=[batch(20 * number) for number in range(4)])
        assert len(endpoint.stats()["answered"]) == 80
    assert sum(len(task.to_pandas()["new"]) for task in found or []) == 80


def test_equal_queries_get_replies_of_their_own() -> None:
    with running_endpoint() as endpoint:
        stage = QAMultilingualSyntheticStage(
            *("Ask something in {language}.", ["English"], TeacherClient(config_for(endpoint)), MODEL, 30)
        )
        texts = [text for _ in range(2) for text in stage.process(EmptyTask()).to_pandas()["text"]]
    assert len(set(texts)) == 60


def test_a_reply_is_a_text_that_tells_its_usage_and_survives_pickling() -> None:
    with running_endpoint(reasoning=True) as endpoint:
        [reply] = query(TeacherClient(config_for(endpoint)))
    assert isinstance(reply, str)
    for found in (reply, pickle.loads(pickle.dumps(reply))):
        assert isinstance(found, Reply)
        assert found == reply
        assert (found.usage.prompt_tokens, found.usage.cached_tokens) == (3, 1)
        assert found.usage.completion_tokens == len(reply.split())
        assert found.finish_reason == "stop"
        assert found.reasoning


def test_the_journal_answers_what_an_earlier_client_asked(tmp_path) -> None:
    with running_endpoint() as endpoint:
        config = config_for(endpoint)
        client = TeacherClient(config, tmp_path)
        paid = [query(client), query(client), query(client, generation_config={"n": 3})]
        client.close()
        asked = endpoint.stats()["asked"]
        assert sum(asked.values()) == 5
        again = TeacherClient(config, tmp_path)
        assert [query(again), query(again), query(again, generation_config={"n": 3})] == paid
        assert endpoint.stats()["asked"] == asked
        assert query(again) not in paid  # the third of its kind is new
    assert len({text for texts in paid for text in texts}) == 5
    used = [usage for models in journal_usage(tmp_path).values() for usage in models.values()]
    assert sum(usage.replies for usage in used) == 6


def test_sampling_is_curators_and_several_samples_have_seeds_of_their_own() -> None:
    wanted = GenerationConfig(
        *(64, 2, 7, ["\n\n"]),
        temperature=0.5,
        top_k=20,
        top_p=0.9,
        extra_kwargs={"extra_body": {"min_p": 0.1}, "presence_penalty": 0.2},
    )
    with running_endpoint(maker="tests.teacher.echo:echoed_body") as endpoint:
        first, second = (
            json.loads(text) for text in query(TeacherClient(config_for(endpoint)), generation_config=wanted)
        )
    common = {"max_tokens": 64, "stop": ["\n\n"], "temperature": 0.5, "top_k": 20, "top_p": 0.9, "min_p": 0.1}
    common |= {"presence_penalty": 0.2, "model": MODEL, "messages": CHAT}
    assert first == common | {"seed": 7}
    assert second == common | {"seed": 8}


def test_messages_are_sent_as_they_are_images_too() -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:,x"}}]
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": parts, "name": "me"}]
    with running_endpoint(maker="tests.teacher.echo:echoed_body", usage="none") as endpoint:
        [text] = query(TeacherClient(config_for(endpoint, tokens_per_minute=1_000_000)), chat)
    assert json.loads(text)["messages"] == chat


def test_what_is_null_is_left_to_the_endpoint() -> None:
    nothing = GenerationConfig(max_tokens=None, n=None, seed=None, temperature=None, top_p=None)
    with running_endpoint(maker="tests.teacher.echo:echoed_body") as endpoint:
        [text] = query(TeacherClient(config_for(endpoint)), generation_config=nothing)
    assert json.loads(text) == {"model": MODEL, "messages": CHAT}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"server_error": 1.0, "fault_tries": -1}, "not answered, retries included: server_error: HTTP 500"),
        ({"refused": 1.0}, "will not take a query: .*maximum context length"),
    ],
)
def test_a_query_without_a_reply_raises_one_clear_error(options: dict[str, Any], words: str) -> None:
    with running_endpoint(**options) as endpoint:
        client = TeacherClient(config_for(endpoint, max_retries=1))
        with pytest.raises(Unanswered, match=words):
            query(client)


def test_after_an_error_that_ended_all_asking_the_client_can_be_used_again() -> None:
    with running_endpoint(model="another-model") as endpoint:
        client = TeacherClient(config_for(endpoint))
        with pytest.raises(TeacherError, match="another-model"):
            query(client)
    with running_endpoint(port=urlsplit(endpoint.url).port):
        assert query(client)


class _Plain(ConversationFormatter):
    def format_conversation(self, conv: list[dict[str, Any]]) -> str:
        return str(conv)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"conversation_formatter": _Plain()}, "conversation_formatter"),
        ({"generation_config": {"stream": True}}, "stream"),
        ({"generation_config": {"extra_kwargs": {"timeout": 5}}}, "teacher.timeout_s"),
        ({"generation_config": {"extra_kwargs": {"extra_body": {"n": 2}}}}, "must not hold n"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_asked(fields: dict[str, Any], words: str) -> None:
    with running_endpoint() as endpoint:
        with pytest.raises(ConfigError, match=words):
            query(TeacherClient(config_for(endpoint)), **fields)
        assert not endpoint.stats()["asked"]


def test_a_stage_must_name_the_teachers_model() -> None:
    with running_endpoint() as endpoint, pytest.raises(SdgError, match="model_name is 'other'"):
        asyncio.run(TeacherClient(config_for(endpoint)).query_model(messages=CHAT, model="other"))


def test_a_forked_child_asks_through_a_dispatcher_of_its_own(tmp_path) -> None:
    def ask(pipe: Connection) -> None:
        replies = query(client, [{"role": "user", "content": "Name a lake."}])
        forgotten = client._dispatcher
        client.close()
        pipe.send((replies, forgotten is held))

    with running_endpoint() as endpoint:
        client = TeacherClient(config_for(endpoint), journal=tmp_path)
        query(client)
        held = client._dispatcher
        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(target=ask, args=(theirs,))
        child.start()
        assert ours.poll(60), "the child waits for a thread that only its parent has"
        replies, same = ours.recv()
        child.join()
        assert replies[0]
        assert not same
        assert held is not None
        assert not held.stopped
        assert query(client)
        client.close()
    assert add_up(journal_usage(tmp_path).values())[MODEL].replies == 3


def test_what_a_forgotten_client_held_is_let_go_by_the_next_one() -> None:
    with running_endpoint() as endpoint, running_endpoint() as other:
        client = TeacherClient(config_for(endpoint))
        query(client)
        held = client._dispatcher
        del client
        gc.collect()
        assert held is not None
        assert not held.stopped
        following = TeacherClient(config_for(other))
        following.setup()
        assert held.stopped
        assert query(following)
        following.close()
