"""A thought that is too long is ended properly, and the answer follows."""

from typing import Any

import pytest
from marked import ids_of

from gemma4_mlx import GemmaError, api
from gemma4_mlx.commands.generate import main
from gemma4_mlx.engine.guide import token_set
from gemma4_mlx.engine.thinking_budget import ThinkingBudget
from gemma4_mlx.prompt.processor import Processor

MODEL = "<|turn>model\n"


@pytest.fixture(scope="module")
def nano() -> tuple[Any, Any]:
    return api.load("nano")


def budget(processor: Processor, tokens: int, said: str, prompt: str = MODEL) -> tuple[ThinkingBudget, list[int]]:
    """What limits the reply, and what it said so far."""
    guide = ThinkingBudget(tokens, processor.tokenizer, processor.config.text.vocab_size, ids_of(processor, prompt))
    return guide, ids_of(processor, said)


def only(processor: Processor, text: str) -> bytes:
    """The set of the tokens that this is written with."""
    return token_set(processor.config.text.vocab_size, ids_of(processor, text)).tobytes()


@pytest.mark.parametrize(
    ("tokens", "said", "next_one"),
    [
        (100, "<|channel>thought\nA B C", None),
        (0, "Hello", None),
        (0, "<|channel>thought", None),
        (0, "<|channel>thought\n", "<channel|>"),
        (1, "<|channel>thought\n", None),
        (1, "<|channel>thought\nA", "\n"),
        (1, "<|channel>thought\nA\n", "<channel|>"),
        (1, "<|channel>thought\n\n", "<channel|>"),
        (1, "<|channel>thought\nA\n<channel|>", None),
        (1, "<|channel>thought\nA\n<channel|>The answer\nis", None),
        (1, "<|channel>thought\nA\n<channel|><|channel>thought\n", "<channel|>"),
    ],
)
def test_the_budget_counts_what_is_thought(processor: Processor, tokens: int, said: str, next_one: str | None) -> None:
    guide, ids = budget(processor, tokens, said)
    for id in ids:
        guide.accept(id)
    allowed = guide.allowed()
    assert (None if allowed is None else allowed.tobytes()) == (next_one and only(processor, next_one))


def test_a_thought_that_the_prompt_opened_counts_too(processor: Processor) -> None:
    guide, (letter,) = budget(processor, 1, "A", prompt=f"{MODEL}<|channel>thought\n")
    assert guide.allowed() is None
    guide.accept(letter)
    assert guide.allowed().tobytes() == only(processor, "\n")


def test_a_thought_of_an_earlier_turn_does_not_count(processor: Processor) -> None:
    earlier = f"{MODEL}<|channel>thought\nA B C\n<channel|>D<turn|>\n{MODEL}"
    guide, ids = budget(processor, 1, "<|channel>thought\n", prompt=earlier)
    for id in ids:
        assert guide.allowed() is None
        guide.accept(id)
    assert guide.allowed() is None


def test_guesses_are_looked_at_without_moving_on(processor: Processor) -> None:
    guide, ids = budget(processor, 1, "<|channel>thought\nA\n<channel|>Yes")
    seen = guide.ahead(ids)
    assert len(seen) == len(ids)
    for id, allowed in zip(ids, seen, strict=True):
        guide.accept(id)
        now = guide.allowed()
        assert (allowed is None, now is None) in ((True, True), (False, False))
    other, longer = budget(processor, 1, "<|channel>thought\nA B C")
    assert len(other.ahead(longer)) < len(longer)


@pytest.mark.parametrize("drafts", [0, 4])
@pytest.mark.parametrize("tokens", [0, 4, 7])
def test_nano_stops_thinking_and_answers(nano: tuple[Any, Any], tokens: int, drafts: int) -> None:
    model, processor = nano
    question = "What is 27 + 58?"
    options = {"enable_thinking": True, "num_draft_tokens": drafts}
    free, kept = (
        list(api.stream_generate(model, processor, question, **options, **extra))
        for extra in ({}, {"thinking_budget": tokens})
    )
    thought = {
        name: "".join(p.text for p in said if p.channel == "thought") for name, said in (("free", free), ("kept", kept))
    }
    assert len(processor.tokenizer.encode(thought["free"])) > 8
    assert thought["kept"].rstrip("\n") == thought["free"][: len(thought["kept"].rstrip("\n"))]
    assert len(processor.tokenizer.encode(thought["kept"].rstrip("\n"))) <= tokens
    assert "".join(piece.text for piece in kept if piece.channel == "answer").strip().isdigit()
    assert kept[-1].finish_reason == "stop"


def test_a_budget_that_is_large_enough_changes_nothing(nano: tuple[Any, Any]) -> None:
    said = [
        [p.token for p in api.stream_generate(*nano, "What is 27 + 58?", enable_thinking=True, thinking_budget=limit)]
        for limit in (None, 500)
    ]
    assert said[0] == said[1]


def test_wrong_budgets_are_refused(nano: tuple[Any, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(GemmaError, match="thinking_budget must be a whole number from 0 up, not -1"):
        api.generate(*nano, "Hello", thinking_budget=-1)
    assert main(["-p", "Hello", "--thinking-budget", "5"]) == 2
    assert "there is none without --enable-thinking" in capsys.readouterr().err
