"""Tones, beeps, speech of a synthesizer and of people that training never heard, noise and music; 16 kHz, float32."""

import random
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

from benchmarks.blind.case import Case, Judge, Maker, asked, listed, refuses, says_number, word_errors

RATE = 16000
PEOPLE = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
DIGITS = listed("zero one two three four five six seven eight nine")
TEENS = listed("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen")
TENS = listed("twenty thirty forty fifty sixty seventy eighty ninety")
WORDS = listed("red orange yellow green blue purple pink black white circle square triangle star cross diamond heart")
WORDS += listed("left right up down yes no on off stop go start open close hello please thanks")
WORDS += listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
SENTENCES = [
    "The train to the coast leaves from another platform tonight.",
    "My grandmother keeps her old letters in a wooden drawer.",
    "Could somebody please explain how this machine works?",
    "We walked along the beach until the rain began.",
    "Interest rates may rise again before the end of the season.",
    "Don't forget to water the plants while I am away.",
]
TRANSCRIBE = [
    "what's the voice telling us?",
    "write it down please",
    "Could you transcribe that for me",
    "a transcript of it please",
    "What exactly was being said there?",
    "type what you hear pls",
]
HEAR = ["what's making this sound?", "What am I hearing?", "describe that noise", "do you recognise this sound"]
PITCH = [
    "is that low, middle or high?",
    "how high would you say that tone is",
    "is its pitch high, low, middle?",
    "which pitch is that, please",
]
BEEPS = ["how many beeps was that?", "count up those beeps", "It beeped how often?", "number of beeps please"]


def pico(text: str, voice: str, speed: float = 1.0) -> np.ndarray:
    """Spoken by SVOX Pico."""
    from py_nanotts import NanoTTS

    return np.frombuffer(NanoTTS().speak(text, voice=voice, speed=speed), np.int16).astype(np.float32) / 32768


def espeak(text: str, voice: str, speed: int) -> np.ndarray:
    """Spoken by espeak-ng in an accent and timbre that training leaves out."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-w", file.name, text], check=True)
        sound, rate = soundfile.read(file.name, dtype="float32")
    return soxr.resample(sound, rate, RATE)


@cache
def _prompt(name: str) -> np.ndarray:
    sound, rate = soundfile.read(PEOPLE / f"{name}.wav", dtype="float32")
    return soxr.resample(sound, rate, RATE)


def person(figures: str) -> np.ndarray:
    """Digits that a woman said one by one for Asterisk."""
    pause = np.zeros(RATE // 12, np.float32)
    return np.concatenate([piece for figure in figures for piece in (_prompt(f"digits/{figure}"), pause)])


def placed(rng: random.Random, sound: np.ndarray, most: float = 0.6) -> np.ndarray:
    """With silence around and another level."""
    around = [np.zeros(int(rng.uniform(0.05, most) * RATE), np.float32) for _ in range(2)]
    made = np.concatenate((around[0], sound, around[1]))
    return made / max(1e-6, np.abs(made).max()) * rng.uniform(0.25, 0.9)


def _figures(rng: random.Random) -> str:
    return "".join(rng.choices("0123456789", k=rng.randint(2, 5)))


def _same_figures(figures: str) -> Judge:
    return lambda said: re.sub(r"\D", "", said) == figures


def _heard(sound: np.ndarray, rate: int, text: str, right: Judge) -> Case:
    return Case(messages=[asked(text, ("audio", (sound, rate)))], right=right)


def digits_pico(rng: random.Random) -> Case:
    figures = _figures(rng)
    text = rng.choice([" ", ", "]).join(DIGITS[int(f)] for f in figures)
    sound = pico(text, rng.choice(["en-US", "en-GB"]), rng.uniform(0.85, 1.15))
    return _heard(placed(rng, sound), RATE, rng.choice(TRANSCRIBE), _same_figures(figures))


def digits_espeak(rng: random.Random) -> Case:
    figures = _figures(rng)
    text = " ".join(DIGITS[int(f)] for f in figures)
    sound = espeak(text, rng.choice(["en-us+m3", "en-gb-x-gbcwmd+m6", "en-us+klatt2"]), rng.randint(125, 190))
    return _heard(placed(rng, sound), RATE, rng.choice(TRANSCRIBE), _same_figures(figures))


def digits_person(rng: random.Random) -> Case:
    figures = _figures(rng)
    return _heard(placed(rng, person(figures)), RATE, rng.choice(TRANSCRIBE), _same_figures(figures))


def digits_at(rate: int) -> Maker:
    """The held-out synthesizer at another sampling rate, with some hiss."""

    def make(rng: random.Random) -> Case:
        figures = _figures(rng)
        sound = placed(rng, pico(" ".join(DIGITS[int(f)] for f in figures), "en-US"))
        sound = sound + np.random.default_rng(rng.getrandbits(30)).normal(0, 0.004, len(sound))
        made = soxr.resample(sound.astype(np.float32), RATE, rate)
        return _heard(made, rate, rng.choice(TRANSCRIBE), _same_figures(figures))

    return make


def vocabulary(rng: random.Random) -> Case:
    """Two to four words, sometimes a number; right if all are."""
    items = [(w, w.lower()) for w in rng.choices(WORDS, k=rng.randint(2, 4))]
    if rng.random() < 0.3:
        value = rng.randint(10, 99)
        spoken = (
            TEENS[value - 10] if value < 20 else f"{TENS[value // 10 - 2]} {DIGITS[value % 10] if value % 10 else ''}"
        )
        items[rng.randrange(len(items))] = (str(value), spoken.strip())
    sound = pico(
        rng.choice([", ", " "]).join(i[1] for i in items), rng.choice(["en-US", "en-GB"]), rng.uniform(0.85, 1.1)
    )
    true = " ".join(i[0] for i in items)
    return Case(
        messages=[asked(rng.choice(TRANSCRIBE), ("audio", (placed(rng, sound), RATE)))],
        right=lambda said: word_errors(said, true) == 0,
        transcript=true,
    )


def number_person(rng: random.Random) -> Case:
    """One number from 10 to 99, in one recording or two."""
    value = rng.randint(10, 99)
    names = [str(value)] if value < 20 else [str(value // 10 * 10), *([str(value % 10)] if value % 10 else [])]
    sound = np.concatenate([_prompt(f"digits/{name}") for name in names])
    return _heard(placed(rng, sound), RATE, rng.choice(TRANSCRIBE), says_number(value))


def sentence(rng: random.Random) -> Case:
    sound = pico(rng.choice(SENTENCES), rng.choice(["en-US", "en-GB"]), rng.uniform(0.9, 1.1))
    return _heard(placed(rng, sound), RATE, rng.choice(TRANSCRIBE), refuses)


def sentence_person(rng: random.Random) -> Case:
    """Prompts of Asterisk of more than a second and a half."""
    names = [
        "all-circuits-busy-now",
        "agent-loggedoff",
        "agent-incorrect",
        "cannot-complete-as-dialed",
        "demo-congrats",
    ]
    names = [n for n in names if (PEOPLE / f"{n}.wav").exists()]
    sound = _prompt(rng.choice(names))[: RATE * 5]
    return _heard(placed(rng, sound), RATE, rng.choice(TRANSCRIBE), refuses)


def _tone(pitch: float, seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return (np.sin(2 * np.pi * pitch * t) * np.minimum(1, np.minimum(t, seconds - t) / 0.02)).astype(np.float32)


def tone(rng: random.Random) -> Case:
    name, span = rng.choice([("low", (100, 230)), ("middle", (420, 800)), ("high", (1600, 3500))])
    sound = placed(rng, _tone(rng.uniform(*span), rng.uniform(0.4, 1.5)), 0.3)
    return _heard(
        sound,
        RATE,
        rng.choice(PITCH),
        lambda said: [w for w in ("low", "middle", "high") if w in said.lower()] == [name],
    )


def _beeps(silence: tuple[float, float]) -> Maker:
    def make(rng: random.Random) -> Case:
        count = rng.randint(1, 5)
        beep = _tone(rng.uniform(400, 2000), rng.uniform(0.1, 0.25))
        gap = np.zeros(int(rng.uniform(0.12, 0.35) * RATE), np.float32)
        pieces = [piece for _ in range(count) for piece in (beep, gap)][:-1]
        around = [np.zeros(int(rng.uniform(*silence) * RATE), np.float32) for _ in range(2)]
        sound = np.concatenate((around[0], *pieces, around[1])) * rng.uniform(0.3, 0.9)
        return _heard(sound, RATE, rng.choice(BEEPS), says_number(count))

    return make


def noise(rng: random.Random) -> Case:
    """Hiss, crackle or next to nothing."""
    count = int(rng.uniform(0.8, 2.5) * RATE)
    made = np.random.default_rng(rng.getrandbits(30)).normal(0, 1, count)
    kind = rng.randrange(3)
    if kind == 1:
        made = np.where(np.abs(made) > 3, made, 0)
    sound = (made / np.abs(made).max() * (1e-4 if kind == 2 else rng.uniform(0.1, 0.7))).astype(np.float32)
    return _heard(sound, RATE, rng.choice(HEAR + TRANSCRIBE[:2]), refuses)


def music(rng: random.Random) -> Case:
    """A tune of plucked strings (Karplus and Strong) over a bass."""
    pieces = []
    for _ in range(rng.randint(6, 10)):
        period = int(RATE / (220 * 2 ** (rng.choice([0, 2, 3, 5, 7, 8, 10, 12, 15]) / 12)))
        string = np.random.default_rng(rng.getrandbits(30)).uniform(-1, 1, period)
        note = np.empty(int(RATE * rng.choice([0.2, 0.3, 0.4])))
        for start in range(0, len(note), period):
            note[start : start + period] = string[: len(note) - start]
            string = 0.498 * (string + np.roll(string, 1))
        pieces.append(note)
    made = np.concatenate(pieces)
    bass = np.sign(np.sin(2 * np.pi * 82 * np.arange(len(made)) / RATE)) * 0.15
    return _heard(((made + bass) * 0.4).astype(np.float32), RATE, rng.choice(HEAR), refuses)


ROWS: dict[str, Maker] = {
    "digits: espeak-ng, other voices": digits_espeak,
    "digits: Pico": digits_pico,
    "digits: a person": digits_person,
    "digits: Pico, 8 kHz": digits_at(8000),
    "digits: Pico, 44.1 kHz": digits_at(44100),
    "words and numbers: Pico": vocabulary,
    "numbers: a person": number_person,
    "tones": tone,
    "beeps: tight": _beeps((0.0, 0.1)),
    "beeps: silence around": _beeps((0.6, 1.5)),
    "refuses: sentences, Pico": sentence,
    "refuses: sentences, a person": sentence_person,
    "refuses: noise, silence": noise,
    "refuses: music": music,
}
