"""Questions about one picture of shapes: colour, shape, place, count, yes or no, description."""

import json
import random

from train_nano.data.phrases import ask, expand
from train_nano.data.sample import Sample, user
from train_nano.data.shapes import COLOURS, NUMBERS, Thing, an, one_thing, several, to_picture

OBJECT = ["object", "shape", "thing", "figure", "item"]


def _called(rng: random.Random, thing: Thing) -> str:
    return thing.shape if rng.random() < 0.4 else rng.choice(OBJECT)


def _asked(rng: random.Random, task: str, text: str, things: list[Thing], answer: str) -> Sample:
    return Sample(task=task, messages=[user(text, ["image"])], answer=answer, media=[to_picture(rng, things)])


def different_pair(rng: random.Random) -> list[Thing]:
    """Two things that differ in shape and in colour."""
    while True:
        pair = several(rng, 2, same=0)
        if pair[0].shape != pair[1].shape and pair[0].colour != pair[1].colour:
            return pair


def colour(rng: random.Random, held_out: bool) -> Sample:
    if rng.random() < 0.1 and not held_out:
        things = different_pair(rng)
        return _asked(rng, "colour", ask(rng, "colour", held_out, x=things[0].shape), things, things[0].colour)
    thing = one_thing(rng)
    return _asked(rng, "colour", ask(rng, "colour", held_out, x=_called(rng, thing)), [thing], thing.colour)


def shape(rng: random.Random, held_out: bool) -> Sample:
    thing = one_thing(rng)
    return _asked(rng, "shape", ask(rng, "shape", held_out, c=thing.colour), [thing], thing.shape)


def place(rng: random.Random, held_out: bool) -> Sample:
    thing = one_thing(rng, clear=True)
    return _asked(rng, "place", ask(rng, "place", held_out, x=_called(rng, thing)), [thing], thing.place)


def count(rng: random.Random, held_out: bool) -> Sample:
    things = several(rng, rng.randint(1, 5))
    alike = all(t.shape == things[0].shape for t in things)
    named = things[0].shape if alike and rng.random() < 0.5 else rng.choice(OBJECT)
    plural = f"{named}es" if named == "cross" else f"{named}s"
    return _asked(rng, "count", ask(rng, "count", held_out, x=named, xs=plural), things, str(len(things)))


def yes(rng: random.Random, held_out: bool) -> Sample:
    thing = one_thing(rng)
    asked = thing.colour if rng.random() < 0.5 else rng.choice(list(COLOURS))
    answer = f"It is {thing.colour}, so {'yes' if asked == thing.colour else 'no'}."
    return _asked(rng, "yes", ask(rng, "yes", held_out, x=_called(rng, thing), v=asked), [thing], answer)


def plural(thing: Thing, count: int) -> str:
    return f"{NUMBERS[count]} {thing.name}{'es' if thing.shape == 'cross' else 's'}"


def described(things: list[Thing]) -> str:
    """The sentence that describes a picture of one thing, of two different ones or of several alike."""
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
    first, second = sorted(things, key=lambda t: t.x)
    return f"{an(first.name).capitalize()} and {an(second.name)}."


def see(rng: random.Random, held_out: bool) -> Sample:
    kind = rng.random()
    if kind < 0.75:
        things = [one_thing(rng, clear=True)]
    else:
        things = several(rng, rng.randint(2, 5), same=1) if kind < 0.9 else different_pair(rng)
    return _asked(rng, "see", ask(rng, "see", held_out), things, described(things))


_IN_JSON = [
    "(Answer|Reply|Respond|Describe it|Describe the picture|Give the answer) (in|as|with|using) JSON(.|: {keys}.)",
    "(Answer|Reply|Respond) in JSON with the (keys|fields) {keys}.",
    "(What is|Tell me|Give me|Name) the {keys}(| of the object)(?|.) (Answer|Reply) (in|as) JSON.",
    "JSON with {keys}(, please|).",
    "(Return|Give|Write) (a JSON object|JSON) with {keys}.",
]
_HELD_IN_JSON = ["Can you give me {keys} as JSON?", "Please put {keys} into a JSON object."]


def in_json(rng: random.Random, held_out: bool) -> Sample:
    """The facts about one thing as a JSON object; without named keys it has colour and shape."""
    thing = one_thing(rng, clear=True)
    facts = {rng.choice(["color", "colour"]): thing.colour, "shape": thing.shape, "place": thing.place}
    kept = list(facts)[:2] if rng.random() < 0.6 else rng.sample(list(facts), rng.randint(1, 3))
    form = rng.choice(_HELD_IN_JSON) if held_out else expand(rng, rng.choice(_IN_JSON))
    if "{keys}" not in form:
        facts, kept = {"color": thing.colour, "shape": thing.shape}, ["color", "shape"]
    named = kept[0] if len(kept) == 1 else f"{', '.join(kept[:-1])} and {kept[-1]}"
    return _asked(rng, "json", form.format(keys=named), [thing], json.dumps({key: facts[key] for key in kept}))
