"""`python -m gemma4_mlx.generate` as people and scripts use it."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from media.media_files import video_bytes
from PIL import Image

from gemma4_mlx import api
from gemma4_mlx.commands.generate import main
from gemma4_mlx.engine.generation import Response
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.prompt.calls import MalformedCall

ROOT = Path(__file__).resolve().parent.parent
FOOTER = re.compile(
    r"={10}\nPrompt: \d+ tokens, [\d.]+ tokens-per-sec\nGeneration: \d+ tokens, [\d.]+ tokens-per-sec\n"
    r"Peak memory: [\d.]+ GB\n"
)


@pytest.fixture
def loaded(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The tiny checkpoint, loaded once for all commands of this file."""
    if not hasattr(loaded, "both"):
        loaded.both = api.load(tiny_folder)
    monkeypatch.setattr(api, "load", lambda *args, **options: loaded.both)
    return str(tiny_folder)


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    Image.new("RGB", (60, 40), "green").save(folder / "photo.png")
    soundfile.write(folder / "note.wav", np.zeros(8000), 16000)
    (folder / "film.mp4").write_bytes(video_bytes())
    return folder


def run(loaded: str, *options: str) -> int:
    return main(["--model", loaded, "--temp", "0", "-m", "8", *options])


def start(*options: str, **popen: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "gemma4_mlx.generate", *options],
        cwd=ROOT, stdout=popen.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE, text=True, **popen,
    )  # fmt: skip


def test_answer_on_stdout_and_figures_on_stderr(loaded: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(loaded, "--prompt", "Hello") == 0
    out, err = capsys.readouterr()
    assert out.endswith("\n")
    assert len(out) > 1
    cut_off = "note: the answer is cut off: --max-tokens 8 allows no more; raise --max-tokens\n"
    assert err.startswith(cut_off)
    assert FOOTER.fullmatch(err.removeprefix(cut_off))


def test_all_modalities_in_one_question(loaded: str, media: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {"--image": "photo.png", "--audio": "note.wav", "--video": "film.mp4"}
    options = [word for option, name in files.items() for word in (option, str(media / name))]
    assert run(loaded, "-p", "What?", *options, "--image-tokens", "70", "--max-frames", "2", "--json") == 0
    reply = json.loads(capsys.readouterr().out)
    assert reply["finish_reason"] in ("stop", "length")
    assert reply["generation_tokens"] <= 8
    assert reply["prompt_tokens"] > 60 + 13 + 2 * 50
    assert set(reply) == {
        "content", "reasoning", "finish_reason", "prompt_tokens", "reused_tokens", "prompt_tps", "generation_tokens",
        "generation_tps", "peak_memory",
    }  # fmt: skip


def test_chunked_and_whole_prompts_give_the_same_answer(
    loaded: str, media: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = []
    for size in ("5", "4096"):
        assert run(loaded, "-p", "A? " * 30, "--image", str(media / "photo.png"), "--prefill-step-size", size) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]


def test_seed_repeats_the_answer(loaded: str, capsys: pytest.CaptureFixture[str]) -> None:
    def said(seed: str) -> str:
        main(["--model", loaded, "-p", "Hello", "--seed", seed, "-m", "12"])
        return capsys.readouterr().out

    assert said("1") == said("1")
    assert said("1") != said("2")


def test_prompt_and_image_from_stdin(
    loaded: str, media: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def piped(data: bytes, *options: str) -> str:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert run(loaded, *options) == 0
        return capsys.readouterr().out

    photo = media / "photo.png"
    assert piped(b"Hello\n", "-p", "-") == piped(b"", "-p", "Hello")
    assert piped(photo.read_bytes(), "-p", "x", "--image", "-") == piped(b"", "-p", "x", "--image", str(photo))


def test_too_much_from_stdin_and_what_is_no_file(
    loaded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemma4_mlx.commands.question.MOST_INPUT", 2**20)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a" * (2**20 + 1))))
    assert run(loaded, "-p", "-") == 1
    assert capsys.readouterr().err.endswith(
        "error: standard input has more than 1 MB; no context holds so much: shorten it\n"
    )
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        assert run(loaded, "-p", "x", "--json-schema", str(path)) == 1
        assert "a device or a pipe; give an ordinary file" in capsys.readouterr().err


def respond(text: str, channel: Any, reason: Any = None, malformed: Any = None) -> Response:
    return Response(
        text=text, channel=channel, token=1, prompt_tokens=1, prompt_tps=1.0, generation_tokens=7,
        generation_tps=1.0, peak_memory=1, finish_reason=reason, malformed=malformed,
    )  # fmt: skip


def test_thought_never_reaches_stdout(loaded: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    said = [("hm", "thought"), ("so", "thought"), ("Yes", "answer"), (".", "answer", "stop")]
    replies = [respond(*piece) for piece in said]
    monkeypatch.setattr(api, "stream_generate", lambda *args, **options: iter(replies))
    assert run(loaded, "-p", "x") == 0
    out, err = capsys.readouterr()
    assert (out, err.startswith("hmso\n==========")) == ("Yes.\n", True)
    assert run(loaded, "-p", "x", "--hide-thinking") == 0
    assert "hm" not in capsys.readouterr().err
    assert run(loaded, "-p", "x", "--json") == 0
    reply = json.loads(capsys.readouterr().out)
    assert (reply["content"], reply["reasoning"]) == ("Yes.", "hmso")


def test_a_thought_that_leaves_no_room_for_an_answer_is_an_error(
    loaded: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    replies = [respond("hm", "thought"), respond("", "thought", "length")]
    monkeypatch.setattr(api, "stream_generate", lambda *args, **options: iter(replies))
    said = "the thought took all 7 tokens and no answer began: raise --max-tokens, "
    said += "or end the thought earlier with --thinking-budget"
    assert run(loaded, "-p", "x") == 1
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[0], err.splitlines()[-1]) == ("", "hm", f"error: {said}")
    assert run(loaded, "-p", "x", "--json") == 1
    reply = json.loads(capsys.readouterr().out)
    assert (reply["content"], reply["reasoning"], reply["finish_reason"], reply["error"]) == ("", "hm", "length", said)


def test_what_is_no_call_is_in_the_error_and_the_json(
    loaded: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    wrong = MalformedCall("call:f{a:}", "a value should stand where '}' is", "f")
    replies = [respond("Wait.", "answer"), respond("", "tool", "stop", wrong)]
    monkeypatch.setattr(api, "stream_generate", lambda *args, **options: iter(replies))
    said = "the model's tool call is malformed: a value should stand where '}' is; ask again. It wrote 'call:f{a:}'"
    assert run(loaded, "-p", "x") == 1
    out, err = capsys.readouterr()
    assert (out, err.splitlines()[-1]) == ("Wait.\n", f"error: {said}")
    assert run(loaded, "-p", "x", "--json") == 1
    reply = json.loads(capsys.readouterr().out)
    assert (reply["content"], reply["error"]) == ("Wait.", said)
    assert reply["tool_calls"] == [
        {"name": "f", "malformed": "call:f{a:}", "problem": "a value should stand where '}' is"}
    ]


GATED = """
import os, sys
from gemma4_mlx import api
from gemma4_mlx.commands.generate import main

def stream(*args, **options):
    for number, piece in enumerate(real(*args, **options)):
        yield piece
        if number == 19:
            os.read(int(sys.argv[1]), 1)

real, api.stream_generate = api.stream_generate, stream
sys.exit(main(sys.argv[2:]))
"""
"""After 20 pieces the command waits until its gate opens: a reply may not be over before its reader has acted."""


@pytest.fixture
def gated(tiny_folder: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A command that waits in the middle of its answer, and the gate to be closed."""
    held, gate = os.pipe()
    options = ["--model", str(tiny_folder), "-p", "Hello", "-m", "2000", "--seed", "3", "--top-p", "1"]
    command = [sys.executable, "-c", GATED, str(held), *options]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, pass_fds=[held]
    ) as process:
        os.close(held)
        yield process, gate
        process.kill()


def test_ctrl_c_keeps_what_was_said(gated: tuple["subprocess.Popen[bytes]", int]) -> None:
    """The signal arrives while the answer is written: after its first text, before the gate that is never opened."""
    process, gate = gated
    assert process.stdout is not None
    first = process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate()
    os.close(gate)
    note, line, footer = err.decode().partition("\n")
    assert note + line == "note: the answer is cut off by Ctrl-C\n"
    assert FOOTER.fullmatch(footer), err
    assert process.returncode == 130
    assert len(first) == 1
    assert rest.endswith(b"\n")


def test_a_pipe_that_is_closed_during_the_answer(gated: tuple["subprocess.Popen[bytes]", int]) -> None:
    process, gate = gated
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    os.close(gate)
    assert process.stderr.read() == b""
    assert process.wait() == 1


def test_a_full_disk(tiny_folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = start("--model", str(tiny_folder), "-p", "Hello", "-m", "20", "--seed", "3", stdout=full)
        assert (
            process.communicate()[1]
            == "error: the output can't be written (No space left on device); is the disk full?\n"
        )
        assert process.returncode == 1


@pytest.mark.parametrize(
    ("code", "most", "unwanted"),
    [
        ("import gemma4_mlx", 150, ("numpy", "mlx", "transformers", "mlx_lm")),
        ("import gemma4_mlx.commands.generate as g; g.make_parser()", 250, ("numpy", "mlx", "transformers", "mlx_lm")),
        ("import gemma4_mlx.api", 600, ("PIL", "av", "transformers", "mlx_lm", "huggingface_hub")),
    ],
)
def test_starts_light(code: str, most: float, unwanted: tuple[str, ...]) -> None:
    """Few modules, and none of the heavy ones."""
    script = f"{code}; import sys; print(sorted(set({unwanted!r}) & set(sys.modules)), len(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ}
    )
    heavy, count = done.stdout.rsplit(maxsplit=1)
    assert heavy == "[]"
    assert int(count) < most


def test_a_kept_prompt_is_not_read_again(loaded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = "The little boat left the harbour early. " * 20
    options = ["--system", document, "--prompt-cache-file", str(tmp_path / "talk"), "--kv-group-size", "32", "--json"]
    replies = []
    for question, bits in (("Why?", ["--kv-bits", "8"]), ("Why?", ["--kv-bits", "8"]), ("Where was it going?", [])):
        assert run(loaded, "-p", question, *options, *bits) == 0
        replies.append(json.loads(capsys.readouterr().out))
    assert replies[0]["content"] == replies[1]["content"]
    assert replies[0]["reused_tokens"] == 0
    assert replies[0]["prompt_tokens"] - replies[1]["reused_tokens"] < 15
    assert replies[2]["prompt_tokens"] - replies[2]["reused_tokens"] < 45
    assert os.listdir(tmp_path) == ["talk"]


def test_a_kept_prompt_of_other_settings_or_none_at_all_is_refused_and_stays(
    loaded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = ["-p", "Hi", "--prompt-cache-file", str(tmp_path / "talk")]
    assert run(loaded, *kept) == 0
    capsys.readouterr()
    assert run(loaded, *kept, "--kv-bits", "8") == 1
    assert "talk: its caches have --kv-bits none; ask for the same, or give another file" in capsys.readouterr().err
    (tmp_path / "talk").write_bytes(b"my thesis, the only copy")
    assert run(loaded, *kept) == 1
    assert "talk: no whole session file (no header)" in capsys.readouterr().err
    assert (tmp_path / "talk").read_bytes() == b"my thesis, the only copy"
    assert run(loaded, "-p", "Hi", "--prompt-cache-file", str(tmp_path / "nowhere" / "talk")) == 2
    assert "there is no such folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-m", "3"], "--max-tokens 3 allows no more; raise --max-tokens"),
        (["-m", "30", "--max-kv-size", "25"], "--max-kv-size 25 allows no more; raise --max-kv-size"),
        (["-m", "7", "--max-kv-size", "25"], "--max-kv-size 25 allows no more; raise --max-kv-size"),
        (["-m", "30", "--max-kv-size", "99999"], "--max-tokens 30 allows no more; raise --max-tokens"),
        (["-p", "x" * 8170], "the model's context of 8192 tokens allows no more; shorten the prompt"),
        (["-p", "x" * 8170, "--max-kv-size", "9000"], "the model's context of 8192 tokens allows no more; shorten"),
    ],
)
def test_a_cut_off_answer_says_by_what(
    loaded: str, options: list[str], reason: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    from gemma4_mlx.engine.generation import check_length

    def reply(model: Any, processor: Any, prompt: Any, **options: Any) -> Any:
        """As many tokens as there may be, none of them computed."""
        given = {name: value for name, value in options.items() if name in ("max_tokens", "max_kv_size")}
        total = check_length(model, prompt, GenerationOptions.from_config({}, **given))
        counts = {"prompt_tokens": len(prompt.ids), "generation_tokens": total - len(prompt.ids)}
        return iter([replace(respond("Yes", "answer", "length"), **counts)])

    monkeypatch.setattr(api, "stream_generate", reply)
    assert main(["--model", loaded, "-p", "Hello!!", *options]) == 0
    assert capsys.readouterr().err.startswith(f"note: the answer is cut off: {reason}")


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        ([], "note: stopped by Ctrl-C before an answer began\n"),
        ([("", "answer")], "note: stopped by Ctrl-C before an answer began\n"),
        ([("hm", "thought")], "hm\nnote: stopped by Ctrl-C before an answer began\n"),
        ([("Yes", "answer")], "note: the answer is cut off by Ctrl-C\n"),
    ],
)
def test_ctrl_c_says_how_far_the_answer_came(
    loaded: str, shown: list[Any], line: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    def reply(*args: Any, **options: Any) -> Any:
        yield from (respond(*piece) for piece in shown)
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "stream_generate", reply)
    assert run(loaded, "-p", "x") == 130
    assert capsys.readouterr().err.startswith(line)
    assert run(loaded, "-p", "x", "--json") == 130
    assert json.loads(capsys.readouterr().out)["finish_reason"] == "interrupted"


def test_how_good_a_drafter_guessed_is_told_to_whom_asks(
    loaded: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    last = replace(respond("Yes.", "answer", "stop"), drafted_tokens=8, accepted_tokens=2, tokens_per_pass=1.5)
    monkeypatch.setattr(api, "stream_generate", lambda *args, **options: iter([last]))
    line = "Drafting: 1.50 tokens a pass, 25% of the guesses accepted\n"
    for options, told in (((), False), (("--verbose",), True)):
        assert run(loaded, "-p", "x", *options) == 0
        assert (line in capsys.readouterr().err) is told


@pytest.mark.parametrize("first", [("es.", "answer"), ("hm", "thought"), ("", "answer", "stop")])
def test_the_given_beginning_is_part_of_the_answer(
    loaded: str, first: Any, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    replies = [respond(*first), respond(" And no.", "answer", "stop")]
    monkeypatch.setattr(api, "stream_generate", lambda *args, **options: iter(replies))
    whole = "Y" + (first[0] if first[1] == "answer" else "") + " And no."
    assert run(loaded, "-p", "x", "--prefill-response", "Y", "--json") == 0
    assert json.loads(capsys.readouterr().out)["content"] == whole
    assert run(loaded, "-p", "x", "--prefill-response", "Y", "--hide-thinking") == 0
    assert capsys.readouterr().out == f"{whole}\n"


def test_the_given_beginning_is_what_the_model_goes_on_from(loaded: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(loaded, "-p", "Hello", "--json") == 0
    content = json.loads(capsys.readouterr().out)["content"]
    assert len(content) > 4
    assert run(loaded, "-p", "Hello", "--json", "--prefill-response", content[:4], "-m", "4") == 0
    assert json.loads(capsys.readouterr().out)["content"].startswith(content[:4])


@pytest.mark.parametrize("name", ["folder", "/proc/talk", "/dev/null"])
def test_a_file_that_can_not_be_kept_is_refused_before_the_answer(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    options = ["--model", "/nowhere/at/all", "-p", "Hi", "--prompt-cache-file", str(tmp_path / name)]
    assert main(options) == 1
    assert re.fullmatch(r"error: \S+: can't be written \(.*\); choose another name or place\n", capsys.readouterr().err)


def test_a_prompt_that_the_disk_has_no_room_for_is_refused_before_the_answer(
    loaded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    assert run(loaded, "-p", "Hi", "--prompt-cache-file", str(tmp_path / "talk")) == 1
    out, err = capsys.readouterr()
    assert (out, "kB are needed there, and 1 kB are free" in err) == ("", True)
