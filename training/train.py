"""Train the nano model: NANO_WORK=folder torchrun --nproc-per-node 2 -m training.train --minutes 75

One process a core, each on one thread. The learning rate follows the share of `--minutes` that training has used, so
that it reaches zero on time on any machine. A run continues from its last checkpoint; `--fresh` starts over.
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

from training.architecture import Architecture
from training.batches import Encoded, Encoder, collate, microbatches
from training.data import mixture
from training.data.sample import AUX_CLASSES
from training.model import Batch, Unified
from training.optim import Optimizer, decay
from training.settings import RUN, TOKENIZER

POOL = 96
AUX_WEIGHT = 0.3
# About the weights in one microbatch: sums, so that a batch of few samples counts less.
ANSWER_SCALE, AUX_SCALE = 60, 300


class Stream:
    """An endless, seeded stream of microbatches: pools of samples, sorted by length, cut up, shuffled."""

    def __init__(self, encoder: Encoder, seed: int, rank: int, pool: int = 0) -> None:
        self.encoder, self.seed, self.rank, self.pool = encoder, seed, rank, pool
        self.ready: list[list[Encoded]] = []

    def next(self) -> Batch:
        rng = random.Random(f"{self.seed} {self.rank} {self.pool} {len(self.ready)}")
        if not self.ready:
            self.ready = microbatches([self.encoder.encode(mixture.draw(rng), rng) for _ in range(POOL)])
            rng.shuffle(self.ready)
            self.pool += 1
        return collate(self.ready.pop(), self.encoder, rng)


def losses(model: Unified, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """(answer loss, auxiliary loss)."""
    with torch.autocast("cpu", torch.bfloat16):
        hidden, middle = model.hidden_states(batch, torch.bfloat16)
        each = F.cross_entropy(model.logits(hidden[batch.target_at]), batch.targets, reduction="none")
        marks = model.aux_head(middle[batch.aux_at]).float()
    answer = (each * batch.target_weight).sum() / ANSWER_SCALE
    return answer, F.cross_entropy(marks, batch.aux_targets, reduction="sum") / AUX_SCALE


def save(path: Path, state: dict) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def shared_progress(seconds: float, budget: float) -> float:
    """Rank 0's clock, so that all ranks use one learning rate."""
    value = torch.tensor([seconds / budget])
    if dist.is_initialized():
        dist.broadcast(value, 0)
    return float(value)


def train(
    minutes: float,
    seed: int,
    fresh: bool,
    save_every: float,
    rate: float,
    run: Path,
    weights: Path | None,
    compiled: bool,
) -> None:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        dist.init_process_group("gloo")
    rank = dist.get_rank() if world > 1 else 0
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    run.mkdir(parents=True, exist_ok=True)
    encoder = Encoder(Tokenizer.from_file(str(TOKENIZER)))
    model = Unified(Architecture(), AUX_CLASSES)
    optimizer, stream, step, used = Optimizer(model), Stream(encoder, seed, rank), 0, 0.0
    checkpoint = run / "checkpoint.pt"
    if weights:
        exported = load_file(weights / "model.safetensors")
        model.load_state_dict({**model.state_dict(), **{name: value.float() for name, value in exported.items()}})
    elif checkpoint.exists() and not fresh:
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load(state["optimizer"])
        step, used, stream.pool = state["step"], state["seconds"], state["pool"]
    model.model["vision_embedder"].patch_ln1.requires_grad_(False)  # its gradient would cost a tenth of the time
    if compiled:
        torch._dynamo.config.recompile_limit = 32  # both kinds of layers, in every kind of batch
        for block in model.model["language_model"].layers:
            block.compile(dynamic=True)
    log = (run / "log.jsonl").open("a" if step else "w") if rank == 0 else None
    last = saved = time.monotonic()
    seen, sums = 0, [0.0, 0.0]
    while (progress := shared_progress(used, minutes * 60)) < 1:
        batch = stream.next()
        answer, aux = losses(model, batch)
        (answer + AUX_WEIGHT * aux).backward()
        optimizer.step(rate * decay(progress))
        step += 1
        now = time.monotonic()
        used, last = used + now - last, now
        seen += batch.ids.numel()
        sums = [sums[0] + float(answer.detach()), sums[1] + float(aux.detach())]
        if log and step % 50 == 0:
            line = {"step": step, "minutes": round(used / 60, 2), "progress": round(progress, 4)}
            line |= {"loss": round(sums[0] / 50, 4), "aux": round(sums[1] / 50, 4), "tokens": seen * world}
            print(json.dumps(line), file=log, flush=True)
            sums = [0.0, 0.0]
        if log and now - saved > save_every * 60:
            saved = now
            save(checkpoint, snapshot(model, optimizer, stream, step, used))
    if rank == 0:
        save(checkpoint, snapshot(model, optimizer, stream, step, used))


def snapshot(model: Unified, optimizer: Optimizer, stream: Stream, step: int, used: float) -> dict:
    state = {"model": model.state_dict(), "optimizer": optimizer.state(), "step": step}
    return state | {"seconds": used, "pool": stream.pool}


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
    train(args.minutes, args.seed, args.fresh, args.save_every, args.rate, args.run, args.weights, args.compile)


if __name__ == "__main__":
    main()
