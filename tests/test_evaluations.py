"""A guard on what a reply costs beside arithmetic, in counts: evaluations, and buffers that are allocated once."""

from collections import Counter
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from PIL import Image

from gemma4_mlx import api
from gemma4_mlx.engine.session import Session
from gemma4_mlx.model.cache import cache_arrays

PARTS = {
    "images": [Image.new("RGB", (96, 96), "blue")],
    "audio": [(np.zeros(16000, np.float32), 16000)],
    "videos": [],
}


@pytest.fixture(scope="module")
def nano() -> tuple[Any, Any]:
    """Has read once: a process works out the rotary frequencies only then."""
    model, processor = api.load("nano")
    api.generate(model, processor, "Hello", max_tokens=1)
    return model, processor


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often evaluation was asked for, and how often it was waited for."""
    counted: Counter[str] = Counter()
    for name in ("eval", "async_eval"):

        def counting(*arrays: Any, _name: str = name, _original: Any = getattr(mx, name)) -> None:
            counted[_name] += 1
            _original(*arrays)

        monkeypatch.setattr(mx, name, counting)
    return counted


def reply(nano: tuple[Any, Any], tokens: int, **options: Any) -> Any:
    pieces = api.stream_generate(
        *nano, "Hello", temperature=0, max_tokens=tokens, eos_ids=(), num_draft_tokens=0, **options
    )
    return list(pieces)[-1]


def test_media_and_text_of_a_prompt_are_one_graph(nano: tuple[Any, Any], calls: Counter[str]) -> None:
    """The projections, the splice and the chunk are evaluated together with the first token."""
    assert reply(nano, 1, **PARTS).prompt_tokens > 30
    assert calls == {"async_eval": 1}


@pytest.mark.parametrize("tokens", [2, 9, 30])
def test_a_token_is_one_evaluation_and_nothing_is_waited_for_but_the_token(
    nano: tuple[Any, Any], calls: Counter[str], tokens: int
) -> None:
    reply(nano, tokens)
    assert calls == {"async_eval": tokens}


def test_each_chunk_but_the_last_is_one_more(nano: tuple[Any, Any], calls: Counter[str]) -> None:
    length = reply(nano, 1).prompt_tokens
    calls.clear()
    reply(nano, 1, prefill_step_size=4)
    assert calls["async_eval"] + calls["eval"] == -(-length // 4)


def test_caches_are_allocated_once(nano: tuple[Any, Any]) -> None:
    session = Session(nano[0], longest=0)
    pieces = api.stream_generate(
        *nano, "Hello", temperature=0, max_tokens=40, eos_ids=(), session=session, num_draft_tokens=0
    )
    next(pieces)
    first = [array.nbytes for array in cache_arrays(session.caches)]
    list(pieces)
    assert [array.nbytes for array in cache_arrays(session.caches)] == first
