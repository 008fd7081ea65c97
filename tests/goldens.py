"""Where golden files are, and what a developer may have beside the checkout: nothing there is needed."""

import json
from pathlib import Path
from typing import Any

from benchmarks.random_checkpoint import TEMPLATE

GOLDEN = Path(__file__).parent / "golden"
SHARED = Path(__file__).resolve().parents[2] / "shared"

_FOLDERS = {"own": TEMPLATE.parent, "published": SHARED / "reference"}
TEMPLATES = {name: folder for name, folder in _FOLDERS.items() if (folder / "chat_template.jinja").exists()}
"""Folders of the chat templates that are here: that of this project's own checkpoints, and Gemma's."""


def published() -> dict[str, Any]:
    """The published 12B as numbers: `config`, and `tensors` with a shape each."""
    return json.loads((GOLDEN / "published.json").read_text())
