"""Write a drafter's folder in the published layout: python -m train_nano.export_drafter TARGET FOLDER [TABLE]

bfloat16 weights under the Hub's tensor names, and config.json. With TABLE, a file that `benchmarks.speculative --tasks`
has printed, also the model card: `drafter_card.md` with the table and the run's length filled in.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from train_nano.architecture import from_config
from train_nano.drafter import drafter_config, drafter_sizes
from train_nano.settings import RUN

CARD = Path(__file__).with_name("drafter_card.md")


def export(target: Path, folder: Path, state: dict) -> dict[str, str]:
    """Writes weights and configuration; returns what the card says about them."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.to(torch.bfloat16).contiguous() for name, weight in state["model"].items()}
    file = folder / "model.safetensors"
    save_file(weights, file, metadata={"format": "pt"})
    file.chmod(0o644)
    config = json.loads((target / "config.json").read_text())
    own = drafter_config(config, drafter_sizes(from_config(config)))
    (folder / "config.json").write_text(json.dumps(own, indent=2, sort_keys=True) + "\n")
    return {
        "parameters": f"{sum(weight.numel() for weight in weights.values()):,}",
        "megabytes": f"{file.stat().st_size / 1e6:.2f}",
        "minutes": f"{state['seconds'] / 60:.0f}",
        "steps": f"{state['step']:,}",
    }


def main(target: Path, folder: Path, table: Path | None = None) -> None:
    facts = export(target, folder, torch.load(RUN / "drafter.pt", weights_only=True))
    if table is None:
        return
    text = CARD.read_text()
    for name, value in (facts | {"table": table.read_text().strip()}).items():
        text = text.replace(f"{{{{{name}}}}}", value)
    (folder / "README.md").write_text(text)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
