"""Samples to padded batches."""

import random
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from train_nano import chat
from train_nano.data.sample import Clip, Picture, Sample, Video
from train_nano.model import Batch

MICROBATCH_COST = 5500  # about 4,100 tokens in samples of 130, 1,400 in samples of 1,100
LONG = 400  # tokens of a sample whose attention costs as much as everything else
FIRST_WEIGHT = 0.5  # at least, of an answer's first token: it decides between knowing and not knowing
KEPT_BLANKS = 0.15  # share of the media tokens showing nothing that the auxiliary loss looks at


@dataclass(slots=True)
class Encoded:
    """One sample as token ids with its media; `prompt` is the number of tokens before the answer."""

    ids: np.ndarray
    prompt: int
    positions: np.ndarray
    crowd: np.ndarray
    pictures: list[Picture]
    clips: list[Clip]


class Encoder:
    """The tokenizer, and which ids are media placeholders."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.id = tokenizer.token_to_id
        self.vision = [self.id("<|image|>"), self.id("<|video|>")]
        self.audio = self.id("<|audio|>")

    @cached_property
    def sentence_ends(self) -> list[int]:
        return [self.id("."), self.id("\n")]

    @cached_property
    def digits(self) -> list[int]:
        return [self.id(digit) for digit in "0123456789"]

    @cached_property
    def ordinary(self) -> int:
        """The first id after the special tokens."""
        return self.id("<|video|>") + 1

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def encode(self, sample: Sample, rng: random.Random | None = None) -> Encoded:
        """With `rng`, positions jump in the samples that allow it."""
        thinking = sample.thought is not None
        text = chat.expand(chat.render(sample.messages, sample.tools, thinking), iter(map(_count, sample.media)))
        prompt = self.ids(text)
        opened = "" if text.endswith("<|channel>thought\n") else "<|channel>thought\n"
        thought = f"{opened}{sample.thought}\n<channel|>" if thinking else ""
        ids = np.array(prompt + self.ids(thought + sample.answer + sample.end))
        positions, crowd = np.arange(len(ids)), np.zeros(len(ids), np.float32)
        if rng and sample.jumps and rng.random() < 0.5:
            positions, crowd = self._jump(rng, ids, len(prompt))
        pictures = [
            p
            for m in sample.media
            for p in ([m] if isinstance(m, Picture) else m.pictures if isinstance(m, Video) else [])
        ]
        return Encoded(ids, len(prompt), positions, crowd, pictures, [m for m in sample.media if isinstance(m, Clip)])

    def _jump(self, rng: random.Random, ids: np.ndarray, prompt: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions that leap forward at one to three ends of sentences, as if pages of text lay between.

        The pages are there for the full layers too: the second array is the logarithm of how often a filler token
        counts as a key, so that the fact competes with as many keys as in a text of that length.
        """
        ends = np.flatnonzero(np.isin(ids[:prompt], self.sentence_ends)) + 1
        turn = np.flatnonzero(ids[:prompt] == self.id("<turn|>"))[-1]
        question = ends[ends <= turn][-1]
        cuts = ends[ends <= question]
        leaps = np.zeros(len(ids), np.int64)
        for cut in rng.sample(cuts.tolist(), min(len(cuts), rng.randint(1, 3))):
            leaps[cut] = int(10 ** rng.uniform(1.5, 4.8))
        filler = np.zeros(len(ids), bool)
        for start, end in pairwise(cuts):
            filler[start:end] = not np.isin(ids[start:end], self.digits).any()
        filler &= ids >= self.ordinary
        crowd = np.zeros(len(ids), np.float32)
        if filler.any():
            crowd[filler] = np.log1p(leaps.sum() / filler.sum())
        return np.arange(len(ids)) + leaps.cumsum(), crowd


def _count(medium: Picture | Clip | Video) -> int | list[tuple[float, int]]:
    if isinstance(medium, Video):
        return [(s, len(p.patches)) for s, p in zip(medium.seconds, medium.pictures, strict=True)]
    return len(medium.patches) if isinstance(medium, Picture) else len(medium.frames)


def microbatches(samples: list[Encoded]) -> list[list[Encoded]]:
    """Samples of like length together, each group of about the same cost, so that ranks don't wait for each other."""
    groups: list[list[Encoded]] = []
    for sample in sorted(samples, key=lambda s: len(s.ids)):
        cost = len(sample.ids) * (1 + len(sample.ids) / LONG)
        if not groups or (len(groups[-1]) + 1) * cost > MICROBATCH_COST:
            groups.append([])
        groups[-1].append(sample)
    return groups


def collate(samples: list[Encoded], encoder: Encoder, rng: random.Random | None = None) -> Batch:
    """Pad to the longest. Without `rng` there are no auxiliary targets."""
    length = max(len(s.ids) for s in samples)
    ids = np.zeros((len(samples), length), np.int64)
    positions, segments = ids.copy(), ids.copy()
    crowd = np.zeros(ids.shape, np.float32)
    targets: list[tuple[int, int, float]] = []
    for row, sample in enumerate(samples):
        n = len(sample.ids)
        ids[row, :n], positions[row, :n], segments[row, :n] = sample.ids, sample.positions, 1
        crowd[row, :n] = sample.crowd
        weight = (n - sample.prompt) ** -0.5  # long answers count more, but not in proportion
        first = max(weight, FIRST_WEIGHT)
        targets += [
            (row * length + i - 1, sample.ids[i], first if i == sample.prompt else weight)
            for i in range(sample.prompt, n)
        ]
    vision = np.isin(ids, encoder.vision)
    starts = vision & ~np.pad(vision, ((0, 0), (1, 0)))[:, :-1]
    blocks = starts.cumsum(1) * vision
    patch_at, frame_at = np.flatnonzero(vision), np.flatnonzero(ids == encoder.audio)
    ids[vision | (ids == encoder.audio)] = 0
    pictures, clips = [p for s in samples for p in s.pictures], [c for s in samples for c in s.clips]
    at, wanted, weights = zip(*targets, strict=True)
    query_at, target_slot = _queries(np.array(at), len(samples), length)
    aux_at, aux = _auxiliary(pictures, clips, patch_at, frame_at, rng)
    return Batch(
        ids=torch.from_numpy(ids),
        positions=torch.from_numpy(positions),
        blocks=torch.from_numpy(blocks),
        segments=torch.from_numpy(segments),
        crowd=torch.from_numpy(crowd),
        patches=_joined([p.patches for p in pictures], 6912).float() / 255,
        patch_xy=_joined([p.xy for p in pictures], 2).long(),
        patch_at=torch.from_numpy(patch_at),
        frames=_joined([c.frames for c in clips], 640).float(),
        frame_at=torch.from_numpy(frame_at),
        target_at=torch.tensor(at),
        targets=torch.tensor(wanted),
        target_weight=torch.tensor(weights, dtype=torch.float32),
        query_at=torch.from_numpy(query_at),
        target_slot=torch.from_numpy(target_slot),
        aux_at=aux_at,
        aux_targets=aux,
    )


def _queries(at: np.ndarray, rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """For indices into rows of `length`, in order: their places in every row [rows, most], and their slots in that."""
    row, place = np.divmod(at, length)
    rank = np.arange(len(at)) - np.searchsorted(row, row)
    made = np.zeros((rows, rank.max() + 1), np.int64)
    made[row, rank] = place
    return made, row * made.shape[1] + rank


def _joined(arrays: list[np.ndarray], width: int) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays) if arrays else np.zeros((0, width), np.uint8))


def _auxiliary(
    pictures: list[Picture], clips: list[Clip], patch_at: np.ndarray, frame_at: np.ndarray, rng: random.Random | None
) -> tuple[Tensor, Tensor]:
    """Where the auxiliary head is asked, and its answers: every mark, some of the blanks."""
    classes = np.concatenate([np.zeros(0, np.int64), *[p.aux for p in pictures], *[c.aux for c in clips]])
    kept = classes > 0
    if rng:
        chance = np.random.default_rng(rng.getrandbits(32)).random(len(classes))
        kept |= (classes == 0) & (chance < KEPT_BLANKS)
    return torch.from_numpy(np.concatenate((patch_at, frame_at))[kept]), torch.from_numpy(classes[kept])
