"""The tables of comparisons: what they say of rows, and that they are those that the newest results give."""

import pytest

from benchmarks.rows import Row, read
from benchmarks.summary import BEGIN, END, EVERYTHING, README, TARGETS, block, cell, filled, in_short, newest, verdict

CONTENT = {
    "measured": {"Media": "2026-11-23T10:00:00+00:00", "Text": "2026-11-24T10:00:00+00:00"},
    "machine": {"system": "Linux", "processor": "x86_64", "cores": 2},
    "versions": {"gemma4_mlx": {}, "mlx-vlm": {"mlx-vlm": "0.7.10", "mlx": "0.32.4"}},
}


def measured(test: str, ours: list[float], theirs: list[float]) -> Row:
    figures = {"gemma4_mlx": ours, "mlx-vlm": theirs}
    return Row("Text", test, "s", "python -m benchmarks.compare --only text", figures, {"mlx-lm": "not installed"})


def test_both_readmes_have_the_tables_of_the_newest_results() -> None:
    content, rows = read(newest())
    for path, shown in ((README, in_short(rows)), (EVERYTHING, rows)):
        assert path.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip() == block(content, shown).strip()


def test_the_short_table_keeps_targets_and_what_others_do_better() -> None:
    worse = measured("peak memory at 512", [1.1], [1.0])
    rows = [measured("turn 12, text", [0.1], [1.0]), measured("peak memory at 512", [0.9], [1.0]), worse]
    assert in_short(rows) == [rows[0], worse]


def test_every_target_is_of_a_test_that_was_measured() -> None:
    _, rows = read(newest())
    assert {target.test for target in TARGETS} <= {row.test for row in rows}


def test_table() -> None:
    rows = [measured("prompt of 512 tokens", [1.0, 2.0, 3.0], [2.0, 2.0, 4.0])]
    lead, table, end = block(CONTENT, rows).split("\n\n")
    assert lead.startswith(
        "Measured 2026-11-23 to 2026-11-24 on Linux, 2 cores, x86_64, against mlx-vlm 0.7.10. Medians of 3 rounds;"
    )
    assert table.splitlines()[2] == (
        "| prompt of 512 tokens | 2.000 s | (1) | 2.000 s, **0.75 (0.50 to 1.00)** | (2) | level: met "
        "| `compare --only text` |"
    )
    assert end == (
        "Without a figure: (1) mlx-lm: not installed; (2) transformers: not measured. Of 1 targets 1 are met."
    )


@pytest.mark.parametrize(
    ("test", "ours", "expected"),
    [
        ("turn 12, text", [0.2], "0.20: met"),
        ("turn 12, text", [0.21], "0.20: missed"),
        ("caches of 8k positions, here at 8 bits", [0.85], "0.33: missed"),
        ("prompt of 512 tokens", [1.03], "level: missed"),
        ("peak memory at 512", [9.0], ""),
    ],
)
def test_targets(test: str, ours: list[float], expected: str) -> None:
    assert verdict(measured(test, ours, [1.0])) == expected


def test_a_reason_has_one_number() -> None:
    notes: list[str] = []
    rows = [measured("a", [1.0], [1.0]), measured("b", [1.0], [1.0])]
    assert [cell(row, "mlx-lm", notes) for row in rows] == ["(1)", "(1)"]
    assert notes == ["mlx-lm: not installed"]


def test_filling_changes_nothing_else() -> None:
    assert filled(f"a\n{BEGIN}\nold\n{END}\nz\n", "new") == f"a\n{BEGIN}\nnew\n{END}\nz\n"
