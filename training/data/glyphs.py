"""Printed numbers, words and dense pages of text."""

import random
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from training.data.phrases import ask
from training.data.sample import CHARACTERS, Picture, Sample, picture, user
from training.data.shapes import SIZES, shade

FONTS = Path("/usr/share/fonts/truetype")
FACES = [
    "dejavu/DejaVuSans",
    "dejavu/DejaVuSans-Bold",
    "dejavu/DejaVuSansMono",
    "dejavu/DejaVuSerif",
    "dejavu/DejaVuSansMono-Bold",
]
FACES += ["liberation/LiberationSans-Regular", "liberation/LiberationSans-Bold", "liberation/LiberationSerif-Regular"]
_DARK, _LIGHT = ["black", "blue", "red", "green", "purple"], ["white", "yellow", "pink"]


@cache
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


def _paper(rng: random.Random, size: tuple[int, int]) -> tuple[Image.Image, tuple]:
    """A background and an ink that stands out from it."""
    if rng.random() < 0.75:
        ink = rng.choice(["black"] * 5 + _DARK)
        image = Image.new(
            "RGB", size, tuple(rng.randint(225, 255) for _ in range(3)) if rng.random() < 0.6 else (255, 255, 255)
        )
    else:
        ink = rng.choice(_LIGHT)
        image = Image.new("RGB", size, tuple(rng.randint(0, 90) for _ in range(3)))
    return image, shade(rng, ink)


def printed(rng: random.Random, lines: list[str], smallest: float, largest: float) -> Picture:
    """Lines of text somewhere in a picture; a character's height is between two fractions of the picture's height."""
    size = rng.choice(SIZES)
    image, ink = _paper(rng, size)
    canvas = ImageDraw.Draw(image)
    file = str(FONTS / f"{rng.choice(FACES)}.ttf")
    points = int(rng.uniform(smallest, largest) * size[1])
    while points > 8:
        font = _font(file, points)
        step = points * 1.25
        width, height = max(font.getlength(line) for line in lines), step * len(lines)
        if width < size[0] * 0.94 and height < size[1] * 0.97:
            break
        points = int(points * 0.9)
    left = rng.uniform(0.03 * size[0], max(0.04 * size[0], size[0] * 0.97 - width))
    top = rng.uniform(0, max(1.0, size[1] - height))
    marks = []
    for number, line in enumerate(lines):
        y = top + number * step
        canvas.text((left, y), line, font=font, fill=ink)
        for i, character in enumerate(line):
            if character.lower() in CHARACTERS:
                x = left + font.getlength(line[:i]) + font.getlength(character) / 2
                marks.append((x / size[0], (y + points * 0.6) / size[1], 1 + CHARACTERS.index(character.lower())))
    return picture(image, marks)


def digits(rng: random.Random, least: int = 1, most: int = 4) -> str:
    """A number without a leading zero."""
    length = rng.randint(least, most)
    return str(rng.randint(10 ** (length - 1) if length > 1 else 0, 10**length - 1))


def number(rng: random.Random, held_out: bool) -> Sample:
    value = digits(rng)
    task, answer = ("number", value) if held_out or rng.random() < 0.85 else ("see", f"The number {value}.")
    text = ask(rng, task, held_out)
    return Sample(
        task="number", messages=[user(text, ["image"])], answer=answer, media=[printed(rng, [value], 0.28, 0.45)]
    )


def word(rng: random.Random) -> str:
    """A few digits, or a word-like run of letters."""
    if rng.random() < 0.7:
        return "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 5)))
    length = rng.randint(2, 6)
    return "".join(
        rng.choice("bcdfghjklmnprstvwxyz" if i % 2 else "aeiou") if rng.random() < 0.8 else rng.choice(CHARACTERS[10:])
        for i in range(length)
    )


def page(rng: random.Random, held_out: bool) -> Sample:
    """A page of up to five short lines to be read in full: the densest teacher of reading."""
    lines = [" ".join(word(rng) for _ in range(rng.randint(1, 2))) for _ in range(rng.randint(1, 5))]
    lines = [line[:9].strip() for line in lines]
    text = ask(rng, "read", held_out)
    return Sample(
        task="read", messages=[user(text, ["image"])], answer="\n".join(lines), media=[printed(rng, lines, 0.11, 0.16)]
    )
