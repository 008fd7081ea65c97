"""Write the model card of an exported checkpoint: python -m train_nano.card FOLDER BLIND.md

The text is `model_card.md`; BLIND.md is what `python -m benchmarks.nano` printed, the training facts come from the
run's log.
"""

import json
import sys
from itertools import pairwise
from pathlib import Path

from safetensors import safe_open

from train_nano.settings import RUN

CARD = Path(__file__).with_name("model_card.md")


def trained_tokens(log: list[dict]) -> int:
    """Tokens over all parts of a run: the count starts again whenever training continues."""
    ends = [a["tokens"] for a, b in pairwise(log) if b["tokens"] < a["tokens"]]
    return sum(ends) + log[-1]["tokens"]


def main(folder: Path, blind: Path) -> None:
    log = [json.loads(line) for line in (RUN / "log.jsonl").read_text().splitlines()]
    weights = folder / "model.safetensors"
    with safe_open(weights, "pt") as file:
        parameters = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    facts = {
        "table": blind.read_text().strip(),
        "minutes": f"{log[-1]['minutes']:.0f}",
        "steps": f"{log[-1]['step']:,}",
        "tokens": f"{trained_tokens(log) / 1e6:.1f} million",
        "parameters": f"{parameters / 1e6:.2f} million",
        "megabytes": f"{weights.stat().st_size / 1e6:.1f}",
    }
    text = CARD.read_text()
    for name, value in facts.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    (folder / "README.md").write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
