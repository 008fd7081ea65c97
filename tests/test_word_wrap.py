"""Lines of a streamed text break at words, whatever pieces it comes in."""

import pytest

from gemma4_mlx.commands.word_wrap import WordWrap

# (width, text, what a screen of that width is sent)
TEXTS = [
    (12, "one two three four five", "one two\nthree four\nfive"),
    (12, "one two three\nfour five six", "one two\nthree\nfour five\nsix"),
    (7, "one two three", "one two\nthree"),
    (6, "one  two   three", "one\ntwo\nthree"),
    (12, "  - an item of a list", "  - an item\nof a list"),
    (8, "see https://example.org/a/long/one now", "see https://example.org/a/long/one now"),
    (8, "https://example.org then more", "https://example.org then\nmore"),
    (10, "你好世界。这是一个测试。", "你好世界。\n这是一个测\n试。"),
    (9, "这是一个。好", "这是一\n个。好"),
    (12, "ab 日本語のテキスト", "ab 日本語の\nテキスト"),
    (8, "caf\u00e9 \U0001f600\U0001f600 ab", "caf\u00e9\n\U0001f600\U0001f600 ab"),
    (10, "안녕하세요 반갑습니다", "안녕하세요\n반갑습니다"),
    (10, "code:\n```py\nx = 'a long line of code'\n```\nthe text goes on", None),
    (10, "~~~\na very long line\n~~~\nthe text goes on", "~~~\na very long line\n~~~\nthe text\ngoes on"),
    (10, "| a column | another one |\n|---|---|", "| a column | another one |\n|---|---|"),
    (10, '{"a": "a long text in JSON"}', '{"a": "a long text in JSON"}'),
    (10, "[1, 2, 3, 4, 5, 6, 7]", "[1, 2, 3, 4, 5, 6, 7]"),
    (10, "ends in spaces   ", "ends in\nspaces   "),
    (10, "\n\none\n\n\ntwo\n", "\n\none\n\n\ntwo\n"),
    (10, "a\tb and more", "a\tb\nand more"),
]


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
@pytest.mark.parametrize(("width", "text", "sent"), TEXTS)
def test_lines_break_at_words(width: int, text: str, sent: str | None, size: int) -> None:
    wrap = WordWrap(lambda: width)
    pieces = [wrap.feed(text[start : start + size]) for start in range(0, len(text), size)]
    expected = "code:\n```py\nx = 'a long line of code'\n```\nthe text\ngoes on" if sent is None else sent
    assert "".join(pieces) + wrap.end() == expected


def test_a_word_is_shown_once_it_is_whole() -> None:
    wrap = WordWrap(lambda: 20)
    assert [wrap.feed(text) for text in ("Hel", "lo", " wor", "ld", ". ", "\n")] == [
        "",
        "",
        "Hello",
        "",
        " world.",
        " \n",
    ]


def test_a_long_word_does_not_wait_for_its_end() -> None:
    wrap = WordWrap(lambda: 5)
    assert [wrap.feed(text) for text in ("abcdef", "ghi", "jkl", " no")] == ["abcdef", "", "ghijkl", ""]
    assert wrap.end() == " no"


def test_a_terminal_may_be_resized_meanwhile() -> None:
    widths = [20, 20, 8, 8, 8, 8]
    wrap = WordWrap(lambda: widths[0])
    sent = ""
    for word in ("one two ", "three ", "four ", "five ", "six ", "seven "):
        sent += wrap.feed(word)
        widths.pop(0)
        widths.append(8)
    assert sent + wrap.end() == "one two three\nfour\nfive six\nseven "
