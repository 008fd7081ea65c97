"""Several media in one conversation, and conversations of several tasks."""

import random

from train_nano.data import arithmetic, memory, pictures, refusals, sounds, texts, videos
from train_nano.data.glyphs import digits, number, printed
from train_nano.data.phrases import ask, expand, varied
from train_nano.data.pictures import described
from train_nano.data.sample import Clip, Picture, Sample, Video, user
from train_nano.data.shapes import Thing, an, one_thing, to_picture

_ORDER = {
    "first": "(first|1st)",
    "second": "(second|2nd|last|other)",
}


def _seen(rng: random.Random) -> tuple[Picture, str, str]:
    """(picture, what kind of question fits it, the answer)."""
    if rng.random() < 0.2:
        value = digits(rng)
        return printed(rng, value), "number", value
    thing = one_thing(rng)
    kind = rng.choice(["colour", "shape"])
    return to_picture(rng, [thing]), kind, thing.colour if kind == "colour" else thing.shape


_TWO = [
    "(What is|What's|What do you see) (in|on) the two (pictures|images)?",
    "(Describe|Caption) (both|the two) (pictures|images)(.|, please.)",
    "(Compare|Describe) (these|the) (pictures|images).",
]
_WHICH = [
    "(Which|In which) (picture|image|one) (shows|has|contains|is) (a|the) {v}?",
    "(Where|In which picture) is the {v}?",
    "Is the {v} in the first or (in |)the second (picture|image|one)?",
]


def _both_images(rng: random.Random) -> Sample:
    """What two pictures show, or which of them shows something."""
    things = [one_thing(rng) for _ in range(2)]
    while things[0].shape == things[1].shape or things[0].colour == things[1].colour:
        things[1] = one_thing(rng)
    media: list[Picture | Clip | Video] = [to_picture(rng, [thing]) for thing in things]
    if rng.random() < 0.5:
        text, answer = expand(rng, rng.choice(_TWO)), f"{an(things[0].name)} and {an(things[1].name)}.".capitalize()
    else:
        index = rng.randrange(2)
        shown = rng.choice([things[index].shape, things[index].name])
        text, answer = expand(rng, rng.choice(_WHICH)).format(v=shown), ["first", "second"][index]
    return Sample(task="two images", messages=[user(varied(rng, text), ["image", "image"])], answer=answer, media=media)


def two_images(rng: random.Random, held_out: bool) -> Sample:
    if not held_out and rng.random() < 0.4:
        return _both_images(rng)
    seen = [_seen(rng) for _ in range(2)]
    index = rng.randrange(2)
    _, kind, answer = seen[index]
    which = expand(rng, _ORDER["second" if index else "first"]) if not held_out else ["first", "second"][index]
    noun = rng.choice(["image", "picture", "one"])
    if kind == "number":
        form = rng.choice(
            [
                "(What|Which) number (is|do you see|is printed) in the {w} {n}?",
                "(Read|Give|Tell me) the number in the {w} {n}.",
                "(Could|Would) you (please |)(read|give|tell me) the number in the {w} {n}?",
            ]
        )
    else:
        form = "(What|Which) {k} (is the object in|is in|do you see in|does the object have in) the {w} {n}?"
        form = rng.choice(
            [
                form,
                "(What is|Tell me|Name) the {k} (in|of the object in) the {w} {n}(?|.)",
                "(In the|The) {w} {n}: (what|which) {k}?",
                "(Look at|Take|Consider) the {w} {n}(.|:) (What|Which) {k} (is it|do you see|does it show)?",
                "{k} of the {w} {n}?",
                "(Could|Would) you (please |)(tell me|name|say|give me) the {k} (in|of) the {w} {n}?",
                "I want to know the {k} (in|of) the {w} {n}.",
            ]
        )
    if held_out:
        form = "Can you tell me the {k} in the {w} {n}?"
    spelled = rng.choice(["color", "colour"]) if kind == "colour" else kind
    text = expand(rng, form).format(k=spelled, w=which, n=noun)
    return Sample(
        task="two images", messages=[user(text, ["image", "image"])], answer=answer, media=[p[0] for p in seen]
    )


def _sound(rng: random.Random, held_out: bool) -> tuple[Clip, str, str]:
    kind = rng.choice(["tone", "beeps", "digits"])
    if kind == "tone":
        pitch = rng.choice(list(sounds.PITCHES))
        return sounds.tone_clip(rng, pitch), kind, pitch
    if kind == "beeps":
        count = rng.randint(1, 5)
        return sounds.beep_clip(rng, count), kind, str(count)
    clip, text = sounds.speech_clip(rng, held_out)
    return clip, kind, text


_BOTH = (
    "(What|Tell me what|Say what|Describe what) (do you|you|can you) see and (hear|what you hear|what do you hear)(?|.)"
)
_HELD_BOTH = "(Can you tell me|I want to know) what you see and (what you |)hear."


def image_and_audio(rng: random.Random, held_out: bool) -> Sample:
    """One question about either, or "what do you see and hear"."""
    if rng.random() < 0.4:
        thing, pitch = one_thing(rng), rng.choice(list(sounds.PITCHES))
        text = expand(rng, _HELD_BOTH if held_out else _BOTH)
        answer = f"{an(thing.name).capitalize()} and a {pitch} tone."
        media: list[Picture | Clip] = [to_picture(rng, [thing]), sounds.tone_clip(rng, pitch)]
        return Sample(task="image and audio", messages=[user(text, ["image"], ["audio"])], answer=answer, media=media)
    picture, kind, seen = _seen(rng)
    clip, sort, heard = _sound(rng, held_out)
    about_picture = rng.random() < 0.5
    slots = {"x": "object", "c": "colored"}
    text = ask(rng, kind if about_picture else sort, held_out, **slots)
    answer = seen if about_picture else heard
    return Sample(
        task="image and audio", messages=[user(text, ["image"], ["audio"])], answer=answer, media=[picture, clip]
    )


_SINGLE = {
    pictures.colour: 3,
    pictures.shape: 3,
    pictures.count: 2,
    pictures.see: 3,
    pictures.yes: 1,
    number: 3,
    sounds.speech: 4,
    sounds.tone: 1,
    sounds.beeps: 1,
    sounds.hear: 1,
    videos.motion: 1,
    texts.talk: 6,
    arithmetic.plain: 6,
    memory.copy: 3,
    refusals.strange_text: 4,
    refusals.far_picture: 1,
    refusals.strange_sound: 1,
    refusals.nothing_there: 0.5,
}


def _turns(rng: random.Random, sample: Sample) -> list[dict]:
    return [*sample.messages, {"role": "assistant", "content": sample.answer}]


def _single(rng: random.Random, held_out: bool) -> Sample:
    return rng.choices(list(_SINGLE), list(_SINGLE.values()))[0](rng, held_out)


def conversation(rng: random.Random, held_out: bool) -> Sample:
    """Two to four turns of any tasks; the last one is answered. A picture may come back with a second question."""
    turns = [_single(rng, held_out) for _ in range(rng.choice([1, 1, 2, 3]))]
    last = _single(rng, held_out)
    if rng.random() < 0.4:
        last = rng.choice([texts.talk, arithmetic.plain, refusals.strange_text, memory.copy])(rng, held_out)
    messages = [message for turn in turns for message in _turns(rng, turn)]
    media = [medium for turn in [*turns, last] for medium in turn.media]
    return Sample(task="conversation", messages=[*messages, *last.messages], answer=last.answer, media=media)


def remembered(rng: random.Random, held_out: bool) -> Sample:
    """What somebody said about themselves, asked for right away or after other turns."""
    told = {one.kind: one for one in (memory.about_me(rng) for _ in range(rng.choice([1, 1, 2, 3])))}
    messages: list[dict] = []
    media: list[Picture | Clip | Video] = []
    for one in told.values():
        messages += [user(one.said), {"role": "assistant", "content": one.reply}]
        if rng.random() < 0.4:
            between = _single(rng, held_out)
            messages += _turns(rng, between)
            media += between.media
    asked = rng.choice(list(told.values()))
    if rng.random() < 0.12:
        return Sample(task="remembered", messages=messages[:1], answer=next(iter(told.values())).reply)
    return Sample(task="remembered", messages=[*messages, user(asked.question)], answer=asked.answer, media=media)


def _facts(thing: Thing) -> dict[str, str]:
    return {"colour": thing.colour, "shape": thing.shape, "place": thing.place, "see": described([thing])}


_SHORTLY = {
    "colour": "(And|and|And what is|What about|and what's|Now) (the|its) (color|colour)(?|)",
    "shape": "(And|and|And what is|What about|and what's|Now|And which|and what) (the shape|its shape|shape|form)(?|)",
    "place": "(And where|and where|Where|And in which place) is it(?|)",
    "see": "(And|and|So|Now) (what is it|what do you see|what is in the picture|describe it)(?|)",
}
_ANOTHER = [
    "(And|and|Now|What about|How about) (this|this one|that one|here|the next one)(?|)",
    "(And this one|And here|and now|Now this), (what|which) {k}(?|)",
    "The same (question |)(for|about) this (one|picture)(.|, please.)",
]


def _another(rng: random.Random, held_out: bool) -> Sample:
    """The first turn's question about a second picture."""
    (one, kind, said), (two, other, answer) = _seen(rng), _seen(rng)
    while other != kind:
        two, other, answer = _seen(rng)
    text = expand(rng, rng.choice(_ANOTHER)).format(k="color" if kind == "colour" else kind)
    first = user(ask(rng, kind, held_out, x="object", c="colored"), ["image"])
    messages = [first, {"role": "assistant", "content": said}, user(text, ["image"])]
    return Sample(task="follow-up", messages=messages, answer=answer, media=[one, two])


def follow_up(rng: random.Random, held_out: bool) -> Sample:
    """A second question about the picture of the first turn, or the same one about another picture."""
    if not held_out and rng.random() < 0.3:
        return _another(rng, held_out)
    thing = one_thing(rng, clear=True)
    first, second = rng.sample(list(_facts(thing)), 2)
    slots = {"x": "object", "c": "colored"}
    shortly = not held_out and rng.random() < 0.5
    messages = [
        user(ask(rng, first, held_out, **slots), ["image"]),
        {"role": "assistant", "content": _facts(thing)[first]},
        user(expand(rng, _SHORTLY[second]) if shortly else ask(rng, second, held_out, **slots)),
    ]
    return Sample(task="follow-up", messages=messages, answer=_facts(thing)[second], media=[to_picture(rng, [thing])])
