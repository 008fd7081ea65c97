"""The three formats say the same."""

import csv
import io
import json

import pytest

from gemma4_mlx.measure.machine import Machine
from gemma4_mlx.measure.report import Checkpoint, Report, Row

MACHINE = Machine(
    "Apple M9", "gpu", 16_000_000_000, 11_000_000_000, None, "macOS 27.0 arm64", "3.13.1", "0.32.4", "0.1.0"
)
CHECKPOINT = Checkpoint("some/model", "0123456789abcdef" * 4, 6_740_000_000, 4, None, 10_240, 356_000_000, 3.25)
ROWS = [
    Row("pp512 @ d4096", "tokens/s", [99.0, 101.0], 7_123_000_000, 512, 4096, bound=200.0),
    Row("first token, text", "s", [0.5], 7_000_000_000, 26),
]


def report(limits: str | None = None) -> Report:
    return Report(MACHINE, CHECKPOINT, "2027-01-02T03:04:05+00:00", ROWS, limits)


def test_markdown() -> None:
    lines = report().text("md").splitlines()
    assert "- machine: Apple M9, 16.0 GB, macOS 27.0 arm64, on the gpu" in lines
    assert "- model: some/model, 4 bits, 6.740 GB, fingerprint 0123456789abcdef" in lines
    assert "- caches: not quantized, 10240 bytes a token and 356.0 MB of sliding windows" in lines
    assert "| pp512 @ d4096 | 100.00 ± 1.41 | tokens/s | 7.123 GB |" in lines
    assert "| first token, text | 0.50 ± 0.00 | s | 7.000 GB |" in lines


def test_markdown_with_bounds_says_that_they_are_a_model() -> None:
    text = report("bandwidth published").text("md")
    assert "- bounds: a model, not a measurement; bandwidth published" in text
    assert "| pp512 @ d4096 | 100.00 ± 1.41 | tokens/s | 7.123 GB | 200.0 | 50% |" in text


def test_csv_has_a_line_a_row_with_the_machine_in_it() -> None:
    first, second = csv.DictReader(io.StringIO(report().text("csv")))
    assert (first["test"], first["mean"], first["values"]) == ("pp512 @ d4096", "100.0", "99.0 101.0")
    assert float(first["sd"]) == pytest.approx(2**0.5)
    assert (second["chip"], second["fingerprint"]) == ("Apple M9", "0123456789abcdef" * 4)


def test_json_has_everything() -> None:
    value = json.loads(report().text("json"))
    assert value["machine"]["mlx"] == "0.32.4"
    assert value["checkpoint"]["kv_bytes_per_token"] == 10_240
    assert value["rows"][0]["values"] == [99.0, 101.0]
    assert value["rows"][0]["mean"] == 100.0
    assert value["rows"][1]["bound"] is None
