"""Replies with a session: what it is asked for that it can't give, and memory that is tight."""

from typing import Any

import pytest

from gemma4_mlx.api import generate, load
from gemma4_mlx.engine import generation
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.engine.session import Session
from gemma4_mlx.errors import GemmaError, UsageError


@pytest.fixture(scope="module")
def nano() -> tuple[Any, Any]:
    return load("nano")


def test_a_session_of_another_model_is_refused(nano: tuple[Any, Any]) -> None:
    other, _ = load("nano")
    with pytest.raises(UsageError, match="the session belongs to another model"):
        generate(*nano, "Hello", session=Session(other))


@pytest.mark.parametrize(("held", "asked"), [(None, 4), (8, "none"), (8, 4)])
def test_other_caches_than_the_session_has_are_refused(nano: tuple[Any, Any], held: int | None, asked: Any) -> None:
    with pytest.raises(UsageError, match=f"kv_bits is {asked}, and the session's caches are"):
        generate(*nano, "Hello", session=Session(nano[0], kv_bits=held), kv_bits=asked)


@pytest.mark.parametrize("asked", ["auto", 8])
def test_the_session_s_own_bits_may_be_named(nano: tuple[Any, Any], asked: Any) -> None:
    session = Session(nano[0], kv_bits=8)
    assert generate(*nano, "Hello", session=session, kv_bits=asked) == "Hello! How can I help you?"


def test_caches_grow_ahead_of_need_only_where_that_fits(nano: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = nano
    session, prompt = Session(model), processor.prompt([{"role": "user", "content": "Hello"}])
    generate(model, processor, prompt, session=session, max_tokens=400)
    before = session.max_length
    need = generation.memory_need(model, prompt, GenerationOptions(), session)
    monkeypatch.setattr(generation, "working_set", lambda _: need.plan(before + 20, None).total)
    assert generate(model, processor, prompt, session=session, max_tokens=420) == "Hello! How can I help you?"
    assert session.max_length == before + 20


def test_a_session_may_keep_no_snapshot(nano: tuple[Any, Any]) -> None:
    session = Session(nano[0], keep=0)
    for _ in range(2):
        assert generate(*nano, "Hello", session=session) == "Hello! How can I help you?"
        assert session.snapshots == []


def test_adapters_are_too_late_once_a_model_has_replied(nano: tuple[Any, Any]) -> None:
    generate(*nano, "Hello", max_tokens=1)
    with pytest.raises(GemmaError, match="adapters attach before a model is prepared"):
        _ = nano[0].layers
