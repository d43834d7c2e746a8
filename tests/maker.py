"""What the test endpoint writes to the project's own prompts: sound questions, and votes that mostly agree.

A pure function of the request. The content is nonsense words, so nothing in it repeats a seed.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.filler import Draw, fill, wanted_schema

_OPTIONS = re.compile(r"^- (.+)$", re.MULTILINE)


def project_reply(body: dict[str, Any], draw: Draw) -> str | None:
    """Reply to a request of ``generate`` or ``enrich``; null leaves it to the schema filler."""
    if (schema := wanted_schema(body)) is None:
        return None
    reply = fill(schema, draw)
    system, user = (message["content"] for message in body["messages"][:2])  # correction turns may follow
    for name in reply.keys() & {"knowledge", "reasoning", "context"}:
        reply[name] = " ".join(draw.at(name, i).sentence() for i in range(5))
    if "status" in schema["properties"]:
        _answer(reply, user, draw)
    else:
        _question(reply, schema, system, draw)
    return json.dumps(reply, ensure_ascii=False)


def _question(reply: dict[str, Any], schema: dict[str, Any], system: str, draw: Draw) -> None:
    reply["question"] = draw.at("question").sentence(14)
    if 'exactly one "_"' in system:
        reply["question"] += " _ " + draw.at("end").sentence(3)
    if "options" in reply:
        reply["options"] = [option.rstrip(".") for option in reply["options"]]
        reply["answer"] = reply["options"][0]
    elif "tests" in reply:
        reply["answer"] = "def f(x):\n    return x"
        reply["tests"] = ["assert f(1) == 1", "assert f('') == ''", "assert f(0) == 0"]
    elif "worked" in reply:
        reply["answer"] = str(draw.index(1000))
    elif "context" in reply and "enum" not in schema["properties"]["answer"]:
        reply["answer"] = " ".join(reply["context"].split()[:2])


def _answer(reply: dict[str, Any], user: str, draw: Draw) -> None:
    """Answer as most samples would: what is right depends on the question alone, one vote in ten strays."""
    question = re.sub(r"(?s)\n\n(Options|Labels|Tests):.*", "", user)
    truth = Draw(question)
    reply["status"] = "answered"
    if options := _OPTIONS.findall(user.rpartition("Options:")[2]):
        right = sorted(options)[truth.index(len(options))]
        reply["answer"] = right if draw.unit > 0.1 else options[draw.index(len(options))]
        reply["distractors"] = [
            {"option": option, "why": draw.at(option).sentence()} for option in options if option != reply["answer"]
        ]
    elif "Labels:" in user:
        labels = user.rpartition("Labels:")[2].split("|")
        reply["answer"] = labels[truth.index(len(labels))].strip()
    elif "Tests:" in user:
        reply["answer"] = "def f(x):\n    return x"
    else:
        reply["answer"] = str(truth.index(1000)) if draw.unit > 0.1 else str(draw.index(1000))


def repeating_reply(body: dict[str, Any], draw: Draw) -> str | None:
    """Reply like ``project_reply``, but with one of ten contents to questions of a kind: many are the same."""
    if "status" not in (wanted_schema(body) or {}).get("properties", {}):
        draw = Draw("repeated", draw.index(10))
    return project_reply(body, draw)
