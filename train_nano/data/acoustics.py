"""What rooms, microphones and files do to a sound: all take and return float32 samples at 16 kHz."""

import random

import numpy as np
import soxr

from train_nano.media import RATE

_TELEPHONE = 8000


def generator(rng: random.Random) -> np.random.Generator:
    return np.random.default_rng(rng.getrandbits(32))


def stretched(sound: np.ndarray, factor: float) -> np.ndarray:
    """Faster and higher for factors above 1, as a tape would be."""
    return np.interp(np.arange(0, len(sound) - 1, factor), np.arange(len(sound)), sound).astype(np.float32)


def tilted(rng: random.Random, sound: np.ndarray) -> np.ndarray:
    """The treble raised or lowered."""
    tilt = rng.uniform(-0.7, 0.85)
    return np.append(sound[:1], sound[1:] - tilt * sound[:-1]).astype(np.float32)


def coloured(rng: random.Random, sound: np.ndarray) -> np.ndarray:
    """The frequencies weighed by a smooth random curve, as a microphone would."""
    spectrum = np.fft.rfft(sound)
    points = np.linspace(0, 1, 9)
    curve = np.interp(np.linspace(0, 1, len(spectrum)), points, [rng.uniform(-9, 9) for _ in points])
    return np.fft.irfft(spectrum * 10 ** (curve / 20), len(sound)).astype(np.float32)


def in_a_room(rng: random.Random, sound: np.ndarray) -> np.ndarray:
    """Echoes that die away within 0.1 to 0.6 seconds."""
    length = int(RATE * rng.uniform(0.1, 0.6))
    echoes = generator(rng).normal(0, 1, length) * np.exp(-6 * np.arange(length) / length)
    echoes[: RATE // 200] = 0
    echoes *= rng.uniform(0.1, 0.6) / np.sqrt(np.sum(echoes**2))
    echoes[0] = 1
    size = 1 << (len(sound) + length).bit_length()
    made = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(echoes, size), size)
    return made[: len(sound)].astype(np.float32)


def by_telephone(sound: np.ndarray) -> np.ndarray:
    """Nothing above 4 kHz."""
    return soxr.resample(soxr.resample(sound, RATE, _TELEPHONE), _TELEPHONE, RATE).astype(np.float32)


def noise(rng: random.Random, count: int) -> np.ndarray:
    """White, pink or brown noise of power 1."""
    spectrum = np.fft.rfft(generator(rng).normal(0, 1, count))
    fall = rng.choice([0, 0.5, 0.5, 1.0])
    spectrum *= np.maximum(np.arange(len(spectrum)), count / 400) ** -fall
    made = np.fft.irfft(spectrum, count)
    return (made / max(1e-9, np.std(made))).astype(np.float32)


def noisy(rng: random.Random, sound: np.ndarray, least: float = 8, most: float = 40) -> np.ndarray:
    """With noise so many decibels below the sound."""
    power = np.std(sound) * 10 ** (-rng.uniform(least, most) / 20)
    return sound + noise(rng, len(sound)) * power


def recorded(rng: random.Random, sound: np.ndarray) -> np.ndarray:
    """Another microphone in another place; the length stays the same."""
    if rng.random() < 0.3:
        sound = tilted(rng, sound)
    if rng.random() < 0.3:
        sound = coloured(rng, sound)
    if rng.random() < 0.3:
        sound = in_a_room(rng, sound)
    if rng.random() < 0.15:
        sound = by_telephone(sound)
    return noisy(rng, sound) if rng.random() < 0.4 else sound
