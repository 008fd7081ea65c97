"""Questions about one picture of shapes: colour, shape, place, count, yes or no, description."""

import json
import random

from train_nano.data.colours import COLOURS
from train_nano.data.outlines import SHAPES
from train_nano.data.phrases import ask, expand, varied
from train_nano.data.sample import Sample, user
from train_nano.data.shapes import NUMBERS, Thing, an, different, one_thing, several, to_picture

OBJECT = ["object", "shape", "thing", "figure", "item"]


def _called(rng: random.Random, thing: Thing) -> str:
    return thing.shape if rng.random() < 0.4 else rng.choice(OBJECT)


def _asked(rng: random.Random, task: str, text: str, things: list[Thing], answer: str) -> Sample:
    return Sample(task=task, messages=[user(text, ["image"])], answer=answer, media=[to_picture(rng, things)])


def _one_of(rng: random.Random) -> tuple[list[Thing], Thing]:
    """Two or three different things, and the one that is asked about."""
    things = different(rng, rng.choice([2, 2, 3]))
    return things, rng.choice(things)


def colour(rng: random.Random, held_out: bool) -> Sample:
    if rng.random() < 0.25 and not held_out:
        things, one = _one_of(rng)
        text = ask(rng, "colour", held_out, x=one.shape)
        while one.shape not in text:
            text = ask(rng, "colour", held_out, x=one.shape)
        return _asked(rng, "colour", text, things, one.colour)
    thing = one_thing(rng)
    return _asked(rng, "colour", ask(rng, "colour", held_out, x=_called(rng, thing)), [thing], thing.colour)


_WHICH_SHAPE = [
    "(What|Which) shape is {c}(?|, please?)",
    "(What|Which) (shape|form|figure) (has the color {c}|is the {c} one|is painted {c})?",
    "(What is|What's) the {c} (one|thing|object|shape|figure)?",
    "(Name|Tell me) the (shape|form) of the {c} (one|thing|object).",
    "The {c} (one|thing): (what|which) shape?",
]


def shape(rng: random.Random, held_out: bool) -> Sample:
    if rng.random() < 0.25 and not held_out:
        things, one = _one_of(rng)
        text = varied(rng, expand(rng, rng.choice(_WHICH_SHAPE)).format(c=one.colour))
        return _asked(rng, "shape", text, things, one.shape)
    thing = one_thing(rng)
    return _asked(rng, "shape", ask(rng, "shape", held_out, c=thing.colour), [thing], thing.shape)


def place(rng: random.Random, held_out: bool) -> Sample:
    thing = one_thing(rng, clear=True)
    return _asked(rng, "place", ask(rng, "place", held_out, x=_called(rng, thing)), [thing], thing.place)


def _plural(named: str) -> str:
    return f"{named}es" if named == "cross" else f"{named}s"


def _some_of(rng: random.Random) -> tuple[list[Thing], str, int]:
    """Things of two shapes, the shape asked for and how many there are of it."""
    things = several(rng, rng.randint(2, 5), same=1)
    wanted, other = rng.sample(SHAPES, 2)
    count = rng.randint(1, len(things))
    for index, thing in enumerate(things):
        thing.shape = wanted if index < count else other
    return things, wanted, count


def count(rng: random.Random, held_out: bool) -> Sample:
    things = several(rng, rng.randint(1, 5))
    number = len(things)
    if not held_out and rng.random() < 0.15:
        things, named, number = _some_of(rng)
    else:
        alike = all(t.shape == things[0].shape for t in things)
        named = things[0].shape if alike and rng.random() < 0.5 else rng.choice(OBJECT)
    text = ask(rng, "count", held_out, x=named, xs=_plural(named))
    if number != len(things) and named not in text:
        return count(rng, held_out)
    return _asked(rng, "count", text, things, str(number))


_IS_SHAPE = [
    "(Is|Is it true that) (it|this|the object|the shape) a {v}?",
    "(Is there|Do you see|Can you see|Do we have) a {v} (in the picture|here|in the image)?",
    "Does (the picture|it|this) show a {v}?",
    "Yes or no: is (this|it) a {v}?",
    "(A {v}|Is it a {v}), (yes or no|right|correct)?",
]
_IS_COUNT = [
    "(Are there|Do you see|Are these) {v} (objects|shapes|things)(| in the picture| here)?",
    "Yes or no: are there {v} (objects|shapes|things)?",
]


def yes(rng: random.Random, held_out: bool) -> Sample:
    """A yes or no that first says what is compared."""
    agree, kind = rng.random() < 0.5, 0.0 if held_out else rng.random()
    if kind < 0.5:
        thing = one_thing(rng)
        asked = thing.colour if agree else rng.choice([c for c in COLOURS if c != thing.colour])
        text = ask(rng, "yes", held_out, x=_called(rng, thing), v=asked)
        return _asked(rng, "yes", text, [thing], f"It is {thing.colour}, so {'yes' if agree else 'no'}.")
    if kind < 0.85:
        thing = one_thing(rng)
        asked = thing.shape if agree else rng.choice([s for s in SHAPES if s != thing.shape])
        text = varied(rng, expand(rng, rng.choice(_IS_SHAPE)).format(v=asked))
        return _asked(rng, "yes", text, [thing], f"It is {an(thing.shape)}, so {'yes' if agree else 'no'}.")
    things = several(rng, rng.randint(2, 5))
    number = len(things) if agree else rng.choice([n for n in range(2, 6) if n != len(things)])
    asked = rng.choice([NUMBERS[number], str(number)])
    text = varied(rng, expand(rng, rng.choice(_IS_COUNT)).format(v=asked))
    return _asked(rng, "yes", text, things, f"There are {NUMBERS[len(things)]}, so {'yes' if agree else 'no'}.")


def plural(thing: Thing, count: int) -> str:
    return f"{NUMBERS[count]} {thing.colour} {_plural(thing.shape)}"


def described(things: list[Thing]) -> str:
    """The sentence that describes a picture of one thing, of different ones or of several alike."""
    if len(things) == 1:
        place = things[0].place
        where = (
            "in the center"
            if place == "center"
            else f"on the {place}"
            if place in ("left", "right")
            else f"at the {place}"
        )
        return f"{an(things[0].name).capitalize()} {where}."
    if things[0].name == things[-1].name:
        return f"{plural(things[0], len(things)).capitalize()}."
    named = [an(thing.name) for thing in sorted(things, key=lambda t: t.x)]
    return f"{', '.join(named[:-1])} and {named[-1]}.".capitalize()


def see(rng: random.Random, held_out: bool) -> Sample:
    kind = rng.random()
    if kind < 0.6:
        things = [one_thing(rng, clear=True)]
    elif kind < 0.8:
        things = several(rng, rng.randint(2, 5), same=1)
    else:
        things = different(rng, rng.choice([2, 2, 3]))
    return _asked(rng, "see", ask(rng, "see", held_out), things, described(things))


_IN_JSON = [
    "(Answer|Reply|Respond|Describe it|Describe the picture|Give the answer) (in|as|with|using) JSON(.|: {keys}.)",
    "(Answer|Reply|Respond) in JSON with the (keys|fields) {keys}.",
    "(What is|Tell me|Give me|Name) the {keys}(| of the object)(?|.) (Answer|Reply) (in|as) JSON.",
    "JSON with {keys}(, please|).",
    "(Return|Give|Write) (a JSON object|JSON) with {keys}.",
    "(Extract|Fill in) {keys}(| as JSON| in JSON).",
    "(Describe the picture|What do you see?) (Use|Fill) the (fields|keys) {keys}(.| of a JSON object.)",
]
_HELD_IN_JSON = ["Can you give me {keys} as JSON?", "Please put {keys} into a JSON object."]


def in_json(rng: random.Random, held_out: bool) -> Sample:
    """The facts about one thing or several alike as a JSON object; without named keys it has colour and shape."""
    counted = not held_out and rng.random() < 0.4
    things = several(rng, rng.randint(1, 5), same=1) if counted else [one_thing(rng, clear=True)]
    facts: dict[str, str | int] = {rng.choice(["color", "colour"]): things[0].colour, "shape": things[0].shape}
    facts |= {rng.choice(["count", "number"]): len(things)} if counted else {"place": things[0].place}
    kept = list(facts)[:2] if rng.random() < 0.4 else rng.sample(list(facts), rng.randint(1, 3))
    form = rng.choice(_HELD_IN_JSON) if held_out else expand(rng, rng.choice(_IN_JSON))
    if "{keys}" not in form:
        facts, kept = {"color": things[0].colour, "shape": things[0].shape}, ["color", "shape"]
    named = kept[0] if len(kept) == 1 else f"{', '.join(kept[:-1])} and {kept[-1]}"
    return _asked(rng, "json", form.format(keys=named), things, json.dumps({key: facts[key] for key in kept}))
