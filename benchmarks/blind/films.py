"""Films of one moving shape, encoded by a real codec, silent or with a voice."""

import io
import random
from typing import Any

import av
import numpy as np

from benchmarks.blind import drawing
from benchmarks.blind.case import COLOURS, SHAPES, Case, Maker, all_of, asked, contains, refuses, says
from benchmarks.blind.pictures import photo
from benchmarks.blind.sounds import DIGITS, RATE, pico, placed

SIZE = (320, 240)
MOTION = ["which way does it go?", "where is it moving", "Does that thing move left, right, up or down?", "direction?"]
HAPPENS = [
    "so what's happening there?",
    "describe my film",
    "What's going on in this movie?",
    "tell me what you see in the film please",
]
COLOUR = ["what color is the thing that moves", "colour?", "Which color does the moving shape have?"]
BOTH = ["what do you see and hear in this film?", "Tell me what happens and what the voice says."]
STEPS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


def encoded(frames: list[np.ndarray], codec: str, sound: np.ndarray | None = None, rate: int = 12) -> bytes:
    """An MP4 or Matroska file at a low bit rate."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        video = out.add_stream(codec, rate=rate)
        video.width, video.height, video.pix_fmt, video.bit_rate = *SIZE, "yuv420p", 120_000
        voice = out.add_stream("aac", rate=RATE, layout="mono") if sound is not None else None
        for picture in frames:
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(video.encode())
        if voice is not None:
            block = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="fltp", layout="mono")
            block.sample_rate = RATE
            fifo = av.AudioFifo()
            fifo.write(block)
            while (frame := fifo.read(1024)) or (frame := fifo.read(1024, True)):
                out.mux(voice.encode(frame))
            out.mux(voice.encode())
    return file.getvalue()


def moving(rng: random.Random, sound: np.ndarray | None = None) -> tuple[bytes, str, str, str]:
    """(film, shape, colour, direction)."""
    shape, colour, way = rng.choice(SHAPES), rng.choice(COLOURS), rng.choice(list(STEPS))
    dx, dy = STEPS[way]
    travel, across, radius = rng.uniform(0.4, 0.7), rng.uniform(0.3, 0.7), rng.uniform(0.12, 0.2)
    ink = drawing.RGB[colour]
    ground = drawing.paper(rng, SIZE, ink, rng.choice(["flat", "gradient"]))
    count = rng.choice([16, 24, 36])
    frames = []
    for i in range(count):
        along = 0.5 + (i / (count - 1) - 0.5) * travel * (dx + dy)
        at = (along, across) if dx else (across, along)
        frames.append(drawing.inked(ground, drawing.mask(shape, at, radius, 0.0, SIZE), ink))
    return encoded(frames, rng.choice(["mpeg4", "libx264"]), sound), shape, colour, way


def _way(way: str) -> Any:
    return lambda said: [w for w in STEPS if w in said.lower().replace(".", " ").split()] == [way]


def _motion(frames: int | None) -> Maker:
    def make(rng: random.Random) -> Case:
        film, _, _, way = moving(rng)
        return Case(messages=[asked(rng.choice(MOTION), ("video", film))], right=_way(way), max_frames=frames)

    return make


def happens(rng: random.Random) -> Case:
    film, shape, colour, way = moving(rng)
    right = all_of(says(shape, known=SHAPES), says(colour, known=COLOURS), _way(way))
    return Case(messages=[asked(rng.choice(HAPPENS), ("video", film))], right=right)


def colour(rng: random.Random) -> Case:
    film, _, tint, _ = moving(rng)
    return Case(messages=[asked(rng.choice(COLOUR), ("video", film))], right=says(tint, known=COLOURS))


def _with_speech(both: bool) -> Maker:
    def make(rng: random.Random) -> Case:
        figures = "".join(rng.choices("0123456789", k=rng.randint(2, 4)))
        sound = placed(rng, pico(" ".join(DIGITS[int(f)] for f in figures), "en-US"), 0.2)
        film, shape, tint, way = moving(rng, sound)
        if not both:
            return Case(messages=[asked("which digits does the voice say?", ("video", film))], right=contains(figures))
        right = all_of(contains(figures), says(shape, known=SHAPES), says(tint, known=COLOURS), _way(way))
        return Case(messages=[asked(rng.choice(BOTH), ("video", film))], right=right)

    return make


def strange(rng: random.Random) -> Case:
    """A slow look across a photo."""
    whole = np.asarray(photo(rng).resize((SIZE[0] + 160, SIZE[1] + 60)))
    frames = [np.ascontiguousarray(whole[i : i + SIZE[1], 3 * i : 3 * i + SIZE[0]]) for i in range(0, 50, 2)]
    return Case(messages=[asked(rng.choice(HAPPENS), ("video", encoded(frames, "mpeg4")))], right=refuses)


ROWS: dict[str, Maker] = {
    "film: motion": _motion(None),
    "film: motion, 8 frames": _motion(8),
    "film: motion, 32 frames": _motion(32),
    "film: what happens": happens,
    "film: colour": colour,
    "film with a voice: digits": _with_speech(False),
    "film with a voice: both": _with_speech(True),
    "refuses: films of photos": strange,
}
