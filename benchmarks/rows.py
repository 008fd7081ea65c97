"""What comparisons have in common: measuring engines in turn, rows of figures, ratios, tables, and files of results."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.environments import OURS, PINS

ROOT = Path(__file__).resolve().parent.parent


class FailedError(Exception):
    """An engine could not do what was asked of it; the text says why, in one line."""


Measure = Callable[[], Mapping[str, float]]
"""Does the work once and returns figures by test."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was measured of every engine.

    Attributes:
        section: what kind of work it belongs to.
        test: what was measured.
        unit: "s", "ms", "bytes" or "".
        command: what measures it again.
        figures: by engine, one a round; figures of one round were taken right after each other.
        missing: by engine, why it has no figures.
    """

    section: str
    test: str
    unit: str
    command: str
    figures: dict[str, list[float]]
    missing: dict[str, str]

    def median(self, engine: str) -> float:
        """Of an engine's figures."""
        return statistics.median(self.figures[engine])

    def ratios(self, peer: str) -> list[float]:
        """This package's figure over the peer's, round by round: below 1 is better."""
        return [mine / theirs for mine, theirs in zip(self.figures[OURS], self.figures[peer], strict=True)]


def alternate(
    section: str, command: str, measures: Mapping[str, Measure | str], units: Mapping[str, str], rounds: int
) -> list[Row]:
    """Measures the engines in turn, `rounds` times after one that only warms up; one row for each test in `units`.

    In place of a measure there may be the reason why there is none. An engine that fails is left out from there on.
    """
    missing = {engine: measure for engine, measure in measures.items() if isinstance(measure, str)}
    taken: dict[str, list[Mapping[str, float]]] = {}
    for number in range(rounds + 1):
        for engine, measure in measures.items():
            if isinstance(measure, str) or engine in missing:
                continue
            try:
                figures = measure()
            except FailedError as error:
                missing[engine] = str(error)
                taken.pop(engine, None)
                continue
            if number:
                taken.setdefault(engine, []).append(figures)
    return [row(section, command, test, unit, taken, missing) for test, unit in units.items()]


def row(
    section: str,
    command: str,
    test: str,
    unit: str,
    taken: Mapping[str, Sequence[Mapping[str, float]]],
    missing: Mapping[str, str],
) -> Row:
    """One test's figures out of all that was taken."""
    figures = {engine: [each[test] for each in rounds] for engine, rounds in taken.items() if test in rounds[0]}
    unmeasured = {engine: "it does not count that" for engine in taken if engine not in figures}
    return Row(section, test, unit, command, figures, dict(missing) | unmeasured)


def absent(pythons: Mapping[str, str]) -> dict[str, str]:
    """The reason for every engine that is not there."""
    return {engine: "not installed" for engine in PINS if engine not in pythons}


def table(rows: Iterable[Row]) -> str:
    """Medians, and the medians of the ratios with the lowest and highest; below it why figures are missing."""
    columns = ["test", OURS, *(column for peer in PINS for column in (peer, "ratio"))]
    lines, reasons = [columns, ["---"] * len(columns)], []
    for each in rows:
        cells = [each.test, written(each.median(OURS), each.unit) if OURS in each.figures else "-"]
        for peer in PINS:
            cells += peer_cells(each, peer)
        reasons += [f"{each.test}, {engine}: {reason}" for engine, reason in each.missing.items()]
        lines.append(cells)
    return "\n".join([*(f"| {' | '.join(cells)} |" for cells in lines), *reasons])


def peer_cells(each: Row, peer: str) -> list[str]:
    """A peer's median and ratio."""
    if peer not in each.figures or OURS not in each.figures:
        return ["-", "-"]
    ratios = each.ratios(peer)
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    return [written(each.median(peer), each.unit), spread]


def written(value: float, unit: str) -> str:
    """A figure with its unit."""
    if unit == "bytes":
        return (
            f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.1f} MB" if value >= 1e6 else f"{value:,.0f} B"
        )
    if unit == "s":
        return f"{value:.3f} s" if value < 10 else f"{value:.1f} s"
    return f"{value:.2f} {unit}".strip()


def save(path: Path, rows: Sequence[Row], versions: Mapping[str, Mapping[str, str]]) -> None:
    """Puts every figure of a section into a file, and what made it; the file's other sections stay."""
    content, known = read(path) if path.exists() else ({"measured": {}}, [])
    section = rows[0].section
    content |= {"machine": machine(), "versions": versions}
    content["measured"][section] = datetime.now(UTC).isoformat(timespec="seconds")
    kept = [each for each in known if each.section != section]
    content["rows"] = [asdict(each) for each in [*kept, *rows]]
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """What `save` wrote: everything but the rows, and the rows."""
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = [Row(**each) for each in content.pop("rows")]
    return content, rows


def machine() -> dict[str, Any]:
    """What ran the comparison."""
    return {"system": platform.system(), "processor": platform.machine(), "cores": os.cpu_count()}


def run(command: Sequence[str | Path]) -> str:
    """Standard output of a command in the project's folder; raises FailedError with the last line of its errors."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError as error:
        raise FailedError(f"does not start: {error}") from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise FailedError(lines[-1][:200] if lines else f"ended with {done.returncode}")
    return done.stdout


def print_section(rows: list[Row]) -> list[Row]:
    """Prints a section's table and hands the rows on."""
    print(f"\n{rows[0].section}: {rows[0].command}\n\n{table(rows)}", flush=True)
    return rows
