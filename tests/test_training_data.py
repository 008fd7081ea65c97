"""What the evaluation asks is never asked in training, word for word."""

import random

import pytest

from train_nano.data import mixed, phrases, pictures, speaking, texts, tools, voices, words

DRAWS = 2000


def plain(text: str) -> str:
    return text.strip(" .?!").lower()


def drawn(grammars: list[str]) -> set[str]:
    rng = random.Random(0)
    return {plain(phrases.expand(rng, rng.choice(grammars))) for _ in range(DRAWS)}


@pytest.mark.parametrize("task", phrases.HELD)
def test_questions(task: str) -> None:
    rng = random.Random(0)
    trained = {plain(phrases._training_form(rng, task)) for _ in range(DRAWS)}
    assert len(trained) > 20
    assert not trained & {plain(form) for form in phrases.HELD[task]}


def test_questions_about_a_picture_and_a_sound() -> None:
    assert not drawn([mixed._BOTH]) & drawn([mixed._HELD_BOTH])


def test_questions_that_want_json() -> None:
    assert not drawn(pictures._IN_JSON) & {plain(form) for form in pictures._HELD_IN_JSON}


def test_talk() -> None:
    assert not drawn([form for form, _ in texts.TALK]) & {plain(form) for form, _ in texts.HELD_TALK}


@pytest.mark.parametrize("tool", tools.TOOLS, ids=lambda tool: tool.names[0])
def test_questions_to_tools(tool: tools.Tool) -> None:
    rng = random.Random(0)
    trained = {plain(tools.question(rng, tool, "Rome", held_out=False)) for _ in range(DRAWS)}
    assert not trained & {plain(form.format(x="Rome")) for form in tool.held_out}


def test_cities_things_and_voices() -> None:
    assert not set(words.CITIES) & set(words.HELD_CITIES)
    assert not set(words.THINGS) & set(words.HELD_THINGS)
    assert not {voice.split("+")[1] for voice in voices.HELD_OUT} & set(speaking.TIMBRES)
