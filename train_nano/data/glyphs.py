"""Printed numbers."""

import random
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from train_nano.data.phrases import ask
from train_nano.data.sample import CHARACTERS, Picture, Sample, picture, user
from train_nano.data.shapes import SIZES, shade

FONTS = Path("/usr/share/fonts/truetype")
FACES = ["dejavu/DejaVuSans", "dejavu/DejaVuSans-Bold"]
FACES += ["liberation/LiberationSans-Regular", "liberation/LiberationSans-Bold"]
_DARK, _LIGHT = ["black", "blue", "red", "green", "purple"], ["white", "yellow", "pink"]


@cache
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(file, size)
    except OSError:
        raise SystemExit(f"error: {file}: printed numbers need Debian's fonts-dejavu and fonts-liberation") from None


def _paper(rng: random.Random, size: tuple[int, int], dark: float) -> tuple[Image.Image, tuple]:
    """A background, dark with that probability, and an ink that stands out from it."""
    if rng.random() < 1 - dark:
        ink = rng.choice(["black"] * 9 + _DARK)
        image = Image.new(
            "RGB", size, tuple(rng.randint(225, 255) for _ in range(3)) if rng.random() < 0.6 else (255, 255, 255)
        )
    else:
        ink = rng.choice(_LIGHT)
        image = Image.new("RGB", size, tuple(rng.randint(0, 90) for _ in range(3)))
    return image, shade(rng, ink)


def printed(rng: random.Random, text: str, dark: float = 0.15) -> Picture:
    """A number in large figures about the middle of a picture, on dark paper with probability `dark`.

    A figure is about 0.3 to 0.4 of the picture's height, a little less where four of them must fit: some 100 to 150
    pixels, where a patch has 48.
    """
    size = rng.choice(SIZES)
    image, ink = _paper(rng, size, dark)
    canvas = ImageDraw.Draw(image)
    file = str(FONTS / f"{rng.choice(FACES)}.ttf")
    points = int(rng.uniform(0.42, 0.54) * min(size))
    while (width := (font := _font(file, points)).getlength(text)) > size[0] * 0.94:
        points = int(points * 0.95)
    left = (size[0] - width) / 2 + rng.uniform(-0.03, 0.03) * size[0]
    left = min(max(left, 0.02 * size[0]), 0.98 * size[0] - width)
    middle = size[1] * rng.uniform(0.45, 0.55)
    canvas.text((left, middle), text, font=font, fill=ink, anchor="lm")
    marks = []
    for i, character in enumerate(text):
        x = left + font.getlength(text[:i]) + font.getlength(character) / 2
        marks += [
            (x / size[0], (middle + y * points) / size[1], 1 + CHARACTERS.index(character)) for y in (-0.2, 0, 0.2)
        ]
    return picture(image, marks)


def digits(rng: random.Random, least: int = 1, most: int = 4) -> str:
    """A number without a leading zero."""
    length = rng.randint(least, most)
    return str(rng.randint(10 ** (length - 1) if length > 1 else 0, 10**length - 1))


def number(rng: random.Random, held_out: bool) -> Sample:
    """Training has more long numbers and more light ink than the evaluation: both are harder."""
    value = digits(rng) if held_out or rng.random() < 0.5 else digits(rng, least=3)
    task, answer = ("number", value) if held_out or rng.random() < 0.85 else ("see", f"The number {value}.")
    text = ask(rng, task, held_out)
    shown = printed(rng, value) if held_out else printed(rng, value, dark=0.4)
    return Sample(task="number", messages=[user(text, ["image"])], answer=answer, media=[shown])
