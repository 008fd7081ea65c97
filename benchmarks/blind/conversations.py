"""A picture or a sound followed by other talk, and both at once."""

import random

from benchmarks.blind.case import COLOURS, SHAPES, Case, Maker, all_of, answered, asked, contains, says, says_number
from benchmarks.blind.pictures import COLOUR, drawn, question
from benchmarks.blind.sounds import PITCH, RATE, _tone, placed


def _after_a_picture(text: str, part: str) -> Maker:
    def make(rng: random.Random) -> Case:
        picture, shape, colour = drawn(rng)
        first = asked(question(rng, COLOUR, shape), ("image", picture))
        return Case(messages=[first, answered(colour), asked(text)], right=contains(part))

    return make


def sum_after_a_picture(rng: random.Random) -> Case:
    picture, shape, colour = drawn(rng)
    a, b = rng.randint(2, 60), rng.randint(2, 39)
    turns = [asked(question(rng, COLOUR, shape), ("image", picture)), answered(colour)]
    return Case(messages=[*turns, asked(f"what is {a} + {b}")], right=says_number(a + b))


def second_question(rng: random.Random) -> Case:
    picture, shape, colour = drawn(rng)
    turns = [asked("what color is that?", ("image", picture)), answered(colour)]
    return Case(messages=[*turns, asked("and which shape?")], right=says(shape, known=SHAPES))


def second_picture(rng: random.Random) -> Case:
    (one, _, colour), (two, _, other) = drawn(rng), drawn(rng)
    turns = [asked("what color is it?", ("image", one)), answered(colour)]
    return Case(messages=[*turns, asked("and this one, what color?", ("image", two))], right=says(other, known=COLOURS))


def _with_sound(about: str) -> Maker:
    def make(rng: random.Random) -> Case:
        picture, shape, colour = drawn(rng)
        name, span = rng.choice([("low", (100, 230)), ("middle", (420, 800)), ("high", (1600, 3500))])
        sound = placed(rng, _tone(rng.uniform(*span), rng.uniform(0.5, 1.2)), 0.2)
        media = ("image", picture), ("audio", (sound, RATE))
        heard = says(name, known=["low", "middle", "high"])
        if about == "sound":
            return Case(messages=[asked(rng.choice(PITCH), *media)], right=heard)
        if about == "colour":
            return Case(messages=[asked(question(rng, COLOUR, shape), *media)], right=says(colour, known=COLOURS))
        seen = all_of(says(shape, known=SHAPES), says(colour, known=COLOURS), contains(name))
        return Case(messages=[asked("tell me what you see and what you hear", *media)], right=seen)

    return make


ROWS: dict[str, Maker] = {
    "a picture, then hello": _after_a_picture("hello!", "help you"),
    "a picture, then who are you": _after_a_picture("who are you?", "nano"),
    "a picture, then a sum": sum_after_a_picture,
    "a picture, then its shape": second_question,
    "a picture, then another": second_picture,
    "picture and sound: sound": _with_sound("sound"),
    "picture and sound: colour": _with_sound("colour"),
    "picture and sound: both": _with_sound("both"),
}
