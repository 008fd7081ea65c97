"""Check the torch model against reference outputs: python -m train_nano.parity FIXTURE_DIR

FIXTURE_DIR holds model/ (config.json, model.safetensors), assistant/ (the same of a drafter) and golden.safetensors:
per case input_ids, logits and media, and the drafter's next_token and logits behind the case "text".
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from train_nano.architecture import from_config
from train_nano.drafter import Drafter, Reader, embedded, sizes_from
from train_nano.model import Batch, Unified

# Random weights amplify float32 rounding about 10,000 times: text and audio agree within 3e-4, while adding the two
# position embeddings in another order alone moves the logits after pictures by 7e-3 (of 11).
TOLERANCE = 1e-2


def as_batch(case: dict[str, Tensor], config: dict) -> Batch:
    """One fixture case as a batch of one row."""
    ids = case["input_ids"][0].long()
    vision = (ids == config["image_token_id"]) | (ids == config["video_token_id"])
    audio = ids == config["audio_token_id"]
    starts = vision & ~torch.cat((torch.tensor([False]), vision[:-1]))
    kind = "pixel_values" if "pixel_values" in case else "pixel_values_videos"
    xy = case.get("image_position_ids", case.get("video_position_ids", torch.zeros(0, 0, 2))).flatten(0, 1).long()
    pixels = case.get(kind, torch.zeros(0, 0, 6912)).flatten(0, 1)
    kept = xy[:, 0] >= 0
    frames = case.get("input_features", torch.zeros(0, 0, 640)).flatten(0, 1)
    mask = case.get("input_features_mask", torch.zeros(0, 0, dtype=torch.bool)).flatten()
    empty = torch.zeros(0, dtype=torch.long)
    return Batch(
        ids=torch.where(vision | audio, 0, ids)[None],
        positions=torch.arange(len(ids))[None],
        blocks=(starts.cumsum(0) * vision)[None],
        segments=torch.ones(1, len(ids), dtype=torch.long),
        crowd=torch.zeros(1, len(ids)),
        patches=pixels[kept],
        patch_xy=xy[kept],
        patch_at=vision.nonzero()[:, 0],
        frames=frames[mask],
        frame_at=audio.nonzero()[:, 0],
        target_at=empty,
        query_at=empty,
        target_slot=empty,
        targets=empty,
        target_weight=empty,
        aux_at=empty,
        aux_targets=empty,
    )


@torch.no_grad()
def draft(target: Unified, drafter: Drafter, ids: Tensor, config: dict, steps: int) -> Tensor:
    """Logits [steps, vocab] of what the drafter guesses behind the text `ids` [1, L]; its last token is the anchor."""
    batch = as_batch({"input_ids": ids}, config)
    reading, at, guesses = Reader(target, torch.float32)(batch), ids.shape[1] - 1, []
    views = drafter.views(batch, reading, torch.tensor([[at]]))
    token, hidden = ids[:, at:].long(), reading.hidden[:, at - 1 : at]
    for _ in range(steps):
        logits, hidden = drafter(embedded(target, token), hidden, views)
        token = logits.argmax(-1)
        guesses.append(logits[0, 0])
    return torch.stack(guesses)


def check_drafter(target: Unified, folder: Path, config: dict, golden: dict[str, Tensor]) -> float:
    """The greatest difference of the drafter's logits."""
    sizes = sizes_from(json.loads((folder / "config.json").read_text()), target.arch)
    drafter = Drafter(sizes, target.arch.hidden)
    drafter.load_state_dict(load_file(folder / "model.safetensors"))
    ids = torch.cat((golden["text.input_ids"], golden["assistant.next_token"]), -1)
    got = draft(target, drafter, ids, config, len(golden["assistant.logits"]))
    return float((got - golden["assistant.logits"]).abs().max())


@torch.no_grad()
def main(fixture: str) -> int:
    folder = Path(fixture)
    config = json.loads((folder / "model/config.json").read_text())
    model = Unified(from_config(config))
    model.load_state_dict(load_file(folder / "model/model.safetensors"))
    golden = load_file(folder / "golden.safetensors")
    worst = 0.0
    for name in sorted({key.split(".")[0] for key in golden} - {"assistant"}):
        case = {k.split(".", 1)[1]: v for k, v in golden.items() if k.startswith(f"{name}.")}
        got = model.logits(model.hidden_states(as_batch(case, config))[0])
        difference = float((got - case["logits"]).abs().max())
        worst = max(worst, difference)
        print(f"{name:<10} max abs difference {difference:.1e}")
    difference = check_drafter(model, folder / "assistant", config, golden)
    worst = max(worst, difference)
    print(f"{'drafter':<10} max abs difference {difference:.1e}")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
