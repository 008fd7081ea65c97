"""Where chunks end."""

from hypothesis import given
from hypothesis import strategies as st

from gemma4_mlx.engine.prefill import chunk_edges
from gemma4_mlx.prompt.prompt import merge_touching


@st.composite
def runs_in_text(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    gaps = draw(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 40)), max_size=5))
    runs, position = [], 0
    for gap, size in gaps:
        runs.append((position + gap, position + gap + size))
        position += gap + size
    return position + draw(st.integers(1, 20)), merge_touching(runs)


@given(runs_in_text(), st.integers(1, 50))
def test_chunks_cover_everything_and_split_no_run(layout: tuple[int, list[tuple[int, int]]], chunk: int) -> None:
    total, runs = layout
    edges = chunk_edges(0, total, chunk, runs)
    starts = [0, *edges[:-1]]
    longest = max([chunk, *(stop - start for start, stop in runs)])

    assert edges[-1] == total
    assert all(start < edge for start, edge in zip(starts, edges, strict=True))
    assert not any(first < edge < last for edge in edges for first, last in runs)
    assert all(edge - start <= longest for start, edge in zip(starts, edges, strict=True))


def test_edge_moves_back_to_the_run_or_forward_past_it() -> None:
    assert chunk_edges(0, 100, 16, [(10, 50)]) == [10, 50, 66, 82, 98, 100]


def test_starts_where_the_cache_ends() -> None:
    assert chunk_edges(30, 60, 16, [(10, 20), (40, 50)]) == [40, 56, 60]


def test_touching_runs_are_one() -> None:
    assert merge_touching([(0, 4), (4, 8), (9, 12)]) == [(0, 8), (9, 12)]
