"""Where working data lives (not in the repository)."""

import os
from pathlib import Path

WORK = Path(os.environ.get("NANO_WORK", "nano-work"))
SPEECH = WORK / "speech.npz"
TEXTS = WORK / "texts.json"
PHOTOS = WORK / "photos"
TOKENIZER = WORK / "tokenizer.json"
RUN = WORK / "run"


def missing(what: object) -> SystemExit:
    return SystemExit(f"error: {what}: prepare the data of training first: python -m train_nano.prepare")
