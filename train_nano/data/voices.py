"""The bank of speech that training hears beside espeak-ng: words and numbers, and sentences that nano can't write down.

Every voice of `synthesizers.TRAINED` speaks its own utterances. int16 samples at 16 kHz end to end, where every clip
starts, what it says ("" for a sentence outside of the vocabulary) and where its words start, if that is known.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from train_nano.data import library, synthesizers, vocabulary
from train_nano.media import RATE
from train_nano.settings import SPEECH, missing

SPOKEN, SENTENCES = 900, 110  # clips a voice
_STEP = RATE // 100  # samples of one step of loudness


@dataclass(frozen=True, slots=True)
class Bank:
    """`samples[starts[i]:starts[i + 1]]` says `words[i]`, written `texts[i]`; `marks[i]` is where its words start."""

    samples: np.ndarray
    starts: np.ndarray
    texts: list[str]
    words: list[list[str]]
    marks: list[np.ndarray]

    def clip(self, index: int) -> np.ndarray:
        return self.samples[self.starts[index] : self.starts[index + 1]].astype(np.float32) / 32768


def trimmed(sound: np.ndarray) -> tuple[np.ndarray, int]:
    """The sound without silence at both ends, and how many samples were cut off at its start."""
    loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())
    return sound[loud[0] : loud[-1] + 1], int(loud[0])


def word_starts(sound: np.ndarray, count: int) -> np.ndarray:
    """Where `count` words start that pauses part, or nothing if there are not that many clear pauses."""
    steps = len(sound) // _STEP
    level = np.abs(sound[: steps * _STEP]).reshape(steps, _STEP).max(1)
    quiet = np.concatenate(([0], (level < 0.03 * level.max()).astype(int), [0]))
    edges = np.flatnonzero(np.diff(quiet))
    begins, ends = edges[::2], edges[1::2]
    inner = sorted(((e - b, e) for b, e in zip(begins, ends, strict=True) if b > 0 and e < steps), reverse=True)
    clear = len(inner) >= count - 1 and (
        count == 1 or inner[count - 2][0] > 1.4 * (inner[count - 1][0] if len(inner) >= count else 4)
    )
    return np.array([0, *sorted(end for _, end in inner[: count - 1])]) * _STEP if clear else np.zeros(0, int)


def _lines(rng: random.Random) -> list[tuple[str, str, list[str], bool]]:
    """(what the voice is told to say, how it is written, its words, whether pauses part them)."""
    lines = []
    for _ in range(SPOKEN):
        said = vocabulary.utterance(rng)
        parted = rng.random() < 0.5
        items = [" ".join(item.spoken) for item in said.items]
        alone = parted and len(said.words) == len(items)
        lines.append(((", " if parted else " ").join(items) + ".", said.text, said.words, alone))
    return lines + [(library.sentence(rng)[:90], "", [], False) for _ in range(SENTENCES)]


def _recorded(name: str) -> Iterator[tuple[np.ndarray, str, list[str], np.ndarray]]:
    rng = random.Random(f"voice {name}")
    lines = _lines(rng)
    spoken = synthesizers.TRAINED[name](rng, [line[0] for line in lines])
    for sound, (_, text, words, parted) in zip(spoken, lines, strict=True):
        if len(sound) < RATE // 10 or np.abs(sound).max() < 0.01:
            continue
        kept, _ = trimmed(sound / np.abs(sound).max())
        marks = word_starts(kept, len(words)) if parted or len(words) == 1 else np.zeros(0, int)
        yield kept, text, words, marks


def record() -> None:
    """Let every voice of training speak."""
    clips = []
    for name in synthesizers.TRAINED:
        clips += list(_recorded(name))
        print(f"{name}: {len(clips)} clips so far", flush=True)
    starts = np.cumsum([0, *(len(clip[0]) for clip in clips)])
    marks = [clip[3] for clip in clips]
    np.savez(
        SPEECH,
        samples=np.concatenate([(clip[0] * 32767).astype(np.int16) for clip in clips]),
        starts=starts,
        texts=np.array([clip[1] for clip in clips]),
        words=np.array([" ".join(clip[2]) for clip in clips]),
        marks=np.concatenate(marks),
        mark_ends=np.cumsum([len(m) for m in marks]),
    )
    print(f"{len(clips):,} clips, {starts[-1] / RATE / 3600:.1f} hours", flush=True)


@cache
def load() -> Bank:
    if not SPEECH.exists():
        raise missing(SPEECH)
    with np.load(SPEECH) as data:
        marks = np.split(data["marks"], data["mark_ends"][:-1])
        words = [line.split() for line in data["words"].tolist()]
        return Bank(data["samples"], data["starts"], data["texts"].tolist(), words, marks)
