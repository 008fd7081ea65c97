"""Characters that do not show: none gets past, but where emoji and words are spelt with them."""

import json
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gemma4_mlx.characters import ShownStream, escaped, replace_hidden, symbol

PREPENDED = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u0890\u0891\u08e2\U000110bd\U000110cd"
"""Formats that show: they stand around the numbers that follow."""

IGNORABLE = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2065\u3164\ufe00\ufe0e\ufe0f\uffa0\U000e0100\U000e01ef"
)

STAYS = [
    "caf\u00e9 \u4e2d\u6587 \u00a0\u202f\u3000 \ue000 \U0001fae8",
    "\U0001f469\u200d\U0001f4bb \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\u2764\ufe0f\u200d\U0001f525 \u2194\ufe0f \u263a\ufe0e \U0001f44d\U0001f3fd",
    "\U0001f3f3\ufe0f\u200d\U0001f308 \U0001f9d1\U0001f3fb\u200d\u2764\ufe0f\u200d\U0001f9d1\U0001f3ff",
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "1\ufe0f\u20e3 #\ufe0f\u20e3",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian
    "PDF\u200c\u0647\u0627 \u06f6\u06f0\u200c\u0647\u0627 \u06f1\u06f4\u06f0\u06f0 \u0647\u200d.",
    "\u0915\u094d\u200d\u0937 \u0915\u094d\u200c\u0937",  # Hindi
    "\u0d05\u0d35\u0d28\u0d4d\u200d",  # Malayalam, at a word's end
    "\u845b\U000e0100 \u2229\ufe00",
    "\u05e2\u200f! \u05d1\u200e-C++",
    "\u0600\u0661 \u06dd\u0662",
]
GOES = [
    ("a\u200bb\u2060c\ufeffd\u00ade", "a?b?c?d?e"),
    ("pay\u200dpal pay\u200cpal", "pay?pal pay?pal"),
    ("\u0645\u200c\u200c\u062e", "\u0645\u200c?\u062e"),
    ("\u202eexe.gpj \u202d \u202a \u202b \u202c", "?exe.gpj ? ? ? ?"),
    ("\U0001f600\U000e0101\U000e0102\ufe01", "\U0001f600???"),
    ("\u2764\ufe0f\ufe0f a\ufe0f 1\ufe0f", "\u2764\ufe0f? a? 1?"),
    ("hi\U000e0068\U000e0069", "hi??"),
    ("\U0001f3f4\U000e0075\U000e0073\U000e007f", "\U0001f3f4???"),
    ("\x1b[2J\x9b2J\x7f\x00\r\x85\u2028\u2029", "?[2J?2J??????"),
    ("\u3164 \u115f \ufff9a\ufffb", "? ? ?a?"),
    ("\u200e\u200fa\u061c", "??a?"),
]
ISOLATES = [
    ("a \u2067\u05d0\u05d1\u2069 b", "a \u2067\u05d0\u05d1\u2069 b"),
    ("\u2067a", "?a"),
    ("a\u2069", "a?"),
    ("\u2067a\nb\u2069", "?a\nb?"),
    ("\u2067\u2066a\u2069\u2066b\u2069\u2069", "?\u2066a\u2069\u2066b\u2069?"),
    ("\u2068a\u202eb\u2069", "\u2068a?b\u2069"),
]


@pytest.mark.parametrize("text", STAYS)
def test_what_is_spelt_with_hidden_characters_stays(text: str) -> None:
    assert replace_hidden(text, lambda _: "?") == text


@pytest.mark.parametrize(("text", "shown"), GOES)
def test_what_does_not_show_is_made_to(text: str, shown: str) -> None:
    assert replace_hidden(text, lambda _: "?") == shown


@pytest.mark.parametrize(("text", "shown"), ISOLATES)
def test_isolates_stay_if_they_balance_and_only_if_asked_for(text: str, shown: str) -> None:
    assert replace_hidden(text, lambda _: "?", isolates=True) == shown
    assert not set("\u2066\u2067\u2068\u2069") & set(replace_hidden(text, lambda _: "?"))


def test_no_control_and_no_format_of_unicode_is_forgotten() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    hidden = [c for c in every if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    hidden = [c for c in hidden if c not in "\n\t" + PREPENDED] + list(IGNORABLE)
    assert [ascii(c) for c in hidden if replace_hidden(f"a{c}b", lambda _: "?") != "a?b"] == []


def stream(pieces: list[str]) -> str:
    shown = ShownStream()
    return "".join([*map(shown.feed, pieces), shown.end()])


@pytest.mark.parametrize("text", [*STAYS, *(text for text, _ in GOES), *(text for text, _ in ISOLATES[:4])])
def test_the_same_is_shown_whatever_pieces_it_comes_in(text: str) -> None:
    whole = replace_hidden(text, symbol, isolates=True)
    assert stream([text]) == whole
    assert stream(list(text)) == whole
    assert stream([text[start : start + 3] for start in range(0, len(text), 3)]) == whole


@given(
    st.lists(
        st.text("a1 \n\u2066\u2067\u2069\u200d\u200c\ufe0f\u202e\x1b\U0001f469\u2764\u0645\u20e3\U000e0061", max_size=4)
    )
)
@settings(deadline=None)
def test_what_a_stream_shows_never_hides_anything(pieces: list[str]) -> None:
    shown = stream(pieces)
    assert len(shown) == len("".join(pieces))
    assert not set("\u202e\x1b\U000e0061") & set(shown)
    depth = 0
    for character in shown:
        depth += (character in "\u2066\u2067") - (character == "\u2069")
        assert 0 <= depth <= 1
        assert not (character == "\n" and depth)
    assert depth == 0


def test_an_answer_without_an_end_is_not_held_back() -> None:
    shown = ShownStream()
    assert shown.feed("\u2067" + "a" * 1000) == "\ufffd" + "a" * 1000
    assert len(shown.feed("\u200b" * 1000)) == 968


@pytest.mark.parametrize("character", ["\x7f", "\x9b", "\u202e", "\U000e0041", "\ud800"])
def test_json_reads_what_is_escaped(character: str) -> None:
    assert json.loads(f'"{escaped(character)}"') == character
