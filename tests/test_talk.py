"""Turns of a chat that fail, are stopped, or come to the end of what there is room for."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx import api
from gemma4_mlx.commands.typeahead import Typeahead

pytest_plugins = ["chatting"]

TAKEN_BACK = "the question was taken back: /retry sends it again, /clear makes room, a shorter question needs less"
Talk = Callable[..., tuple[list[str], str]]
KEPT = ", what is attached stays attached (/detach drops it)"


def pictures(turn: dict[str, Any]) -> list[int]:
    """How many pictures come with each question of a turn."""
    contents = [message["content"] for message in turn["messages"] if message["role"] == "user"]
    return [sum(part["type"] == "image" for part in content if isinstance(part, dict)) for content in contents]


def interrupted(after: int) -> Callable[..., Iterator[Any]]:
    stream = api.stream_generate

    def run(*args: Any, **options: Any) -> Iterator[Any]:
        for count, response in enumerate(stream(*args, **options)):
            if count == after:
                raise KeyboardInterrupt
            yield response

    return run


def test_ctrl_c_keeps_what_was_said_and_the_chat_goes_on(
    talk: Talk, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "stream_generate", interrupted(after=2))
    out, err = talk("Hello", "What can you do?", terminal=True)
    assert [len(line) > 0 for line in out] == [True, True]
    assert "Hello! How can I help you?".startswith(out[0])
    assert err == "stopped; what was said so far is kept\n" * 2
    assert asked[1]["messages"][1] == {"role": "assistant", "content": out[0]}


def test_lines_sent_around_ctrl_c_stay_lines(
    talk: Talk, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    typeahead = Typeahead(None)
    typed = b"What is it?\r/tokens\r\x1b[200~a\rb\x1b[201~\r/ret"

    def stream(*_: Any, **__: Any) -> Iterator[Any]:
        typeahead._typed = typed
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(Typeahead, "of_stdin", lambda: typeahead)
    monkeypatch.setattr(api, "stream_generate", stream)
    talk("Hello", terminal=True)
    assert typeahead.take().encode() == typed


@pytest.mark.parametrize("after", [0, 2])
def test_ctrl_c_ends_a_chat_that_nobody_types_in(
    talk: Talk, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(api, "stream_generate", interrupted(after))
    out, _ = talk("Hello", "What can you do?", code=130)
    assert "Hello! How can I help you?".startswith("".join(out))
    assert len(asked) <= 1


def test_ctrl_c_before_an_answer_takes_the_question_back(
    talk: Talk, asked: list[dict[str, Any]], photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = iter([interrupted(after=0), api.stream_generate])

    def stream(*args: Any, **options: Any) -> Iterator[Any]:
        return next(turns)(*args, **options)

    monkeypatch.setattr(api, "stream_generate", stream)
    out, err = talk(f"/image {photo}", "What colour is the circle?", "/retry", terminal=True)
    assert out == ["blue"]
    assert err.endswith(f"stopped before an answer: the question was taken back{KEPT}, /retry sends it again\n")
    assert pictures(asked[1]) == [1]


@pytest.mark.parametrize(("channel", "text"), [("thought", "Let me see"), ("answer", " \n"), ("tool", "call")])
def test_ctrl_c_before_an_answer_is_shown_keeps_nothing(
    talk: Talk, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, channel: Any, text: str
) -> None:
    stream, turns = api.stream_generate, []

    def begin(*args: Any, **options: Any) -> Iterator[Any]:
        turns.append(1)
        if len(turns) > 1:
            yield from stream(*args, **options)
            return
        yield replace(next(stream(*args, **options)), channel=channel, text=text, finish_reason=None)
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "stream_generate", begin)
    _, err = talk("Hello", "Thanks", terminal=True)
    assert "stopped before an answer: the question was taken back, /retry sends it again\n" in err
    assert "kept" not in err
    assert [message["content"] for message in asked[1]["messages"]] == ["Thanks"]


def fails_first(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """The first turn ends with the error before anything is said."""
    stream, errors = api.stream_generate, [error]

    def run(*args: Any, **options: Any) -> Iterator[Any]:
        if errors:
            raise errors.pop()
        return stream(*args, **options)

    monkeypatch.setattr(api, "stream_generate", run)


@pytest.mark.parametrize(("error", "code"), [(RuntimeError("full"), 1), (KeyboardInterrupt(), 0)])
def test_a_picture_stays_attached_until_there_is_an_answer(
    talk: Talk, asked: list[dict[str, Any]], photo: Path, monkeypatch: pytest.MonkeyPatch, error: Any, code: int
) -> None:
    fails_first(monkeypatch, error)
    lines = (f"/image {photo}", "What is it?", "What colour is the circle?", "Thanks")
    out, err = talk(*lines, code=code, terminal=code == 0)
    assert out[0] == "blue"
    assert f"the question was taken back{KEPT}" in err
    assert [pictures(turn) for turn in asked] == [[1], [1, 0]]


def test_retry_attaches_nothing_twice(
    talk: Talk, asked: list[dict[str, Any]], photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_first(monkeypatch, RuntimeError("full"))
    image = f"/image {photo}"
    talk(image, "What colour is the circle?", image, "/retry", "Which one is it?", "Thanks", code=1)
    assert [pictures(turn) for turn in asked] == [[1], [1, 1], [1, 1, 0]]


def test_what_is_attached_can_be_dropped(talk: Talk, asked: list[dict[str, Any]], photo: Path) -> None:
    _, err = talk(f"/image {photo}", "/detach", "Hello", "/detach", code=1)
    assert err.splitlines()[1:] == ["nothing is attached any more", "error: nothing is attached"]
    assert pictures(asked[0]) == [0]


def test_a_picture_that_does_not_fit_is_not_left_out(talk: Talk, asked: list[dict[str, Any]], photo: Path) -> None:
    out, err = talk(f"/image {photo}", "What is it?", "What is it?", options=("--max-kv-size", "40"), code=1)
    assert (out, asked) == ([], [])
    assert [line.startswith("error: the prompt has ") for line in err.splitlines()] == [False, True, True]
    assert err.count(KEPT) == 2


def test_an_error_in_a_turn_takes_it_back(
    talk: Talk, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = api.stream_generate

    def fail(model: Any, processor: Any, prompt: Any, **options: Any) -> Iterator[Any]:
        if processor.tokenizer.encode("fail")[-1] in prompt.ids[-12:]:
            raise RuntimeError("it\nbroke")
        return stream(model, processor, prompt, **options)

    monkeypatch.setattr(api, "stream_generate", fail)
    out, err = talk("Hello", "fail", "Who are you?", code=1)
    assert err == f"error: it broke; {TAKEN_BACK}\n"
    assert len(out) == 2
    assert [message["content"] for message in asked[1]["messages"]] == ["Hello", out[0], "Who are you?"]


def test_the_end_of_the_context_is_told_before_it_comes(talk: Talk) -> None:
    options = ("--max-kv-size", "60", "-m", "30")
    out, err = talk("Hello", "Thanks", "x" * 400, "/clear", "Hello", options=options, code=1)
    lines = err.splitlines()
    assert lines[0].startswith("near the end of the context: ")
    assert lines[0].endswith("tokens are left for the answer; /clear begins anew, a shorter question leaves more")
    assert lines[1].startswith("error: the prompt has ")
    assert lines[1].endswith(TAKEN_BACK)
    assert lines[2] == "everything said and attached is forgotten"
    assert out[0] == out[-1] == "Hello! How can I help you?"


def test_the_end_of_memory_is_told_before_it_comes_and_bounds_the_answer(
    talk: Talk, asked: list[dict[str, Any]]
) -> None:
    out, err = talk("Hello", "Thanks", options=("--memory-limit", "84MB", "--kv-bits", "none"))
    lines = err.splitlines()
    assert [line.startswith("near the end of the memory: 9") for line in lines] == [True, True]
    assert [turn["max_kv_size"] for turn in asked] == [1000, 1000]
    assert out[0] == "Hello! How can I help you?"


# (options of the command line, why the answer is cut off)
LIMITS = [
    (("-m", "3"), "max_tokens is 3; /set max_tokens 12 and /retry allow more"),
    (("--max-kv-size", "20"), "--max-kv-size 20 allows no more than 20 tokens; /clear begins anew"),
]


@pytest.mark.parametrize(("options", "why"), LIMITS)
def test_an_answer_that_is_cut_off_says_so(talk: Talk, options: tuple[str, ...], why: str) -> None:
    out, err = talk("What can you do?", options=options)
    assert len(out) == 1
    assert err.splitlines()[-1] == f"the answer is cut off: {why}"


def test_a_thought_that_leaves_no_room_for_an_answer_says_so(talk: Talk) -> None:
    _, err = talk("/think on", "What is 27 + 58?", options=("-m", "3"))
    said = "the thought took all tokens and no answer began: max_tokens is 3; /set max_tokens 12 and /retry allow more"
    assert err.splitlines()[-1] == said


def test_caches_take_8_bits_where_plain_ones_would_not_fit(
    talk: Talk, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gemma4_mlx.engine.plan import Need, Plan

    plain = Need.plan

    def plan(self: Need, context: int, kv_bits: int | None) -> Plan:
        made = plain(self, context, kv_bits)
        return made if kv_bits else Plan(**{**{name: getattr(made, name) for name in Plan.__slots__}, "limit": 1})

    monkeypatch.setattr(Need, "plan", plan)
    _, err = talk("Hello", "Thanks")
    assert (
        err == "plain caches would not fit: they are kept in 8 bits (--kv-bits none insists, --plan tells the sizes)\n"
    )
    assert [turn["session"].kv_bits for turn in asked] == [8, 8]
    assert asked[1]["reused"] > 5
