"""From process start to the first token, and what starting costs before that.

python -m benchmarks.startup [--tokenizer TOKENIZER_JSON] [--mlx-vlm-python PYTHON] [--repeats N]

The model is a tiny random one, so that nearly all of the time is start-up. With --tokenizer (one of 262,144 entries,
say) its vocabulary is used; with --mlx-vlm-python, an interpreter that has mlx-vlm, the same checkpoint runs there too.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.random_checkpoint import tiny_config, write_checkpoint


def seconds(command: Sequence[str]) -> float:
    """Wall time of a command that must succeed."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return time.perf_counter() - started


def main() -> None:
    """Prints one row for each command, the commands taking turns."""
    parser = argparse.ArgumentParser(description="Measure start-up.")
    parser.add_argument("--tokenizer", type=Path, help="a tokenizer.json for the checkpoint (default: a small one)")
    parser.add_argument("--mlx-vlm-python", help="interpreter of an environment with mlx-vlm")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = str(Path(temporary) / "checkpoint")
        write_checkpoint(folder, tiny_config(), dtype="bfloat16", tokenizer=args.tokenizer)
        asked = ("--model", folder, "--prompt", "Hello", "--max-tokens", "1")
        commands = {
            "python -c pass": (sys.executable, "-c", "pass"),
            "import gemma4_mlx": (sys.executable, "-c", "import gemma4_mlx"),
            "gemma4_mlx.generate --help": (sys.executable, "-m", "gemma4_mlx.generate", "--help"),
            "gemma4_mlx.generate, first token": (sys.executable, "-m", "gemma4_mlx.generate", *asked),
        }
        if args.mlx_vlm_python:
            commands["mlx_vlm.generate, first token"] = (args.mlx_vlm_python, "-m", "mlx_vlm.generate", *asked)
        rounds = [[seconds(command) for command in commands.values()] for _ in range(args.repeats + 1)][1:]
    print("| command | median s | lowest-highest |\n|---|---|---|")
    for index, name in enumerate(commands):
        times = [taken[index] for taken in rounds]
        print(f"| {name} | {statistics.median(times):.3f} | {min(times):.3f}-{max(times):.3f} |")


if __name__ == "__main__":
    main()
