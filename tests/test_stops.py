"""Stop strings, however the text falls into pieces."""

from hypothesis import given
from hypothesis import strategies as st

from gemma4_mlx.prompt.stops import StopStrings


def streamed(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    stream = StopStrings(stops)
    shown = "".join(stream.feed(piece) for piece in pieces) + stream.finish()
    return shown, stream.found


@given(
    st.lists(st.text("ab\n", max_size=4), max_size=12), st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3)
)
def test_shows_the_text_before_the_first_stop(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    ends = [text.find(stop) for stop in stops if stop in text]
    shown, found = streamed(pieces, stops)
    assert found == bool(ends)
    # Which of two overlapping stops is met first depends on the pieces; the text shown never holds a whole one.
    assert text.startswith(shown)
    assert not any(stop in shown for stop in stops)
    assert len(shown) >= min(ends, default=len(text))


def test_holds_back_only_what_may_be_a_stop() -> None:
    stream = StopStrings(["END"])
    assert [stream.feed(piece) for piece in ("one E", "N", "X two EN", "D three")] == ["one ", "", "ENX two ", ""]
    assert stream.found


def test_gives_back_what_was_held_when_the_text_ends() -> None:
    assert streamed(["almost E", "N"], ["END"]) == ("almost EN", False)
