"""The library's front door, on a tiny checkpoint."""

import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_unflatten
from PIL import Image

import gemma4_mlx
import gemma4_mlx.api
from benchmarks.random_checkpoint import tiny_config, write_checkpoint
from gemma4_mlx.engine.generation import Response, memory_need
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.errors import DoesNotFitError, GemmaError, UsageError
from gemma4_mlx.media.audio import load_audio
from gemma4_mlx.model.rotary import frequencies
from gemma4_mlx.prompt.calls import MalformedCall
from gemma4_mlx.prompt.prompt import Prompt

ROOT = Path(__file__).resolve().parent.parent
SQUARE = Image.new("RGB", (48, 48), "blue")
PHOTO = ROOT / "examples" / "photo.png"


@pytest.fixture(scope="module")
def both(tiny_folder: Path) -> tuple:
    return gemma4_mlx.load(tiny_folder)


def test_public_names_resolve() -> None:
    assert all(getattr(gemma4_mlx, name) for name in gemma4_mlx.__all__)
    with pytest.raises(AttributeError):
        gemma4_mlx.nothing  # noqa: B018


def test_another_thread_may_generate_with_what_this_one_loaded(tiny_folder: Path) -> None:
    model, processor = gemma4_mlx.load(tiny_folder)
    frequencies.cache_clear()
    options: dict[str, Any] = {"max_tokens": 5, "temperature": 0, "eos_ids": ()}
    with ThreadPoolExecutor(1) as thread:
        there = thread.submit(gemma4_mlx.generate, model, processor, "Hello", **options).result()
    assert there == gemma4_mlx.generate(model, processor, "Hello", **options)


def test_stream_counts_times_and_ends(both: tuple) -> None:
    pieces = list(gemma4_mlx.stream_generate(*both, "Hello", max_tokens=5, temperature=0, eos_ids=()))
    assert [piece.generation_tokens for piece in pieces] == [1, 2, 3, 4, 5, 5]
    assert [piece.finish_reason for piece in pieces] == [None] * 5 + ["length"]
    last = pieces[-1]
    assert last.prompt_tokens == len(both[1].prompt([{"role": "user", "content": "Hello"}]).ids)
    assert min(last.prompt_tps, last.generation_tps, last.peak_memory) > 0
    answer = gemma4_mlx.generate(*both, "Hello", max_tokens=5, temperature=0, eos_ids=())
    assert answer == "".join(piece.text for piece in pieces)


def test_an_end_token_stops(both: tuple) -> None:
    free = list(gemma4_mlx.stream_generate(*both, "Hello", max_tokens=6, temperature=0, eos_ids=()))
    third = free[2].token
    first = next(index for index, piece in enumerate(free) if piece.token == third)
    ended = list(gemma4_mlx.stream_generate(*both, "Hello", max_tokens=6, temperature=0, eos_ids=(third,)))
    assert ended[-1].finish_reason == "stop"
    assert ended[-1].generation_tokens == first + 1
    assert "".join(piece.text for piece in ended) == "".join(piece.text for piece in free[:first])


def test_a_stop_string_stops(both: tuple) -> None:
    free = gemma4_mlx.generate(*both, "Hello", max_tokens=12, temperature=0, eos_ids=())
    stop = free[4:6]
    pieces = list(gemma4_mlx.stream_generate(*both, "Hello", max_tokens=12, temperature=0, eos_ids=(), stop=[stop]))
    assert "".join(piece.text for piece in pieces) == free[: free.find(stop)]
    assert pieces[-1].finish_reason == "stop"


def test_one_stop_string_needs_no_list(both: tuple) -> None:
    free = gemma4_mlx.generate(*both, "Hello", max_tokens=12, temperature=0, eos_ids=())
    answer = gemma4_mlx.generate(*both, "Hello", max_tokens=12, temperature=0, eos_ids=(), stop=free[4:6])
    assert answer == free[: free.find(free[4:6])]
    with_other_letters = free[4] + "\ue001"
    assert (
        gemma4_mlx.generate(*both, "Hello", max_tokens=12, temperature=0, eos_ids=(), stop=with_other_letters) == free
    )


def test_a_call_is_no_answer() -> None:
    weather = {"name": "get_weather", "parameters": {"properties": {"city": {"type": "string"}}, "required": ["city"]}}
    with pytest.raises(GemmaError) as error:
        gemma4_mlx.generate(*gemma4_mlx.load("nano"), "What is the weather in Rome?", tools=[weather], temperature=0)
    assert str(error.value) == (
        "the model calls the tool get_weather, and generate gives text only; "
        "run_agent runs tools, stream_generate gives the calls"
    )


def test_a_thought_that_leaves_no_room_for_an_answer_is_said() -> None:
    nano = gemma4_mlx.load("nano")
    with pytest.raises(GemmaError) as error:
        gemma4_mlx.generate(*nano, "What is 2+3?", enable_thinking=True, max_tokens=3, temperature=0)
    assert str(error.value) == (
        "the thought took all 3 tokens and no answer began: "
        "raise max_tokens, or end the thought earlier with thinking_budget"
    )
    assert gemma4_mlx.generate(*nano, "What is 2+3?", enable_thinking=True, temperature=0) == "5"


def responses(*pieces: dict[str, Any]) -> Any:
    """What replies with these pieces, whatever it is asked."""
    figures = {"token": 1, "prompt_tokens": 1, "prompt_tps": 1.0, "generation_tps": 1.0, "peak_memory": 1}
    said = [Response(**figures, generation_tokens=at, **piece) for at, piece in enumerate(pieces, start=1)]
    return lambda *args, **options: iter(said)


def test_what_is_no_call_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = MalformedCall("call:f{a:}", "a value should stand where '}' is", "f")
    monkeypatch.setattr(
        gemma4_mlx.api, "stream_generate", responses({"channel": "tool", "text": "", "malformed": wrong})
    )
    with pytest.raises(GemmaError) as error:
        gemma4_mlx.generate(None, None, "?")  # type: ignore[arg-type]
    assert str(error.value) == (
        "the model's tool call is malformed: a value should stand where '}' is; ask again. It wrote 'call:f{a:}'"
    )


def test_a_reply_without_an_answer_is_noted(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    pieces = {"channel": "thought", "text": "Hm."}, {"channel": "answer", "text": "", "finish_reason": "stop"}
    monkeypatch.setattr(gemma4_mlx.api, "stream_generate", responses(*pieces))
    assert gemma4_mlx.generate(None, None, "?") == ""  # type: ignore[arg-type]
    assert caplog.messages == ["the reply ended after its thought, without an answer"]


def test_half_a_character_is_no_text(both: tuple) -> None:
    with pytest.raises(GemmaError, match=r"a text has half a character in it: '.*caf\\udce9'"):
        gemma4_mlx.generate(*both, "caf\udce9", max_tokens=2)


def test_suppressed_tokens_never_come(both: tuple) -> None:
    first = next(gemma4_mlx.stream_generate(*both, "Hello", temperature=0)).token
    pieces = gemma4_mlx.stream_generate(*both, "Hello", temperature=0, suppress_tokens=(first,), max_tokens=20)
    assert first not in {piece.token for piece in pieces}


def test_question_with_media_and_messages_are_the_same(both: tuple) -> None:
    messages = [{"role": "user", "content": [{"type": "image", "image": SQUARE}, {"type": "text", "text": "?"}]}]
    options = {"max_tokens": 4, "temperature": 0}
    assert gemma4_mlx.generate(*both, messages, **options) == gemma4_mlx.generate(
        *both, "?", images=[SQUARE], **options
    )
    with pytest.raises(UsageError, match="put them into the messages"):
        gemma4_mlx.generate(*both, messages, images=[SQUARE])


def test_reply_is_limited_by_the_context(tmp_path: Path) -> None:
    both = gemma4_mlx.load(write_checkpoint(tmp_path / "short", tiny_config(max_position_embeddings=300)))
    ids = both[1].prompt([{"role": "user", "content": "x"}]).ids
    pieces = list(
        gemma4_mlx.stream_generate(*both, "x" * (300 - len(ids) - 2), max_tokens=50, temperature=0, eos_ids=())
    )
    assert pieces[-1].prompt_tokens + pieces[-1].generation_tokens == 300


def test_reply_is_limited_by_max_kv_size(both: tuple) -> None:
    pieces = list(gemma4_mlx.stream_generate(*both, "Hello", max_kv_size=30, temperature=0, eos_ids=()))
    assert pieces[-1].prompt_tokens + pieces[-1].generation_tokens == 30
    assert pieces[-1].finish_reason == "length"


def write_adapters(tiny_folder: Path, folder: Path) -> tuple[Any, dict[str, mx.array]]:
    """Random LoRA adapters for a few layers; returns the model that they are attached to, and their weights."""
    from mlx_lm.tuner.utils import linear_to_lora_layers

    model, _ = gemma4_mlx.load(tiny_folder, lazy=True)
    parameters = {"rank": 4, "scale": 10.0, "dropout": 0.0, "keys": ["self_attn.q_proj", "self_attn.o_proj"]}
    model.freeze()
    linear_to_lora_layers(model, 4, parameters)
    weights = {
        name: mx.random.normal(value.shape, key=mx.random.key(len(name)))
        for name, value in tree_flatten(model.trainable_parameters())
    }
    mx.save_safetensors(str(folder / "adapters.safetensors"), weights)
    config = {"fine_tune_type": "lora", "num_layers": 4, "lora_parameters": parameters}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return model, weights


def test_adapters_change_the_answer(tiny_folder: Path, tmp_path: Path) -> None:
    model, weights = write_adapters(tiny_folder, tmp_path)

    def logits(adapter: Path | None) -> np.ndarray:
        loaded, _ = gemma4_mlx.load(tiny_folder, adapter_path=adapter)
        return np.array(loaded.logits(loaded(loaded.embed([2, 300, 301]))))

    model.load_weights(list(weights.items()), strict=False)
    fused = [(name, module.fuse()) for name, module in model.named_modules() if hasattr(module, "fuse")]
    model.update_modules(tree_unflatten(fused))
    model.prepare()
    np.testing.assert_allclose(logits(tmp_path), np.array(model.logits(model(model.embed([2, 300, 301])))), atol=1e-5)
    assert np.abs(logits(tmp_path) - logits(None)).max() > 0.1
    with pytest.raises(GemmaError, match=r"adapter_config.json and adapters.safetensors are expected there"):
        gemma4_mlx.load(tiny_folder, adapter_path=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("lazy", "memory_limit", "at_once"),
    [
        (False, "16GB", True),
        (False, "80MB", True),
        (True, "16GB", False),
        (True, "1MB", False),
        ("auto", "16GB", True),
        ("auto", "80MB", False),
    ],
)
def test_weights_wait_for_the_prompt_where_one_could_be_too_much(
    tiny_folder: Path, lazy: Any, memory_limit: str, at_once: bool
) -> None:
    model, _ = gemma4_mlx.load(tiny_folder, lazy=lazy, memory_limit=memory_limit)
    names = {name for name, _ in tree_flatten(model.parameters())}
    assert any("qkv_proj" in name for name in names) is at_once


@pytest.mark.parametrize("lazy", [False, "auto"])
@pytest.mark.parametrize("adapted", [False, True])
def test_weights_without_room_are_refused_before_they_are_read(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lazy: Any, adapted: bool
) -> None:
    if adapted:
        write_adapters(tiny_folder, tmp_path)
    monkeypatch.setattr("gemma4_mlx.model.unified.Gemma4Unified.prepare", lambda _: pytest.fail("weights were read"))
    words = r"the weights take 3\.\d MB, with 1000 tokens of prompt and reply \d+\.\d MB, and 0\.6 MB may "
    with pytest.raises(DoesNotFitError, match=words) as refused:
        gemma4_mlx.load(tiny_folder, lazy=lazy, memory_limit="1MB", adapter_path=tmp_path if adapted else None)
    assert "raise memory_limit" in str(refused.value)
    assert "--" not in str(refused.value)
    assert refused.value.exit_code == 3


def test_a_small_machine_refuses_without_being_asked(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mx, "device_info", lambda: {"max_recommended_working_set_size": 3_000_000})
    with pytest.raises(DoesNotFitError, match=r"and 2\.9 MB may be used"):
        gemma4_mlx.load(tiny_folder)


def test_adapters_and_a_drafter_count_as_weights(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_adapters(tiny_folder, tmp_path)
    plain, adapted = (
        memory_need(gemma4_mlx.load(tiny_folder, lazy=True, adapter_path=path)[0], Prompt([1]), GenerationOptions())
        for path in (None, tmp_path)
    )
    stored = (tmp_path / "adapters.safetensors").stat().st_size
    assert adapted.weights - plain.weights == pytest.approx(stored, rel=0.1)
    model, processor = gemma4_mlx.load("nano", lazy=True)
    drafter = gemma4_mlx.load_drafter("nano")
    monkeypatch.setattr(type(drafter), "prepare", lambda *_: pytest.fail("weights were read"))
    need = memory_need(model, Prompt([300] * 20), GenerationOptions())
    most = (need.plan(1044, None).total + 500_000) / 0.95 / (10.9e9 / (16 * 2**30)) / 2**20
    with pytest.raises(DoesNotFitError, match="1044 tokens need"):
        gemma4_mlx.generate(
            model, processor, Prompt([300] * 20), drafter=drafter, kv_bits="none", memory_limit=f"{most}MB"
        )


FORKED = """
import os, sys
from gemma4_mlx import api
model, processor = api.load("nano")
api.generate(model, processor, "Hello", max_tokens=3)
child = os.fork()
if not child:
    for ask in (lambda: api.load("nano"), lambda: api.generate(model, processor, "Hello", max_tokens=3)):
        try:
            ask()
        except Exception as error:
            print(type(error).__name__, error, flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(api.generate(model, processor, "Hello", max_tokens=3) != "")
"""


def test_a_fork_says_that_it_can_not_use_mlx() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED], check=False, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    line = 'GemmaError a fork of a process that has used MLX can\'t use it: start processes with multiprocessing.get_context("spawn"), or fork before the model is loaded\n'  # noqa: E501
    assert done.stdout == f"{line}{line}True\n"


@pytest.mark.parametrize(
    "media",
    [
        {"images": str(PHOTO)},
        {"images": PHOTO},
        {"images": PHOTO.read_bytes()},
        {"images": SQUARE},
        {"audio": (np.zeros(16_000, np.float32), 16_000)},
        {"audio": (mx.zeros(16_000), 16_000)},
        {"audio": (16_000, np.zeros((2, 16_000), np.int16))},
        {"audio": [np.zeros(16_000), 16_000]},
        {"audio": {"array": np.zeros(16_000), "sampling_rate": 16_000}},
        {"audio": load_audio((np.zeros(16_000), 16_000))},
        {"images": mx.zeros((48, 48, 3), mx.uint8)},
        {"images": io.BytesIO(PHOTO.read_bytes())},
        {"videos": (np.zeros((3, 48, 48, 3), np.uint8), 1)},
        {"videos": ([SQUARE, SQUARE], 1)},
    ],
)
def test_a_single_file_needs_no_list(both: tuple[Any, Any], media: dict[str, Any]) -> None:
    several = {kind: [file] for kind, file in media.items()}
    options: dict[str, Any] = {"max_tokens": 3, "temperature": 0, "eos_ids": ()}
    alone = gemma4_mlx.generate(*both, "?", **media, **options)
    assert alone == gemma4_mlx.generate(*both, "?", **several, **options)


@pytest.mark.parametrize("question", ["", " \n\t"])
def test_an_empty_question_is_an_error(question: str, both: tuple) -> None:
    line = "the question is empty, and there is no image, audio or video: ask something"
    for ask in (gemma4_mlx.generate, gemma4_mlx.stream_generate):
        with pytest.raises(UsageError, match=line):
            ask(*both, question, max_tokens=1)
    picture = np.zeros((8, 8, 3), np.uint8)
    assert next(gemma4_mlx.stream_generate(*both, question, images=picture, max_tokens=1)).generation_tokens == 1


@pytest.mark.parametrize(
    ("prompt", "options", "line"),
    [
        ("Hi", {"temperature": "0.5"}, "temperature must be from 0 to 100, not the text '0.5'"),
        ("Hi", {"max_tokens": 1.5}, "max_tokens must be a whole number from 1 up, not 1.5"),
        (
            {"role": "user", "content": "Hi"},
            {},
            "messages must be a list with at least one {'role': ..., 'content': ...}",
        ),
        (["Hi"], {}, "message 1: {'role': ..., 'content': ...} is expected, not 'Hi'"),
        (
            "Hi",
            {"system": "x"},
            'there is no argument system; did you mean messages that begin with {"role": "system", ...}?',
        ),
    ],
)
def test_common_slips_are_told_what_is_meant(both: tuple, prompt: Any, options: dict[str, Any], line: str) -> None:
    with pytest.raises(GemmaError) as error:
        gemma4_mlx.generate(*both, prompt, **options)
    assert str(error.value) == line
