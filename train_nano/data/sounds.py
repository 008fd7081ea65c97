"""Tones, beeps and spoken digits."""

import random

import numpy as np

from train_nano import media
from train_nano.data import voices
from train_nano.data.phrases import ask
from train_nano.data.sample import DIGIT_CLASS, TONE_CLASS, Clip, Sample, user
from train_nano.data.shapes import NUMBERS
from train_nano.data.speaking import spoken
from train_nano.settings import SPEECH

RATE = media.RATE
PITCHES = {"low": (90, 250), "middle": (400, 850), "high": (1500, 4000)}
LENGTHS = [1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5]  # of spoken strings in training: long ones are harder
QUIET = 0.02


def _wave(rng: random.Random, pitch: float, seconds: float) -> np.ndarray:
    """One steady tone with soft ends."""
    t = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * pitch * t + rng.uniform(0, 6.28)
    sound = np.sin(phase)
    kind = rng.random()
    if kind < 0.15:
        sound = np.sign(sound) * 0.6
    elif kind < 0.3:
        sound = sound + rng.uniform(0.1, 0.4) * np.sin(2 * phase) + rng.uniform(0, 0.2) * np.sin(3 * phase)
    fade = min(int(rng.choice([0.001, 0.01, 0.03]) * RATE), len(t) // 3)
    sound[:fade] *= np.linspace(0, 1, fade)
    sound[len(t) - fade :] *= np.linspace(1, 0, fade)
    return sound / np.abs(sound).max()


def _finish(rng: random.Random, sound: np.ndarray, aux: np.ndarray | None, loudest: float = 0.95) -> Clip:
    """Set the level, add faint noise to some clips, cut into frames."""
    sound = sound * rng.uniform(0.15, loudest)
    if rng.random() < 0.4:
        noise = np.random.default_rng(rng.getrandbits(32)).normal(0, 1, len(sound))
        sound = sound + noise * 10 ** rng.uniform(-4, -2.2)
    frames = media.frames(np.clip(sound, -1, 1))
    return Clip(frames, np.full(len(frames), -1) if aux is None else aux)


def tone_clip(rng: random.Random, pitch: str) -> Clip:
    low, high = PITCHES[pitch]
    sound = _wave(rng, low * (high / low) ** rng.random(), rng.uniform(0.3, 1.6))
    return _finish(rng, sound, None)


def beep_clip(rng: random.Random, count: int) -> Clip:
    """`count` beeps with silence between them, all alike, at a steady or an uneven pace."""
    pitch, length, gap = rng.uniform(300, 2500), rng.uniform(0.08, 0.3), rng.uniform(0.1, 0.4)
    uneven = rng.random() < 0.3
    pieces = [np.zeros(int(rng.uniform(0, 0.3) * RATE))]
    beep = _wave(rng, pitch, length)
    for i in range(count):
        pieces.append(beep)
        last = i == count - 1
        pause = rng.uniform(0.0, 0.3) if last else gap * (rng.uniform(0.7, 1.6) if uneven else 1)
        pieces.append(np.zeros(int(pause * RATE)))
    sound = np.concatenate(pieces)
    edges = np.cumsum([len(p) for p in pieces])
    count_frames = -(-len(sound) // media.FRAME)
    aux = np.zeros(count_frames, np.int64)
    for start in edges[0:-1:2]:
        aux[start // media.FRAME : -(-(start + len(beep)) // media.FRAME)] = TONE_CLASS
    return _finish(rng, sound, aux)


def speech_clip(rng: random.Random, held_out: bool) -> tuple[Clip, str]:
    """Spoken digits and what they say: a recording of the evaluation, or a clip spoken now in a voice of training."""
    if held_out:
        sound, text = _recorded(rng)
        starts = None
    else:
        known = rng.sample("0123456789", 10 if rng.random() < 0.7 else 2)  # two: the place in the string, learned apart
        text = "".join(rng.choices(known, k=rng.choice(LENGTHS)))
        sound, starts = spoken(rng, text)
        factor = rng.uniform(0.85, 1.18)
        sound = _coloured(rng, sound)
        sound = np.interp(np.arange(0, len(sound) - 1, factor), np.arange(len(sound)), sound)
        starts = starts / factor
    sound = sound / max(0.05, float(np.abs(sound).max()))
    lead = rng.randrange(media.FRAME * 5)
    sound = np.pad(sound, (lead, rng.randrange(media.FRAME * 5)))
    return _finish(rng, sound, None if starts is None else _said(sound, starts + lead, text)), text


def _recorded(rng: random.Random) -> tuple[np.ndarray, str]:
    """A held-out clip of at least two digits."""
    file = SPEECH / "held_out.npz"
    if not file.exists():
        raise SystemExit(f"error: {file}: record the spoken digits first: python -m train_nano.data.voices {SPEECH}")
    bank = voices.load(file)
    while len(bank.texts[index := rng.randrange(len(bank.texts))]) == 1:
        pass
    return bank.clip(index), bank.texts[index]


def _said(sound: np.ndarray, starts: np.ndarray, text: str) -> np.ndarray:
    """The auxiliary class of every frame: the digit that sounds in its middle, 0 where it is quiet."""
    loud = np.abs(media.frames(sound)).max(1) > QUIET
    word = np.searchsorted(starts, (np.arange(len(loud)) + 0.5) * media.FRAME, "right") - 1
    classes = np.array([DIGIT_CLASS + int(digit) for digit in text])
    return np.where(loud & (word >= 0), classes[word], 0)


def _coloured(rng: random.Random, sound: np.ndarray) -> np.ndarray:
    """Another microphone: the treble raised or lowered, sometimes a faint echo."""
    if rng.random() < 0.4:
        tilt = rng.uniform(-0.6, 0.8)
        sound = np.append(sound[:1], sound[1:] - tilt * sound[:-1]).astype(np.float32)
    if rng.random() < 0.1:
        delay = rng.randint(RATE // 100, RATE // 12)
        echo = np.pad(sound, (delay, 0))[: len(sound)]
        sound = sound + rng.uniform(0.1, 0.35) * echo
    return sound


def _asked(
    rng: random.Random, task: str, held_out: bool, clip: Clip, answer: str, counted: str | None = None
) -> Sample:
    text = ask(rng, task, held_out)
    return Sample(task=counted or task, messages=[user(text, None, ["audio"])], answer=answer, media=[clip])


def tone(rng: random.Random, held_out: bool) -> Sample:
    pitch = rng.choice(list(PITCHES))
    return _asked(rng, "tone", held_out, tone_clip(rng, pitch), pitch)


def beeps(rng: random.Random, held_out: bool) -> Sample:
    count = rng.randint(1, 5)
    return _asked(rng, "beeps", held_out, beep_clip(rng, count), str(count))


def digits(rng: random.Random, held_out: bool) -> Sample:
    clip, text = speech_clip(rng, held_out)
    return _asked(rng, "digits", held_out, clip, text)


def hear(rng: random.Random, held_out: bool) -> Sample:
    kind = rng.choice(["tone", "beeps", "speech"])
    if kind == "tone":
        pitch = rng.choice(list(PITCHES))
        return _asked(rng, "hear", held_out, tone_clip(rng, pitch), f"A {pitch} tone.")
    if kind == "beeps":
        count = rng.randint(2, 5)
        return _asked(rng, "hear", held_out, beep_clip(rng, count), f"{NUMBERS[count].capitalize()} beeps.")
    clip, text = speech_clip(rng, held_out)
    return _asked(rng, "hear", held_out, clip, f"A voice says {text}.")
