"""A reply, and what it leaves behind, can be gone on with by any thread: nothing lazy stays on the stream of another.

A file of its own, as sampler, drafts, caches and sessions all have a part in it. Each thread has streams of its own.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, takewhile
from typing import Any

import pytest

from gemma4_mlx import api
from gemma4_mlx.engine.session import Session
from gemma4_mlx.model.drafter import Drafter
from gemma4_mlx.model.text import DecoderLayer

QUESTION = "one two three one two three one two three"
ASK: dict[str, Any] = {"max_tokens": 9, "temperature": 0, "eos_ids": ()}
SCHEMA = {"type": "array", "items": {"enum": [1, 2]}, "minItems": 4, "maxItems": 4}
Threads = list[ThreadPoolExecutor]


@pytest.fixture(scope="module")
def nano() -> tuple[Any, Any]:
    return api.load("nano")


@pytest.fixture(scope="module")
def drafter() -> Drafter:
    return api.load_drafter("nano")


@pytest.fixture
def threads() -> Iterator[Threads]:
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        yield [first, second]


def in_turns(threads: Threads, pieces: Iterator[Any]) -> list[int]:
    """The tokens of a reply whose pieces are asked for by one thread after another."""
    turns = (thread.submit(next, pieces, None).result() for thread in cycle(threads))
    return [piece.token for piece in takewhile(lambda piece: piece is not None, turns)]


WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sampled": {"temperature": 1.0, "seed": 3},
    "filtered": {"temperature": 1.0, "seed": 3, "top_k": 20, "top_p": 0.9, "min_p": 0.01},
    "penalised": {"repetition_penalty": 1.3, "suppress_tokens": (5,)},
    "looked up": {"num_draft_tokens": 3, "max_tokens": 16},
    "looked up and sampled": {"num_draft_tokens": 3, "max_tokens": 16, "temperature": 0.5, "seed": 1},
    "in packed caches": {"kv_bits": 8, "repetition_penalty": 1.1},
    "kept to a schema": {"json_schema": SCHEMA, "repetition_penalty": 1.1, "max_tokens": 40, "eos_ids": None},
    "with a budget": {"enable_thinking": True, "thinking_budget": 2, "repetition_penalty": 1.1},
}


@pytest.mark.parametrize(
    ("way", "drafts"), [*((way, False) for way in WAYS), *((way, True) for way in ("greedy", "sampled", "penalised"))]
)
def test_any_thread_may_ask_for_the_next_piece(
    nano: tuple[Any, Any], drafter: Drafter, threads: Threads, way: str, drafts: bool
) -> None:
    options = {**ASK, **({"num_draft_tokens": 3} if drafts else {}), **WAYS[way]}
    options = {name: value for name, value in options.items() if value is not None}

    def ask() -> Iterator[Any]:
        return api.stream_generate(*nano, QUESTION, drafter=drafter if drafts else None, **options)

    assert in_turns(threads, ask()) == [piece.token for piece in ask()]


def test_a_drafter_that_one_thread_has_fitted_guesses_in_all(nano: tuple[Any, Any], threads: Threads) -> None:
    drafter = api.load_drafter("nano")

    def ask() -> list[int]:
        pieces = api.stream_generate(*nano, QUESTION, drafter=drafter, num_draft_tokens=3, **ASK)
        return [piece.token for piece in pieces]

    first, second = (thread.submit(ask).result() for thread in threads)
    assert first == second == ask()


def test_a_session_whose_reply_was_broken_off_is_read_on_in_another_thread(
    nano: tuple[Any, Any], threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off in the middle of a pass: its caches are lazy then, on streams of the thread that began it."""
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    messages = [*turns, {"role": "user", "content": QUESTION}]
    session, layers = Session(nano[0]), iter(range(100))
    original = DecoderLayer.__call__

    def ask(messages: Any, session: Session | None) -> list[int]:
        return [piece.token for piece in api.stream_generate(*nano, messages, session=session, **ASK)]

    def third_fails(self: DecoderLayer, *given: Any) -> Any:
        if next(layers) == 2:
            raise KeyboardInterrupt
        return original(self, *given)

    threads[0].submit(ask, turns[:1], session).result()
    monkeypatch.setattr(DecoderLayer, "__call__", third_fails)
    broken = threads[0].submit(ask, messages, session)
    assert isinstance(broken.exception(), KeyboardInterrupt)
    assert threads[1].submit(ask, messages, session).result() == ask(messages, None)
