"""Weights, adapters, prompts and arguments that would be read outside of arrays, or answered with nonsense.

A file of its own, as the same check-up goes through checkpoints, adapters, hand-made prompts and arguments.
"""

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from test_decode_step import adapters

from gemma4_mlx import api
from gemma4_mlx.checkpoint import convert as conversion
from gemma4_mlx.checkpoint.convert import ConvertOptions, convert
from gemma4_mlx.checkpoint.load import open_model
from gemma4_mlx.checkpoint.quantize import Quantization
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.engine.sampling import Sampler
from gemma4_mlx.engine.session import Session
from gemma4_mlx.errors import GemmaError, UsageError
from gemma4_mlx.media.images import Patches
from gemma4_mlx.prompt.processor import MediaOptions, Processor
from gemma4_mlx.prompt.prompt import Prompt, Span

LAYER = "model.language_model.layers.0."
Loaded = tuple[Any, Processor]


@pytest.fixture(scope="module")
def nano() -> Loaded:
    return api.load("nano")


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "copy"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(folder: Path, change: Callable[[str, mx.array], mx.array]) -> None:
    path = folder / "model.safetensors"
    tensors = {name: change(name, tensor) for name, tensor in mx.load(str(path)).items()}
    mx.eval(tensors)
    mx.save_safetensors(str(path), tensors)


def ask(loaded: Loaded, prompt: Any = "Hello", **options: Any) -> str:
    return api.generate(*loaded, prompt, max_tokens=2, **options)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
@pytest.mark.parametrize("name", ["norm.weight", "embed_tokens.weight", "mlp.down_proj.weight"])
def test_weights_that_give_no_answer(name: str, value: float, folder: Path) -> None:
    if name == "mlp.down_proj.weight" and value == 0:
        pytest.skip("a model without its MLPs still computes")
    change_weights(folder, lambda own, tensor: mx.full(tensor.shape, value, tensor.dtype) if name in own else tensor)
    with pytest.raises(GemmaError, match="the model's logits are not finite numbers, or all alike"):
        ask(api.load(folder))


@pytest.mark.parametrize("options", [{}, {"quantization": Quantization.choose(group_size=32)}, {"dtype": "float16"}])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e6])
def test_convert_names_the_tensor_that_is_no_number(
    value: float, options: dict[str, Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "CHECKED_AT_ONCE", 100)

    def change(name: str, tensor: mx.array) -> mx.array:
        if name == f"{LAYER}mlp.up_proj.weight":
            tensor[3, 5] = value
        return tensor

    change_weights(folder, change)
    if value == -1e6 and "dtype" not in options:  # only float16 has no such number
        convert(folder, tmp_path / "out", ConvertOptions(**options))
        return
    with pytest.raises(GemmaError, match=r"layers\.0\.mlp\.up_proj\.weight has numbers that are not finite in"):
        convert(folder, tmp_path / "out", ConvertOptions(**options))
    assert not (tmp_path / "out").exists()


def link_out(name: str) -> Callable[[Path, Path], Any]:
    def apply(folder: Path, private: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(private)

    return apply


def link_templates(folder: Path, private: Path) -> None:
    (private.parent / "notes").mkdir()
    (private.parent / "notes" / "diary.jinja").write_text("mine")
    (folder / "additional_chat_templates").symlink_to(private.parent / "notes")


OUTSIDE: dict[str, Callable[[Path, Path], Any]] = {
    **{name: link_out(name) for name in ("chat_template.json", "tokenizer.model", "special_tokens_map.json")},
    "relative": lambda folder, private: (folder / "chat_template.json").symlink_to(f"../{private.name}"),
    "of links": lambda folder, private: [
        (folder / "inner").symlink_to(private),
        (folder / "chat_template.json").symlink_to("inner"),
    ],
    "folder": link_templates,
    "weights": lambda folder, private: [
        shutil.move(folder / "model.safetensors", private.parent / "w"),
        (folder / "model.safetensors").symlink_to(private.parent / "w"),
    ],
    "configuration": lambda folder, private: [
        shutil.move(folder / "config.json", private.parent / "c"),
        (folder / "config.json").symlink_to(private.parent / "c"),
    ],
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_convert_follows_no_link_out_of_the_folder(name: str, folder: Path, tmp_path: Path) -> None:
    private = tmp_path / "id_rsa"
    private.write_text('{"secret": 1}')
    OUTSIDE[name](folder, private)
    with pytest.raises(GemmaError, match="leads out of the folder, and may not be meant to be published"):
        convert(folder, tmp_path / "out", ConvertOptions())
    assert not (tmp_path / "out").exists()


def test_convert_reads_the_hubs_cache(folder: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        shutil.copy(path, blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    convert(snapshot, tmp_path / "out", ConvertOptions())
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())
    (snapshot / "tokenizer.model").symlink_to("../../../secret")
    (tmp_path / "secret").write_text("mine")
    with pytest.raises(GemmaError, match=r"tokenizer\.model leads out of the folder"):
        convert(snapshot, tmp_path / "other", ConvertOptions())


def test_what_goes_along_has_a_size_and_is_a_file(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.model").touch()
    os.truncate(folder / "tokenizer.model", 10**9)
    with pytest.raises(GemmaError, match=r"tokenizer\.model: can't be copied \(more than the 64 MB"):
        convert(folder, tmp_path / "out", ConvertOptions())
    (folder / "tokenizer.model").unlink()
    os.mkfifo(folder / "special_tokens_map.json")
    with pytest.raises(GemmaError, match=r"special_tokens_map\.json: can't be copied \(a device or a pipe"):
        convert(folder, tmp_path / "out", ConvertOptions())
    (folder / "special_tokens_map.json").unlink()
    (folder / "additional_chat_templates").mkdir()
    for number in range(65):
        (folder / "additional_chat_templates" / f"{number}.jinja").touch()
    with pytest.raises(GemmaError, match="65 files in additional_chat_templates; at most 64 are accepted"):
        convert(folder, tmp_path / "out", ConvertOptions())


def change_adapters(change: Callable[[dict[str, mx.array]], Any]) -> Callable[[Path], Any]:
    def apply(folder: Path) -> None:
        tensors = dict(mx.load(str(folder / "adapters.safetensors")))
        mx.eval(tensors)
        change(tensors)
        mx.save_safetensors(str(folder / "adapters.safetensors"), tensors)

    return apply


def scale(value: Any) -> Callable[[Path], Any]:
    def apply(folder: Path) -> None:
        path = folder / "adapter_config.json"
        parameters = json.loads(path.read_text())["lora_parameters"] | {"scale": value}
        edit(path, lora_parameters=parameters)

    return apply


def only_first(tensors: dict[str, mx.array]) -> None:
    for name in sorted(tensors)[1:]:
        del tensors[name]


ADAPTERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "one of many": (change_adapters(only_first), r"adapters\.safetensors: the adapters do not fit .* \(missing: "),
    "one too few": (
        change_adapters(lambda tensors: tensors.pop(sorted(tensors)[0])),
        r"adapter_config\.json \(missing",
    ),
    "none": (change_adapters(lambda tensors: tensors.clear()), "adapters"),
    "whole numbers": (
        change_adapters(lambda tensors: tensors.update({n: t.astype(mx.int32) for n, t in tensors.items()})),
        "no numbers: ",
    ),
    "no number as a scale": (scale(float("nan")), "scale must be a number up to 10000, not nan"),
    "a large scale": (scale(1e30), r"scale must be a number up to 10000, not 1e\+30"),
    "a text as a scale": (scale("2"), "scale must be a number up to 10000, not '2'"),
    "not a list": (lambda folder: (folder / "adapter_config.json").write_text("3"), "a JSON object is expected"),
    "a long header": (
        lambda folder: (folder / "adapters.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}" * 99),
        r"not a whole safetensors file \(no header\)",
    ),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_that_do_not_fit(name: str, tiny_folder: Path, tmp_path: Path) -> None:
    given = adapters(tiny_folder, tmp_path / "adapters")
    open_model(tiny_folder, given)
    change, line = ADAPTERS[name]
    change(given)
    with pytest.raises(GemmaError, match=line) as error:
        open_model(tiny_folder, given)
    assert "\n" not in str(error.value)


def test_adapters_that_are_no_numbers(tiny_folder: Path, tmp_path: Path) -> None:
    given = adapters(tiny_folder, tmp_path / "adapters")
    change_adapters(lambda tensors: tensors.update({n: t * float("nan") for n, t in tensors.items()}))(given)
    with pytest.raises(GemmaError, match="the model's logits are not finite numbers"):
        ask(api.load(tiny_folder, adapter_path=given))


@pytest.mark.parametrize("count", [3, 200])
def test_a_header_of_many_tensors(count: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemma4_mlx.checkpoint.files.MOST_TENSORS", 100)
    extra = {f"extra.{number}": mx.zeros((1,)) for number in range(count)}
    mx.save_safetensors(str(folder / "model.safetensors"), extra)
    match = "unknown: extra" if count < 100 else r"\(200 tensors; at most 100 are accepted\)"
    with pytest.raises(GemmaError, match=match):
        open_model(folder)


@pytest.mark.parametrize("ids", [[2**31], [5000], [-1], [1280], [2**63], [1.5], ["1"], [True], "12", {3: 4}, 7])
@pytest.mark.parametrize("name", ["suppress_tokens", "eos_ids"])
def test_ids_that_the_model_does_not_have(name: str, ids: Any, nano: Loaded) -> None:
    with pytest.raises(UsageError, match=f"{name} must be "):
        ask(nano, **{name: ids})
    with pytest.raises(UsageError, match=f"{name} must be "):
        Sampler(GenerationOptions(**{name: ids}), 1280)


IMAGE = Patches(np.full((2, 6912), 200, np.uint8), np.array([[0, 0], [1, 0]], np.int32))
SOUND = np.full((2, 640), 0.25, np.float32)
PROMPT = Prompt((2, 17, 18, 18, 19, 20, 21, 21, 22), (Span("image", 2, IMAGE), Span("audio", 6, SOUND)), (0,))


def changed(patches: Patches = IMAGE, **changes: Any) -> Prompt:
    return replace(PROMPT, spans=(Span("image", 2, replace(patches, **changes)), PROMPT.spans[1]))


PROMPTS: dict[str, Prompt] = {
    "large id": replace(PROMPT, ids=(2, 5000)),
    "huge id": Prompt((2, 2**40)),
    "id below zero": Prompt((2, -1)),
    "half an id": Prompt((2, 1.5)),
    "ids of text": Prompt(("a", "b")),
    "ids that are a text": Prompt("abc"),
    "no ids": Prompt(()),
    "turn outside": replace(PROMPT, turns=(99,)),
    "turn below zero": replace(PROMPT, turns=(-3,)),
    "span outside": Prompt((2, 18), (Span("image", 1, IMAGE),)),
    "span below zero": Prompt((2, 18, 18), (Span("image", -2, IMAGE),)),
    "span on words": Prompt((2, 300, 301), (Span("image", 1, IMAGE),)),
    "spans that cross": Prompt((2, 18, 18, 18), (Span("image", 1, IMAGE), Span("image", 2, IMAGE))),
    "spans out of order": Prompt((2, 18, 18, 18, 18), (Span("image", 3, IMAGE), Span("image", 1, IMAGE))),
    "span of nothing": Prompt((2, 18, 18), (Span("film", 1, IMAGE),)),
    "sound on an image's place": Prompt((2, 18, 18), (Span("audio", 1, SOUND),)),
    "narrow patches": changed(pixels=np.zeros((2, 100), np.uint8)),
    "flat patches": changed(pixels=np.zeros(6912 * 2, np.uint8)),
    "patches that are no numbers": changed(pixels=np.full((2, 6912), np.nan, np.float32)),
    "position outside": changed(positions=np.array([[0, 0], [5000, 0]], np.int32)),
    "position below zero": changed(positions=np.array([[0, 0], [-1, 0]], np.int32)),
    "half a position": changed(positions=np.array([[0, 0], [0.5, 0]], np.float32)),
    "too few positions": changed(positions=np.array([[0, 0]], np.int32)),
    "sound that is no number": replace(PROMPT, spans=(PROMPT.spans[0], Span("audio", 6, SOUND * np.inf))),
    "wide sound": replace(PROMPT, spans=(PROMPT.spans[0], Span("audio", 6, np.zeros((2, 641), np.float32)))),
    "an image as sound": replace(PROMPT, spans=(PROMPT.spans[0], Span("audio", 6, IMAGE))),
    "words as sound": replace(PROMPT, spans=(PROMPT.spans[0], Span("audio", 6, np.array([["a"] * 640] * 2)))),
}


def test_a_prompt_made_by_hand_is_read(nano: Loaded) -> None:
    assert list(api.stream_generate(*nano, PROMPT, max_tokens=1))


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("with_session", [False, True])
def test_a_prompt_made_by_hand_that_is_wrong(name: str, with_session: bool, nano: Loaded) -> None:
    session = Session(nano[0]) if with_session else None
    with pytest.raises(GemmaError, match="the prompt"):
        list(api.stream_generate(*nano, PROMPTS[name], session=session, repetition_penalty=1.1, max_tokens=1))


OPTIONS: dict[str, tuple[Any, ...]] = {
    "max_tokens": (True, 1.5, "3", None.__class__, 0, -1, [1]),
    "temperature": ("1", True, float("nan"), float("inf"), [], -1),
    "top_k": (1.5, True, "4", -1),
    "top_p": ("1", True, 0, 2, float("nan")),
    "min_p": ("1", True, -1, float("nan")),
    "repetition_penalty": ("1", True, 0, float("inf")),
    "seed": (1.5, True, "4", -1, 2**64),
    "thinking_budget": (1.5, True, "4", -1),
    "stop": (5, [5], b"x", {"a": 1}, ["x"] * 20_000, ["x" * 10_000]),
    "max_kv_size": (1.5, True, "4", 1),
    "kv_bits": (8.0, True, "8", 5, [8]),
    "kv_group_size": (64.0, "64", 16, None.__class__),
    "memory_limit": (16, True, b"16GB", "lots"),
    "num_draft_tokens": (1.5, True, "4", 16, [1]),
    "prefill_step_size": (1.5, True, "4", 0),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in OPTIONS.items() for value in values])
def test_options_of_another_kind(name: str, value: Any, nano: Loaded) -> None:
    with pytest.raises(UsageError, match=name) as error:
        list(api.stream_generate(*nano, "Hello", **{name: value}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("image_tokens", value) for value in ("70", 0, 71, 70.0, True, None)),
        *(("frame_tokens", value) for value in ("70", 0, 71, 70.0)),
        *(("max_frames", value) for value in ("70", 0, 1.5, True)),
        *(("fps", value) for value in ("1", 0, -1, float("nan"), True)),
        *(("soundtrack", value) for value in (1, None, "yes")),
        ("limits", {}),
    ],
)
def test_media_options_of_another_kind(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"{name} must be "):
        MediaOptions(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("kv_bits", value) for value in (8.0, "8", True, 5)),
        *(("kv_group_size", value) for value in (64.0, "64", 16)),
        *(("longest", value) for value in (1.5, "4", -1)),
        *(("keep", value) for value in (1.5, "4", -1, 10**9)),
    ],
)
def test_sessions_of_another_kind(name: str, value: Any, nano: Loaded) -> None:
    with pytest.raises(UsageError, match=f"{name} must be "):
        Session(nano[0], **{name: value})
    with pytest.raises(UsageError, match="model must be "):
        Session(None)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda model, processor: api.load(5), "path_or_repo"),
        (lambda model, processor: api.load(None), "path_or_repo"),
        (lambda model, processor: api.load("nano", lazy="yes"), "lazy"),
        (lambda model, processor: api.load("nano", lazy=2), "lazy"),
        (lambda model, processor: api.load("nano", adapter_path=5), "adapter_path"),
        (lambda model, processor: api.load("nano", revision=5), "revision"),
        (lambda model, processor: api.load("nano", memory_limit=16), "memory_limit"),
        (lambda model, processor: api.plan("nano", context="4"), "context"),
        (lambda model, processor: api.plan("nano", context=1.5), "context"),
        (lambda model, processor: api.plan("nano", context=True), "context"),
        (lambda model, processor: api.plan("nano", memory_limit=16), "memory_limit"),
        (lambda model, processor: api.generate(None, processor, "x"), "model"),
        (lambda model, processor: api.generate(model, None, "x"), "processor"),
        (lambda model, processor: api.generate(model, processor, "x", images=5), "images"),
        (lambda model, processor: api.generate(model, processor, "x", media=5), "media"),
        (lambda model, processor: api.generate(model, processor, "x", session=5), "session"),
        (lambda model, processor: api.generate(model, processor, "x", drafter="nano"), "drafter"),
        (lambda model, processor: api.generate(model, processor, "x", prefill_response=5), "prefill_response"),
        (lambda model, processor: api.generate(model, processor, "x", enable_thinking="no"), "enable_thinking"),
        (lambda model, processor: api.generate(model, processor, "x", template_variables=5), "template_variables"),
    ],
)
def test_arguments_of_another_kind(call: Callable[[Any, Any], Any], name: str, nano: Loaded) -> None:
    with pytest.raises(UsageError, match=name):
        call(*nano)


@pytest.mark.parametrize(
    ("section", "changes", "line"),
    [
        (
            "image_processor",
            {"max_soft_tokens": 0},
            "max_soft_tokens of image_processor must be 70, 140, 280, 560 or 1120",
        ),
        ("image_processor", {"max_soft_tokens": -70}, "not -70"),
        ("video_processor", {"max_soft_tokens": 10**30}, "max_soft_tokens of video_processor must be a whole number"),
        ("video_processor", {"num_frames": 0}, "num_frames of video_processor must be from 1 to 10000, not 0"),
    ],
)
def test_media_settings_out_of_range(section: str, changes: dict[str, Any], line: str, folder: Path) -> None:
    edit(folder / "processor_config.json", **{section: changes})
    with pytest.raises(GemmaError, match=line) as error:
        api.load(folder)
    assert str(error.value).startswith("processor_config.json: ")


def test_ends_that_the_model_never_writes(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    edit(folder / "generation_config.json", eos_token_id=[1, 5000], suppress_tokens=[2**31])
    loaded = api.load(folder)
    assert "eos_token_id has [5000], which this model never writes: not used" in caplog.text
    ask(loaded)


def test_nobody_waits_for_the_tokenizer_if_the_model_can_not_be_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(Processor, "from_folder", lambda folder: go_on.wait(20))
    monkeypatch.setattr(api, "open_model", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        api.load(folder)
    assert not go_on.is_set()
    go_on.set()


@pytest.mark.parametrize("section", ["text_config", "vision_config"])
def test_sizes_that_make_no_model(section: str, folder: Path) -> None:
    name = {"text_config": "num_attention_heads", "vision_config": "patch_size"}[section]
    sizes = json.loads((folder / "config.json").read_text())[section] | {name: 2**24, "head_dim": 2**20}
    edit(folder / "config.json", **{section: sizes})
    with pytest.raises(GemmaError, match=r"config\.json: its sizes make no model"):
        api.load(folder)


@pytest.mark.parametrize("ids", [[5000], [-1]])
def test_ids_outside_of_the_embedding(ids: list[int], nano: Loaded) -> None:
    with pytest.raises(GemmaError, match="ids must be from 0 to 1279"):
        nano[0].embed(ids)
    with pytest.raises(UsageError, match="prompt_ids must be ids from 0 to 1279"):
        Sampler(GenerationOptions(repetition_penalty=1.1), 1280, [3, *ids])
