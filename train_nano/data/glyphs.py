"""Numbers: printed, large or small, anywhere, in any ink, and written by hand."""

import random
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from train_nano.data.backgrounds import background
from train_nano.data.colours import COLOURS, Colour, shade
from train_nano.data.phrases import ask
from train_nano.data.sample import FIGURES, Picture, Sample, picture, user
from train_nano.data.shapes import budget, canvas_size, photographed

FONTS = Path("/usr/share/fonts")
# Neither Roboto nor dkg nor Humor Sans: the evaluation has those.
PRINT = [
    "truetype/dejavu/DejaVuSans*.ttf",
    "truetype/dejavu/DejaVuSerif*.ttf",
    "truetype/liberation/Liberation*.ttf",
    "truetype/freefont/Free*.ttf",
    "truetype/lato/Lato-[BHMR]*.ttf",
    "truetype/open-sans/OpenSans-*.ttf",
    "truetype/noto/NotoSans-[BMR]*.ttf",
    "truetype/noto/NotoSerif-[BMR]*.ttf",
    "truetype/hack/Hack-*.ttf",
    "truetype/firacode/FiraCode-*.ttf",
    "truetype/quicksand/Quicksand-*.ttf",
    "truetype/dustin/[Dd]ustismo*.ttf",
    "opentype/inter/Inter-[BMR]*.otf",
    "opentype/ebgaramond/EBGaramond12-*.otf",
    "opentype/comic-neue/ComicNeue-*.otf",
    "opentype/urw-base35/[CNPU]*.otf",
]
HAND = [
    "opentype/bwht/*.otf",
    "opentype/dancingscript/*.otf",
    "opentype/kaushanscript/*.otf",
    "truetype/breip/Breip.ttf",
    "truetype/dustin/Domestic_Manners.ttf",
    "truetype/dustin/Junkyard.ttf",
    "truetype/dustin/PenguinAttack.ttf",
    "truetype/kristi/*.ttf",
    "truetype/leckerli-one/*.ttf",
    "truetype/tomsontalks/*.ttf",
]
SCANNED = 1200  # of the 1,797 digits that scikit-learn ships; people wrote them in order, the evaluation has the rest


@cache
def families(patterns: tuple[str, ...]) -> list[list[str]]:
    found = [sorted(map(str, FONTS.glob(pattern))) for pattern in patterns]
    if not all(found):
        absent = patterns[[bool(f) for f in found].index(False)]
        raise SystemExit(f"error: {FONTS / absent}: training needs the fonts that train_nano/README.md lists")
    return found


@lru_cache(maxsize=300)  # a font at a size takes up to a megabyte, and there are thousands of both
def _font(file: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(file, size)


@cache
def _scans() -> tuple[np.ndarray, np.ndarray]:
    """People's digits: [n, 8, 8] ink in 0..1 and what they are."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return found.images[:SCANNED] / 16, found.target[:SCANNED]


def font(rng: random.Random, patterns: list[str], points: int) -> ImageFont.FreeTypeFont:
    """Any face of any family."""
    return _font(rng.choice(rng.choice(families(tuple(patterns)))), points)


def _ink(rng: random.Random) -> Colour:
    kind = rng.random()
    if kind < 0.55:
        return tuple(rng.randint(0, 60) for _ in range(3))
    return shade(rng, rng.choice(list(COLOURS)))


def _height(rng: random.Random, longest: float, tokens: int) -> float:
    """Of the figures as a share of the picture, not above `longest`, mostly more than a patch."""
    least = rng.choices([1.6, 1.1, 0.8], [65, 25, 10])[0] / tokens**0.5
    return min(longest, least * (0.62 / least) ** rng.random())


def _letters(rng: random.Random, text: str, points: int) -> tuple[Image.Image, list[float]]:
    """The ink of a number as a mask, and the middle of every figure as a share of its width."""
    face = font(rng, HAND if rng.random() < 0.3 else PRINT, points)
    gap = 0 if rng.random() < 0.85 else points * rng.uniform(0.02, 0.3)
    box = face.getbbox(text)
    width = int(face.getlength(text) + gap * (len(text) - 1)) + points // 3
    mask = Image.new("L", (width, box[3] - box[1] + points // 4), 0)
    canvas, x, middles = ImageDraw.Draw(mask), points / 6, []
    for character in text:
        canvas.text((x, points // 8 - box[1]), character, fill=255, font=face)
        middles.append((x + face.getlength(character) / 2) / width)
        x += face.getlength(character) + gap
    return mask, middles


def _scanned(rng: random.Random, text: str, points: int) -> tuple[Image.Image, list[float]]:
    """The same from people's digits side by side."""
    images, labels = _scans()
    pieces = [rng.choice(images[labels == int(figure)]) for figure in text]
    side = max(12, points)
    drawn = [Image.fromarray((p * 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC) for p in pieces]
    step = int(side * rng.uniform(0.8, 1.0))
    mask = Image.new("L", (step * (len(text) - 1) + side, side), 0)
    for i, piece in enumerate(drawn):
        mask.paste(Image.fromarray(np.maximum(piece, mask.crop((i * step, 0, i * step + side, side)))), (i * step, 0))
    sharp = rng.uniform(1, 5)
    values = np.clip((np.asarray(mask) / 255 - 0.45) * sharp + 0.45, 0, 1)
    return Image.fromarray((values * 255).astype(np.uint8)), [
        (i * step + side / 2) / mask.width for i in range(len(text))
    ]


def shown(rng: random.Random, text: str) -> tuple[Image.Image, list[tuple[float, float, int]], int]:
    """A picture with a number, its auxiliary marks and its budget of tokens."""
    tokens = budget(rng)
    size = canvas_size(rng, tokens)
    points = max(14, int(_height(rng, 1.5 * size[0] / size[1] / len(text), tokens) * size[1]))
    make = _scanned if rng.random() < 0.15 else _letters
    mask, middles = make(rng, text, points)
    fit = min(1.0, 0.96 * size[0] / mask.width, 0.9 * size[1] / mask.height)
    mask = mask.resize((max(1, int(mask.width * fit)), max(1, int(mask.height * fit))))
    angle = rng.uniform(-8, 8) if rng.random() < 0.3 else 0.0
    central = rng.random() < 0.4
    room = size[0] - mask.width, size[1] - mask.height
    left, top = (int(r * (0.5 + rng.uniform(-0.08, 0.08) if central else rng.random())) for r in room)
    ink = _ink(rng)
    image = background(rng, size, [ink])
    mask = mask.rotate(angle, Image.Resampling.BILINEAR)
    image.paste(Image.new("RGB", mask.size, ink), (left, top), mask)
    y = (top + mask.height / 2) / size[1]
    reach = mask.height / size[1] * 0.2 if mask.height > size[1] * 0.25 else 0.0
    marks = [
        ((left + m * mask.width) / size[0], y + shift, 1 + FIGURES.index(figure))
        for m, figure in zip(middles, text, strict=True)
        for shift in ((-reach, 0.0, reach) if reach else (0.0,))
    ]
    return photographed(rng, image), marks, tokens


def printed(rng: random.Random, text: str) -> Picture:
    return picture(*shown(rng, text))


def digits(rng: random.Random, least: int = 1, most: int = 6) -> str:
    """A number without a leading zero, mostly of up to four figures."""
    length = rng.choice([n for n in (1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 6) if least <= n <= most])
    return str(rng.randint(10 ** (length - 1) if length > 1 else 0, 10**length - 1))


def number(rng: random.Random, held_out: bool) -> Sample:
    value = digits(rng)
    task, answer = ("number", value) if rng.random() < 0.85 else ("see", f"The number {value}.")
    return Sample(
        task="number", messages=[user(ask(rng, task, held_out), ["image"])], answer=answer, media=[printed(rng, value)]
    )
