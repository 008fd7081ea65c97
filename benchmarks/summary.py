"""The tables of comparisons, from the newest results of `benchmarks.compare`.

python -m benchmarks.summary [--write] [--results FILE] [--plot FILE]

Prints the table of everything, or with --write puts it between its two marks in benchmarks/results/README.md, and into
benchmarks/README.md what has a target and what another engine does better. --plot draws every ratio into a PNG, with
matplotlib.
"""

import argparse
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environments import OURS, PINS
from benchmarks.rows import Row, read, written

README = Path(__file__).resolve().parent / "README.md"
RESULTS = Path(__file__).resolve().parent / "results"
EVERYTHING = RESULTS / "README.md"
BEGIN, END = "<!-- summary: python -m benchmarks.summary --write -->", "<!-- end of summary -->"


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio to be reached against mlx-vlm, of one test."""

    test: str
    ratio: float


LEVEL = 1.02
"""What still counts as level, the spread of one run being more than that."""

TARGETS = (
    Target("start to first token, a small vocabulary", 1 / 2),
    Target("start to first token, 262,144 entries", 1 / 2),
    Target("12-megapixel JPEG to patches", 1 / 2),
    Target("30 s of stereo MP3 to frames", 1 / 2),
    Target("60 s of 1080p MP4 to 32 frames", 1 / 2),
    Target("caches of 8k positions, here at 8 bits", 1 / 3),
    Target("caches of 128k positions, here at 8 bits", 1 / 3),
    Target("caches, each further position, here at 8 bits", 1 / 3),
    Target("picture and 4k of text: peak memory", 1 / 4),
    Target("turn 12, text", 1 / 5),
    Target("turn 12, a picture in the first", 1 / 5),
    Target("prompt of 512 tokens", LEVEL),
    Target("prompt of 2,048 tokens", LEVEL),
    Target("prompt of 8,192 tokens", LEVEL),
    Target("64 tokens behind 512", LEVEL),
    Target("64 tokens behind 2,048", LEVEL),
    Target("64 tokens behind 8,192", LEVEL),
)


def newest() -> Path:
    """The last results by their date."""
    return max(RESULTS.glob("compare-*.json"))


def block(content: dict[str, Any], rows: Sequence[Row]) -> str:
    """The table, with what it says of itself and the reasons for what is missing."""
    days = sorted({moment[:10] for moment in content["measured"].values()})
    machine = content["machine"]
    versions = ", ".join(f"{engine} {content['versions'][engine][engine]}" for engine in PINS if has(content, engine))
    lead = (
        f"Measured {' to '.join(dict.fromkeys((days[0], days[-1])))} on {machine['system']}, {machine['cores']} cores, "
        f"{machine['processor']}, against {versions}. Medians of {_rounds(rows)} rounds; behind a peer's figure the "
        "median of the ratios (lowest to highest), this package's figure over the peer's in the same round: below 1 is "
        "better here."
    )
    columns = ["what", "this package", *PINS, "target, of mlx-vlm", "command"]
    lines = [columns, ["---"] * len(columns)]
    notes: list[str] = []
    for row in rows:
        mine = written(row.median(OURS), row.unit) if OURS in row.figures else "-"
        peers = [cell(row, engine, notes) for engine in PINS]
        lines.append([row.test, mine, *peers, verdict(row), f"`{row.command.removeprefix('python -m benchmarks.')}`"])
    numbered = "; ".join(f"({index}) {note}" for index, note in enumerate(notes, 1))
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{lead}\n\n{table}\n\n" + (f"Without a figure: {numbered}. " if notes else "") + missed(rows)


def _rounds(rows: Iterable[Row]) -> str:
    """How often the rows were measured; bytes that are counted are so once."""
    counts = {len(row.figures[OURS]) for row in rows if OURS in row.figures}
    return " to ".join(str(count) for count in sorted({min(counts), max(counts)}))


def in_short(rows: Iterable[Row]) -> list[Row]:
    """Rows that have a target, and those in which another engine is ahead by more than the spread of a run."""
    return [row for row in rows if verdict(row) or any(_ratio(row, engine) > LEVEL for engine in PINS)]


def _ratio(row: Row, engine: str) -> float:
    both = engine in row.figures and OURS in row.figures
    return statistics.median(row.ratios(engine)) if both else 0.0


def has(content: dict[str, Any], engine: str) -> bool:
    """Whether the results know an engine's version."""
    return engine in content["versions"].get(engine, {})


def cell(row: Row, engine: str, notes: list[str]) -> str:
    """A peer's median and ratio, or the number of the reason why there is none."""
    if engine not in row.figures:
        reason = f"{engine}: {row.missing.get(engine, 'not measured')}".replace("|", "/")
        if reason not in notes:
            notes.append(reason)
        return f"({notes.index(reason) + 1})"
    if OURS not in row.figures:
        return written(row.median(engine), row.unit)
    ratios = row.ratios(engine)
    low, middle, high = (f"{value:.2f}" for value in (min(ratios), statistics.median(ratios), max(ratios)))
    spread = f"{middle} ({low} to {high})" if low != high else middle
    return f"{written(row.median(engine), row.unit)}, **{spread}**"


def verdict(row: Row) -> str:
    """The target of a test, and whether it was met."""
    for target in TARGETS:
        if target.test == row.test and "mlx-vlm" in row.figures and OURS in row.figures:
            goal = "level" if target.ratio == LEVEL else f"{target.ratio:.2f}"
            return f"{goal}: {'met' if is_met(row, target) else 'missed'}"
    return ""


def is_met(row: Row, target: Target) -> bool:
    """Whether the median of the ratios is within the target, in two decimals as the table shows it."""
    return round(_ratio(row, "mlx-vlm"), 2) <= round(target.ratio, 2)


def missed(rows: Iterable[Row]) -> str:
    """How many targets there are, and how many are met."""
    verdicts = [word for word in map(verdict, rows) if word]
    met = sum(word.endswith(": met") for word in verdicts)
    return f"Of {len(verdicts)} targets {met} are met."


def filled(readme: str, table: str) -> str:
    """A text with a new table between the marks."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"


def plot(rows: Sequence[Row], path: Path) -> None:
    """Bars for the ratios to mlx-vlm, with their spread and the targets."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    drawn = [row for row in rows if {OURS, "mlx-vlm"} <= row.figures.keys()][::-1]
    targets = {target.test: target.ratio for target in TARGETS}
    figure, axes = pyplot.subplots(figsize=(9, 0.32 * len(drawn) + 1))
    for place, row in enumerate(drawn):
        ratios = row.ratios("mlx-vlm")
        middle = statistics.median(ratios)
        spread = [[middle - min(ratios)], [max(ratios) - middle]]
        axes.barh(place, middle, xerr=spread, color="#4a7ab5", ecolor="#333333", height=0.6)
        if row.test in targets:
            axes.plot([targets[row.test]] * 2, [place - 0.4, place + 0.4], color="#c0392b", linewidth=2)
    axes.axvline(1, color="#333333", linewidth=0.8)
    axes.set_yticks(range(len(drawn)), [row.test for row in drawn], fontsize=8)
    axes.set_xlabel("this package over mlx-vlm, below 1 is better; red: the target")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Prints the table, or puts it into both READMEs."""
    parser = argparse.ArgumentParser(description="Summarise the comparisons.")
    parser.add_argument("--write", action="store_true", help="put the tables into both READMEs")
    parser.add_argument("--results", type=Path, help="a file of results (default: the newest)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw the ratios")
    args = parser.parse_args()
    content, rows = read(args.results or newest())
    if args.plot:
        plot(rows, args.plot)
    if args.write:
        for path, shown in ((README, in_short(rows)), (EVERYTHING, rows)):
            path.write_text(filled(path.read_text(encoding="utf-8"), block(content, shown)), encoding="utf-8")
    else:
        print(block(content, rows))


if __name__ == "__main__":
    main()
