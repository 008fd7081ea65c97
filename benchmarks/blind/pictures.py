"""Drawn shapes, numbers, photos: what people hold up to it first."""

import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.blind import drawing
from benchmarks.blind.case import (
    COLOURS,
    SHAPES,
    Case,
    Judge,
    Maker,
    all_of,
    asked,
    refuses,
    says,
    says_number,
    says_place,
)

FONTS = Path("/usr/share/fonts/truetype")
PRINTED = ["roboto/unhinted/RobotoTTF/Roboto-Regular.ttf", "roboto/unhinted/RobotoTTF/Roboto-Bold.ttf"]
PRINTED += ["roboto/unhinted/RobotoTTF/Roboto-Italic.ttf", "roboto/unhinted/RobotoTTF/Roboto-Medium.ttf"]
BY_HAND = ["fifthhorseman/dkg.ttf", "fifthhorseman/dkgBd.ttf", "humor-sans/Humor-Sans.ttf"]
FIRST_SCAN = 1400  # of scikit-learn's digits; training has those up to 1,200
SIZES = [(420, 420), (480, 360), (360, 480), (300, 300), (640, 400)]

COLOUR = [
    "what color is it?",
    "What is the colour of that {s}?",
    "the {s}'s colour please",
    "hey, which colour did I use?",
    "So what colour would you say this is",
    "can u tell me the color",
    "Colour of this thing?",
]
SHAPE = [
    "what shape might it be",
    "Which shape did I draw?",
    "could you name the shape please",
    "What form is that thing in the picture?",
    "shape of my drawing?",
    "hi, do you know what shape this is?",
]
WHERE = [
    "where is it?",
    "Where in my picture is the {s}?",
    "whereabouts is the {s} please",
    "In what corner or side does the {s} sit?",
    "in which place is the {s}",
]
WHAT = [
    "what's that you see?",
    "What is on the picture?",
    "describe my drawing",
    "please tell me what you can see",
    "So, what do we have here?",
    "what did i paint",
]
HOW_MANY = [
    "how many d'you count?",
    "How many shapes did I draw?",
    "count them please",
    "number of things",
    "are there how many {s}",
]
NUMBER = [
    "what number might this be",
    "Which number have I written?",
    "read me that number",
    "Can you make out the number?",
    "What does it say, which digits?",
    "the number, please?",
]


def question(rng: random.Random, forms: list[str], shape: str = "shape") -> str:
    return rng.choice(forms).format(s=shape)


def drawn(
    rng: random.Random, how: str = "flat", shape: str | None = None, colour: str | None = None, **place: Any
) -> tuple[Any, str, str]:
    """(picture, shape, colour) of one shape drawn flat, as an outline, turned, with dabs or on a gradient."""
    size = rng.choice(SIZES)
    shape, colour = shape or rng.choice(SHAPES), colour or rng.choice(COLOURS)
    radius = place.get("radius", rng.uniform(0.17, 0.36))
    at = place.get("at") or (rng.uniform(0.38, 0.62), rng.uniform(0.38, 0.62))
    turn = rng.uniform(-1, 1) * drawing.TURNS.get(shape, 0.0) if how == "turned" else 0.0
    if how == "outline":
        cover = drawing.line(shape, at, radius, turn, size)
    elif how == "dabs":
        cover = drawing.dabs(rng, shape, at, radius, turn, size)
    else:
        cover = drawing.mask(shape, at, radius, turn, size)
    ink = (drawing.RGB | drawing.STRANGE_RGB)[colour]
    kind = "gradient" if how == "gradient" else rng.choice(["flat", "flat", "grain"])
    return drawing.inked(drawing.paper(rng, size, ink, kind), cover, ink), shape, colour


def _asks(forms: list[str], how: str, judge: str, tokens: int | None = None) -> Maker:
    """A case about one drawn shape; `judge` is colour, shape or both."""

    def make(rng: random.Random) -> Case:
        picture, shape, colour = drawn(rng, how)
        judges = {"colour": says(colour, known=COLOURS), "shape": says(shape, known=SHAPES)}
        right = all_of(*judges.values()) if judge == "both" else judges[judge]
        text = question(rng, forms, shape if judge == "colour" else "shape")
        return Case(messages=[asked(text, ("image", picture))], right=right, image_tokens=tokens)

    return make


def place(rng: random.Random) -> Case:
    column, row = rng.randrange(3), rng.randrange(3)
    at = ((column + 0.5) / 3 + rng.uniform(-0.04, 0.04), (row + 0.5) / 3 + rng.uniform(-0.04, 0.04))
    picture, shape, _ = drawn(rng, radius=rng.uniform(0.1, 0.15), at=at)
    names = [["top left", "top", "top right"], ["left", "center", "right"], ["bottom left", "bottom", "bottom right"]]
    return Case(messages=[asked(question(rng, WHERE, shape), ("image", picture))], right=says_place(names[row][column]))


def _row(rng: random.Random, count: int) -> list[tuple[float, float]]:
    y = rng.uniform(0.3, 0.7)
    return [((i + 0.5) / count, y) for i in range(count)]


def _scattered(rng: random.Random, count: int) -> list[tuple[float, float]]:
    spots: list[tuple[float, float]] = []
    while len(spots) < count:
        x, y = rng.uniform(0.12, 0.88), rng.uniform(0.12, 0.88)
        if all(np.hypot(x - a, y - b) > 0.25 for a, b in spots):
            spots.append((x, y))
    return spots


def group(rng: random.Random, spots: list[tuple[float, float]], kinds: list[tuple[str, str]], radius: float) -> Any:
    """A picture of a (shape, colour) at every spot."""
    size = rng.choice([(420, 420), (480, 400)])
    made = drawing.paper(rng, size, drawing.RGB[kinds[0][1]])
    if len({sum(drawing.RGB[c]) > 570 for _, c in kinds}) > 1:
        made = np.full((size[1], size[0], 3), 150, np.float32)
    for at, (shape, colour) in zip(spots, kinds, strict=True):
        made = drawing.inked(made, drawing.mask(shape, at, radius, 0.0, size), drawing.RGB[colour]).astype(np.float32)
    return made.astype(np.uint8)


def _counts(layout: Any) -> Maker:
    def make(rng: random.Random) -> Case:
        count = rng.randint(1, 5)
        shape, colour = rng.choice(SHAPES), rng.choice(COLOURS)
        picture = group(rng, layout(rng, count), [(shape, colour)] * count, 0.085)
        text = question(rng, HOW_MANY, "crosses" if shape == "cross" else f"{shape}s")
        return Case(messages=[asked(text, ("image", picture))], right=says_number(count))

    return make


def _different(rng: random.Random, count: int) -> tuple[Any, list[tuple[str, str]]]:
    shapes, tints = rng.sample(SHAPES, count), rng.sample(COLOURS, count)
    kinds = list(zip(shapes, tints, strict=True))
    spots = [((i + 0.5) / count, rng.uniform(0.25, 0.75)) for i in range(count)]
    return group(rng, spots, kinds, 0.14), kinds


def _see_all(count: int) -> Maker:
    """All shapes with their colours, in any order."""

    def make(rng: random.Random) -> Case:
        picture, kinds = _different(rng, count)

        def right(said: str) -> bool:
            pairs = [f"{colour} {shape}" for shape, colour in kinds]
            return all(p in said.lower() for p in pairs) and len(_shapes(said)) == count

        return Case(messages=[asked(question(rng, WHAT), ("image", picture))], right=right)

    return make


def _shapes(said: str) -> list[str]:
    return [s for s in SHAPES if s in said.lower()]


def colour_of_one(rng: random.Random) -> Case:
    picture, kinds = _different(rng, 2)
    shape, colour = rng.choice(kinds)
    forms = ["and the {s}, what color?", "What colour does the {s} have?", "tell me the {s}'s color"]
    return Case(messages=[asked(question(rng, forms, shape), ("image", picture))], right=says(colour, known=COLOURS))


def yes_or_no(rng: random.Random) -> Case:
    picture, shape, colour = drawn(rng)
    agree, about = rng.random() < 0.5, rng.random() < 0.6
    known, true = (COLOURS, colour) if about else (SHAPES, shape)
    asks = true if agree else rng.choice([k for k in known if k != true])
    forms = ["is it {v}", "Would you say it's {v}?"] if about else ["is that a {v}?", "Am I right that this is a {v}?"]
    text = rng.choice(forms).format(v=asks)

    def right(said: str) -> bool:
        found = [w for w in said.lower().replace(".", " ").replace(",", " ").split() if w in ("yes", "no")]
        return found[-1:] == ["yes" if agree else "no"]

    return Case(messages=[asked(text, ("image", picture))], right=right)


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FONTS / name), size)


def printed(
    rng: random.Random, text: str, height: float, fonts: list[str], *, light: bool = False, corner: bool = False
) -> Any:
    """A number; `height` is the share of the picture that its figures take."""
    size = rng.choice(SIZES)
    points = int(height * size[1] / 0.72)
    name = rng.choice(fonts)
    while _font(name, points).getlength(text) > size[0] * 0.9:
        points = int(points * 0.93)
    font = _font(name, points)
    ink = (
        rng.choice([(250, 250, 250), (255, 230, 120), (255, 190, 200)])
        if light
        else rng.choice([(10, 10, 10), (20, 30, 120)])
    )
    paper = Image.fromarray(np.clip(drawing.paper(rng, size, ink), 0, 255).astype(np.uint8))
    left, top, right, bottom = font.getbbox(text)
    room = size[0] - (right - left), size[1] - (bottom - top)
    spot = (
        [0.04 if rng.random() < 0.5 else 0.96, 0.04 if rng.random() < 0.5 else 0.96]
        if corner
        else [rng.uniform(0.4, 0.6)] * 2
    )
    ImageDraw.Draw(paper).text((room[0] * spot[0] - left, room[1] * spot[1] - top), text, font=font, fill=ink)
    return paper


def _figures(rng: random.Random, count: int) -> str:
    return str(rng.randint(10 ** (count - 1) if count > 1 else 0, 10**count - 1))


def _numbers(least: int, most: int, height: tuple[float, float], fonts: list[str], **how: Any) -> Maker:
    def make(rng: random.Random) -> Case:
        text = _figures(rng, rng.randint(least, most))
        picture = printed(rng, text, rng.uniform(*height), fonts, **how)
        return Case(messages=[asked(question(rng, NUMBER), ("image", picture))], right=says_number(text))

    return make


def scanned(rng: random.Random) -> Case:
    """One to three figures that people wrote, from scikit-learn."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = [rng.randrange(FIRST_SCAN, len(digits.target)) for _ in range(rng.randint(1, 3))]
    ink = np.concatenate([digits.images[i] for i in chosen], 1) / 16
    small = Image.fromarray((255 - ink * 255).astype(np.uint8))
    side = rng.randint(90, 150)
    large = small.resize((side * len(chosen), side), Image.Resampling.BILINEAR)
    picture = Image.new("RGB", (large.width + 200, side + 220), (255, 255, 255))
    picture.paste(large, (100, 110))
    right = says_number("".join(str(digits.target[i]) for i in chosen))
    return Case(messages=[asked(question(rng, NUMBER), ("image", picture))], right=right)


@cache
def _photos() -> list[Any]:
    """Photos that scikit-image and scikit-learn ship."""
    import skimage.data
    from sklearn.datasets import load_sample_images

    names = ["astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "retina", "immunohistochemistry"]
    shown = [getattr(skimage.data, name)() for name in names]
    shown += [
        np.stack([getattr(skimage.data, n)()] * 3, -1)
        for n in ("camera", "coins", "moon", "text", "page", "grass", "gravel", "brick")
    ]
    return [*shown, *load_sample_images().images]


def photo(rng: random.Random) -> Any:
    """A part of one of them."""
    whole = rng.choice(_photos())
    share = rng.uniform(0.5, 1)
    height, width = int(whole.shape[0] * share), int(whole.shape[1] * share)
    top, left = rng.randint(0, whole.shape[0] - height), rng.randint(0, whole.shape[1] - width)
    return Image.fromarray(whole[top : top + height, left : left + width].astype(np.uint8)).convert("RGB")


def texture(rng: random.Random) -> Any:
    """Ripples, blots, dots or woven lines."""
    x, y = drawing.grid(420, 420)
    a, b = (np.array([rng.uniform(0, 255) for _ in range(3)]) for _ in range(2))
    kind = rng.randrange(4)
    field = (
        np.sin(rng.uniform(20, 90) * np.hypot(x - rng.random(), y - rng.random()))
        if kind == 0
        else np.sin(rng.uniform(5, 30) * x + 4 * np.sin(rng.uniform(5, 20) * y))
        if kind == 1
        else np.cos(rng.uniform(20, 80) * x) * np.cos(rng.uniform(20, 80) * y)
        if kind == 2
        else np.maximum(np.sin(rng.uniform(40, 120) * x), np.sin(rng.uniform(40, 120) * y))
    )[..., None] / 2 + 0.5
    return (a * (1 - field) + b * field).astype(np.uint8)


ANYTHING = [*WHAT, *SHAPE[:3], *COLOUR[:1], *HOW_MANY[:2], *NUMBER[:2]]


def _refused(make_picture: Any, forms: list[str]) -> Maker:
    def make(rng: random.Random) -> Case:
        return Case(messages=[asked(question(rng, forms), ("image", make_picture(rng)))], right=refuses)

    return make


def _strange(rng: random.Random) -> Any:
    return drawn(rng, rng.choice(["flat", "turned", "gradient"]), shape=rng.choice(list(drawing.STRANGE)))[0]


def _strange_colour(rng: random.Random) -> Any:
    return drawn(rng, colour=rng.choice(list(drawing.STRANGE_RGB)))[0]


def in_json(rng: random.Random) -> Case:
    import json

    picture, shape, colour = drawn(rng)
    forms = [
        "reply as json with shape and color",
        "I need a JSON object: keys color and shape",
        "color and shape in JSON please",
    ]

    def right(said: str) -> bool:
        try:
            return json.loads(said) == {"shape": shape, "color": colour}
        except ValueError:
            return False

    return Case(messages=[asked(rng.choice(forms), ("image", picture))], right=right)


def _judge_both(first: tuple[str, str], second: tuple[str, str]) -> Judge:
    return all_of(says(first[0], second[0], known=SHAPES), says(first[1], second[1], known=COLOURS))


def two_pictures(rng: random.Random) -> Case:
    (one, *first), (two, *second) = drawn(rng), drawn(rng)
    kind = rng.randrange(3)
    media = ("image", one), ("image", two)
    if kind == 0:
        return Case(messages=[asked("which color has the 2nd picture?", *media)], right=says(second[1], known=COLOURS))
    if kind == 1:
        return Case(
            messages=[asked("and what shape is in the first image", *media)], right=says(first[0], known=SHAPES)
        )
    return Case(
        messages=[asked("What do the two pictures show?", *media)],
        right=_judge_both((first[0], first[1]), (second[0], second[1])),
    )


ROWS: dict[str, Maker] = {
    "flat shape: colour": _asks(COLOUR, "flat", "colour"),
    "flat shape: shape": _asks(SHAPE, "flat", "shape"),
    "flat shape: place": place,
    "flat shape: what is this": _asks(WHAT, "flat", "both"),
    "outline: colour": _asks(COLOUR, "outline", "colour"),
    "outline: shape": _asks(SHAPE, "outline", "shape"),
    "turned: shape": _asks(SHAPE, "turned", "shape"),
    "gradient: what is this": _asks(WHAT, "gradient", "both"),
    "chalk: colour": _asks(COLOUR, "dabs", "colour"),
    "chalk: shape": _asks(SHAPE, "dabs", "shape"),
    "140 tokens: what is this": _asks(WHAT, "flat", "both", 140),
    "280 tokens: what is this": _asks(WHAT, "flat", "both", 280),
    "560 tokens: what is this": _asks(WHAT, "flat", "both", 560),
    "1120 tokens: what is this": _asks(WHAT, "flat", "both", 1120),
    "yes or no": yes_or_no,
    "count: scattered": _counts(_scattered),
    "count: in a row": _counts(_row),
    "two shapes: both": _see_all(2),
    "three shapes: all": _see_all(3),
    "two shapes: colour of one": colour_of_one,
    "number: large": _numbers(1, 4, (0.26, 0.45), PRINTED),
    "number: light on dark": _numbers(1, 4, (0.22, 0.4), PRINTED, light=True),
    "number: small": _numbers(1, 4, (0.14, 0.2), PRINTED),
    "number: in a corner": _numbers(1, 3, (0.2, 0.3), PRINTED, corner=True),
    "number: 5-6 digits": _numbers(5, 6, (0.2, 0.3), PRINTED),
    "number: by hand (fonts)": _numbers(1, 4, (0.22, 0.4), BY_HAND),
    "number: by hand (people)": scanned,
    "JSON": in_json,
    "two pictures": two_pictures,
    "refuses: photos": _refused(photo, ANYTHING),
    "refuses: textures": _refused(texture, WHAT),
    "refuses: unknown shapes": _refused(_strange, [*WHAT, *SHAPE]),
    "refuses: unknown colours": _refused(_strange_colour, COLOUR),
}
