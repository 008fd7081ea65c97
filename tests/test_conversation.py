"""Conversations with media: the same order in the API, the command and the chat, and files that hold none."""

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from media.media_files import tone, video_bytes, wav_bytes
from PIL import Image
from test_processor import PICTURE, shown

from gemma4_mlx import api
from gemma4_mlx.commands import conversation
from gemma4_mlx.commands.generate import make_parser, messages
from gemma4_mlx.commands.options import media_options
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.video import load_video
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.processor import Processor
from gemma4_mlx.prompt.prompt import Prompt


@pytest.fixture
def film(tmp_path: Path) -> str:
    (tmp_path / "film.mp4").write_bytes(video_bytes(count=3, rate=1, sound=tone(1.0, 48_000)))
    return str(tmp_path / "film.mp4")


@pytest.fixture
def note(tmp_path: Path) -> str:
    (tmp_path / "note.wav").write_bytes(wav_bytes(tone(0.4)))
    return str(tmp_path / "note.wav")


NO_MODEL = Gemma4Unified.__new__(Gemma4Unified)
"""A model by its type alone: none is asked."""


def of_the_api(processor: Processor, monkeypatch: pytest.MonkeyPatch, **media: Any) -> Prompt:
    monkeypatch.setattr(api, "stream", lambda model, tokenizer, prompt, *rest, **more: prompt)
    return api.stream_generate(NO_MODEL, processor, "What happens?", **media)  # type: ignore[return-value]


def of_the_command(processor: Processor, *options: str) -> Prompt:
    args = make_parser().parse_args(["-p", "What happens?", *options])
    return processor.prompt(messages(args, media_options(args, processor.media)))


def of_the_chat(processor: Processor, *files: tuple[Any, str]) -> Prompt:
    parts = [part for kind, path in files for part in conversation.attach(kind, path, processor.media)]
    return processor.prompt([conversation.user_turn("What happens?", parts)])


def test_a_films_sound_follows_the_question_however_it_is_asked(
    processor: Processor, film: str, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [
        of_the_api(processor, monkeypatch, videos=[film], audio=[note]),
        of_the_command(processor, "--video", film, "--audio", note),
        of_the_chat(processor, ("audio", note), ("video", film)),
    ]
    image, sound = "<|image><|video|><image|>", "<|audio><|audio|><audio|>"
    frames = f"00:00 {image} 00:01 {image} 00:02 {image}"
    for prompt in asked:
        once = re.sub(r"(<\|\w+\|>)\1*", r"\1", shown(processor, prompt.ids))
        assert f"<|turn>user\n{frames}What happens?{sound}{sound}<turn|>" in once
        assert [span.stop - span.start for span in prompt.spans if span.kind == "audio"] == [25, 10]


def test_a_film_that_is_decoded_already_is_asked_about_alike(
    processor: Processor, film: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = of_the_api(processor, monkeypatch, videos=[load_video(film)])
    assert given.ids == of_the_command(processor, "--video", film).ids
    silent = of_the_command(processor, "--video", film, "--no-soundtrack")
    assert [[span.kind for span in prompt.spans].count("audio") for prompt in (given, silent)] == [1, 0]


NAMED = "parts name a path or an address, not"
CALLS = "message 1: tool_calls must be a list of objects, not"


def part(**content: Any) -> dict[str, Any]:
    return {"role": "user", "content": [content]}


def calls(value: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": "", "tool_calls": value}


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (part(type="image", path=5), f"image {NAMED} int"),
        (part(type="audio", audio=[1]), f"audio {NAMED} list"),
        (part(type="video_url", video_url={"url": 5}), f"video_url {NAMED} int"),
        (part(type="audio", audio={"data": 5}), "message 1: the data of audio must be base64 text, not int"),
        (calls(5), f"{CALLS} int"),
        (calls({"a": 1}), f"{CALLS} dict"),
        (calls([5]), "message 1: a tool call must have a function with a name"),
    ],
)
def test_a_file_of_other_things_is_one_line(processor: Processor, tmp_path: Path, message: Any, line: str) -> None:
    path = tmp_path / "talk.json"
    path.write_text(json.dumps([message]))
    with pytest.raises(GemmaError) as error:
        conversation.load(str(path), processor.media)
    assert str(error.value) == f"{path}: {line}"


def test_a_conversation_of_another_client_comes_back_as_it_was(processor: Processor, tmp_path: Path, note: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": [{"type": "input_text", "text": "Go"}, {"type": "audio", "path": note}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Let me check."}], "tool_calls": [call, call]},
        {"role": "tool", "tool_call_id": "c1", "content": {"t": 3}},
        {"role": "tool", "tool_call_id": "c1", "content": [1, {"t": 3}]},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "audio", "path": note}, {"type": "text", "text": "And?"}]},
        {"role": "user", "content": ["Well?"]},
    ]
    (tmp_path / "talk.json").write_text(json.dumps(messages))
    loaded = conversation.load(str(tmp_path / "talk.json"), processor.media)
    assert processor.prompt(loaded).ids == processor.prompt(messages).ids
    assert len(processor.prompt(loaded).spans) == 2
    conversation.save(loaded, str(tmp_path / "again.json"))
    assert json.loads((tmp_path / "again.json").read_text()) == messages


def test_media_stay_with_their_message_when_messages_are_moved(processor: Processor, tmp_path: Path, film: str) -> None:
    image = tmp_path / "red.png"
    PICTURE.save(image)
    messages = [
        {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "function": {"name": "f"}}]},
        {"role": "user", "content": [{"type": "video", "path": film}]},
        {"role": "tool", "tool_call_id": "c1", "content": ["A", {"type": "image", "path": str(image)}]},
    ]
    (tmp_path / "talk.json").write_text(json.dumps(messages))
    loaded = conversation.load(str(tmp_path / "talk.json"), processor.media)
    kinds = [[part["type"] for part in message["content"] if isinstance(part, dict)] for message in loaded]
    assert kinds == [[], ["video", "audio"], ["text", "image"]]


def chat_file(folder: Path, *sources: str) -> str:
    """A conversation in a folder of its own that names these pictures."""
    content = [{"type": "image", "path": source} for source in sources]
    (folder / "chat").mkdir(exist_ok=True)
    (folder / "chat" / "talk.json").write_text(json.dumps([{"role": "user", "content": content}]))
    return str(folder / "chat" / "talk.json")


def picture(path: Path) -> str:
    Image.new("RGB", (96, 96), (30, 90, 220)).save(path, "PNG")
    return str(path)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is opened, in place of opening it."""
    names: list[str] = []

    def attach(kind: str, source: str, _: Any) -> list[dict[str, Any]]:
        names.append(source)
        return [{"type": kind, kind: source, "path": source}]

    monkeypatch.setattr(conversation, "attach", attach)
    return names


def test_what_is_outside_of_the_conversations_folder_is_asked_for_before_anything_is_opened(
    processor: Processor, tmp_path: Path, opened: list[str]
) -> None:
    (tmp_path / "chat").mkdir()
    (tmp_path / "chat" / "link.png").symlink_to("/etc/passwd")
    (tmp_path / "chatter").mkdir()
    inside = [str(tmp_path / "chat" / "a.png"), str(tmp_path / "chat" / "deep" / "a.png"), "data:image/png;base64,AA"]
    outside = [
        "/etc/passwd",
        str(tmp_path / "chat" / ".." / "a.png"),
        str(tmp_path / "chat" / "link.png"),
        str(tmp_path / "chatter" / "a.png"),
        str(tmp_path / "chat"),
        "~/a.png",
        "a.png",
        "http://127.0.0.1:9/a.png",
        "HTTPS://evil.example/a.png",
        "file:///etc/passwd",
        "ftp://evil.example/a",
        "a\0b",
    ]
    path, asked = chat_file(tmp_path, *inside, *outside, outside[0]), []

    def allow(sources: Sequence[str]) -> bool:
        asked.append(list(sources))
        return len(asked) > 1

    for _ in range(2):
        with suppress(GemmaError):
            conversation.load(path, processor.media, allow)
        assert (len(opened) > 0) is (len(asked) > 1)
    assert asked == [outside] * 2
    assert opened == [*inside, *outside, outside[0]]
    with pytest.raises(GemmaError, match=r"talk.json: not loaded, as it opens /etc/passwd and 11 more outside of its"):
        conversation.load(path, processor.media)


def test_a_conversation_with_its_own_pictures_is_not_asked_about(processor: Processor, tmp_path: Path) -> None:
    chat_file(tmp_path)
    path = chat_file(tmp_path, picture(tmp_path / "chat" / "a.png"))
    (tmp_path / "link.json").symlink_to(path)
    for name in (path, str(tmp_path / "link.json")):
        assert [part["type"] for part in conversation.load(name, processor.media)[0]["content"]] == ["image"]


def test_what_is_no_file_is_refused_at_once(processor: Processor, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    for path, line in ((str(tmp_path / "pipe"), "a device or a pipe"), ("/dev/zero", "a device or a pipe"),
                       (str(tmp_path), "is a folder"), (str(tmp_path / "deep.json"), "is not JSON")):  # fmt: skip
        with pytest.raises(GemmaError, match=line):
            conversation.load(path, processor.media)


def test_a_saved_conversation_is_for_its_owner_alone(tmp_path: Path) -> None:
    message = [{"role": "user", "content": "Hello"}]
    conversation.save(message, str(tmp_path / "talk.json"))
    assert (tmp_path / "talk.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "talk.json").chmod(0o640)
    conversation.save(message, str(tmp_path / "talk.json"))
    assert (tmp_path / "talk.json").stat().st_mode & 0o777 == 0o640


def test_a_file_that_is_too_large_is_not_read(
    processor: Processor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "MOST_BYTES", 3_000_000)
    (tmp_path / "talk.json").write_text(" " * 3_000_001)
    with pytest.raises(GemmaError, match=r"talk\.json: is larger than the 3 MB that a conversation may have"):
        conversation.load(str(tmp_path / "talk.json"), processor.media)
