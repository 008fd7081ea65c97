"""Replies with a session: what it is asked for that it can't give, and memory that is tight."""

from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest

from gemma4_mlx.api import generate, load, stream_generate
from gemma4_mlx.engine import generation, session_file
from gemma4_mlx.engine.memory import Budget
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
    monkeypatch.setattr(generation, "budget", lambda _: Budget(need.plan(before + 20, None).total, 0))
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


LONG: dict[str, Any] = {"temperature": 0, "max_tokens": 40, "eos_ids": ()}
TWICE = "the session is in use by another reply: read that one to its end or close"


def test_a_second_reply_is_refused_until_the_first_has_ended(nano: tuple[Any, Any], tmp_path: Path) -> None:
    session = Session(nano[0])
    first = stream_generate(*nano, "Hello", session=session, **LONG)
    said = [next(first)]
    for ask in (
        lambda: generate(*nano, "What are you?", session=session, **LONG),
        session.clear,
        lambda: session_file.save(session, tmp_path / "session"),
    ):
        with pytest.raises(GemmaError, match=TWICE):
            ask()
    said += list(first)
    answer = "".join(piece.text for piece in said if piece.channel == "answer")
    assert answer == generate(*nano, "Hello", session=session, **LONG) == generate(*nano, "Hello", **LONG)


def closed(reply: Any) -> None:
    reply.close()


def dropped(reply: Any) -> None:
    del reply


def interrupted(reply: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        reply.throw(KeyboardInterrupt())


@pytest.mark.parametrize("end", [closed, dropped, interrupted])
def test_a_reply_that_is_broken_off_frees_its_session(nano: tuple[Any, Any], end: Callable[[Any], None]) -> None:
    session, replies = Session(nano[0]), []
    replies.append(stream_generate(*nano, "Hello", session=session, **LONG))
    next(replies[0])
    end(replies.pop())
    assert generate(*nano, "Hello", session=session) == "Hello! How can I help you?"


@pytest.mark.parametrize("failure", [RuntimeError("no more"), KeyboardInterrupt()])
def test_a_prompt_that_fails_half_read_frees_its_session(nano: tuple[Any, Any], failure: BaseException) -> None:
    def fail(done: int, total: int) -> None:
        raise failure

    session, question = Session(nano[0]), "Hello there. " * 60
    with pytest.raises(type(failure)):
        generate(*nano, question, session=session, progress=fail, prefill_step_size=50, **LONG)
    expected = generate(*nano, question, **LONG)
    assert generate(*nano, question, session=session, **LONG) == expected


def test_of_four_threads_one_replies(nano: tuple[Any, Any]) -> None:
    session, expected, answers = Session(nano[0]), generate(*nano, "Hello", **LONG), []
    start = Barrier(4)

    def ask() -> None:
        start.wait()
        try:
            answers.append(generate(*nano, "Hello", session=session, **LONG))
        except GemmaError as error:
            answers.append(str(error)[: len(TWICE)])

    threads = [Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(answers) <= {expected, TWICE}
    assert expected in answers
    assert generate(*nano, "Hello", session=session, **LONG) == expected
