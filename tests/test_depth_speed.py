"""The benchmark of speed at depths, on a tiny checkpoint."""

from pathlib import Path

import pytest

from benchmarks.depth_speed import ENGINES, measure


@pytest.mark.parametrize("engine", ENGINES)
def test_both_engines_read_and_write_behind_filled_caches(engine: str, tiny_folder: Path) -> None:
    row = measure(ENGINES[engine](tiny_folder), depth=40, read=8, write=3)
    assert row["depth"] == 40
    assert row["read_tps"] > 0
    assert row["write_tps"] > 0
    assert 0 < row["caches"] < row["peak"]
