"""Tones, beeps and spoken digits."""

import random

import numpy as np

from training import media
from training.data import voices
from training.data.phrases import ask
from training.data.sample import DIGIT_CLASS, TONE_CLASS, Clip, Sample, user
from training.data.shapes import NUMBERS
from training.settings import SPEECH

RATE = media.RATE
PITCHES = {"low": (90, 250), "middle": (400, 850), "high": (1500, 4000)}


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
    """Spoken digits and what they say: a recorded string, or single digits of one voice put together."""
    bank = voices.load(SPEECH / ("held_out.npz" if held_out else "train.npz"))
    index = rng.randrange(len(bank.texts))
    if held_out or rng.random() < 0.5:
        while held_out and len(bank.texts[index]) == 1:
            index = rng.randrange(len(bank.texts))
        sound, aux, text = bank.clip(index), None, bank.texts[index]
    else:
        sound, aux, text = _composed(rng, bank, index)
    if not held_out:
        sound = _coloured(rng, sound)
        factor = rng.uniform(0.85, 1.18)
        sound = np.interp(np.arange(0, len(sound) - 1, factor), np.arange(len(sound)), sound)
        if aux is not None:
            spots = (np.arange(-(-len(sound) // media.FRAME)) + 0.5) * media.FRAME * factor
            aux = aux[np.minimum((spots / media.FRAME).astype(int), len(aux) - 1)]
    sound = sound / max(0.05, float(np.abs(sound).max()))
    lead = rng.randrange(media.FRAME * 5)
    if aux is None:
        sound = np.pad(sound, (lead, rng.randrange(media.FRAME * 5)))
    else:
        sound = np.pad(sound, (lead - lead % media.FRAME, 0))
        aux = np.pad(aux, (lead // media.FRAME, 0))[: -(-len(sound) // media.FRAME)]
    return _finish(rng, sound, aux), text


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


def _composed(rng: random.Random, bank: voices.Bank, near: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Single digits of the voice that clip `near` belongs to, and the digit that sounds in every frame."""
    first = near
    while bank.texts[first : first + 10] != list("0123456789"):
        first -= 1
    text = "".join(rng.choices("0123456789", k=rng.randint(1, 5)))
    pieces, labels = [], []
    for digit in text:
        sound = bank.clip(first + int(digit))
        gap = np.zeros(int(rng.uniform(0.01, 0.25) * RATE), np.float32)
        pieces += [sound, gap]
        labels += [np.full(len(sound), DIGIT_CLASS + int(digit)), np.zeros(len(gap), np.int64)]
    sound, label = np.concatenate(pieces), np.concatenate(labels)
    return sound, label[media.FRAME // 2 :: media.FRAME], text


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
