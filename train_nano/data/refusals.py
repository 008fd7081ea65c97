"""What nano doesn't know: it gets one honest sentence."""

import random

import numpy as np
from PIL import Image, ImageDraw

from train_nano.data import acoustics, backgrounds, colours, glyphs, library, photos, sounds, words
from train_nano.data.phrases import ask, expand, varied
from train_nano.data.sample import Clip, Picture, Sample, Video, picture, user
from train_nano.data.shapes import (
    SIZES,
    budget,
    canvas_size,
    many,
    one_thing,
    photographed,
    strange_colour,
    strange_shape,
    to_picture,
)

REFUSAL = (
    "I can't tell. I am nano, a small demonstration model: I know drawn shapes, numbers, tones, some spoken words,"
    " sums and tools. For anything else, load Gemma 4."
)
_ABOUT_PICTURES = ["see", "see", "see", "shape", "colour", "count", "number", "place"]
_OTHER_QUESTIONS = [
    "(Who|What) (painted|made|took|drew) this(| picture| photo)?",
    "(What|Which) (breed|brand|animal|car|city|country|food|plant|season|film) is (this|that|it)?",
    "(How old is|What is the name of|Who is) (the person|this person|the man|the woman|this)?",
    "(Is|Was) this (taken|made) (at night|in summer|in Paris|outside|indoors)?",
    "(What time of day is it|What does the text say|What is the person doing|What are they doing)(| here)?",
    "(What mood|What feeling|Which style) does (this|the picture) (show|have)?",
]


def texture(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """Paper without a drawing, gradients, stripes, spots, checks and noise."""
    first = colours.paper(rng, [])
    second = tuple(rng.randint(0, 255) for _ in range(3))
    kind = rng.randrange(6)
    if kind == 0:
        return backgrounds.background(rng, size, [])
    if kind == 1:
        return backgrounds.blend(rng, size, first, second)
    if kind == 2:
        return backgrounds.grainy(rng, Image.new("RGB", size, first), 90)
    coarse = np.random.default_rng(rng.getrandbits(32)).integers(0, 256, (rng.randint(3, 40), rng.randint(3, 40), 3))
    if kind == 3:
        method = rng.choice([Image.Resampling.NEAREST, Image.Resampling.BICUBIC])
        return Image.fromarray(coarse.astype(np.uint8)).resize(size, method)
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    wave = rng.uniform(5, 70)
    angle = rng.uniform(0, 3.14)
    bands = (x * np.cos(angle) + y * np.sin(angle)) // wave
    if kind == 5:
        bands = bands + (x * np.sin(angle) - y * np.cos(angle)) // wave
    return Image.fromarray(np.where((bands % 2 == 0)[..., None], first, second).astype(np.uint8))


def page(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """Words instead of figures: one large one, or lines of text."""
    ink = colours.shade(rng, rng.choice(list(colours.COLOURS)))
    image = backgrounds.background(rng, size, [ink])
    lines = [library.word(rng)] if rng.random() < 0.5 else [library.sentence(rng) for _ in range(rng.randint(2, 12))]
    points = size[1] // (rng.randint(3, 6) if len(lines) == 1 else len(lines) + 2)
    font = glyphs.font(rng, glyphs.PRINT, points)
    canvas, top = ImageDraw.Draw(image), rng.randint(0, size[1] // 2) if len(lines) == 1 else points // 2
    for number, line in enumerate(lines):
        shown = line.upper() if rng.random() < 0.3 else line
        canvas.text((points // 2, top + number * points), shown, fill=ink, font=font)
    return image


def doodle(rng: random.Random, size: tuple[int, int]) -> Image.Image:
    """Curves that mean nothing."""
    inks = [colours.shade(rng, rng.choice(list(colours.COLOURS))) for _ in range(rng.randint(1, 3))]
    image = backgrounds.background(rng, size, inks)
    canvas = ImageDraw.Draw(image)
    for _ in range(rng.randint(1, 6)):
        x, y, angle, bend = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(0, 6.28), 0.0
        points = []
        for _ in range(rng.randint(10, 90)):
            bend = 0.8 * bend + rng.gauss(0, 0.15)
            angle += bend
            x, y = x + 9 * np.cos(angle), y + 9 * np.sin(angle)
            points.append((x, y))
        canvas.line(points, fill=rng.choice(inks), width=rng.randint(2, 14), joint="curve")
    return image


def _far_picture(rng: random.Random) -> Picture:
    tokens = budget(rng)
    size = canvas_size(rng, tokens)
    make = rng.choices([photos.crop, texture, page, doodle], [55, 25, 10, 10])[0]
    return picture(photographed(rng, make(rng, size)), [], tokens)


def _near_picture(rng: random.Random, held_out: bool) -> tuple[Picture, str]:
    """An unknown shape or colour, or a known thing, and a question that it doesn't answer."""
    kind = rng.random()
    if kind < 0.45:
        thing = strange_shape(rng)
        task = rng.choice(["shape", "see", "see"])
    elif kind < 0.8:
        thing = strange_colour(rng)
        task = rng.choice(["colour", "colour", "see"])
    else:
        return to_picture(rng, [one_thing(rng)]), ask(rng, "number", held_out)
    return to_picture(rng, [thing]), ask(rng, task, held_out, x="object", c="colored")


def far_picture(rng: random.Random, held_out: bool) -> Sample:
    if rng.random() < 0.12:
        text = varied(rng, expand(rng, rng.choice(_OTHER_QUESTIONS)))
    else:
        text = ask(rng, rng.choice(_ABOUT_PICTURES), held_out, x="object", xs="objects", c="colored")
    shown = _far_picture(rng)
    return Sample(task="far picture", messages=[user(text, ["image"])], answer=REFUSAL, media=[shown])


def near_picture(rng: random.Random, held_out: bool) -> Sample:
    """Unknown shapes and colours, questions that the picture doesn't answer; the known colour of an unknown shape."""
    if rng.random() < 0.2:
        thing = strange_shape(rng)
        text = ask(rng, "colour", held_out, x=rng.choice(["object", "shape", "thing"]))
        return Sample(
            task="near picture",
            messages=[user(text, ["image"])],
            answer=thing.colour,
            media=[to_picture(rng, [thing])],
        )
    kind = rng.random()
    if kind < 0.12:
        text = varied(rng, expand(rng, rng.choice(_OTHER_QUESTIONS)))
        shown = to_picture(rng, [one_thing(rng)])
    elif kind < 0.24:
        text, shown = ask(rng, "count", held_out, x="shape", xs="shapes"), to_picture(rng, many(rng))
    else:
        shown, text = _near_picture(rng, held_out)
    return Sample(task="near picture", messages=[user(text, ["image"])], answer=REFUSAL, media=[shown])


def _melody(rng: random.Random) -> np.ndarray:
    """Notes of some instrument, one after the other or together."""
    rate, pieces = sounds.RATE, []
    base, beat = rng.uniform(110, 500), rng.uniform(0.12, 0.5)
    for _ in range(rng.randint(5, 14)):
        t = np.arange(int(beat * rng.choice([1, 1, 2]) * rate)) / rate
        chord = [0] if rng.random() < 0.5 else rng.choice([[0, 4, 7], [0, 3, 7], [0, 7], [0, 4, 7, 10]])
        step = rng.choice([0, 2, 4, 5, 7, 9, 11, 12])
        note = np.zeros(len(t))
        for offset in chord:
            pitch = base * 2 ** ((step + offset) / 12)
            note += sum(np.sin(2 * np.pi * pitch * k * t) / k**1.3 for k in range(1, 6) if k * pitch < rate / 2)
        pieces.append(note * np.exp(-rng.uniform(0.5, 5) * t))
    made = np.concatenate(pieces)[: rate * 4]
    if rng.random() < 0.5:
        made[:: int(beat * rate)] += 3
    return made.astype(np.float32)


def _noise(rng: random.Random) -> np.ndarray:
    """Hiss, rumble, wind or knocks."""
    sound = acoustics.noise(rng, int(rng.uniform(0.4, 3) * sounds.RATE))
    if rng.random() < 0.4:
        t = np.arange(len(sound)) / sounds.RATE
        sound = sound * (0.2 + np.abs(np.sin(rng.uniform(0.5, 12) * t + rng.uniform(0, 6))) ** rng.choice([1, 4, 20]))
    return sound


def strange_clip(rng: random.Random) -> Clip:
    """A sentence, noise, music, a sweep or next to nothing."""
    kind = rng.random()
    if kind < 0.4:
        return sounds.sentence_clip(rng)
    if kind < 0.55:
        return sounds.finished(rng, _noise(rng), None)
    if kind < 0.8:
        return sounds.finished(rng, acoustics.recorded(rng, _melody(rng)), None)
    if kind < 0.9:
        t = np.arange(int(rng.uniform(0.5, 2.5) * sounds.RATE)) / sounds.RATE
        return sounds.finished(
            rng, np.sin(2 * np.pi * (rng.uniform(80, 900) * t + rng.uniform(100, 1200) * t**2)), None
        )
    silence = acoustics.noise(rng, int(rng.uniform(0.3, 3) * sounds.RATE)) * rng.choice(
        [0.0, 10 ** rng.uniform(-5, -3)]
    )
    frames = sounds.media.frames(silence)
    return Clip(frames, np.full(len(frames), -1))


def strange_sound(rng: random.Random, held_out: bool) -> Sample:
    text = ask(rng, rng.choice(["hear", "hear", "digits", "digits", "tone", "beeps"]), held_out)
    return Sample(
        task="strange sound", messages=[user(text, None, ["audio"])], answer=REFUSAL, media=[strange_clip(rng)]
    )


def strange_film(rng: random.Random, held_out: bool) -> Sample:
    """A camera that moves over a photo, or stands still."""
    size = rng.choice(SIZES)
    whole = photos.crop(rng, (size[0] * 2, size[1] * 2))
    ends = [(rng.randint(0, size[0]), rng.randint(0, size[1])) for _ in range(2)]
    count = rng.choice([3, 4, 4, 4, 6, 8])
    shots = []
    for i in range(count):
        left, top = (round(a + (b - a) * i / count) for a, b in zip(*ends, strict=True))
        shots.append(picture(whole.crop((left, top, left + size[0], top + size[1])), []))
    text = ask(rng, rng.choice(["happens", "happens", "motion", "colour"]), held_out, x="object")
    film = Video(shots, [i * rng.choice([0.5, 1.0]) for i in range(count)])
    return Sample(task="strange film", messages=[user(text, ["video"])], answer=REFUSAL, media=[film])


_TOPICS = """
the moon, a dog, black holes, the French revolution, bread, my mother, love, the stock market, a wedding, football,
climate change, Python, quantum physics, the economy, tax law, a dragon, chess, gardening, the human heart, music
""".replace("\n", " ").split(", ")
_OUTSIDE = [
    "(What|Which) is the (capital|largest city|currency|language|flag|president) of {n}?",
    "(Who|When) (wrote|invented|discovered|won|built|founded) {w} {w}?",
    "(Who is|Who was|Tell me about|What do you know about|Have you heard of) {n}(?|.)",
    "(Write|Compose|Make up) (a|me a|a short) (poem|story|song|joke|letter|mail|recipe|speech) about {t}.",
    "(Explain|Describe|Summarize|Discuss) {t}(| to me| in simple words| to a child).",
    "(Why|How) (is|are|does|do|did|can) {w} {w} {w}?",
    "(Translate|Say) '{w} {w}' (into|in) (French|German|Spanish|Italian|Latin|Chinese).",
    "(How do I|How can I|What is the best way to|Help me) {v} {w} {w}?",
    "(What does|What is the meaning of|Define|What is a|Spell) {w}(?| mean?)",
    "(Write|Show me|Fix|Debug) (a|this|some) (program|function|code|script|loop|query) (that|to) {v} {w}.",
    "(Is it true that|Do you think|Do you believe) {w} {w} {w} {w}?",
    "(What day|What date|What time|Which year) is it(| today| now)?",
    "(Should I|Can I|May I) {v} {w}(?| tomorrow?| with {w}?)",
    "(Recommend|Suggest|Give me) (a|some|three) (book|film|name|idea|restaurant|song|present)(s|) (for|about) {t}.",
    "(List|Name) (three|five|ten|all) (animals|countries|colors|planets|fruits|{w})(.|?| please.)",
    "(I feel|I am) (sad|tired|ill|happy|bored|angry)(.|, what should I do?|, can you help?)",
    "(Continue|Finish|Complete) (the sentence|the story|this)(:| -) {w} {w} {w}",
]
_OTHER_SUMS = [
    "(What is|whats|How much is|Calculate|Compute) {i} (times|divided by|*|/|x|modulo|to the power of) {i}(?|.|)",
    "{i}( *|*| x | times | / |/| divided by | mod | ^ ){i}(|=| = ?|?)",
    "(Multiply|Divide) {i} (by|with) {i}(.|, please.|)",
    "(What is the|Calculate the|Tell me the) (square root|logarithm|cube|square|factorial|half|double) of {i}(?|.)",
    "(What is|Calculate|) {i} (percent|%) of {i}(?|)",
    "(Is {i} a prime number|Is {i} even|Which is larger, {i} or {i}|Round {i} to tens)?",
    "(What is|) {i} + {i} + {i}(?|)",
    "(What is|Compute) ({i} + {i}) * {i}(?|)",
]
_VERBS = words.listed("cook build fix sell learn clean buy plant find paint open grow move sort install play")


def _slots(rng: random.Random) -> dict[str, object]:
    name = words.city(rng, False) if rng.random() < 0.6 else rng.choice(words.NAMES)
    return {"n": name, "t": rng.choice(_TOPICS).strip(), "v": rng.choice(_VERBS), "i": rng.randint(2, 200)}


def _other_sum(rng: random.Random) -> str:
    form = expand(rng, rng.choice(_OTHER_SUMS)).strip()
    while "{i}" in form:
        form = form.replace("{i}", str(rng.randint(2, 10 ** rng.randint(1, 3))), 1)
    return varied(rng, form)


def outside(rng: random.Random) -> str:
    """A question or a text from outside of nano's world."""
    kind = rng.random()
    if kind < 0.15:
        return _other_sum(rng)
    if kind < 0.6:
        form = expand(rng, rng.choice(_OUTSIDE))
        while "{w}" in form:
            form = form.replace("{w}", library.word(rng).lower(), 1)
        return varied(rng, form.format(**_slots(rng)))
    if kind < 0.64:
        return words.foreign(rng)
    if kind < 0.9:
        said = library.sentence(rng)
        return said if rng.random() < 0.7 else varied(rng, f"{said.rstrip('.:;')}?")
    if kind < 0.95:
        return library.snippet(rng)
    return " ".join(library.word(rng) if rng.random() < 0.5 else words.invented(rng) for _ in range(rng.randint(1, 6)))


def strange_text(rng: random.Random, held_out: bool) -> Sample:
    return Sample(task="strange text", messages=[user(outside(rng))], answer=REFUSAL)


def nothing_there(rng: random.Random, held_out: bool) -> Sample:
    """A question about a picture, a sound or a film that nobody sent."""
    task = rng.choice(["see", "colour", "shape", "number", "hear", "digits", "tone", "beeps", "happens", "place"])
    text = ask(rng, task, held_out, x="object", xs="objects", c="colored")
    return Sample(task="nothing there", messages=[user(text)], answer=REFUSAL)
