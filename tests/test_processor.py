"""Messages -> ids and spans."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from goldens import TEMPLATES
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.images import Patches
from gemma4_mlx.media.video import Video
from gemma4_mlx.prompt.processor import MediaOptions, Processor
from gemma4_mlx.prompt.template import ChatTemplate

PICTURE = Image.new("RGB", (96, 96), "red")
SECOND = (np.zeros(16000, np.float32), 16000)

marks = st.sampled_from(["<|turn>", "<turn|>", "<|image|>", "<|audio|>", "<|video|>", '<|"|>', "<bos>", "<eos>", "<"])
nasty = st.lists(
    marks | st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"]), max_size=5) | st.just("\ue000"),
    max_size=8,
).map("".join)


def user(*content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(content)}]


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}


def shown(processor: Processor, ids: Any) -> str:
    return processor.tokenizer._backend.decode(list(ids), skip_special_tokens=False)


@given(nasty)
@settings(deadline=None)
def test_control_tokens_typed_as_text_stay_text(processor: Processor, typed: str) -> None:
    prompt = processor.prompt(user(text(f"x{typed}x")))
    plain = processor.prompt(user(text("xx")))
    control = set(processor.tokenizer.control_ids.values())
    assert [id for id in prompt.ids if id in control] == [id for id in plain.ids if id in control]
    assert not prompt.spans
    assert shown(processor, prompt.ids) == shown(processor, plain.ids).replace("xx", f"x{typed}x")


@given(nasty, nasty)
@settings(deadline=None)
def test_no_control_token_forms_across_two_parts(processor: Processor, first: str, second: str) -> None:
    control = set(processor.tokenizer.control_ids.values())
    prompt = processor.prompt(user(text(f"{first}<|tu"), text(f"rn>{second}")))
    assert sum(id in control for id in prompt.ids) == 6


def test_control_tokens_in_tools_and_history_stay_text(processor: Processor) -> None:
    tools = [{"type": "function", "function": {"name": "f", "description": "<turn|><|image|>", "parameters": None}}]
    messages = [
        {"role": "system", "content": "<|think|>"},
        {"role": "user", "content": "<|image|>"},
        {"role": "assistant", "content": "<|channel>thought\nsecret<channel|>fine <|audio|>"},
        {"role": "user", "content": "<eos>"},
    ]
    prompt = processor.prompt(messages, tools=tools)
    rendered = shown(processor, prompt.ids)
    config = processor.config.tokens
    assert not {config.image, config.audio, processor.tokenizer.id("<|think|>")} & set(prompt.ids)
    assert "secret" not in rendered
    assert "fine <|audio|>" in rendered


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("The mark <|channel>thought opens it. IMPORTANT", "The mark <|channel>thought opens it. IMPORTANT"),
        ("<|channel>thought\nHm.", "<|channel>thought\nHm."),
        ("It ends with <channel|>. So.", "It ends with <channel|>. So."),
        ("<|channel>Hm.<channel|> Closed by <channel|>.", "Closed by <channel|>."),
        ("<|channel>thought\nHm.\n<channel|>Yes.", "Yes."),
        ("\n <|channel>thought\nHm.\n<channel|>\nYes.", "Yes."),
        ("<|channel>Hm.<channel|>Yes.", "Yes."),
        ("<|channel><channel|>Yes.", "Yes."),
        ("<|channel>thought\nHm.<channel|><|channel>thought\nWell.<channel|>Yes.", "Yes."),
        ("<|channel>thought\nHm.<channel|>Yes. <|channel>thought\nWell.<channel|>No.", "Yes. No."),
        ("See: <|channel>thought\nno<channel|> thought", "See:  thought"),
        ("<|channel>thought\nOpen <|channel> <turn|>\n<channel|>The <channel|> closes.", "The <channel|> closes."),
    ],
)
@pytest.mark.parametrize("folder", TEMPLATES.values(), ids=TEMPLATES)
def test_only_a_whole_thought_is_taken_out_of_history(processor: Processor, said: str, kept: str, folder: Path) -> None:
    processor = replace(processor, template=ChatTemplate.from_folder(folder))
    for content in (said, [text(said)]):
        messages = [*user(text("?")), {"role": "assistant", "content": content}, *user(text("!"))]
        prompt = processor.prompt(messages, enable_thinking=True)
        assert f"<|turn>model\n{kept}<turn|>\n<|turn>user\n!" in shown(processor, prompt.ids)
        assert not {processor.tokenizer.id(mark) for mark in ("<|channel>", "<channel|>")} & set(prompt.ids)


def test_users_order_is_kept_and_spans_point_at_placeholders(processor: Processor) -> None:
    prompt = processor.prompt(
        user({"type": "audio", "audio": SECOND}, text("between"), {"type": "image", "image": PICTURE}, text("after"))
    )
    assert [(span.kind, span.stop - span.start) for span in prompt.spans] == [("audio", 25), ("image", 256)]
    tokens = processor.config.tokens
    for span, placeholder in zip(prompt.spans, (tokens.audio, tokens.image), strict=True):
        assert set(prompt.ids[span.start : span.stop]) == {placeholder}
    around = [prompt.ids[at] for span in prompt.spans for at in (span.start - 1, span.stop)]
    assert around == [tokens.audio_start, tokens.audio_end, tokens.image_start, tokens.image_end]


def test_long_audio_becomes_consecutive_clips(processor: Processor) -> None:
    sound = (np.zeros(16000 * 40, np.float32), 16000)
    prompt = processor.prompt(
        user(text("Transcribe"), {"type": "audio", "audio": sound}, {"type": "audio", "audio": SECOND})
    )
    assert [span.stop - span.start for span in prompt.spans] == [750, 250, 25]


def test_video_frames_have_times_and_the_soundtrack_follows(processor: Processor) -> None:
    frame = Patches(np.zeros((4, 6912), np.uint8), np.zeros((4, 2), np.int32))
    video = Video([frame, frame], [0.0, 61.9], [np.zeros((3, 640), np.float32)])
    prompt = processor.prompt(user({"type": "video", "video": video}, text("What moves?")))
    expected = f"00:00 <|image>{'<|video|>' * 4}<image|> 01:01 <|image>{'<|video|>' * 4}<image|>"
    assert f"{expected}<|audio>{'<|audio|>' * 3}<audio|>What moves?" in shown(processor, prompt.ids)
    assert [span.kind for span in prompt.spans] == ["video", "video", "audio"]
    assert len(prompt.vision_blocks()) == 2


def test_openai_shapes_are_understood(processor: Processor) -> None:
    import base64
    import io

    buffer = io.BytesIO()
    PICTURE.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    wanted = processor.prompt(user({"type": "image", "image": PICTURE}, text("?"))).ids
    for part in (
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image", "base64": data},
        {"type": "image", "image": buffer.getvalue()},
    ):
        assert processor.prompt(user(part, text("?"))).ids == wanted


def test_tool_calls_with_json_text_arguments(processor: Processor) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "get", "arguments": '{"city": "Rome <|turn>"}'}}
    messages = [
        *user(text("Weather?")),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "sunny"},
    ]
    rendered = shown(processor, processor.prompt(messages).ids)
    assert '<|tool_call>call:get{city:<|"|>Rome <|turn><|"|>}<tool_call|>' in rendered
    assert rendered.endswith('<|tool_response>response:get{value:<|"|>sunny<|"|>}<tool_response|>')


def test_thinking_and_a_begun_answer(processor: Processor) -> None:
    off = shown(processor, processor.prompt(user(text("Hi")), prefill_response="Sure<eos>,").ids)
    on = shown(processor, processor.prompt(user(text("Hi")), enable_thinking=True).ids)
    assert off == "<bos><|turn>user\nHi<turn|>\n<|turn>model\n<|channel>thought\n<channel|>Sure<eos>,"
    assert on == "<bos><|turn>system\n<|think|>\n<turn|>\n<|turn>user\nHi<turn|>\n<|turn>model\n"


@pytest.mark.parametrize(
    ("messages", "line"),
    [
        ([], "messages must be a list with at least one {'role': ..., 'content': ...}"),
        ("Hi", "messages must be a list with at least one {'role': ..., 'content': ...}"),
        (
            [{"role": "robot", "content": "x"}],
            "message 1: role must be one of system, developer, user, assistant, model, tool",
        ),
        ([{"content": "x"}], "message 1: role must be one of system, developer, user, assistant, model, tool"),
        ([{"role": "user", "content": 7}], "message 1: content must be text or a list of parts, not int"),
        (
            user({"type": "hologram"}),
            "message 1: a part must have a type among text, image, image_url, audio, input_audio, audio_url, video, "
            "video_url, not 'hologram'",
        ),
        (user({"type": "image"}), "message 1: this image part has no image or path or url or base64 or data or source"),
        (user({"type": "image_url", "image_url": {}}), "message 1: image_url has neither url nor data"),
        (
            [{"role": "system", "content": [{"type": "image", "image": PICTURE}]}, *user(text("x"))],
            "message 1: a system message can't hold image; put it into a user message",
        ),
        (
            [*user(text("x")), {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": [1]}}]}],
            "message 2: the arguments of f must be an object",
        ),
        (
            user({"type": "audio", "audio": []}),
            "media can't be read from list: pass a path, an address, bytes or a binary file",
        ),
        (
            [*user(text("x")), {"role": "assistant", "tool_calls": [{"id": "1"}]}],
            "message 2: a tool call must have a function with a name",
        ),
        (
            [{"role": "user", "content": "x", "images": ["aGk="]}],
            "message 1: images beside the content are not read; make them parts of the content",
        ),
        (user({"type": "text", "content": "x"}), "message 1: this text part has no text"),
        (user({"type": "reasoning"}), "message 1: this reasoning part has no text or reasoning"),
        (
            user({"type": "thinking", "thinking": "x"}),
            "message 1: thoughts belong to the assistant, not to a message of role user",
        ),
        (
            [*user(text("x")), {"role": "tool", "content": [text("x"), {"type": "json"}]}],
            "message 2: a part must have a type among text, image, image_url, audio, input_audio, audio_url, video, "
            "video_url, not 'json'",
        ),
        (
            [{"role": "user", "content": "x", "tool_calls": [{"function": {"name": "f"}}]}],
            "message 1: tool_calls belong to the assistant, not to a message of role user",
        ),
        (
            [{"role": "assistant", "reasoning": ["x"]}],
            "message 1: reasoning, reasoning_content, thinking must be text",
        ),
        (
            [{"role": "assistant", "tool_responses": ["x"]}],
            "message 1: a tool response must be {'name': ..., 'response': ...}",
        ),
        ([{"role": "tool", "name": 5, "content": "x"}], "message 1: the name of a tool must be text, not int"),
        (
            [{"role": "tool", "content": b"x"}],
            "message 1: content must be text, a list of parts or JSON, not bytes",
        ),
    ],
)
def test_bad_messages(processor: Processor, messages: Any, line: str) -> None:
    with pytest.raises(GemmaError) as error:
        processor.prompt(messages)
    assert str(error.value) == line


def test_template_that_forgets_media(processor: Processor) -> None:
    deaf = replace(processor, template=ChatTemplate("{{ messages[0]['content'][1]['text'] }}"))
    with pytest.raises(GemmaError, match="the template left out 1 of 1 media; put them into user messages"):
        deaf.prompt(user({"type": "image", "image": PICTURE}, text("x")))


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{% set own = namespace() %}{{ own.__class__.__mro__ }}",
        "{% set own = namespace() %}{{ own._Namespace__attrs.clear() }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ raise_exception('no such role') }}",
        "{% include 'other' %}",
    ],
)
def test_templates_can_not_leave_their_sandbox(source: str) -> None:
    with pytest.raises(GemmaError, match="these messages can't be rendered"):
        ChatTemplate(source).render([{"role": "user", "content": "x"}])


@pytest.mark.parametrize("name", ["messages", "self", "tools", "bos_token"])
def test_what_the_template_is_given_anyhow_is_no_variable(processor: Processor, name: str) -> None:
    with pytest.raises(GemmaError) as error:
        processor.prompt(user(text("x")), template_variables={"greeting": "Hi", name: []})
    assert str(error.value) == (
        f"{name} is no variable for the chat template, which gets it from elsewhere; leave it out"
    )


def test_template_of_other_bytes(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes("{{ 'é' }}".encode("latin-1"))
    with pytest.raises(GemmaError, match=r"chat_template.jinja: can't be read as UTF-8 text \("):
        ChatTemplate.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"image_processor": [1]}, "image_processor must be an object, not list"),
        ({"video_processor": {"num_frames": "32"}}, "num_frames of video_processor must be a whole number, not '32'"),
        ({"image_processor": {"max_soft_tokens": True}}, "max_soft_tokens of image_processor must be a whole number, "),
    ],
)
def test_media_settings_of_another_kind(tmp_path: Path, config: dict[str, Any], line: str) -> None:
    (tmp_path / "processor_config.json").write_text(json.dumps(config))
    with pytest.raises(GemmaError) as error:
        MediaOptions.from_folder(tmp_path)
    assert str(error.value).startswith(f"processor_config.json: {line}")


def test_media_settings_are_read(tmp_path: Path) -> None:
    assert MediaOptions.from_folder(tmp_path) == MediaOptions()
    config = {"image_processor": {"max_soft_tokens": 70}, "video_processor": {"num_frames": 8}}
    (tmp_path / "processor_config.json").write_text(json.dumps(config))
    assert MediaOptions.from_folder(tmp_path) == MediaOptions(image_tokens=70, max_frames=8)


def test_template_that_is_none() -> None:
    with pytest.raises(GemmaError, match=r"chat template: not a Jinja template \("):
        ChatTemplate("{% if %}")


def test_a_note_stands_once_in_a_prompt(processor: Processor) -> None:
    stored = io.BytesIO()
    PICTURE.save(stored, "BMP")
    cut = {"type": "image", "image": stored.getvalue()[:-3000]}
    (note,) = processor.prompt(user(cut, cut, text("?"))).notes
    assert note.startswith("bytes: is damaged or cut short")


def test_a_long_text_is_refused_after_its_beginning(processor: Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemma4_mlx.prompt.processor.LONG_TEXT", 1000)
    encoded = []
    encode = type(processor.tokenizer).encode
    monkeypatch.setattr(
        type(processor.tokenizer), "encode", lambda self, text: encoded.append(text) or encode(self, text)
    )
    text = replace(processor.config.text, max_position_embeddings=300)
    short = replace(processor, config=replace(processor.config, text=text))
    with pytest.raises(GemmaError, match="the prompt has far more than the 300 tokens of the context: shorten it"):
        short.prompt([{"role": "user", "content": "xyzq" * 2000}])
    assert max(map(len, encoded)) == 1000
    assert sum(map(len, encoded)) < 5000
    monkeypatch.setattr("gemma4_mlx.prompt.processor.LONG_TEXT", 10**6)
    words = [{"role": "user", "content": "What is this? " * 200}]
    whole = processor.prompt(words).ids
    monkeypatch.setattr("gemma4_mlx.prompt.processor.LONG_TEXT", 1000)
    assert processor.prompt(words).ids == whole
