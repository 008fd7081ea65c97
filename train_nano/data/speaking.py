"""Words spoken by espeak-ng inside this process, a new clip at every call.

The library is called through ctypes because the command line does not tell where a word starts.
"""

import ctypes
import random
from functools import cache

import numpy as np
import soxr

from train_nano.data.vocabulary import Utterance
from train_nano.data.voices import trimmed
from train_nano.media import RATE

# "en" is Great Britain: the library knows no "en-gb", and the command line reads "en-gb+f2" as "en-gb" without f2.
ACCENTS = ["en-us", "en", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-029", "en-us-nyc"]
_VARIANTS = """
m1 m2 m4 m5 m7 m8 f1 f3 f4 f5 max linda steph steph2 anika antonio aunty belinda boris ed grandma grandpa gustave iven
kaukovalta marcelo michel miguel paul pedro quincy rob robert sandro shelby travis victor zac Alex Alicia Andrea Andy
Annie Denis Diogo Gene Henrique Hugo Jacky Lee Marco Mario Michael Nguyen
"""
TIMBRES = ["", *_VARIANTS.split()]
_SYNCHRONOUS, _UTF8, _WORD_EVENT = 2, 1, 1
_SPEED, _PITCH, _RANGE, _WORD_GAP = 1, 3, 4, 7


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("kind", "message", "text", "length", "milliseconds", "sample")),
        *(("user", ctypes.c_void_p), ("id", ctypes.c_char * 8)),
    ]


_HEARD = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Speaker:
    """The library with its one callback, which collects sound and the samples at which words start."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libespeak-ng.so.1")
        self.rate = self.library.espeak_Initialize(_SYNCHRONOUS, 0, None, 0)
        self.pieces: list[np.ndarray] = []
        self.starts: list[int] = []
        self.callback = _HEARD(self._heard)
        self.library.espeak_SetSynthCallback(self.callback)

    def _heard(self, samples: "ctypes._Pointer", count: int, events: "ctypes._Pointer") -> int:
        if samples and count > 0:
            self.pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while kind := events[index].kind:
            if kind == _WORD_EVENT and events[index].length:  # those of no length end a clause
                self.starts.append(events[index].sample)
            index += 1
        return 0

    def say(self, text: str, voice: str, settings: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """float32 sound at 16 kHz and the samples at which its words start."""
        self.pieces, self.starts = [], []
        if self.library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"espeak-ng has no voice {voice}")
        for parameter, value in settings.items():
            self.library.espeak_SetParameter(parameter, value, 0)
        said = text.encode()
        self.library.espeak_Synth(said, len(said) + 1, 0, 0, 0, _UTF8, None, None)
        sound = np.concatenate(self.pieces).astype(np.float32) / 32768
        return soxr.resample(sound, self.rate, RATE), np.array(self.starts) * RATE / self.rate


@cache
def _speaker() -> Speaker:
    return Speaker()


def spoken(rng: random.Random, said: Utterance) -> tuple[np.ndarray, np.ndarray]:
    """`said` in any voice of training, float32 at 16 kHz without silence at the ends, and where each word starts."""
    alike = rng.choice([" ", " ", ", "])
    mixed = rng.random() < 0.3
    text = " ".join(said.items[0].spoken)
    for item in said.items[1:]:
        text += (rng.choice([" ", ", "]) if mixed else alike) + " ".join(item.spoken)
    settings = {
        _SPEED: rng.randint(115, 220),
        _PITCH: rng.randint(20, 80),
        _RANGE: 50 if rng.random() < 0.5 else rng.randint(20, 80),
        _WORD_GAP: 0 if rng.random() < 0.8 else rng.randint(1, 15),
    }
    timbre = rng.choice(TIMBRES)
    sound, starts = _speaker().say(text, f"{rng.choice(ACCENTS)}{'+' if timbre else ''}{timbre}", settings)
    if len(starts) != len(said.words):  # once in thousands of clips a word is not told
        return spoken(rng, said)
    kept, cut = trimmed(sound)
    return kept, starts - cut
