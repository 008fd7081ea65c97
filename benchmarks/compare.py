"""The same work through this package, mlx-lm, mlx-vlm and transformers, taking turns in one run: ratios with spread.

python -m benchmarks.compare [--peers FOLDER] [--only SECTION ...] [-r 5] [-p 512,2048,8192] [-n 64] [--folder FOLDER]
                             [--tokenizer TOKENIZER_JSON] [--media FOLDER] [--output FILE]

The engines are those that `python -m benchmarks.environments` installs; a row says which are not there, or what an
engine can't do. Each one is a process of its own and computes each prompt from nothing. A ratio is this package's
figure over the peer's in the same round: below 1 is better. Checkpoints are random and narrow, so that what is compared
is mostly overhead; --folder gives another one for loading, prompts and replies. With --output every figure goes to a
file, where sections that did not run stay as they were; `python -m benchmarks.summary` makes README's table of it.
"""

import argparse
from pathlib import Path

from benchmarks.environments import add_peers_option, interpreters, versions
from benchmarks.rows import print_section, save
from benchmarks.running import run_benchmark
from benchmarks.sections import SECTIONS, Options

COMMAND = "python -m benchmarks.compare"


def main() -> None:
    """Prints a table for each section; with --output also writes every figure."""
    parser = argparse.ArgumentParser(description="Compare with mlx-lm, mlx-vlm and transformers.")
    add_peers_option(parser)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="SECTION")
    parser.add_argument("-r", type=int, default=5, help="rounds")
    parser.add_argument("-p", default="512,2048,8192", help="lengths of prompts")
    parser.add_argument("-n", type=int, default=64, help="tokens of reply")
    parser.add_argument("--folder", type=Path, help="a checkpoint (default: a random narrow one)")
    parser.add_argument("--tokenizer", type=Path, help="a large tokenizer.json, for start-up")
    parser.add_argument("--media", type=Path, help="folder that keeps the generated picture, sound and film")
    parser.add_argument("--output", type=Path, help="JSON file for every figure")
    args = parser.parse_args()
    pythons = interpreters(args.peers)
    prompts = tuple(int(part) for part in args.p.split(","))
    for name in args.only:
        command = f"{COMMAND} --only {name}"
        options = Options(args.folder, prompts, args.n, args.r, args.tokenizer, args.media, command)
        rows = print_section(SECTIONS[name](pythons, options))
        if args.output:
            save(args.output, rows, versions(pythons))


if __name__ == "__main__":
    run_benchmark(main, "half an hour with all engines")
