"""Train the nano drafter: NANO_WORK=folder python -m train_nano.train_drafter gemma4_mlx/nano --minutes 40

The target is frozen and reads whole conversations. At every token of an answer the drafter guesses STEPS tokens ahead,
told the right tokens in between, as a guess counts only where those before it held. It learns what the target itself
would say there. The learning rate reaches zero at `--minutes`; a stopped run continues from its last checkpoint, if
that was trained for the same target.
"""

import argparse
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from train_nano.drafter import Drafter, Reader, Reading, drafter_sizes, embedded
from train_nano.evaluate import load
from train_nano.model import Batch, Unified
from train_nano.optim import Optimizer, decay
from train_nano.settings import RUN
from train_nano.train import Stream, save

STEPS = 5
SCALE = 1000  # about the guesses in one microbatch: sums, so that a batch of few counts less


@dataclass(slots=True)
class Places:
    """The answers' tokens [B, A], padded: their indices in the batch, what the target says after each, which exist."""

    index: Tensor
    said: Tensor
    real: Tensor


def find_places(target: Unified, batch: Batch, reading: Reading) -> Places:
    """Every answer's tokens."""
    row, column = batch.target_at // batch.ids.shape[1], batch.target_at % batch.ids.shape[1] + 1
    counts = torch.bincount(row, minlength=len(batch.ids))
    first = torch.full((len(batch.ids),), batch.ids.shape[1]).scatter_reduce(0, row, column, "amin")
    steps = torch.arange(int(counts.max()))
    index = (first[:, None] + steps).clamp(max=batch.ids.shape[1] - 1)
    hidden = reading.hidden.gather(1, index[..., None].expand(-1, -1, reading.hidden.shape[-1]))
    return Places(index, target.logits(hidden).argmax(-1), steps < counts[:, None])


def guesses(target: Unified, drafter: Drafter, batch: Batch, reading: Reading) -> tuple[Tensor, Tensor]:
    """Sum of the guesses' cross-entropies, and the tokens that a pass with STEPS guesses brings, in the mean."""
    places = find_places(target, batch, reading)
    last = places.real.shape[1]
    views = drafter.views(batch, reading, places.index)
    before = (places.index - 1)[..., None].expand(-1, -1, reading.hidden.shape[-1])
    hidden, loss = reading.hidden.gather(1, before), torch.zeros(())
    holding = tokens = places.real.float()
    for step in range(STEPS):
        ahead = (torch.arange(last) + step).clamp(max=last - 1)
        # The last token ends the reply: nothing is guessed behind it.
        there = F.pad(places.real, (0, step + 1))[:, step + 1 :]
        embedding = embedded(target, batch.ids.gather(1, places.index[:, ahead]))
        logits, hidden = drafter(embedding.to(hidden.dtype), hidden, views)
        wanted = places.said[:, ahead]
        loss = loss + F.cross_entropy(logits[there].float(), wanted[there], reduction="sum")
        holding = holding * (there & (logits.argmax(-1) == wanted))
        tokens = tokens + holding
    return loss, tokens.sum() / places.real.sum()


def train(folder: Path, minutes: float, seed: int, rate: float, save_every: float) -> None:
    """Writes RUN/drafter.pt and a line in RUN/drafter.jsonl every 50 steps."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(seed)
    target, encoder = load(folder)
    target.requires_grad_(False)
    reader = Reader(target, torch.bfloat16)
    drafter = Drafter(drafter_sizes(target.arch), target.arch.hidden)
    optimizer, stream, step, used = Optimizer(drafter), Stream(encoder, seed, 0), 0, 0.0
    checkpoint, sums = RUN / "drafter.pt", [0.0, 0.0]
    read_by = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    state = torch.load(checkpoint, weights_only=True) if checkpoint.exists() else {}
    if state.get("target") == read_by:
        drafter.load_state_dict(state["model"])
        optimizer.load(state["optimizer"])
        step, used, stream.pool = state["step"], state["seconds"], state["pool"]
    last, saved = time.process_time(), time.monotonic()
    while used < minutes * 60:
        batch = stream.next()
        with torch.autocast("cpu", torch.bfloat16):
            loss, tokens = guesses(target, drafter, batch, reader(batch))
        (loss / SCALE).backward()
        optimizer.step(rate * decay(used / (minutes * 60)))
        step, now = step + 1, time.process_time()
        used, last = used + now - last, now
        sums = [sums[0] + float(loss.detach()) / SCALE, sums[1] + float(tokens)]
        if step % 50 == 0:
            line = {"step": step, "minutes": round(used / 60, 2), "loss": round(sums[0] / 50, 4)}
            with (RUN / "drafter.jsonl").open("a") as log:
                print(json.dumps(line | {"tokens a pass": round(sums[1] / 50, 3)}), file=log)
            sums = [0.0, 0.0]
        if time.monotonic() - saved > save_every * 60 or used >= minutes * 60:
            saved = time.monotonic()
            state = {"model": drafter.state_dict(), "optimizer": optimizer.state(), "step": step, "target": read_by}
            save(checkpoint, state | {"seconds": used, "pool": stream.pool})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the exported target")
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--rate", type=float, default=1.0, help="factor on every learning rate")
    parser.add_argument("--save-every", type=float, default=2, help="minutes between checkpoints")
    args = parser.parse_args()
    RUN.mkdir(parents=True, exist_ok=True)
    train(args.folder, args.minutes, args.seed, args.rate, args.save_every)


if __name__ == "__main__":
    main()
