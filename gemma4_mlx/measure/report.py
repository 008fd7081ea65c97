"""The figures of one run, and the three ways in which they are written."""

import csv
import io
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from gemma4_mlx.measure.machine import Machine
from gemma4_mlx.measure.roofline import markdown

Format = Literal["md", "csv", "json"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was measured.

    Attributes:
        name: as it was asked for.
        fingerprint: tells checkpoints apart, see `model.fingerprint`.
        weight_bytes: of all arrays of the model.
        bits: of most weights; 16 or 32 where they are not quantized.
        kv_bits: of the caches; None where they are not quantized.
        kv_bytes_per_token: what one more position adds to the caches once the windows are full.
        window_bytes: what the caches take besides at most.
        load_seconds: from the folder to weights in memory, tokenizer included.
    """

    name: str
    fingerprint: str
    weight_bytes: int
    bits: int
    kv_bits: int | None
    kv_bytes_per_token: int
    window_bytes: int
    load_seconds: float


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes:
        test: what was done, as llama-bench names it where it has a name for it.
        unit: tokens/s; s; or x (times real time).
        values: one for each repetition.
        peak_memory: bytes, the highest while they ran.
        tokens, depth: tokens read or written, and those in the caches before.
        bound: what the machine could do at best, in the same unit; None where it was not asked for.
    """

    test: str
    unit: str
    values: Sequence[float]
    peak_memory: int
    tokens: int
    depth: int = 0
    bound: float | None = None

    @property
    def mean(self) -> float:
        """Of the repetitions."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """Standard deviation of the repetitions; 0 of a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one run found out."""

    machine: Machine
    checkpoint: Checkpoint
    started: str
    rows: list[Row] = field(default_factory=list)
    limits: str | None = None

    def text(self, format: Format) -> str:
        """Markdown for people, CSV with one line a row, or JSON with everything."""
        return {"md": self._markdown, "csv": self._csv, "json": self._json}[format]()

    def _markdown(self) -> str:
        header = ["test", "result", "unit", "peak memory"]
        with_bound = self.limits is not None
        lines = [
            [
                row.test,
                f"{row.mean:.2f} ± {row.deviation:.2f}",
                row.unit,
                f"{row.peak_memory / 1e9:.3f} GB",
                *(_bound(row) if with_bound else ()),
            ]
            for row in self.rows
        ]
        table = markdown([*header, *(("bound", "measured / bound") if with_bound else ())], lines)
        return "\n".join([*self._facts(), "", table])

    def _facts(self) -> list[str]:
        machine, checkpoint = self.machine, self.checkpoint
        caches = f"{checkpoint.kv_bytes_per_token} bytes a token"
        if checkpoint.window_bytes:
            caches += f" and {checkpoint.window_bytes / 1e6:.1f} MB of sliding windows"
        facts = {
            "machine": f"{machine.chip}, {machine.memory / 1e9:.1f} GB, {machine.system}, on the {machine.device}",
            "software": f"gemma4_mlx {machine.package}, MLX {machine.mlx}, Python {machine.python}",
            "model": f"{checkpoint.name}, {checkpoint.bits} bits, {checkpoint.weight_bytes / 1e9:.3f} GB, "
            f"fingerprint {checkpoint.fingerprint[:16]}",
            "caches": f"{checkpoint.kv_bits or 'not quantized'}{' bits' if checkpoint.kv_bits else ''}, {caches}",
            "load": f"{checkpoint.load_seconds:.2f} s",
            "date": self.started,
        }
        if self.limits is not None:
            facts["bounds"] = f"a model, not a measurement; {self.limits}"
        return [f"- {name}: {value}" for name, value in facts.items()]

    def _csv(self) -> str:
        common = asdict(self.machine) | asdict(self.checkpoint) | {"started": self.started}
        lines = [
            common | asdict(row) | {"values": " ".join(map(str, row.values)), "mean": row.mean, "sd": row.deviation}
            for row in self.rows
        ]
        written = io.StringIO()
        writer = csv.DictWriter(written, lines[0] if lines else common, lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        return written.getvalue().rstrip("\n")

    def _json(self) -> str:
        rows = [asdict(row) | {"mean": row.mean, "sd": row.deviation} for row in self.rows]
        return json.dumps(asdict(self) | {"rows": rows}, indent=2)


def _bound(row: Row) -> tuple[str, str]:
    return ("", "") if row.bound is None else (f"{row.bound:.1f}", f"{row.mean / row.bound:.0%}")
