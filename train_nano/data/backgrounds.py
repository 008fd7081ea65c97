"""What lies under a drawing: plain paper, gradients, noise, squared paper, faint photos."""

import random
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from train_nano.data import colours, photos
from train_nano.data.colours import Colour, distance

_COARSE = 48  # pixels of a gradient before it is enlarged
_GENTLE = 70  # distance in RGB between two colours of one background


def _second(rng: random.Random, inks: list[Colour], first: Colour) -> Colour:
    """Another paper, not far from the first one unless it stands out from the inks as well."""
    found = colours.paper(rng, inks)
    if all(distance(found, ink) > _GENTLE for ink in inks) and rng.random() < 0.5:
        return found
    return colours.nearby(rng, first, 50)


def blend(rng: random.Random, size: tuple[int, int], first: Colour, second: Colour) -> Image.Image:
    """A gradient from one colour to another, along any direction or from a centre."""
    x, y = np.meshgrid(np.linspace(0, 1, _COARSE), np.linspace(0, 1, _COARSE))
    if rng.random() < 0.7:
        at = rng.uniform(-1, 1) * x + rng.uniform(-1, 1) * y
    else:
        at = np.hypot(x - rng.random(), y - rng.random())
    at = ((at - at.min()) / max(1e-6, np.ptp(at)))[..., None]
    small = Image.fromarray((np.array(first) * (1 - at) + np.array(second) * at).astype(np.uint8))
    return small.resize(size, Image.Resampling.BILINEAR)


@cache
def _grain(channels: int) -> np.ndarray:
    """Noise to cut pieces from: new noise for every picture would cost more than all drawing."""
    return np.random.default_rng(channels).normal(0, 1, (1200, 1200, channels)).astype(np.float32)


def grainy(rng: random.Random, image: Image.Image, most: float) -> Image.Image:
    grain = _grain(rng.choice([1, 3]))
    tall, wide = min(image.height, 1200), min(image.width, 1200)
    top, left = rng.randint(0, 1200 - tall), rng.randint(0, 1200 - wide)
    values = np.asarray(image).astype(np.float32)
    values[:tall, :wide] += grain[top : top + tall, left : left + wide] * np.float32(rng.uniform(2, most))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


def _ruled(rng: random.Random, image: Image.Image) -> Image.Image:
    """Lines or squares as on school paper."""
    canvas, gap = ImageDraw.Draw(image), rng.randint(14, 50)
    ink = colours.nearby(rng, image.getpixel((0, 0)), 45)
    for y in range(rng.randrange(gap), image.height, gap):
        canvas.line((0, y, image.width, y), fill=ink)
    if rng.random() < 0.6:
        for x in range(rng.randrange(gap), image.width, gap):
            canvas.line((x, 0, x, image.height), fill=ink)
    return image


def _photo(rng: random.Random, size: tuple[int, int], inks: list[Colour]) -> Image.Image:
    """A photo, blurred, and faint or dark enough to stand back."""
    shown = photos.crop(rng, size).filter(ImageFilter.GaussianBlur(rng.uniform(0, 6)))
    return Image.blend(shown, Image.new("RGB", size, colours.paper(rng, inks)), rng.uniform(0.55, 0.85))


def background(rng: random.Random, size: tuple[int, int], inks: list[Colour]) -> Image.Image:
    """Something that no ink vanishes in."""
    first = colours.paper(rng, inks)
    kind = rng.random()
    if kind < 0.2:
        image = blend(rng, size, first, _second(rng, inks, first))
    elif kind < 0.25:
        image = _ruled(rng, Image.new("RGB", size, first))
    elif kind < 0.3:
        image = _photo(rng, size, inks)
    else:
        image = Image.new("RGB", size, first)
    return grainy(rng, image, 16) if rng.random() < 0.2 else image
