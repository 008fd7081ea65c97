"""What the evaluation asks, shows and says is never in training: sentences, sources, fonts, voices."""

import random
import re
import sysconfig
from fnmatch import fnmatch
from pathlib import Path

import pytest

from benchmarks.blind import films as blind_films
from benchmarks.blind import pictures as blind_pictures
from benchmarks.blind import sounds as blind_sounds
from benchmarks.blind import texts as blind_texts
from train_nano.data import (
    arithmetic,
    glyphs,
    library,
    mixed,
    photos,
    phrases,
    pictures,
    synthesizers,
    texts,
    tools,
    videos,
    words,
)

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
    assert not drawn(videos._BOTH) & drawn([videos._HELD_BOTH])


def test_questions_that_want_json() -> None:
    assert not drawn(pictures._IN_JSON) & {plain(form) for form in pictures._HELD_IN_JSON}


def test_differences() -> None:
    assert not drawn(arithmetic._DIFFERENCES) & {plain(form) for form in arithmetic._HELD_DIFFERENCES}


def test_talk() -> None:
    assert not drawn([form for form, _ in texts.TALK]) & {plain(form) for form, _ in texts.HELD_TALK}


@pytest.mark.parametrize("tool", tools.TOOLS, ids=lambda tool: tool.names[0])
def test_questions_to_tools(tool: tools.Tool) -> None:
    rng = random.Random(0)
    trained = {plain(tools.question(rng, tool, "Rome", held_out=False)) for _ in range(DRAWS)}
    assert not trained & {plain(form.format(x="Rome")) for form in tool.held_out}


def test_cities_and_things() -> None:
    assert not set(words.CITIES) & set(words.HELD_CITIES)
    assert not set(words.THINGS) & set(words.HELD_THINGS)


def test_voices() -> None:
    assert not [name for name in synthesizers.TRAINED if "pico" in name or "asterisk" in name]


@pytest.mark.parametrize("font", ["Roboto-Regular.ttf", "RobotoCondensed-Bold.ttf", "dkg.ttf", "Humor-Sans.ttf"])
def test_fonts(font: str) -> None:
    folders = ["truetype/roboto/unhinted/RobotoTTF", "truetype/fifthhorseman", "truetype/humor-sans"]
    names = [f"{folder}/{font}" for folder in folders]
    assert not [p for p in (*glyphs.PRINT, *glyphs.HAND) for name in names if fnmatch(name, p)]


def test_texts_and_photos() -> None:
    assert not set(library.LICENCES) & set(library.HELD_OUT_LICENCES)
    root = Path(sysconfig.get_paths()["stdlib"])
    read = {file.relative_to(root).parts[0].removesuffix(".py") for file in library._modules()}
    assert not read & set(library.HELD_OUT_MODULES)
    assert not [root for root in photos.SOURCES if "sci" in str(root)]


@pytest.mark.parametrize(
    ("a", "b", "minus", "answer"),
    [
        (27, 58, False, "7+8=15, 2+5+1=8, so 27 + 58 = 85."),
        (3, 4, False, "3 + 4 = 7."),
        (9, 991, False, "9+1=10, 0+9+1=10, 0+9+1=10, so 9 + 991 = 1000."),
        (52, 38, True, "12-8=4, 5-3-1=1, so 52 - 38 = 14."),
        (100, 1, True, "10-1=9, 10-0-1=9, 1-0-1=0, so 100 - 1 = 99."),
        (38, 52, True, "52-38: 12-8=4, 5-3-1=1, so 38 - 52 = -14."),
        (3, 8, True, "3 - 8 = -5."),
    ],
)
def test_the_steps_of_sums_and_differences(a: int, b: int, minus: bool, answer: str) -> None:
    assert arithmetic.answered(a, b, minus) == answer


@pytest.mark.parametrize(
    ("task", "forms"),
    [
        ("colour", blind_pictures.COLOUR),
        ("shape", blind_pictures.SHAPE),
        ("place", blind_pictures.WHERE),
        ("see", blind_pictures.WHAT),
        ("count", blind_pictures.HOW_MANY),
        ("number", blind_pictures.NUMBER),
        ("digits", blind_sounds.TRANSCRIBE),
        ("hear", blind_sounds.HEAR),
        ("tone", blind_sounds.PITCH),
        ("beeps", blind_sounds.BEEPS),
        ("motion", blind_films.MOTION),
        ("happens", blind_films.HAPPENS),
        ("sum", blind_texts.ADD),
        ("copy", blind_texts.COPY),
        ("recall", blind_texts.ASK),
    ],
)
def test_blind_questions(task: str, forms: list[str]) -> None:
    rng = random.Random(0)
    trained = {plain(phrases._training_form(rng, task)) for _ in range(3 * DRAWS)}
    assert not trained & {plain(re.sub(r"\{[sn]\}", "{x}", form)) for form in forms}


def test_blind_talk_and_differences() -> None:
    assert not drawn([form for form, _ in texts.TALK]) & {plain(form) for form, _ in blind_texts.TALK}
    assert not drawn(arithmetic._DIFFERENCES) & {plain(form) for form in blind_texts.TAKE}
