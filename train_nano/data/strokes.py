"""Ways to draw an outline: filled, as a line, by an unsteady hand, hatched, shaded."""

import math
import random

import numpy as np
from PIL import Image, ImageDraw

from train_nano.data.colours import Colour, nearby
from train_nano.data.outlines import Points

STYLES = {"filled": 0.5, "edged": 0.12, "line": 0.16, "hand": 0.12, "hatched": 0.05, "shaded": 0.05}


def style(rng: random.Random) -> str:
    return rng.choices(list(STYLES), list(STYLES.values()))[0]


def _dense(points: Points, step: float) -> np.ndarray:
    """The closed outline as points at most `step` apart."""
    corners = np.array([*points, points[0]])
    lengths = np.maximum(1, np.ceil(np.hypot(*np.diff(corners, axis=0).T) / step).astype(int))
    pieces = [np.linspace(a, b, n, endpoint=False) for a, b, n in zip(corners, corners[1:], lengths, strict=False)]
    return np.concatenate(pieces)


def unsteady(rng: random.Random, points: Points, radius: float) -> Points:
    """The outline as a hand would draw it: slow waves, and ends that miss each other."""
    dense = _dense(points, max(2.0, radius / 12))
    turns = np.arange(len(dense)) / len(dense) * 2 * math.pi
    for axis in (0, 1):
        for wave in range(1, 5):
            amplitude = radius * rng.uniform(0, 0.05) / wave**0.5
            dense[:, axis] += amplitude * np.sin(wave * turns + rng.uniform(0, 6.28))
    start = rng.randrange(len(dense))
    dense = np.roll(dense, -start, 0)
    cut = rng.randint(-2, 3)
    return [tuple(p) for p in (dense[:-cut] if cut > 0 else np.concatenate((dense, dense[: 1 - cut])))]


def _inside(size: tuple[int, int], points: Points) -> Image.Image:
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).polygon(points, fill=255)
    return mask


def _hatched(rng: random.Random, image: Image.Image, points: Points, fill: Colour, radius: float) -> None:
    lines = Image.new("RGB", image.size)
    drawn = Image.new("L", image.size, 0)
    canvas, reach = ImageDraw.Draw(drawn), max(image.size) * 2
    angle, gap = rng.uniform(0, math.pi), max(4.0, radius * rng.uniform(0.14, 0.24))
    dx, dy = math.cos(angle), math.sin(angle)
    for i in range(-int(reach / gap), int(reach / gap)):
        x, y = -dy * i * gap + image.width / 2, dx * i * gap + image.height / 2
        ends = (x - dx * reach, y - dy * reach, x + dx * reach, y + dy * reach)
        canvas.line(ends, fill=255, width=max(2, int(gap * rng.uniform(0.45, 0.7))))
    lines.paste(fill, (0, 0, *image.size))
    inside = Image.fromarray(np.minimum(np.asarray(drawn), np.asarray(_inside(image.size, points))))
    image.paste(lines, (0, 0), inside)


def _shaded(rng: random.Random, image: Image.Image, points: Points, fill: Colour) -> None:
    """Filled from a lighter to a darker tone of one colour."""
    a, b = np.array(nearby(rng, fill)), np.array(nearby(rng, fill))
    across = np.linspace(0, 1, image.width)[None, :, None] if rng.random() < 0.5 else None
    along = np.linspace(0, 1, image.height)[:, None, None] if across is None else across
    tones = np.broadcast_to(a + (b - a) * along, (image.height, image.width, 3)).astype(np.uint8)
    image.paste(Image.fromarray(tones), (0, 0), _inside(image.size, points))


def draw(rng: random.Random, image: Image.Image, points: Points, fill: Colour, how: str, radius: float) -> None:
    """Draw an outline given in pixels on `image`."""
    canvas = ImageDraw.Draw(image)
    width = max(2, int(radius * rng.uniform(0.1, 0.24)))
    if how == "hand":
        for _ in range(rng.choice([1, 1, 2])):
            canvas.line(unsteady(rng, points, radius), fill=fill, width=width, joint="curve")
        return
    if how == "hatched":
        _hatched(rng, image, points, fill, radius)
    elif how == "shaded":
        _shaded(rng, image, points, fill)
    elif how != "line":
        canvas.polygon(points, fill=fill)
    if how in ("line", "hatched"):
        canvas.line([*points, *points[:2]], fill=fill, width=width, joint="curve")
    elif how == "edged":
        edge = rng.choice([(0, 0, 0), (90, 90, 90), (255, 255, 255), nearby(rng, fill, 90)])
        canvas.line([*points, points[0]], fill=edge, width=max(2, int(radius * 0.08)))
