"""Multiple choice and classification: options and gold as lm-eval has them. The default adapter."""

from __future__ import annotations

from typing import Any

from curator_sdg.seeds.adapters.base import Content, Document, Unusable


def adapt(document: Document) -> Content:
    """Take question and context by the catalogue's templates, options and gold from lm-eval.

    Where lm-eval's choices are letters that stand for texts within its prompt, the catalogue says where the
    texts are, and the letters only serve to find the gold.
    """
    question, context = document.question(), document.context()
    labels = document.choices()
    options = check_options(document.options() or labels)
    index = gold_index(document.target(), labels, len(options))
    return Content(question=question, context=context, options=options, answer_index=index, answer=options[index])


def check_options(options: list[str]) -> list[str]:
    """Return the options.

    Raises:
        Unusable: If there are fewer than two, or one is empty or stands twice.
    """
    if len(options) < 2:
        raise Unusable("malformed", f"{len(options)} options")
    if "" in options:
        raise Unusable("empty_option", f"option {options.index('')} is empty")
    if len(set(options)) < len(options):
        raise Unusable("duplicate_options", str(options))
    return options


def gold_index(target: Any, labels: list[str], n_options: int) -> int:
    """Return the right option's index from what lm-eval's ``doc_to_target`` gives: an index or a label.

    Raises:
        Unusable: ``gold_missing`` or ``gold_out_of_range``.
    """
    if target is None or target == "":
        raise Unusable("gold_missing")
    if isinstance(target, str):
        if target.strip() not in labels:
            raise Unusable("gold_out_of_range", f"{target!r} is none of {labels}")
        index = labels.index(target.strip())
    else:
        try:
            index = target.__index__()  # bool, int and numpy's integers
        except AttributeError:
            raise Unusable("malformed", f"the target is {type(target).__name__}: {target!r}") from None
    if not 0 <= index < n_options:
        raise Unusable("gold_out_of_range", f"{index} of {n_options} options")
    return index
