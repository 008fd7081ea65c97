"""Peak memory of a conversion against depth: random layers of the 12B's shapes, quantized to 4 bits.

usage:  python benchmarks/convert.py [--layers 1 2 4 8] [--vocab 32768] [--folder FOLDER] [--csv FILE]

The bound is 1.6 x the largest tensor + 1 GB. `--vocab 262144` gives the published embedding of 2 GB; each layer takes
0.45 GB of disk, twice for a moment. Every conversion is a process of its own; resident memory is all of that process.
"""

import argparse
import csv
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.running import run_benchmark

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = {
    "layers": "layers",
    "checkpoint": "checkpoint MB",
    "written": "written MB",
    "largest": "largest tensor MB",
    "mlx_peak": "MLX peak MB",
    "resident_peak": "resident peak MB",
    "bound": "bound MB",
    "seconds": "seconds",
}


def main() -> None:
    """Prints one row for each depth; exits with 1 where a peak is above the bound."""
    parser = argparse.ArgumentParser(description="Measure a conversion's peak memory against depth.")
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--vocab", type=int, default=32768)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16", help="type of the source")
    parser.add_argument("--folder", type=Path, help="where the checkpoints are written and removed again")
    parser.add_argument("--csv", type=Path, help="also write the rows to this file")
    parser.add_argument("--options", default="-q --q-bits 4", help="options of convert.py")
    parser.add_argument("--measure", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.measure)))
        return
    print("| " + " | ".join(COLUMNS.values()) + " |\n|" + " ---: |" * len(COLUMNS))
    rows = []
    for layers in args.layers:
        with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
            rows.append(row(Path(scratch), layers, args.vocab, args.dtype, args.options.split()))
        print("| " + " | ".join(f"{rows[-1][name]:,.0f}" for name in COLUMNS) + " |", flush=True)
    if args.csv:
        write_csv(args.csv, rows)
    sys.exit(any(max(row["mlx_peak"], row["resident_peak"]) > row["bound"] for row in rows))


def row(scratch: Path, layers: int, vocab: int, dtype: str, options: list[str]) -> dict[str, float]:
    """Writes a checkpoint, converts it, and returns what that took, sizes in MB."""
    writer = [sys.executable, "-m", "benchmarks.random_checkpoint", str(scratch / "in"), "--preset", "12b"]
    writer += ["--layers", str(layers), "--vocab", str(vocab), "--dtype", dtype]
    subprocess.run(writer, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    source, target = scratch / "in", scratch / "out"
    command = [sys.executable, __file__, "--measure", "--hf-path", str(source), "--mlx-path", str(target), *options]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    measured = json.loads(done.stdout.splitlines()[-1])
    largest = largest_tensor(source)
    sizes = {"checkpoint": weight_bytes(source), "written": weight_bytes(target), "largest": largest}
    sizes |= {"bound": 1.6 * largest + 1e9, "mlx_peak": measured["mlx_peak"], "resident_peak": measured["resident"]}
    shutil.rmtree(source)
    return {"layers": layers, "seconds": measured["seconds"]} | {name: size / 1e6 for name, size in sizes.items()}


def measure(options: list[str]) -> dict[str, float]:
    """Runs the command in this process; peaks in bytes."""
    sys.path.insert(0, str(ROOT))
    import mlx.core as mx

    from gemma4_mlx.commands.convert import main as convert

    start = time.perf_counter()
    if convert(options):
        raise SystemExit("the conversion failed")
    unit = 1 if sys.platform == "darwin" else 1024
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"seconds": time.perf_counter() - start, "mlx_peak": mx.get_peak_memory(), "resident": resident}


def weight_bytes(folder: Path) -> int:
    """Bytes of all weight files."""
    return sum(path.stat().st_size for path in folder.glob("model*.safetensors"))


def largest_tensor(folder: Path) -> int:
    """Bytes of the largest tensor, read from the files' headers."""
    return max(size for path in folder.glob("model*.safetensors") for size in tensor_bytes(path))


def tensor_bytes(path: Path) -> list[int]:
    """Bytes of each tensor of a safetensors file."""
    with path.open("rb") as file:
        header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    return [stop - start for start, stop in (entry["data_offsets"] for entry in header.values())]


def write_csv(path: Path, rows: list[dict[str, float]]) -> None:
    """The table for plots."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({name: round(row[name], 1) for name in COLUMNS} for row in rows)


if __name__ == "__main__":
    run_benchmark(main, "3 minutes")
