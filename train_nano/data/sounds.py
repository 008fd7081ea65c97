"""Tones, beeps and speech."""

import random

import numpy as np

from train_nano import media
from train_nano.data import acoustics, synthesizers, vocabulary, voices
from train_nano.data.phrases import ask
from train_nano.data.sample import TONE_CLASS, WORD_CLASS, Clip, Sample, user
from train_nano.data.shapes import NUMBERS
from train_nano.data.speaking import spoken
from train_nano.data.vocabulary import VOCABULARY

RATE = media.RATE
PITCHES = {"low": (90, 250), "middle": (400, 850), "high": (1500, 4000)}
QUIET = 0.02
LIVE = 0.4  # share of speech that espeak-ng speaks anew; the rest comes from the bank


def _wave(rng: random.Random, pitch: float, seconds: float) -> np.ndarray:
    """One steady tone with soft ends: pure, square, saw-like or with overtones."""
    t = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * pitch * t + rng.uniform(0, 6.28)
    sound = np.sin(phase)
    kind = rng.random()
    if kind < 0.15:
        sound = np.sign(sound) * 0.6
    elif kind < 0.35:
        sound = sound + sum(rng.uniform(0, 0.5) / k * np.sin(k * phase) for k in range(2, 6) if k * pitch < RATE / 2)
    fade = min(int(rng.choice([0.001, 0.01, 0.03]) * RATE), len(t) // 3)
    sound[:fade] *= np.linspace(0, 1, fade)
    sound[len(t) - fade :] *= np.linspace(1, 0, fade)
    if rng.random() < 0.15:  # struck: it dies away
        sound *= np.exp(-rng.uniform(0.5, 2) * t / seconds)
    return sound / np.abs(sound).max()


def _silence(rng: random.Random) -> np.ndarray:
    """What lies before or after a sound: mostly little, sometimes a second or more."""
    return np.zeros(int(rng.choice([rng.uniform(0, 0.25), rng.uniform(0, 0.25), rng.uniform(0.2, 1.6)]) * RATE))


def finished(rng: random.Random, sound: np.ndarray, aux: np.ndarray | None, loudest: float = 0.95) -> Clip:
    """Set the level, add faint noise to some clips, cut into frames."""
    sound = sound / max(1e-6, float(np.abs(sound).max())) * rng.uniform(0.1, loudest)
    if rng.random() < 0.4:
        sound = sound + acoustics.noise(rng, len(sound)) * 10 ** rng.uniform(-4, -2.2)
    frames = media.frames(np.clip(sound, -1, 1))
    return Clip(frames, np.full(len(frames), -1) if aux is None else aux)


def tone_clip(rng: random.Random, pitch: str) -> Clip:
    low, high = PITCHES[pitch]
    sound = _wave(rng, low * (high / low) ** rng.random(), rng.uniform(0.3, 1.6))
    if rng.random() < 0.4:
        sound = np.concatenate((_silence(rng), sound, _silence(rng)))
    if rng.random() < 0.2:
        sound = acoustics.noisy(rng, sound, 15)
    return finished(rng, sound, None)


def beep_clip(rng: random.Random, count: int) -> Clip:
    """`count` beeps with silence between them and around them, at a steady or an uneven pace."""
    pitch, length, gap = rng.uniform(250, 3000), rng.uniform(0.06, 0.35), rng.uniform(0.09, 0.5)
    uneven = rng.random() < 0.3
    beep = _wave(rng, pitch, length)
    pieces = [_silence(rng)]
    for i in range(count):
        pause = gap * (rng.uniform(0.7, 1.6) if uneven else 1)
        pieces += [beep, _silence(rng) if i == count - 1 else np.zeros(int(pause * RATE))]
    sound = np.concatenate(pieces)
    aux = np.zeros(-(-len(sound) // media.FRAME), np.int64)
    for start in np.cumsum([len(p) for p in pieces])[0:-1:2]:
        aux[start // media.FRAME : -(-(start + len(beep)) // media.FRAME)] = TONE_CLASS
    if rng.random() < 0.25:
        sound = acoustics.in_a_room(rng, sound)
    if rng.random() < 0.2:
        sound = acoustics.noisy(rng, sound, 15)
    return finished(rng, sound, aux)


def _banked(rng: random.Random, known: bool) -> tuple[np.ndarray, np.ndarray, str, list[str]]:
    """(sound, where its words start, its text, its words) of a clip in the bank, or of a sentence in it."""
    bank = voices.load()
    while bool(bank.texts[index := rng.randrange(len(bank.texts))]) is not known:
        pass
    return bank.clip(index), bank.marks[index], bank.texts[index], bank.words[index]


def _held_out(rng: random.Random) -> tuple[np.ndarray, np.ndarray, str, list[str]]:
    said = vocabulary.utterance(rng)
    line = rng.choice([", ", " "]).join(" ".join(item.spoken) for item in said.items)
    sound = next(synthesizers.pico(rng.choice(["en-US", "en-GB"]))(rng, [line]))
    return voices.trimmed(sound)[0], np.zeros(0, int), said.text, said.words


def _spoken(rng: random.Random) -> tuple[np.ndarray, np.ndarray, str, list[str]]:
    if rng.random() > LIVE:
        return _banked(rng, True)
    said = vocabulary.utterance(rng)
    sound, starts = spoken(rng, said)
    return sound, starts, said.text, said.words


def _placed(rng: random.Random, sound: np.ndarray, starts: np.ndarray, words: list[str]) -> Clip:
    """Spoken somewhere, by somebody larger or smaller, with silence around."""
    factor = rng.uniform(0.82, 1.2)
    sound = acoustics.stretched(sound, factor)
    before, after = _silence(rng), _silence(rng)
    clean = np.concatenate((before, sound, after)).astype(np.float32)
    clean /= max(0.05, float(np.abs(clean).max()))
    aux = _said(clean, starts / factor + len(before), words) if len(starts) == len(words) > 0 else None
    return finished(rng, acoustics.recorded(rng, clean), aux)


def speech_clip(rng: random.Random, held_out: bool) -> tuple[Clip, str]:
    """Words and numbers in some voice, and how they are written."""
    sound, starts, text, words = _held_out(rng) if held_out else _spoken(rng)
    return _placed(rng, sound, starts, words), text


def sentence_clip(rng: random.Random) -> Clip:
    """A sentence outside of the vocabulary."""
    sound, *_ = _banked(rng, False)
    return _placed(rng, sound[: RATE * 5], np.zeros(0, int), [])


def _said(sound: np.ndarray, starts: np.ndarray, words: list[str]) -> np.ndarray:
    """The auxiliary class of every frame: the word that sounds in its middle, 0 where it is quiet."""
    loud = np.abs(media.frames(sound)).max(1) > QUIET
    word = np.searchsorted(starts, (np.arange(len(loud)) + 0.5) * media.FRAME, "right") - 1
    known = {w.lower(): i for i, w in enumerate(VOCABULARY)}
    classes = np.array([WORD_CLASS + known[w.lower()] for w in words])
    return np.where(loud & (word >= 0), classes[word], 0)


def _asked(rng: random.Random, task: str, held_out: bool, clip: Clip, answer: str) -> Sample:
    text = ask(rng, task, held_out)
    return Sample(task=task, messages=[user(text, None, ["audio"])], answer=answer, media=[clip])


def tone(rng: random.Random, held_out: bool) -> Sample:
    pitch = rng.choice(list(PITCHES))
    return _asked(rng, "tone", held_out, tone_clip(rng, pitch), pitch)


def beeps(rng: random.Random, held_out: bool) -> Sample:
    count = rng.randint(1, 5)
    return _asked(rng, "beeps", held_out, beep_clip(rng, count), str(count))


def speech(rng: random.Random, held_out: bool) -> Sample:
    clip, text = speech_clip(rng, held_out)
    return _asked(rng, "digits", held_out, clip, text)


def hear(rng: random.Random, held_out: bool) -> Sample:
    kind = rng.choice(["tone", "beeps", "speech", "speech"])
    if kind == "tone":
        pitch = rng.choice(list(PITCHES))
        return _asked(rng, "hear", held_out, tone_clip(rng, pitch), f"A {pitch} tone.")
    if kind == "beeps":
        count = rng.randint(2, 5)
        return _asked(rng, "hear", held_out, beep_clip(rng, count), f"{NUMBERS[count].capitalize()} beeps.")
    clip, text = speech_clip(rng, held_out)
    return _asked(rng, "hear", held_out, clip, f"A voice says {text}.")
