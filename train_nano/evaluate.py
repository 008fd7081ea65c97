"""Exact match of an exported checkpoint: python -m train_nano.evaluate FOLDER [--samples 100] [--json OUT]

"held out" uses phrasings, voices and cities that training never saw; "seen" uses the phrasings and voices of training
on fresh samples. An answer counts when greedy decoding would write it, its thought and its closing token exactly: every
token is the most likely one after the right tokens before it, which one pass over prompt and answer decides.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from train_nano.architecture import from_config
from train_nano.batches import Encoded, Encoder, collate, microbatches
from train_nano.data import mixture
from train_nano.model import Unified


def load(folder: Path) -> tuple[Unified, Encoder]:
    model = Unified(from_config(json.loads((folder / "config.json").read_text())))
    model.load_state_dict({n: w.float() for n, w in load_file(folder / "model.safetensors").items()})
    return model.eval(), Encoder(Tokenizer.from_file(str(folder / "tokenizer.json")))


@torch.no_grad()
def right(model: Unified, encoder: Encoder, samples: list[Encoded]) -> int:
    """How many of the samples are answered exactly."""
    count = 0
    for group in microbatches(samples):
        batch = collate(group, encoder)
        chosen = model.logits(model.target_states(batch)[0]).argmax(-1)
        row = batch.target_at // batch.ids.shape[1]
        wrong = torch.zeros(len(group)).index_add(0, row, (chosen != batch.targets).float())
        count += int((wrong == 0).sum())
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=100, help="per task and column")
    parser.add_argument("--tasks", nargs="*", default=list(mixture.WEIGHTS))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, encoder = load(args.folder)
    table = {}
    for task in args.tasks:
        shares = []
        for held_out in (True, False):
            samples = [encoder.encode(mixture.case(task, i, held_out)) for i in range(args.samples)]
            shares.append(right(model, encoder, samples) / args.samples)
        table[task] = {"held_out": shares[0], "seen": shares[1]}
        print(f"{task:<16} held out {shares[0]:.2f}   seen phrasings {shares[1]:.2f}", flush=True)
    if args.json:
        args.json.write_text(json.dumps({"samples": args.samples, "accuracy": table}, indent=2) + "\n")


if __name__ == "__main__":
    main()
