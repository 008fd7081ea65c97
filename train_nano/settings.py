"""Where working data lives (not in the repository)."""

import os
from pathlib import Path

WORK = Path(os.environ.get("NANO_WORK", "nano-work"))
SPEECH = WORK / "speech"
TOKENIZER = WORK / "tokenizer.json"
RUN = WORK / "run"
