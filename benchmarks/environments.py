"""The other engines, each in a virtual environment of its own and of a pinned version.

python -m benchmarks.environments FOLDER [--only ENGINE ...]

makes FOLDER/mlx-lm, FOLDER/mlx-vlm and FOLDER/transformers with pip; torch on Linux is several gigabytes. What is there
already stays as it is. The benchmarks look for them in the folder of --peers, and say so in a row where one is missing.
"""

import argparse
import json
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

from benchmarks.running import run_benchmark

OURS = "gemma4_mlx"
MLX = "mlx[cpu]; sys_platform == 'linux'"
"""What the two MLX engines need on Linux beside what they ask for."""

PINS = {
    "mlx-lm": ("mlx-lm==0.32.2", MLX),
    "mlx-vlm": ("mlx-vlm==0.7.10", MLX),
    "transformers": ("transformers==5.24.0", "torch==2.14.1", "torchvision==0.29.1", "av", "librosa", "pillow"),
}
"""What pip installs for each engine; the first requirement is the engine."""

PEERS = Path.home() / ".cache" / "gemma4_mlx-peers"
"""Where the environments are unless --peers says otherwise."""

_VERSIONS = """
import importlib.metadata as metadata, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""
_TOLD = ("mlx", "torch", "pillow", "av", "opencv-python")
"""Packages beside the engine whose versions are told too."""


def interpreters(folder: Path) -> dict[str, str]:
    """This package's interpreter first, then those of the engines that are installed."""
    found = {engine: folder / engine / "bin" / "python" for engine in PINS}
    return {OURS: sys.executable} | {engine: str(path) for engine, path in found.items() if path.exists()}


def versions(pythons: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Of each engine and of what it computes with, by engine; nothing for an interpreter that doesn't run."""
    found = {}
    for engine, python in pythons.items():
        command = [python, "-c", _VERSIONS, engine, *_TOLD]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[engine] = json.loads(done.stdout)
        except (OSError, subprocess.CalledProcessError):
            found[engine] = {}
    return found


def add_peers_option(parser: argparse.ArgumentParser) -> None:
    """The option by which every benchmark finds the other engines."""
    what = "folder of the other engines' environments, see benchmarks.environments (default: %(default)s)"
    parser.add_argument("--peers", type=Path, metavar="FOLDER", default=PEERS, help=what)


def main() -> None:
    """Makes the environments that are not there yet."""
    parser = argparse.ArgumentParser(description="Install the other engines.")
    parser.add_argument("folder", type=Path, nargs="?", default=PEERS)
    parser.add_argument("--only", nargs="+", choices=PINS, default=list(PINS), metavar="ENGINE")
    args = parser.parse_args()
    for engine in args.only:
        place = args.folder / engine
        if (place / "bin" / "python").exists():
            print(f"{place}: is there already")
            continue
        venv.create(place, with_pip=True)
        subprocess.run([place / "bin" / "python", "-m", "pip", "install", "-q", *PINS[engine]], check=True)
        print(f"{place}: {', '.join(PINS[engine])}")


if __name__ == "__main__":
    run_benchmark(main, "5 minutes and 8 GB")
