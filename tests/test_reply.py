"""A reply's ids -> thought and answer, piece by piece."""

from hypothesis import given, settings
from hypothesis import strategies as st
from marked import ids_of

from gemma4_mlx.prompt.processor import Processor
from gemma4_mlx.prompt.reply import ReplyParser


def parse(processor: Processor, ids: list[int], prompt_ids: tuple[int, ...] = (), stop: tuple[str, ...] = ()) -> dict:
    hidden = [processor.tokenizer.id("<turn|>"), processor.tokenizer.id("<eos>")]
    parser = ReplyParser(processor.tokenizer, prompt_ids, hidden, stop)
    texts = {"answer": "", "thought": ""}
    for id in ids:
        piece = parser.feed(id)
        texts[piece.channel] = texts.get(piece.channel, "") + piece.text
        if parser.stopped:
            break
    piece = parser.finish()
    texts[piece.channel] += piece.text
    return texts


# Gemma's normalizer writes a space as "▁", so the two are one and the same.
CHARACTERS = st.characters(exclude_characters="▁", exclude_categories=["Cs"])


@given(st.text(CHARACTERS, max_size=40))
@settings(deadline=None)
def test_any_text_comes_back_whole(processor: Processor, text: str) -> None:
    assert parse(processor, processor.tokenizer.encode(text)) == {"answer": text, "thought": ""}


def test_thought_and_answer_come_apart(processor: Processor) -> None:
    ids = ids_of(processor, "<|channel>thought\nLet me see: 2+2\n<channel|>It is 4.<turn|>")
    assert parse(processor, ids) == {"thought": "Let me see: 2+2\n", "answer": "It is 4."}


def test_a_prompt_may_end_inside_a_thought(processor: Processor) -> None:
    prompt = tuple(ids_of(processor, "<|turn>model\n<|channel>thought\n"))
    ids = ids_of(processor, "Hm.<channel|>Yes")
    assert parse(processor, ids, prompt) == {"thought": "Hm.", "answer": "Yes"}


def test_a_closed_channel_in_the_prompt_is_no_thought(processor: Processor) -> None:
    prompt = tuple(ids_of(processor, "<|turn>model\n<|channel>thought\n<channel|>"))
    assert parse(processor, ids_of(processor, "Yes"), prompt) == {"thought": "", "answer": "Yes"}


def test_marks_spelled_out_are_text(processor: Processor) -> None:
    ids = processor.tokenizer.encode("<|channel>thought\nno<channel|>")
    assert parse(processor, ids)["answer"] == "<|channel>thought\nno<channel|>"


def test_tool_calls_are_apart_from_what_is_said(processor: Processor) -> None:
    marked = '<|channel>thought\nHm.<channel|>Let me see.<|tool_call>call:get{city:<|"|>Rome<|"|>}<tool_call|>'
    said = parse(processor, ids_of(processor, marked))
    assert said == {"thought": "Hm.", "answer": "Let me see.", "tool": 'call:get{city:<|"|>Rome<|"|>}'}


def test_a_call_out_of_a_thought_leads_back_into_it(processor: Processor) -> None:
    ids = ids_of(processor, "<|channel>thought\nHm.<|tool_call>call:get{}<tool_call|> So.<channel|>Yes")
    assert parse(processor, ids) == {"thought": "Hm. So.", "answer": "Yes", "tool": "call:get{}"}


def test_waiting_for_a_response_ends_the_reply(processor: Processor) -> None:
    parser = ReplyParser(processor.tokenizer, (), [])
    parser.feed(processor.tokenizer.id("<tool_call|>"))
    assert not parser.stopped
    assert parser.feed(processor.tokenizer.id("<|tool_response>")).text == ""
    assert parser.stopped


def test_a_character_cut_short_is_not_lost_silently(processor: Processor) -> None:
    ids = processor.tokenizer.encode("日")[:-1]
    assert parse(processor, ids)["answer"] == "\ufffd"


def test_broken_bytes_between_whole_characters(processor: Processor) -> None:
    byte = {value[0]: id for id, value in processor.tokenizer._byte_ids.items()}
    ids = [
        byte[0xC2],
        byte[0x80 + 0x3E],
        byte[0xE6],
        *processor.tokenizer.encode("R"),
        byte[0xFF],
        byte[0xC3],
        byte[0xA9],
    ]
    assert parse(processor, ids)["answer"] == "¾\ufffdR\ufffdé"


def test_stop_strings_end_answers_but_not_thoughts(processor: Processor) -> None:
    ids = ids_of(processor, "<|channel>thought\nSTOP<channel|>one STOP two")
    assert parse(processor, ids, stop=("STOP",)) == {"thought": "STOP", "answer": "one "}
