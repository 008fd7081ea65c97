"""/set: the options of the reply while a chat goes on."""

from collections.abc import Callable
from typing import Any

import pytest

pytest_plugins = ["chatting"]
Talk = Callable[..., tuple[list[str], str]]


def test_replies_follow_what_is_set(talk: Talk, asked: list[dict[str, Any]]) -> None:
    lines = (
        "/set temperature 0.3",
        "/set top-k=5",
        "/set parameter seed 7",
        "/set --max-tokens 9",
        "/set stop END OF IT",
    )
    _, err = talk(*lines, "Hello", "/set temp 0", '/set stop ["a", "\\n"]', "/set seed default", "Hello")
    names = ("temperature", "top_k", "seed", "max_tokens", "stop")
    assert [tuple(turn[name] for name in names) for turn in asked] == [
        (0.3, 5, 7, 9, ["END OF IT"]),
        (0.0, 5, None, 9, ["a", "\n"]),
    ]
    assert err.splitlines() == [
        "temperature is 0.3",
        "top_k is 5",
        "seed is 7",
        "max_tokens is 9",
        'stop is "END OF IT"',
        "temperature is 0.0",
        'stop is "a" "\\n"',
        "seed is none; it has no effect at temperature 0",
    ]


def test_alone_it_lists_what_there_is(talk: Talk) -> None:
    _, err = talk("/set", "/set seed 3", "/set top_p", options=("--seed", "5", "--max-tokens", "10"))
    lines = err.splitlines()[1:]  # the first says that a seed has no effect
    assert [line.split()[0] for line in lines[:9]] == [
        "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "max_tokens", "thinking_budget", "stop",
    ]  # fmt: skip
    assert [line.split()[-1] for line in (lines[0], lines[3], lines[5], lines[6])] == ["0.0", "0.0", "5", "10"]
    assert lines[9] == "seed is 3; it has no effect at temperature 0"
    assert lines[10].startswith("top_p is ")


NAMES = (
    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "max_tokens", "thinking_budget", "stop",
)  # fmt: skip

# (what follows /set, what is said)
WRONG = [
    ("temperatur 0.3", "/set has no temperatur; did you mean temperature?"),
    ("tmp 1", "/set has no tmp; did you mean temperature?"),
    ("nonsense", f"/set has no nonsense; it sets {', '.join(NAMES)}"),
    ("think on", "/set has no think: that is /think on or /think off"),
    ("system Be kind.", "/set has no system: that is /system TEXT"),
    ("kv-bits 8", "/set has no kv-bits: that is --kv-bits when the chat is started"),
    ("num_ctx 4096", "/set has no num_ctx: that is --max-kv-size when the chat is started"),
    ("temperature hot", "temperature must be a number such as 0.3, or default, not hot"),
    ("temperature 0,3", "temperature must be a number such as 0.3, or default, not 0,3"),
    ("temperature nan", "temperature must be from 0 to 100, not nan"),
    ("temperature -1", "temperature must be from 0 to 100, not -1.0"),
    ("top_k 1.5", "top_k must be a whole number, or default, not 1.5"),
    ("max_tokens 0", "max_tokens must be a whole number from 1 up, not 0"),
    ("stop []x", None),
    ('stop [1]', 'stop must be a text, or a JSON list of texts such as ["END", "\\n"]'),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "said"), WRONG)
def test_a_wrong_one_changes_nothing_and_is_told_the_right_one(
    talk: Talk, asked: list[dict[str, Any]], typed: str, said: str | None
) -> None:
    _, err = talk(f"/set {typed}", "Hello", code=0 if said is None else 1)
    assert err == ('stop is "[]x"\n' if said is None else f"error: {said}\n")
    names = ("temperature", "top_k", "max_tokens", "kv_bits")
    assert [asked[0][name] for name in names] == [0.0, None, None, None]
