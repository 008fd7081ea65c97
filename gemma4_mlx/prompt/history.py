"""Messages as clients order them -> the order that chat templates take for granted.

Templates write a message's text after its calls and their results, look for results directly after the calls only, and
know instructions only at the head. So text that came before calls becomes a message of its own, each result is put
directly after its calls and named by the call that it answers, and later instructions go into a user's turn, marked.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from gemma4_mlx.errors import GemmaError

Message = dict[str, Any]
Note = Callable[[str], None]

NO_RESULT = "error: there is no result of this call"
"""What a call is answered with that the client left unanswered."""

INSTRUCTIONS = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Numbered:
    """A message that was read, and the number of the client's message that it comes from."""

    number: int
    message: Message

    @property
    def role(self) -> str:
        return str(self.message["role"])


def arrange(messages: Iterable[Numbered], note: Note) -> list[Message]:
    """The messages in the template's order; `note` is told what was added or moved.

    Raises GemmaError, with the message's number, for a tool message that answers no call.
    """
    steps = [step for message in messages for step in _unfold(message)]
    return list(_place_instructions([step.message for step in _answer_calls(steps, note)]))


def says_something(content: Any) -> bool:
    """Whether any text is left of an assistant's content once the template has taken out its thoughts, or media."""
    if isinstance(content, str):
        return bool(_without_thoughts(content).strip())
    return any(not isinstance(part, dict) or says_something(part["text"]) for part in content)


def _without_thoughts(text: str) -> str:
    return "".join(piece.split("<|channel>")[0] for piece in text.split("<channel|>"))


def _unfold(given: Numbered) -> list[Numbered]:
    """Text, calls and responses that share a message, each as a message, in the order in which they were said.

    A thought comes first. Text that comes with responses is what was said after them.
    """
    message = dict(given.message)
    calls, responses = message.pop("tool_calls", []), message.pop("tool_responses", [])
    if not calls and not responses:
        return [given]
    calling = [{"role": "assistant", "content": "", "tool_calls": calls}] if calls else []
    answering = [{"role": "tool", **response} for response in responses]
    text = [{"role": "assistant", "content": message["content"]}] if says_something(message["content"]) else []
    if responses and calls:
        unfolded = [{**message, **calling[0]}, *answering, *text]
    elif responses:
        unfolded = [*answering, *([message] if text or "reasoning" in message else [])]
    else:
        unfolded = [message, *calling] if text else [{**message, **calling[0]}]
    return [Numbered(given.number, step) for step in unfolded]


@dataclass(frozen=True, slots=True)
class _Turn:
    """A message, and the results of its calls."""

    said: Numbered
    results: list[Numbered] = field(default_factory=list)

    @property
    def calls(self) -> Sequence[Message]:
        return self.said.message.get("tool_calls", ())

    def goes_on_with(self, following: Numbered) -> bool:
        """Whether the next message is nothing but more calls before any result: parallel calls in two messages."""
        alone = following.message.get("tool_calls") and not following.message.get("reasoning")
        return bool(alone and self.calls and not self.results)

    def with_calls(self, following: Numbered) -> "_Turn":
        calls = [*self.calls, *following.message["tool_calls"]]
        return _Turn(Numbered(self.said.number, {**self.said.message, "tool_calls": calls}))


def _answer_calls(messages: Iterable[Numbered], note: Note) -> Iterator[Numbered]:
    """The messages with each tool message directly after its calls, and one for each call that has none.

    Calls at the very end wait for their results: they get none.
    """
    turns: list[_Turn] = []
    for message in messages:
        if turns and turns[-1].goes_on_with(message):
            turns[-1] = turns[-1].with_calls(message)
            continue
        if message.role != "tool":
            turns.append(_Turn(message))
            continue
        turn = _asking_turn(turns, message)
        if turn is not turns[-1]:
            note(f"message {message.number} is read directly after message {turn.said.number}, whose call it answers")
        turn.results.append(message)
    for turn in turns:
        waits = turn is turns[-1] and not turn.results
        yield from [turn.said] if waits or not turn.calls else _answered(turn, note)


def _asking_turn(turns: Sequence[_Turn], result: Numbered) -> _Turn:
    """The newest turn with a call of the result's id, else the newest with calls."""
    asking = [turn for turn in reversed(turns) if turn.calls]
    id = result.message.get("tool_call_id")
    for turn in asking:
        if any(id == call["id"] for call in turn.calls if call["id"]):
            return turn
    if not asking:
        raise _answers_nothing(result)
    return asking[0]


def _answered(turn: _Turn, note: Note) -> Iterator[Numbered]:
    """The turn with an id for each call, and each result with the id and the name of the call that it answers."""
    number, answers = turn.said.number, _match(turn)
    given = [call["id"] for call in turn.calls]
    ids = [id if id and given.count(id) == 1 else f"call_{number}_{place}" for place, id in enumerate(given, start=1)]
    calls = [{**call, "id": id} for call, id in zip(turn.calls, ids, strict=True)]
    yield Numbered(number, {**turn.said.message, "tool_calls": calls})
    for result, place in zip(turn.results, answers, strict=True):
        yield Numbered(result.number, result.message | _answering(calls[place]))
    for place, call in enumerate(calls):
        if place not in answers:
            name = call["function"]["name"]
            note(f"message {number}: the call of {name} has no result; the model is told so")
            yield Numbered(number, {"role": "tool", "content": NO_RESULT} | _answering(call))


def _answering(call: Message) -> Message:
    return {"tool_call_id": call["id"], "name": call["function"]["name"]}


def _match(turn: _Turn) -> list[int]:
    """For each result the place of its call: by id, then by name, then in order; a call answers to its id again."""
    waiting, answers = list(range(len(turn.calls))), dict[int, int]()
    for fits in (_same_id, _same_name, _nameless):
        for at, result in enumerate(turn.results):
            place = next((place for place in waiting if fits(turn.calls[place], result.message)), None)
            if at not in answers and place is not None:
                waiting.remove(place)
                answers[at] = place
    for at, result in enumerate(turn.results):
        if at not in answers:
            again = [place for place, call in enumerate(turn.calls) if _same_id(call, result.message)]
            if not again:
                raise _answers_nothing(result)
            answers[at] = again[0]
    return [answers[at] for at in range(len(turn.results))]


def _same_id(call: Message, result: Message) -> bool:
    return bool(call["id"]) and call["id"] == result.get("tool_call_id")


def _same_name(call: Message, result: Message) -> bool:
    return _may_lack_id(call, result) and call["function"]["name"] == result.get("name")


def _nameless(call: Message, result: Message) -> bool:
    return _may_lack_id(call, result) and not result.get("name")


def _may_lack_id(call: Message, result: Message) -> bool:
    return not (call["id"] and result.get("tool_call_id"))


def _answers_nothing(result: Numbered) -> GemmaError:
    return GemmaError(
        f"message {result.number}: this tool message answers no call before it; "
        "give it the tool_call_id of one, or leave it out"
    )


def _place_instructions(messages: Sequence[Message]) -> Iterator[Message]:
    """All instructions at the head as one message; later ones marked, in a user's turn at the same place."""
    head = list(takewhile(lambda message: message["role"] in INSTRUCTIONS, messages))
    if head:
        together = "\n\n".join(filter(None, (_plain(message["content"]) for message in head)))
        yield {**head[0], "role": "system", "content": together} if len(head) > 1 else head[0]
    waiting: list[str] = []
    for message in messages[len(head) :]:
        if message["role"] in INSTRUCTIONS:
            waiting += filter(None, [_plain(message["content"])])
        elif waiting and message["role"] == "user":
            yield {**message, "content": _before(_marked(waiting), message["content"])}
            waiting = []
        else:
            yield from _own_turn(waiting)
            yield message
            waiting = []
    yield from _own_turn(waiting)


def _own_turn(instructions: Sequence[str]) -> list[Message]:
    return [{"role": "user", "content": _marked(instructions)}] if instructions else []


def _plain(content: Any) -> str:
    """The text of instructions. That of parts is one paragraph each."""
    texts = [content] if isinstance(content, str) else [part["text"] for part in content]
    return "\n\n".join(text.strip() for text in texts if text.strip())


def _marked(instructions: Sequence[str]) -> str:
    return "\n\n".join(f"<system>\n{text}\n</system>" for text in instructions)


def _before(text: str, content: Any) -> Any:
    """A user's content with text at its head. Templates join texts without a space, so the first text takes it in."""
    if isinstance(content, str):
        return f"{text}\n\n{content}"
    first, *others = content or [None]
    if isinstance(first, dict):
        return [{**first, "text": f"{text}\n\n{first['text']}"}, *others]
    return [{"type": "text", "text": text}, *content]
