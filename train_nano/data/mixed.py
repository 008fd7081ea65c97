"""Several media in one conversation: two pictures, a picture and a sound, later turns, follow-ups."""

import random

from train_nano.data import sounds, texts
from train_nano.data.glyphs import digits, printed
from train_nano.data.phrases import ask, expand
from train_nano.data.pictures import described
from train_nano.data.sample import Clip, Picture, Sample, user
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


def two_images(rng: random.Random, held_out: bool) -> Sample:
    pictures = [_seen(rng) for _ in range(2)]
    index = rng.randrange(2)
    _, kind, answer = pictures[index]
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
        task="two images", messages=[user(text, ["image", "image"])], answer=answer, media=[p[0] for p in pictures]
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


def later_turn(rng: random.Random, held_out: bool) -> Sample:
    """A turn of talk, or of another picture, before the picture that is asked about."""
    picture, kind, answer = _seen(rng)
    question = user(ask(rng, kind, held_out, x="object", c="colored"), ["image"])
    media: list[Picture | Clip] = [picture]
    if rng.random() < 0.6:
        before = texts.talk(rng, held_out)
        history = [before.messages[0], {"role": "assistant", "content": before.answer}]
    else:
        first, other, said = _seen(rng)
        history = [
            user(ask(rng, other, held_out, x="object", c="colored"), ["image"]),
            {"role": "assistant", "content": said},
        ]
        media.insert(0, first)
    return Sample(task="later turn", messages=[*history, question], answer=answer, media=media)


def _facts(thing: Thing) -> dict[str, str]:
    return {"colour": thing.colour, "shape": thing.shape, "place": thing.place, "see": described([thing])}


def follow_up(rng: random.Random, held_out: bool) -> Sample:
    """A second question about the picture of the first turn."""
    thing = one_thing(rng, clear=True)
    first, second = rng.sample(list(_facts(thing)), 2)
    slots = {"x": "object", "c": "colored"}
    messages = [
        user(ask(rng, first, held_out, **slots), ["image"]),
        {"role": "assistant", "content": _facts(thing)[first]},
    ]
    messages.append(user(ask(rng, second, held_out, **slots)))
    return Sample(task="follow-up", messages=messages, answer=_facts(thing)[second], media=[to_picture(rng, [thing])])
