"""Train the nano model: NANO_WORK=folder torchrun --nproc-per-node 2 -m train_nano.train --minutes 75

One process a core, each on one thread. The learning rate follows the share of `--minutes` that training has used, so
that it reaches zero on time on any machine. Minutes are processor time of one process: where other work runs beside it,
training ends later and learns as much. A run continues from its last checkpoint; `--fresh` starts over.
"""

import argparse
import json
import os
import random
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

from train_nano.architecture import Architecture
from train_nano.batches import Encoded, Encoder, collate, microbatches
from train_nano.data import mixture
from train_nano.data.sample import AUX_CLASSES
from train_nano.model import Batch, Unified
from train_nano.optim import Optimizer, decay
from train_nano.settings import RUN, TOKENIZER

POOL = 256
LONGEST = 2600  # tokens of a sample, a film of 32 frames: the memory of attention grows with the square
AUX_WEIGHT = 0.3
# About the weights in one microbatch: sums, so that a batch of few samples counts less.
ANSWER_SCALE, AUX_SCALE = 60, 300
LOG_EVERY = 50


class Stream:
    """An endless, seeded stream of microbatches: pools of samples, sorted by length, cut up, shuffled."""

    def __init__(self, encoder: Encoder, seed: int, rank: int, pool: int = 0) -> None:
        self.encoder, self.seed, self.rank, self.pool = encoder, seed, rank, pool
        self.ready: list[list[Encoded]] = []

    def next(self) -> Batch:
        rng = random.Random(f"{self.seed} {self.rank} {self.pool} {len(self.ready)}")
        if not self.ready:
            drawn = [self.encoder.encode(mixture.draw(rng), rng) for _ in range(POOL)]
            self.ready = microbatches([sample for sample in drawn if len(sample.ids) <= LONGEST])
            rng.shuffle(self.ready)
            self.pool += 1
        return collate(self.ready.pop(), self.encoder, rng)


def losses(model: Unified, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(answer loss, auxiliary loss)."""
    with torch.autocast("cpu", torch.bfloat16):
        hidden, middle = model.target_states(batch, torch.bfloat16)
        each = F.cross_entropy(model.logits(hidden), batch.targets, reduction="none")
        marks = model.aux_head(middle[batch.aux_at]).float()
    answer = (each * batch.target_weight).sum() / ANSWER_SCALE
    return answer, F.cross_entropy(marks, batch.aux_targets, reduction="sum") / AUX_SCALE


def save(path: Path, state: dict) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


class Run:
    """What a training run consists of, new or continued from its last checkpoint.

    Attributes:
        step: optimizer steps so far.
        seconds: processor time that one process spent on them.
    """

    def __init__(self, folder: Path, seed: int, rank: int, weights: Path | None, fresh: bool) -> None:
        self.checkpoint = folder / "checkpoint.pt"
        self.model = Unified(Architecture(), AUX_CLASSES)
        self.optimizer = Optimizer(self.model)
        self.stream = Stream(Encoder(Tokenizer.from_file(str(TOKENIZER))), seed, rank)
        self.step, self.seconds = 0, 0.0
        if weights:
            exported = load_file(weights / "model.safetensors")
            known = {name: value.float() for name, value in exported.items()}
            self.model.load_state_dict({**self.model.state_dict(), **known})
        elif self.checkpoint.exists() and not fresh:
            state = torch.load(self.checkpoint, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.optimizer.load(state["optimizer"])
            self.step, self.seconds, self.stream.pool = state["step"], state["seconds"], state["pool"]
        # Its gradient would cost a tenth of the time.
        self.model.model["vision_embedder"].patch_ln1.requires_grad_(False)

    def save(self) -> None:
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state(), "step": self.step}
        save(self.checkpoint, state | {"seconds": self.seconds, "pool": self.stream.pool})

    def compile(self) -> None:
        """Fuses the blocks."""
        torch._dynamo.config.recompile_limit = 32  # both kinds of layers, in every kind of batch
        *blocks, last = self.model.model["language_model"].layers
        for block in blocks:
            block.compile(dynamic=True)
        last.attended = torch.compile(last.attended, dynamic=True)  # its attention has few queries

    def learn(self, scale: float) -> tuple[float, float, int]:
        """One step with the learning rates times `scale`; returns both losses and the batch's tokens."""
        batch = self.stream.next()
        answer, aux = losses(self.model, batch)
        (answer + AUX_WEIGHT * aux).backward()
        self.optimizer.step(scale)
        self.step += 1
        return float(answer.detach()), float(aux.detach()), batch.ids.numel()


class Log:
    """A line in log.jsonl every 50 steps: losses in the mean since the last one, tokens since the start."""

    def __init__(self, run: Run, world: int) -> None:
        self.file = run.checkpoint.with_name("log.jsonl").open("a" if run.step else "w")
        self.world, self.tokens, self.sums = world, 0, [0.0, 0.0]

    def add(self, run: Run, progress: float, answer: float, aux: float, tokens: int) -> None:
        self.tokens += tokens * self.world
        self.sums = [self.sums[0] + answer, self.sums[1] + aux]
        if run.step % LOG_EVERY:
            return
        line = {"step": run.step, "minutes": round(run.seconds / 60, 2), "progress": round(progress, 4)}
        line |= {"loss": round(self.sums[0] / LOG_EVERY, 4), "aux": round(self.sums[1] / LOG_EVERY, 4)}
        print(json.dumps(line | {"tokens": self.tokens}), file=self.file, flush=True)
        self.sums = [0.0, 0.0]


def shared_progress(seconds: float, budget: float) -> float:
    """Rank 0's clock, so that all ranks use one learning rate."""
    value = torch.tensor([seconds / budget])
    if dist.is_initialized():
        dist.broadcast(value, 0)
    return float(value)


def train(run: Run, log: Log | None, budget: float, rate: float, save_every: float) -> None:
    """Until `budget` seconds are used; one of the ranks has a log, and saves every so many seconds."""
    last, saved = time.process_time(), time.monotonic()
    while (progress := shared_progress(run.seconds, budget)) < 1:
        learned = run.learn(rate * decay(progress))
        now = time.process_time()
        run.seconds, last = run.seconds + now - last, now
        if log:
            log.add(run, progress, *learned)
        if log and time.monotonic() - saved > save_every:
            saved = time.monotonic()
            run.save()
    if log:
        run.save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=75)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--fresh", action="store_true", help="ignore an existing checkpoint")
    parser.add_argument("--save-every", type=float, default=4, help="minutes between checkpoints")
    parser.add_argument("--rate", type=float, default=1.0, help="factor on every learning rate")
    parser.add_argument("--run", type=Path, default=RUN)
    parser.add_argument("--weights", type=Path, help="start from this exported folder instead of a checkpoint")
    parser.add_argument("--compile", action="store_true", help="fuse the blocks: a fifth faster after some minutes")
    args = parser.parse_args()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        dist.init_process_group("gloo")
    rank = dist.get_rank() if world > 1 else 0
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(args.seed)
    args.run.mkdir(parents=True, exist_ok=True)
    run = Run(args.run, args.seed, rank, args.weights, args.fresh)
    if args.compile:
        run.compile()
    log = Log(run, world) if rank == 0 else None
    train(run, log, args.minutes * 60, args.rate, args.save_every * 60)


if __name__ == "__main__":
    main()
