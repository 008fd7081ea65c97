"""Check an exported drafter in torch against the package's: python -m train_nano.drafter_parity TARGET DRAFTER

Both compute in float32, on prompts of random tokens shorter and longer than the sliding window. Needs mlx as well.
"""

import json
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import torch
from safetensors.torch import load_file

from gemma4_mlx.checkpoint.load import open_drafter, open_model
from gemma4_mlx.engine.prefill import read_hidden
from gemma4_mlx.model.drafter import Drafter as PackageDrafter
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt
from train_nano.drafter import Drafter, sizes_from
from train_nano.evaluate import load
from train_nano.parity import draft

STEPS, LENGTHS, TOLERANCE = 4, (9, 100, 256, 257, 600), 1e-3


def package_logits(model: Gemma4Unified, drafter: PackageDrafter, ids: list[int]) -> np.ndarray:
    """[STEPS, vocab] behind ids whose last token was just sampled."""
    caches = model.make_caches(len(ids))
    hidden = read_hidden(model, Prompt(ids[:-1]), caches, 512)
    token, logits, rotations = mx.array(ids[-1:]), [], drafter.rotations(caches)
    for _ in range(STEPS):
        found, hidden = drafter(model.language_model.model.embed(token[None]), hidden, caches, rotations)
        token = mx.argmax(found[:, 0], axis=-1)
        logits.append(np.array(found[0, 0]))
    return np.stack(logits)


def main(target: Path, folder: Path) -> int:
    model, drafter = open_model(target), open_drafter(folder)
    model.set_dtype(mx.float32)
    drafter.set_dtype(mx.float32)
    drafter.prepare(model.prepare())
    unified, _ = load(target)
    config = json.loads((target / "config.json").read_text())
    own = Drafter(sizes_from(json.loads((folder / "config.json").read_text()), unified.arch), unified.arch.hidden)
    own.load_state_dict({name: weight.float() for name, weight in load_file(folder / "model.safetensors").items()})
    worst, rng = 0.0, np.random.default_rng(1)
    for length in LENGTHS:
        ids = rng.integers(30, unified.arch.vocab, length + 1).tolist()
        difference = np.abs(
            draft(unified, own, torch.tensor([ids]), config, STEPS).numpy() - package_logits(model, drafter, ids)
        )
        worst = max(worst, float(difference.max()))
        print(f"{length:>4} tokens   max abs difference {difference.max():.1e}")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
