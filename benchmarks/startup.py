"""From process start to the first token, here and elsewhere, and what starting costs before that.

python -m benchmarks.startup [--peers FOLDER] [--tokenizer TOKENIZER_JSON] [-r 5]

The model is a tiny random one, so that nearly all of the time is start-up. --tokenizer adds the same with another
vocabulary than the small one: that of the published model has 262,144 entries.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.environments import OURS, add_peers_option, interpreters
from benchmarks.random_checkpoint import tiny_config, write_checkpoint
from benchmarks.rows import Measure, Row, absent, alternate, print_section, run
from benchmarks.running import run_benchmark

COMMAND = "python -m benchmarks.startup"
TRANSFORMERS = """
import sys
from transformers import AutoModelForMultimodalLM, AutoProcessor
model = AutoModelForMultimodalLM.from_pretrained(sys.argv[1], dtype="auto")
processor = AutoProcessor.from_pretrained(sys.argv[1])
messages = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
inputs = processor.apply_chat_template(
    messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
)
print(processor.decode(model.generate(**inputs, max_new_tokens=1)[0]))
"""
"""It has no command that answers once."""

PARTS = {
    "python -c pass": ("-c", "pass"),
    "import gemma4_mlx": ("-c", "import gemma4_mlx"),
    "gemma4_mlx.generate --help": ("-m", "gemma4_mlx.generate", "--help"),
}


def startup_rows(pythons: Mapping[str, str], tokenizer: Path | None, rounds: int) -> list[Row]:
    """The parts of this package's start, then first tokens with each vocabulary."""
    rows = []
    for name, options in PARTS.items():
        rows += alternate(
            "Start-up", COMMAND, {OURS: partial(seconds, name, [sys.executable, *options])}, {name: "s"}, rounds
        )
    with tempfile.TemporaryDirectory() as temporary:
        for name, source in {"a small vocabulary": None, "262,144 entries": tokenizer}.items():
            if name.startswith("a small") or source is not None:
                folder = Path(temporary) / name.replace(" ", "-")
                write_checkpoint(folder, tiny_config(), dtype="bfloat16", tokenizer=source)
                state_vocabulary(folder / "config.json")
                rows += first_tokens(pythons, folder, f"start to first token, {name}", rounds)
    return rows


def state_vocabulary(config: Path) -> None:
    """Repeats the vocabulary's size at the top level, where mlx-lm looks for it and published files leave it out."""
    values = json.loads(config.read_text())
    config.write_text(json.dumps({**values, "vocab_size": values["text_config"]["vocab_size"]}))


def first_tokens(pythons: Mapping[str, str], folder: Path, test: str, rounds: int) -> list[Row]:
    """Every engine's command line, or what comes next to one."""
    asked = ["--model", str(folder), "--prompt", "Hello", "--max-tokens", "1"]
    options = {
        OURS: ["-m", "gemma4_mlx.generate", *asked],
        "mlx-lm": ["-m", "mlx_lm", "generate", *asked],
        "mlx-vlm": ["-m", "mlx_vlm.generate", *asked],
        "transformers": ["-c", TRANSFORMERS, str(folder)],
    }
    measures: dict[str, Measure | str] = {
        engine: partial(seconds, test, [python, *options[engine]]) for engine, python in pythons.items()
    }
    return alternate("Start-up", COMMAND, measures | absent(pythons), {test: "s"}, rounds)


def seconds(test: str, command: list[str]) -> dict[str, float]:
    """Wall time of a command that must succeed."""
    started = time.perf_counter()
    run(command)
    return {test: time.perf_counter() - started}


def main() -> None:
    """Prints one row for each command."""
    parser = argparse.ArgumentParser(description="Measure start-up.")
    add_peers_option(parser)
    parser.add_argument("--tokenizer", type=Path, help="a large tokenizer.json to measure with as well")
    parser.add_argument("-r", type=int, default=5, help="rounds")
    args = parser.parse_args()
    print_section(startup_rows(interpreters(args.peers), args.tokenizer, args.r))


if __name__ == "__main__":
    run_benchmark(main, "10 seconds, with other engines 2 minutes")
