"""Checkpoints as other tools write them: each kind loads, converts and answers as the plain one, or is refused.

A file of its own, as every kind goes through the whole way: configuration, weights, tokenizer, template, settings.
"""

import json
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

from benchmarks.random_checkpoint import tiny_config, write_checkpoint
from gemma4_mlx import api
from gemma4_mlx.checkpoint.convert import ConvertOptions, convert
from gemma4_mlx.checkpoint.hub import NANO_DRAFTER_FOLDER
from gemma4_mlx.checkpoint.load import open_drafter, open_model
from gemma4_mlx.checkpoint.quantize import Quantization
from gemma4_mlx.engine.generation import memory_need
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.images import Patches
from gemma4_mlx.model.cache import cache_arrays
from gemma4_mlx.prompt.prompt import Prompt

Change = Callable[[Path], Any]
PICTURE = Patches(np.full((2, 6912), 200, np.uint8), np.array([[0, 0], [1, 0]], np.int32))
SOUND = [np.full((3, 640), 0.25, np.float32)]
QUESTION = [
    {"role": "user", "content": [{"type": "image", "image": PICTURE}, {"type": "audio", "audio": SOUND}]},
    {"role": "assistant", "content": "Two."},
    {"role": "user", "content": "Why?"},
]
TOOLS = [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}]
BOM = b"\xef\xbb\xbf"


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def edit(name: str, change: Callable[[dict[str, Any]], Any]) -> Change:
    """Changes the object in a JSON file."""

    def apply(folder: Path) -> None:
        content = read(folder / name)
        change(content)
        write(folder / name, content)

    return apply


def settings(**changes: Any) -> Change:
    return edit("tokenizer_config.json", lambda config: config.update(changes))


def config(**changes: Any) -> Change:
    return edit("config.json", lambda config: config.update(changes))


def text_config(**changes: Any) -> Change:
    return edit("config.json", lambda config: config["text_config"].update(changes))


def generation(**changes: Any) -> Change:
    return edit("generation_config.json", lambda config: config.update(changes))


def processor_config(**changes: Any) -> Change:
    return edit("processor_config.json", lambda config: config.update(changes))


def without(name: str, *keys: str, section: str | None = None) -> Change:
    """Takes entries out of a JSON file."""

    def change(content: dict[str, Any]) -> None:
        for key in keys:
            del (content if section is None else content[section])[key]

    return edit(name, change)


def removed(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def all_of(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


def weights(change: Callable[[dict[str, mx.array]], dict[str, mx.array] | None]) -> Change:
    """Changes the tensors of a checkpoint in one file."""

    def apply(folder: Path) -> None:
        path = folder / "model.safetensors"
        tensors = dict(mx.load(str(path)))
        changed = change(tensors) or tensors
        mx.eval(changed)
        mx.save_safetensors(str(path), changed)
        (folder / "model.safetensors.index.json").unlink(missing_ok=True)

    return apply


def renamed(*pairs: tuple[str, str]) -> Change:
    """Changes beginnings of tensor names; the first pair that fits counts."""

    def own(name: str) -> str:
        return next((new + name.removeprefix(old) for old, new in pairs if name.startswith(old)), name)

    return weights(lambda tensors: {own(name): tensor for name, tensor in tensors.items()})


def dropped(*beginnings: str) -> Change:
    return weights(lambda tensors: {n: t for n, t in tensors.items() if not n.startswith(beginnings)})


def shards(folder: Path, *, index: bool = True, keep_whole: bool = False) -> None:
    """Divides the weights into three shards."""
    path = folder / "model.safetensors"
    tensors = dict(mx.load(str(path)))
    mx.eval(tensors)
    names = sorted(tensors)
    where = {}
    for number in range(3):
        shard = f"model-0000{number + 1}-of-00003.safetensors"
        mx.save_safetensors(str(folder / shard), {name: tensors[name] for name in names[number::3]})
        where |= dict.fromkeys(names[number::3], shard)
    if not keep_whole:
        path.unlink()
    (folder / "model.safetensors.index.json").unlink()
    if index:
        write(folder / "model.safetensors.index.json", {"metadata": {"total_size": 1}, "weight_map": where})


def template(folder: Path) -> str:
    return (folder / "chat_template.jinja").read_text()


def template_in(name: str, wrap: Callable[[str], Any], *, keep: bool = False) -> Change:
    """Moves the template into an entry of a JSON file."""

    def apply(folder: Path) -> None:
        content = read(folder / name) if (folder / name).exists() else {}
        write(folder / name, content | {"chat_template": wrap(template(folder))})
        if not keep:
            (folder / "chat_template.jinja").unlink()

    return apply


def in_template(change: Callable[[str], str]) -> Change:
    return lambda folder: (folder / "chat_template.jinja").write_text(change(template(folder)))


def beginning_with(text: str) -> Change:
    return in_template(lambda source: text + source)


def marked(*names: str) -> Change:
    return lambda folder: [(folder / name).write_bytes(BOM + (folder / name).read_bytes()) for name in names]


def utf16(*names: str) -> Change:
    return lambda folder: [(folder / name).write_text((folder / name).read_text(), "utf-16") for name in names]


def as_floats(value: Any) -> Any:
    """Every whole number as a float."""
    if isinstance(value, dict):
        return {key: as_floats(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [as_floats(entry) for entry in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def floats_in(name: str) -> Change:
    return lambda folder: write(folder / name, as_floats(read(folder / name)))


def map_scalars(change: Callable[[mx.array], mx.array]) -> Change:
    return weights(lambda tensors: {n: change(t) if n.endswith("scalar") else t for n, t in tensors.items()})


def spelled(old: str, new: str) -> Change:
    return edit("config.json", lambda config: config.update({new: config.pop(old)}))


def flat_config(folder: Path) -> None:
    """As the text model alone is written."""
    content = read(folder / "config.json")
    write(folder / "config.json", content["text_config"] | {"eos_token_id": 1, "tie_word_embeddings": True})


def per_layer(content: dict[str, Any]) -> None:
    text = content["text_config"]
    names = {"head_dim": "global_head_dim", "num_key_value_heads": "num_global_key_value_heads"}
    text["per_layer_config"] = {"1": {name: text.pop(old) for name, old in names.items()}}


def single_rope(content: dict[str, Any]) -> None:
    text = content["text_config"]
    del text["rope_parameters"]
    text |= {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_scaling": None}


def rope_scaling(content: dict[str, Any]) -> None:
    text = content["text_config"]
    text["rope_scaling"] = text.pop("rope_parameters")


def to_the_top(content: dict[str, Any]) -> None:
    content["max_position_embeddings"] = content["text_config"].pop("max_position_embeddings")
    content["pad_token_id"] = content["text_config"].pop("pad_token_id")


def cut_and_pad(content: dict[str, Any]) -> None:
    """What a trainer once used, as its tokenizer saves it."""
    content["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 64}, "direction": "Left", "pad_to_multiple_of": None}
    content["padding"] = padding | {"pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"}


def unmark(content: dict[str, Any]) -> None:
    for token in content["added_tokens"]:
        token["special"] = token["content"] in ("<unk>", "<mask>")


def take_out(content: dict[str, Any]) -> None:
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] == "<bos>"]


EMBEDDING = "model.language_model.embed_tokens.weight"
THIRD = "model-00003-of-00003.safetensors"
AUDIO = "model.embed_audio."
VISION = ("model.embed_vision.", "model.vision_embedder.")

SAME: dict[str, Change] = {
    "as it is": lambda folder: None,
    # the beginning of a prompt
    "bos object": settings(bos_token={"content": "<bos>", "lstrip": False, "special": True, "__type": "AddedToken"}),
    "bos null": settings(bos_token=None),
    "bos empty": settings(bos_token=""),
    "bos object of nothing": settings(bos_token={"content": None}),
    "bos absent": without("tokenizer_config.json", "bos_token"),
    "bos in the map": all_of(
        without("tokenizer_config.json", "bos_token"),
        lambda folder: write(folder / "special_tokens_map.json", {"bos_token": {"content": "<bos>"}}),
    ),
    "bos null, in the map": all_of(
        settings(bos_token=None),
        lambda folder: write(folder / "special_tokens_map.json", {"bos_token": "<bos>"}),
    ),
    "all objects": edit(
        "tokenizer_config.json",
        lambda config: config.update({k: {"content": v} for k, v in config.items() if k.endswith("_token")}),
    ),
    "no pad token": all_of(settings(pad_token=None), text_config(pad_token_id=None), generation(pad_token_id=None)),
    "pad -1": text_config(pad_token_id=-1),
    "pad absent": without("config.json", "pad_token_id", section="text_config"),
    "pad too large": text_config(pad_token_id=262144),
    "no tokenizer_config": removed("tokenizer_config.json"),
    "extra tokens": settings(extra_special_tokens={"image_token": "<|image|>"}, additional_special_tokens=["<|turn>"]),
    "cut and padded texts": edit("tokenizer.json", cut_and_pad),
    "control tokens unmarked": edit("tokenizer.json", unmark),
    "control tokens not added": edit("tokenizer.json", take_out),
    # templates
    "chat_template.json": template_in("chat_template.json", str),
    "processor_config.json": template_in("processor_config.json", str),
    "tokenizer_config.json": template_in("tokenizer_config.json", str),
    "named list": template_in("tokenizer_config.json", lambda t: [{"name": "default", "template": t}]),
    "named list with others": template_in(
        "tokenizer_config.json",
        lambda t: [
            {"name": "rag", "template": "no"},
            {"name": "default", "template": t},
            {"name": "tool_use", "template": t},
        ],
    ),
    "named object": template_in("processor_config.json", lambda t: {"default": t, "rag": "no"}),
    "named list in chat_template.json": template_in(
        "chat_template.json", lambda t: [{"name": "default", "template": t}]
    ),
    "null in chat_template.json": lambda folder: write(folder / "chat_template.json", {"chat_template": None}),
    "others empty": template_in("chat_template.json", lambda t: "", keep=True),
    "the same twice": template_in("tokenizer_config.json", str, keep=True),
    "processor before jinja": all_of(
        template_in("processor_config.json", str),
        lambda folder: (folder / "chat_template.jinja").write_text("{{ bos_token }}other"),
    ),
    "chat_template.json before jinja": all_of(
        template_in("chat_template.json", str),
        lambda folder: (folder / "chat_template.jinja").write_text("{{ bos_token }}other"),
    ),
    "jinja before tokenizer": template_in("tokenizer_config.json", lambda t: "{{ bos_token }}other", keep=True),
    "additional templates": lambda folder: [
        (folder / "additional_chat_templates").mkdir(),
        (folder / "additional_chat_templates" / "rag.jinja").write_text("{{ other"),
    ],
    "generation block": in_template(
        lambda t: t.replace("{{- bos_token -}}", "{%- generation -%}{{- bos_token -}}{%- endgeneration -%}")
    ),
    "strftime_now": beginning_with("{%- if strftime_now('%Y') | int < 2000 -%}x{%- endif -%}"),
    "tojson arguments": beginning_with(
        "{%- if ({'é': '<'} | tojson(ensure_ascii=true, indent=1, sort_keys=true)) "
        '!= \'{\\n "\\\\u00e9": "<"\\n}\' -%}x{%- endif -%}'
    ),
    "tojson as Python": beginning_with("{%- if ({'b': 'é<&\\''} | tojson) != '{\"b\": \"é<&\\'\"}' -%}x{%- endif -%}"),
    "tojson separators": beginning_with("{%- if ([1, 2] | tojson(separators=(',', ':'))) != '[1,2]' -%}x{%- endif -%}"),
    "break and continue": beginning_with(
        "{%- for n in range(9) -%}{%- if n == 1 -%}{%- continue -%}{%- endif -%}"
        "{%- if n == 2 -%}{%- break -%}{%- endif -%}{%- if n > 2 -%}x{%- endif -%}{%- endfor -%}"
    ),
    "raise_exception": beginning_with("{%- if messages | length == 99 -%}{{ raise_exception('no') }}{%- endif -%}"),
    "other tokens of a template": beginning_with(
        "{%- if eos_token != '<eos>' or image_token != '<|image|>' -%}x{%- endif -%}"
    ),
    "objects for a template": all_of(
        settings(eos_token={"content": "<eos>"}), beginning_with("{%- if eos_token != '<eos>' -%}x{%- endif -%}")
    ),
    "namespace": beginning_with("{%- set ns = namespace(n=0) -%}{%- set ns.n = 1 -%}"),
    # byte order marks
    **{
        f"BOM in {name}": marked(name)
        for name in (
            "config.json",
            "generation_config.json",
            "processor_config.json",
            "tokenizer_config.json",
            "tokenizer.json",
            "chat_template.jinja",
            "model.safetensors.index.json",
        )
    },
    "BOM in chat_template.json": all_of(template_in("chat_template.json", str), marked("chat_template.json")),
    "UTF-16": utf16("config.json", "generation_config.json", "chat_template.jinja", "tokenizer_config.json"),
    # numbers
    **{
        f"floats in {name}": floats_in(name)
        for name in ("config.json", "generation_config.json", "processor_config.json")
    },
    # the end of a reply
    "no generation_config": removed("generation_config.json"),
    "nulls in generation_config": edit("generation_config.json", lambda c: c.update(dict.fromkeys(c))),
    "empty generation_config": lambda folder: write(folder / "generation_config.json", {}),
    "end missing": without("generation_config.json", "eos_token_id"),
    "end one number": generation(eos_token_id=1),
    "end without the turn's": generation(eos_token_id=[1]),
    "end empty": generation(eos_token_id=[]),
    "end of floats": generation(eos_token_id=[1.0, 16.0]),
    "suppressed outside": edit(
        "generation_config.json", lambda content: content["suppress_tokens"].extend([-1, 262144])
    ),
    "end in text_config only": all_of(
        removed("generation_config.json"),
        edit("config.json", lambda config: config["text_config"].update(eos_token_id=config.pop("eos_token_id"))),
    ),
    "end nowhere": all_of(
        removed("generation_config.json"),
        without("config.json", "eos_token_id"),
        without("config.json", "eos_token_id", section="text_config"),
    ),
    # configurations
    "eoa_token_id": spelled("eoa_token_index", "eoa_token_id"),
    "eoi_token_index": spelled("eoi_token_id", "eoi_token_index"),
    "boi and boa index": all_of(spelled("boi_token_id", "boi_token_index"), spelled("boa_token_id", "boa_token_index")),
    "image_token_index": all_of(
        spelled("image_token_id", "image_token_index"), spelled("audio_token_id", "audio_token_index")
    ),
    "both spellings": edit("config.json", lambda config: config.update(eoa_token_id=config["eoa_token_index"])),
    "one spelling null": edit(
        "config.json", lambda config: config.update(eoa_token_id=config["eoa_token_index"], eoa_token_index=None)
    ),
    "media ids absent": without(
        "config.json",
        "eoa_token_index",
        "eoi_token_id",
        "boi_token_id",
        "boa_token_id",
        "image_token_id",
        "audio_token_id",
        "video_token_id",
    ),
    "media ids null": config(image_token_id=None, audio_token_id=None, eoa_token_index=None),
    "other architecture": config(architectures=["SomethingElse"]),
    "no architecture": without("config.json", "architectures"),
    "torch_dtype": config(torch_dtype="bfloat16", dtype=None),
    "unknown keys": all_of(
        config(new_key={"a": 1}), text_config(new_key=[1]), settings(new_key=1), generation(new_key=1)
    ),
    "per_layer_config": edit("config.json", per_layer),
    "single rope entries": edit("config.json", single_rope),
    "rope_scaling tables": edit("config.json", rope_scaling),
    "no rope at all": without("config.json", "rope_parameters", section="text_config"),
    "rope type": text_config(
        rope_parameters={
            "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1e6, "type": "proportional", "factor": 1.0},
            "sliding_attention": {"rope_theta": 10000, "type": "default"},
        }
    ),
    "no layer_types": without("config.json", "layer_types", section="text_config"),
    "sliding_window_pattern": all_of(
        without("config.json", "layer_types", section="text_config"), text_config(sliding_window_pattern=2)
    ),
    "no num_hidden_layers": without("config.json", "num_hidden_layers", section="text_config"),
    "fixed settings absent": without(
        "config.json",
        "attention_bias",
        "attention_k_eq_v",
        "hidden_activation",
        "hidden_size_per_layer_input",
        "num_kv_shared_layers",
        "tie_word_embeddings",
        "use_bidirectional_attention",
        "model_type",
        "rms_norm_eps",
        section="text_config",
    ),
    "fixed settings null": text_config(attention_bias=None, attention_k_eq_v=None, tie_word_embeddings=None),
    "positions at the top": edit("config.json", to_the_top),
    "positions absent": without("config.json", "max_position_embeddings", section="text_config"),
    "vision sizes absent": without(
        "config.json",
        "mm_posemb_size",
        "model_patch_size",
        "patch_size",
        "pooling_kernel_size",
        "rms_norm_eps",
        "mm_embed_dim",
        section="vision_config",
    ),
    "vision empty": config(vision_config={}),
    "audio empty": config(audio_config={}),
    "audio hidden_size": config(audio_config={"hidden_size": 640, "model_type": "gemma4_unified_audio"}),
    "empty tables of quantization": config(quantization=None, quantization_config={}),
    # processors
    "no processor_config": removed("processor_config.json"),
    "nulls in processor_config": processor_config(image_processor=None, video_processor={"num_frames": None}),
    "preprocessor_config": all_of(
        removed("processor_config.json"),
        lambda folder: write(folder / "preprocessor_config.json", {"max_soft_tokens": 280.0}),
    ),
    # names and files
    "names without model.": renamed(("model.", "")),
    "names of MLX": renamed(("model.language_model.", "language_model.model."), ("model.", "")),
    "names in memory": renamed(
        ("model.embed_vision.embedding_projection", "model.embed_vision.multimodal_embedder.embedding_projection"),
        ("model.vision_embedder.", "model.embed_vision."),
    ),
    **{
        f"names behind {wrapper}": renamed(("model.", wrapper))
        for wrapper in ("base_model.model.model.", "_orig_mod.model.", "module.model.", "model.model.")
    },
    "names of two dialects": renamed(
        ("model.language_model.layers.", "language_model.model.layers."), ("model.embed_audio.", "embed_audio.")
    ),
    "shards": shards,
    "shards without an index": lambda folder: shards(folder, index=False),
    "index of metadata": lambda folder: write(folder / "model.safetensors.index.json", {"metadata": {"total_size": 1}}),
    "no index": removed("model.safetensors.index.json"),
    "leftover of another shape": all_of(
        lambda folder: shards(folder, keep_whole=True),
        lambda folder: mx.save_safetensors(str(folder / "model.safetensors"), {EMBEDDING: mx.zeros((2, 2))}),
    ),
    "leftover beside an index": lambda folder: shards(folder, keep_whole=True),
    "leftover without an index": lambda folder: shards(folder, index=False, keep_whole=True),
    "leftover shards": all_of(
        lambda folder: shards(folder, index=False, keep_whole=True), removed("model-00002-of-00003.safetensors")
    ),
    "a shard of another division": all_of(
        lambda folder: shards(folder, index=False),
        lambda folder: shutil.copy(folder / THIRD, folder / "model-00003-of-00004.safetensors"),
    ),
    "a shard of its own": lambda folder: [
        (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors"),
        (folder / "model.safetensors.index.json").unlink(),
    ],
    "optimizer beside": lambda folder: mx.save_safetensors(str(folder / "optimizer.safetensors"), {"a": mx.zeros(1)}),
    # tensors
    "scalars of shape ()": map_scalars(lambda t: t.reshape(())),
    "scalars of shape (1, 1)": map_scalars(lambda t: t.reshape(1, 1)),
    "some scalars of shape ()": weights(
        lambda tensors: {n: t.reshape(()) if n.endswith("layers.0.layer_scalar") else t for n, t in tensors.items()}
    ),
    "lm_head": weights(lambda tensors: tensors | {"lm_head.weight": tensors[EMBEDDING]}),
    "lm_head inside": weights(lambda tensors: tensors | {"model.lm_head.weight": tensors[EMBEDDING]}),
    "lm_head of MLX": all_of(
        renamed(("model.language_model.", "language_model.model."), ("model.", "")),
        weights(lambda t: t | {"language_model.lm_head.weight": t["language_model.model.embed_tokens.weight"]}),
    ),
    "lm_head alone": weights(lambda tensors: tensors | {"lm_head.weight": tensors.pop(EMBEDDING)}),
    "rotary buffers": weights(
        lambda tensors: (
            tensors
            | {
                "model.language_model.rotary_emb.full_attention_inv_freq": mx.zeros(16),
                "model.language_model.layers.1.self_attn.rotary_emb.inv_freq": mx.zeros(8),
                "model.language_model.layers.1.self_attn.inv_freq": mx.zeros(8),
                "model.vision_embedder.position_ids": mx.zeros((1, 8), mx.int32),
            }
        )
    ),
    "embed_scale": weights(lambda tensors: tensors | {"model.language_model.embed_tokens.embed_scale": mx.array(8.0)}),
    "padded vocabulary": weights(
        lambda tensors: tensors | {EMBEDDING: mx.concatenate([tensors[EMBEDDING], mx.ones((7, 64))])}
    ),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny_config(layer_types=["sliding_attention", "full_attention"])
    return write_checkpoint(tmp_path_factory.mktemp("variants") / "plain", config)


@pytest.fixture
def folder(plain: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "variant"))


@pytest.fixture(scope="module")
def plain_answers(plain: Path) -> list[Any]:
    return answers(plain)


def answers(folder: Path, question: Any = QUESTION) -> list[Any]:
    """Ids of two prompts, how media are read, the ids that a reply ends with, and logits after the first prompt."""
    model, processor = api.load(folder)
    prompt = processor.prompt(question)
    ends = sorted(GenerationOptions.from_config(processor.generation_config).eos_ids)
    logits = np.array(model.logits(model(model.embed(prompt.ids, prompt.spans), outputs=1))[0, -1])
    ids = [prompt.ids, processor.prompt(WORDS, tools=TOOLS).ids]
    return [ids, processor.media, ends, logits.round(3).tolist()]


@pytest.mark.parametrize("name", SAME)
def test_the_same_in_other_words(name: str, folder: Path, plain_answers: list[Any]) -> None:
    SAME[name](folder)
    assert answers(folder) == plain_answers


def packed_in(mode: str, **plan: Any) -> Change:
    """Quantizes the language model; config.json says so."""

    def apply(folder: Path) -> None:
        shutil.move(folder, folder.with_name("floats"))
        convert(folder.with_name("floats"), folder, ConvertOptions(quantization=Quantization.choose(mode, **plan)))

    return apply


def packed_patches(folder: Path) -> None:
    """Quantizes the projection of patches too, which has a bias besides the biases of its groups."""
    path = folder / "model.safetensors"
    tensors = dict(mx.load(str(path)))
    name = "vision_embedder.patch_dense"
    packed = mx.quantize(tensors[f"{name}.weight"], group_size=32, bits=8)
    tensors |= {f"{name}.{part}": array for part, array in zip(("weight", "scales", "biases"), packed, strict=True)}
    mx.eval(tensors)
    mx.save_safetensors(str(path), tensors)
    (folder / "model.safetensors.index.json").unlink()
    settings = {"group_size": 32, "bits": 8}
    edit("config.json", lambda content: content["quantization"].update({name: settings}))(folder)


def one_affine(folder: Path) -> None:
    """One module of 8 bits among floating-point ones, declared as other tools do it: without a mode."""
    name = f"{LAYER}mlp.up_proj"
    tensors = dict(mx.load(str(folder / "model.safetensors")))
    parts = (tensors[f"{name}.weight"], tensors[f"{name}.scales"])
    plain = mx.dequantize(*parts, group_size=32, bits=4, mode="mxfp4", dtype=mx.float32)
    packed = mx.quantize(plain, group_size=64, bits=8)
    tensors |= {f"{name}.{part}": array for part, array in zip(("weight", "scales", "biases"), packed, strict=True)}
    mx.eval(tensors)
    mx.save_safetensors(str(folder / "model.safetensors"), tensors)
    (folder / "model.safetensors.index.json").unlink()
    declared(**{name: {"group_size": 64, "bits": 8}})(folder)


def undeclared(folder: Path) -> None:
    without("config.json", "quantization", "quantization_config")(folder)


def declared(**changes: Any) -> Change:
    return edit("config.json", lambda content: content["quantization"].update(changes))


def only_as(name: str) -> Change:
    """Keeps one of the two entries that mlx-lm writes."""
    other = {"quantization": "quantization_config", "quantization_config": "quantization"}[name]
    return without("config.json", other)


LAYER = "language_model.model.layers.0."
FOUR, RECIPE, MXFP4 = packed_in("affine"), packed_in("affine", recipe="mixed_4_8"), packed_in("mxfp4")
PACKED: dict[str, tuple[Change, Change]] = {
    "undeclared": (FOUR, undeclared),
    "undeclared in groups of 32": (packed_in("affine", group_size=32, bits=8), undeclared),
    "undeclared 3 bits": (packed_in("affine", bits=3, group_size=32), undeclared),
    "undeclared recipe": (RECIPE, undeclared),
    "undeclared mxfp4": (MXFP4, undeclared),
    "undeclared mxfp8": (packed_in("mxfp8"), undeclared),
    "undeclared nvfp4": (packed_in("nvfp4"), undeclared),
    "undeclared patches": (all_of(FOUR, packed_patches), undeclared),
    "declared null": (FOUR, config(quantization=None, quantization_config=None)),
    "bits wrong": (FOUR, declared(bits=8)),
    "group size wrong": (FOUR, declared(group_size=128)),
    "bits absent": (FOUR, without("config.json", "bits", section="quantization")),
    "group size absent": (FOUR, without("config.json", "group_size", section="quantization")),
    "mode absent": (FOUR, without("config.json", "mode", section="quantization")),
    "mode null": (FOUR, declared(mode=None)),
    "mode in capitals": (MXFP4, declared(mode="MXFP4")),
    "mode wrong": (FOUR, declared(mode="nvfp4")),
    "mode unknown": (FOUR, declared(mode="linear")),
    "floats": (FOUR, floats_in("config.json")),
    "only quantization": (FOUR, only_as("quantization")),
    "only quantization_config": (FOUR, only_as("quantization_config")),
    "method of the source beside": (
        FOUR,
        config(quantization_config={"quant_method": "compressed-tensors"}),
    ),
    "overrides without a mode": (
        MXFP4,
        declared(**{f"{LAYER}mlp.up_proj": {"group_size": 32, "bits": 4}}),
    ),
    "overrides in the Hub's names": (
        RECIPE,
        edit(
            "config.json",
            lambda c: c["quantization"].update(
                {
                    n.replace("language_model.model.", "model.language_model."): c["quantization"].pop(n)
                    for n in list(c["quantization"])
                    if "." in n
                }
            ),
        ),
    ),
    "overrides that are false": (FOUR, declared(**{f"{LAYER}mlp.up_proj": False})),
    "overrides that are true": (FOUR, declared(**{f"{LAYER}mlp.up_proj": True})),
    "overrides of nothing": (FOUR, declared(**{"vision_tower.x": {"bits": 8, "group_size": 64}})),
    "overrides absent": (
        RECIPE,
        config(quantization={"group_size": 64, "bits": 4}, quantization_config=None),
    ),
}


Packed = Callable[[Change], tuple[Path, list[Any]]]


@pytest.fixture(scope="module")
def packed(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """Folders of packed checkpoints, each made once, and their answers."""

    @cache
    def make(prepare: Change) -> tuple[Path, list[Any]]:
        folder = Path(shutil.copytree(plain, tmp_path_factory.mktemp("packed") / "checkpoint"))
        prepare(folder)
        return folder, answers(folder)

    return make


@pytest.mark.parametrize("name", PACKED)
def test_packed_weights_are_what_their_shapes_say(name: str, packed: Packed, tmp_path: Path) -> None:
    prepare, change = PACKED[name]
    folder, expected = packed(prepare)
    folder = Path(shutil.copytree(folder, tmp_path / "variant"))
    change(folder)
    assert answers(folder) == expected


def test_bits_in_shapes_that_are_read(folder: Path) -> None:
    all_of(packed_in("affine", recipe="mixed_4_8"), undeclared)(folder)
    model = open_model(folder).language_model.model
    assert (model.embed_tokens.bits, model.embed_tokens.group_size, model.embed_tokens.mode) == (8, 64, "affine")
    assert (model.layers[0].mlp.up_proj.bits, model.layers[1].self_attn.k_proj.bits) == (4, 8)


DRAFTER: dict[str, Change] = {
    "BOM": marked("config.json"),
    "floats": floats_in("config.json"),
    "no rope": without("config.json", "rope_parameters", section="text_config"),
    "scalars of shape ()": map_scalars(lambda t: t.reshape(())),
    "lm_head": weights(lambda tensors: tensors | {"lm_head.weight": mx.zeros((3, 3))}),
    "names without model.": renamed(("model.", "")),
    "unknown keys": text_config(new_key=1),
}


@pytest.mark.parametrize("name", DRAFTER)
def test_drafters_in_other_words(name: str, tmp_path: Path) -> None:
    shutil.copytree(NANO_DRAFTER_FOLDER, tmp_path / "drafter")
    DRAFTER[name](tmp_path / "drafter")
    found, expected = open_drafter(tmp_path / "drafter"), open_drafter(NANO_DRAFTER_FOLDER)
    assert found.config == expected.config
    pairs = zip(tree_flatten(found.parameters()), tree_flatten(expected.parameters()), strict=True)
    assert all(mx.array_equal(own, other) for (_, own), (_, other) in pairs)


def to(dtype: mx.Dtype, *endings: str) -> Change:
    return weights(lambda tensors: {n: t.astype(dtype) if n.endswith(endings) else t for n, t in tensors.items()})


def scales_to(dtype: mx.Dtype, *endings: str) -> Change:
    """Packs the language model, then gives scales and biases of some modules another type."""
    parts = (".scales", ".biases")
    chosen = tuple(f"{ending}{part}" for ending in endings or ("",) for part in parts)
    return all_of(to(mx.bfloat16, ""), packed_in("affine", group_size=32, bits=8), to(dtype, *chosen))


BF16, FP16, F32 = mx.bfloat16, mx.float16, mx.float32
NORMS = ("norm.weight", "scalar")
MEDIA = ("ln1.weight", "ln1.bias", "patch_dense.weight", "pos_embedding", "embedding_projection.weight")
MIXED: dict[str, tuple[Change, mx.Dtype, str]] = {
    "bfloat16": (to(BF16, ""), BF16, ""),
    "float16": (to(FP16, ""), FP16, ""),
    "norms in float32": (to(BF16, "_proj.weight", "tokens.weight"), BF16, "(float32) become bfloat16"),
    "norms in float16": (all_of(to(BF16, ""), to(FP16, *NORMS)), BF16, "(float16) become bfloat16"),
    "bfloat16 norms": (all_of(to(FP16, ""), to(BF16, *NORMS)), FP16, "(bfloat16) become float16"),
    "bfloat16 norms, float32 matrices": (to(BF16, *NORMS), F32, "(bfloat16) become float32"),
    "last norm only": (
        all_of(to(BF16, ""), to(F32, "language_model.norm.weight")),
        BF16,
        "model.norm.weight (float32) become bfloat16",
    ),
    "scalars only": (all_of(to(BF16, ""), to(F32, "scalar")), BF16, "(float32) become bfloat16"),
    "embedding in float32": (
        all_of(to(BF16, ""), to(F32, "tokens.weight")),
        BF16,
        "embed_tokens.weight (float32) become bfloat16",
    ),
    "media in float32": (all_of(to(BF16, ""), to(F32, *MEDIA)), BF16, "(float32) become bfloat16"),
    "media in float16": (all_of(to(BF16, ""), to(FP16, *MEDIA)), BF16, "(float16) become bfloat16"),
    "matrices of two types": (
        all_of(to(BF16, ""), to(FP16, "q_proj.weight"), to(F32, "down_proj.weight")),
        BF16,
        "(float16, float32) become bfloat16",
    ),
    "float32 scales": (scales_to(F32), F32, "(bfloat16) become float32"),
    "float16 scales": (scales_to(FP16), FP16, "(bfloat16) become float16"),
    "float32 scales of some": (scales_to(F32, "o_proj", "tokens"), BF16, "(float32) become bfloat16"),
    "mxfp4, norms of two types": (
        all_of(to(BF16, ""), packed_in("mxfp4"), to(F32, "layers.0.input_layernorm.weight")),
        BF16,
        "input_layernorm.weight (float32) become bfloat16",
    ),
}


@pytest.mark.parametrize("kv_bits", [None, 8])
@pytest.mark.parametrize("name", MIXED)
def test_weights_of_several_types_become_one(
    name: str, kv_bits: int | None, folder: Path, plain_answers: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """What is planned is what is held, and the answer is the same but for rounding."""
    change, dtype, said = MIXED[name]
    change(folder)
    model, processor = api.load(folder, lazy=True)
    assert [said in record.message for record in caplog.records] == ([True] if said else [])
    prompt = processor.prompt(QUESTION)
    plan = memory_need(model, prompt, GenerationOptions(kv_group_size=32)).plan(len(prompt.ids) + 2, kv_bits)
    model.prepare()
    caches = model.make_caches(plan.context, kv_bits, 32)
    hidden = model(model.embed(prompt.ids, prompt.spans), caches, outputs=1)
    logits = np.array(model.logits(hidden)[0, -1])
    model(model.embed(prompt.ids[:1]), caches)
    assert hidden.dtype == dtype
    assert plan.full_caches + plan.sliding_caches == sum(array.nbytes for array in cache_arrays(caches))
    assert plan.weights == pytest.approx(sum(array.nbytes for _, array in tree_flatten(model.parameters())), rel=0.02)
    np.testing.assert_allclose(logits, plain_answers[3], atol=1.5 if "mxfp4" in name else 0.5)


def test_a_drafter_counts_as_what_it_becomes(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(NANO_DRAFTER_FOLDER, tmp_path / "drafter")
    to(mx.float32, "")(tmp_path / "drafter")
    model, _ = api.load("nano", lazy=True)
    drafter = open_drafter(tmp_path / "drafter")
    planned = memory_need(model, Prompt([2, 3]), GenerationOptions(), drafter=drafter).weights
    drafter.prepare(model.prepare())
    arrays = [array for module in (model, drafter) for _, array in tree_flatten(module.parameters())]
    assert planned == pytest.approx(sum(array.nbytes for array in arrays), rel=0.01)


WORDS = [{"role": "user", "content": "Why?"}]
LOOK = [{"role": "user", "content": [{"type": "image", "image": PICTURE}]}]
LISTEN = [{"role": "user", "content": [{"type": "audio", "audio": SOUND}]}]
BLIND = "this checkpoint has no vision input: it can't read images or video; leave them out"
DEAF = "this checkpoint has no audio input: it can't listen; leave audio out, and take videos without soundtrack"

ABSENT: dict[str, tuple[Change, list[str]]] = {
    "vision weights": (dropped(*VISION), [BLIND]),
    "audio weights": (dropped(AUDIO), [DEAF]),
    "all weights": (dropped(*VISION, AUDIO), [BLIND, DEAF]),
    "vision weights, in an index": (
        all_of(shards, lambda folder: keep_in_shards(folder, "model.language_model.")),
        [BLIND, DEAF],
    ),
    "vision_config": (config(vision_config=None), [BLIND]),
    "audio_config": (without("config.json", "audio_config"), [DEAF]),
    "vision_config and weights": (all_of(config(vision_config=None), dropped(*VISION)), [BLIND]),
    "a text model": (
        all_of(dropped(*VISION, AUDIO), renamed(("model.language_model.", "model.")), flat_config),
        [BLIND, DEAF],
    ),
    "a text model of MLX": (
        all_of(dropped(*VISION, AUDIO), renamed(("model.language_model.", "")), flat_config),
        [BLIND, DEAF],
    ),
}


def keep_in_shards(folder: Path, beginning: str) -> None:
    """Takes tensors out of shards; the index still lists them."""
    for path in folder.glob("model-*.safetensors"):
        tensors = {name: tensor for name, tensor in mx.load(str(path)).items() if name.startswith(beginning)}
        mx.eval(tensors)
        mx.save_safetensors(str(path), tensors)


@pytest.mark.parametrize("name", ABSENT)
def test_absent_inputs_are_refused_when_they_are_asked_for(name: str, folder: Path, plain: Path) -> None:
    expected = answers(plain, WORDS)
    change, refused = ABSENT[name]
    change(folder)
    assert answers(folder, WORDS) == expected
    _, processor = api.load(folder)
    for question, line in ((LOOK, BLIND), (LISTEN, DEAF)):
        if line in refused:
            with pytest.raises(GemmaError) as error:
                processor.prompt(question)
            assert str(error.value) == line
        else:
            assert answers(folder, question) == answers(plain, question)
    assert api.plan(folder, context=64).fits


CONVERTED = (
    "bos object",
    "named list",
    "chat_template.json",
    "end without the turn's",
    "eoa_token_id",
    "scalars of shape ()",
    "lm_head alone",
    "padded vocabulary",
    "floats in config.json",
    "UTF-16",
    "leftover beside an index",
    "names in memory",
    "single rope entries",
)


@pytest.mark.parametrize("name", CONVERTED)
def test_a_conversion_answers_the_same(name: str, folder: Path, tmp_path: Path, plain_answers: list[Any]) -> None:
    SAME[name](folder)
    convert(folder, tmp_path / "out", ConvertOptions())
    assert answers(tmp_path / "out") == plain_answers


NOTES: dict[str, tuple[Change, list[str]]] = {
    "nothing": (lambda folder: None, []),
    "bos object": (SAME["bos object"], []),
    "floats": (SAME["floats in config.json"], []),
    "leftover": (
        SAME["leftover beside an index"],
        [
            "{}: model.safetensors not read; the checkpoint is in model-00001-of-00003.safetensors, "
            "model-00002-of-00003.safetensors, model-00003-of-00003.safetensors"
        ],
    ),
    "leftover shards": (
        SAME["leftover shards"],
        [
            "{}: model-00001-of-00003.safetensors, model-00003-of-00003.safetensors not read; "
            "the checkpoint is in model.safetensors"
        ],
    ),
    "index of metadata": (
        SAME["index of metadata"],
        [
            "{}/model.safetensors.index.json: it lists no tensors, so the weights are taken from the files "
            "that are there"
        ],
    ),
    "lm_head": (
        SAME["lm_head"],
        ["language_model.model.lm_head.weight: not used, as this model's output head is its embedding"],
    ),
    "lm_head alone": (
        SAME["lm_head alone"],
        ["language_model.model.lm_head.weight is taken as the embedding, which is tied to it and isn't there"],
    ),
    "padded": (
        SAME["padded vocabulary"],
        [
            "language_model.model.embed_tokens.weight has 722 rows and config.json's vocab_size is 715: "
            "the rest is not used"
        ],
    ),
    "no vision": (
        dropped(*VISION),
        [
            "config.json has vision_config, but there are no vision weights: this checkpoint reads no images "
            "and no video"
        ],
    ),
    "no audio": (
        dropped(AUDIO),
        ["config.json has audio_config, but there are no audio weights: this checkpoint reads no audio"],
    ),
    "no vision_config": (
        config(vision_config=None),
        ["config.json has no vision_config: 10 tensors of vision are not used"],
    ),
    "undeclared": (
        all_of(packed_in("affine"), undeclared),
        [
            "config.json doesn't say how language_model.model.embed_tokens and 13 more are quantized; "
            "by their shapes it is affine, 4 bits in groups of 64"
        ],
    ),
    "wrong": (
        all_of(packed_in("affine"), declared(bits=8)),
        [
            "config.json is wrong about how language_model.model.embed_tokens and 13 more are quantized; "
            "by their shapes it is affine, 4 bits in groups of 64"
        ],
    ),
    "an affine module among others": (all_of(packed_in("mxfp4"), one_affine), []),
    "an affine module that says so": (
        all_of(packed_in("mxfp4"), one_affine, declared(**{f"{LAYER}mlp.up_proj": {"bits": 8, "mode": "affine"}})),
        [],
    ),
    "rotary buffers": (
        SAME["rotary buffers"],
        [
            "language_model.model.layers.1.self_attn.inv_freq, "
            "language_model.model.layers.1.self_attn.rotary_emb.inv_freq, "
            "language_model.model.rotary_emb.full_attention_inv_freq, vision_embedder.position_ids: "
            "not used, as it is computed"
        ],
    ),
    "two templates": (
        SAME["processor before jinja"],
        ["processor_config.json is used; the chat template in chat_template.jinja is another one and is not"],
    ),
}


@pytest.mark.parametrize("name", NOTES)
def test_notes(name: str, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    change, lines = NOTES[name]
    change(folder)
    caplog.clear()
    api.load(folder)
    assert [record.getMessage() for record in caplog.records] == [line.format(folder) for line in lines]


def pointer(name: str) -> Change:
    """What a clone without Git LFS has in place of a file."""
    words = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 123\n"
    return lambda folder: (folder / name).write_text(words)


REFUSED: dict[str, tuple[Change, str]] = {
    "template without bos": (
        in_template(lambda t: t.replace("{{- bos_token -}}", "")),
        "{}/chat_template.jinja: its prompts don't begin with <bos>, which every one must; "
        "put {{{{ bos_token }}}} at the template's beginning",
    ),
    "bos not first": (
        beginning_with("\n x"),
        "{}/chat_template.jinja: its prompts don't begin with <bos>, which every one must; "
        "put {{{{ bos_token }}}} at the template's beginning",
    ),
    "template renders nothing": (
        in_template(lambda t: "{# nothing #}"),
        "{}/chat_template.jinja: its prompts don't begin with <bos>, which every one must; "
        "put {{{{ bos_token }}}} at the template's beginning",
    ),
    "bos of another model": (
        settings(bos_token={"content": "<s>"}),
        "tokenizer.json: '<s>' is not among its special tokens",
    ),
    "raise_exception": (
        beginning_with("{{ raise_exception('never') }}"),
        "{}/chat_template.jinja: these messages can't be rendered (never)",
    ),
    "out of the sandbox": (
        beginning_with("{{ messages.__class__.__mro__ }}"),
        "{}/chat_template.jinja: these messages can't be rendered (access to attribute '__class__' of 'list' "
        "object is unsafe.)",
    ),
    "no default template": (
        template_in("tokenizer_config.json", lambda t: [{"name": "rag", "template": t}]),
        "{}/tokenizer_config.json: no chat template 'default' among rag; give one of them that name",
    ),
    "template of another kind": (
        template_in("chat_template.json", lambda t: 7),
        "{}/chat_template.json: chat_template must be a template, or a list of objects with name and template",
    ),
    "template list of texts": (
        template_in("tokenizer_config.json", lambda t: [t]),
        "{}/tokenizer_config.json: chat_template must be a template, or a list of objects with name and template",
    ),
    "no template": (
        removed("chat_template.jinja"),
        "{}: no chat_template.jinja there; this package needs an instruction-tuned checkpoint",
    ),
    "no template and no settings": (
        removed("chat_template.jinja", "tokenizer_config.json"),
        "{}: no chat_template.jinja there; this package needs an instruction-tuned checkpoint",
    ),
    "shard missing": (
        all_of(shards, removed("model-00002-of-00003.safetensors")),
        "{}: an unfinished download: model-00002-of-00003.safetensors is missing; "
        "download it, copy it or convert the checkpoint again",
    ),
    "shard missing beside a leftover": (
        all_of(lambda folder: shards(folder, keep_whole=True), removed("model-00002-of-00003.safetensors")),
        "{}: an unfinished download: model-00002-of-00003.safetensors is missing; "
        "download it, copy it or convert the checkpoint again",
    ),
    "shards of two checkpoints": (
        all_of(
            lambda folder: shards(folder, index=False),
            lambda folder: shutil.copy(folder / THIRD, folder / "model-00003-of-00004.safetensors"),
            removed(THIRD),
        ),
        "{}: an unfinished download: model-00003-of-00003.safetensors, model-00001-of-00004.safetensors, "
        "model-00002-of-00004.safetensors, model-00004-of-00004.safetensors are missing; "
        "download it, copy it or convert the checkpoint again",
    ),
    "weights of another name": (
        all_of(
            removed("model.safetensors.index.json"),
            lambda folder: (folder / "model.safetensors").rename(folder / "weights.safetensors"),
        ),
        "{}: no model*.safetensors there, only weights.safetensors; give the weights such a name",
    ),
    "shard missing without an index": (
        all_of(lambda folder: shards(folder, index=False), removed("model-00002-of-00003.safetensors")),
        "{}: an unfinished download: model-00002-of-00003.safetensors is missing; "
        "download it, copy it or convert the checkpoint again",
    ),
    "part of vision missing": (
        dropped("model.embed_vision."),
        "the weights do not match config.json: missing: embed_vision.embedding_projection.weight",
    ),
    "vocabulary too small": (
        weights(lambda tensors: tensors | {EMBEDDING: tensors[EMBEDDING][:700]}),
        "the weights do not match config.json: language_model.model.embed_tokens.weight is (700, 64), "
        "expected (715, 64)",
    ),
    "tokenizer too large": (
        all_of(text_config(vocab_size=24), weights(lambda tensors: tensors | {EMBEDDING: tensors[EMBEDDING][:24]})),
        "tokenizer.json: it has tokens up to 714, but config.json's vocab_size is 24; "
        "take the tokenizer that belongs to the model",
    ),
    "spellings that disagree": (
        config(eoa_token_id=5),
        "config.json: eoa_token_id is 5 but eoa_token_index is 22; leave the wrong one out",
    ),
    "id of another tokenizer": (
        config(eoi_token_id=5),
        "<image|> is 21 in tokenizer.json but 5 in config.json",
    ),
    "half a number": (
        text_config(hidden_size=64.5),
        "config.json: hidden_size must be a whole number from 1 to 16777216, not 64.5",
    ),
    "half an end": (
        generation(eos_token_id=1.5),
        "generation_config.json: eos_token_id must be a whole number, not 1.5",
    ),
    "half a budget": (
        processor_config(image_processor={"max_soft_tokens": 70.5}),
        "processor_config.json: max_soft_tokens of image_processor must be a whole number, not 70.5",
    ),
    "untied at the top": (
        config(tie_word_embeddings=False),
        "config.json: tie_word_embeddings = False is not supported; Gemma 4 12B Unified has True",
    ),
    "stretched positions": (
        text_config(
            rope_parameters={
                "full_attention": {"rope_theta": 1e6, "rope_type": "proportional", "factor": 8.0},
                "sliding_attention": {"rope_theta": 1e4},
            }
        ),
        "config.json: rope_type 'proportional' with factor 8.0 of full_attention layers is not supported",
    ),
    "linear rope_scaling": (
        all_of(edit("config.json", single_rope), text_config(rope_scaling={"rope_type": "linear", "factor": 8.0})),
        "config.json: rope_scaling {{'rope_type': 'linear', 'factor': 8.0}} is not supported; "
        "Gemma 4 12B Unified has none",
    ),
    "unknown override": (
        text_config(per_layer_config={"1": {"sliding_window": 8}}),
        "config.json: sliding_window in per_layer_config is not supported; there may be head_dim and "
        "num_key_value_heads",
    ),
    "hidden_size absent": (
        without("config.json", "hidden_size", section="text_config"),
        "config.json: hidden_size must be a whole number from 1 to 16777216, not None",
    ),
    "packing of no kind": (
        all_of(
            packed_in("affine"),
            weights(
                lambda tensors: (
                    tensors
                    | {
                        f"{LAYER}mlp.up_proj.scales": mx.zeros((128, 3)),
                        f"{LAYER}mlp.up_proj.biases": mx.zeros((128, 3)),
                    }
                )
            ),
        ),
        f"{LAYER}mlp.up_proj: weight (128, 8) and scales (128, 3) are no packing of 64 inputs that MLX has; "
        "convert the checkpoint again",
    ),
    "vision_config of text": (
        config(vision_config="none"),
        "config.json: vision_config must be an object, not 'none'",
    ),
    **{
        f"pointer of {name}": (
            pointer(name),
            f"{{}}: an unfinished download: {name} is only a Git LFS pointer; "
            "copy the file itself, or run git lfs pull where it comes from",
        )
        for name in ("config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors")
    },
    "no tokenizer": (
        removed("tokenizer.json"),
        "{}: no tokenizer.json there; download or convert the checkpoint again",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line(name: str, folder: Path) -> None:
    change, line = REFUSED[name]
    change(folder)
    with pytest.raises(GemmaError) as error:
        answers(folder, WORDS)
    assert str(error.value) == line.format(folder)


def test_a_template_for_tools(folder: Path) -> None:
    named = [
        {"name": "default", "template": "{{ bos_token }}no"},
        {"name": "tool_use", "template": "{{ bos_token }}yes"},
    ]
    (folder / "chat_template.jinja").unlink()
    settings(chat_template=named)(folder)
    _, processor = api.load(folder)
    encode = processor.tokenizer.encode
    assert list(processor.prompt(WORDS).ids) == [2, *encode("no")]
    assert list(processor.prompt(WORDS, tools=TOOLS).ids) == [2, *encode("yes")]


def test_text_in_ascii_json_stays_text(folder: Path) -> None:
    source = "{{ bos_token }}{{ messages[0]['content'] | tojson(ensure_ascii=true) }}"
    (folder / "chat_template.jinja").write_text(source)
    _, processor = api.load(folder)
    prompt = processor.prompt([{"role": "user", "content": "<bos>é"}])
    assert list(prompt.ids) == [2, *processor.tokenizer.encode('"<bos>\\u00e9"')]


def test_a_reply_ends_with_its_turn_whatever_the_settings_say(folder: Path) -> None:
    all_of(generation(eos_token_id=[1, 300]), config(eos_token_id=7))(folder)
    _, processor = api.load(folder)
    assert list(processor.generation_config["eos_token_id"]) == [1, 300, 16, 9]


def test_further_templates_go_along_in_a_conversion(folder: Path, tmp_path: Path) -> None:
    SAME["additional templates"](folder)
    convert(folder, tmp_path / "out", ConvertOptions())
    assert (tmp_path / "out" / "additional_chat_templates" / "rag.jinja").read_text() == "{{ other"


def test_undeclared_packing_is_found_by_a_conversion(folder: Path, tmp_path: Path) -> None:
    all_of(packed_in("affine"), undeclared)(folder)
    with pytest.raises(GemmaError, match=r"the source is quantized already \(4 bits\)"):
        convert(folder, tmp_path / "out", ConvertOptions())
    convert(folder, tmp_path / "out", ConvertOptions(dequantize=True))
    np.testing.assert_allclose(answers(tmp_path / "out")[3], answers(folder)[3], atol=0.01)


def tokenizer(change: Callable[[dict[str, Any]], Any]) -> Change:
    return edit("tokenizer.json", change)


def normalizer(*steps: dict[str, Any]) -> Change:
    return tokenizer(lambda content: content.update(normalizer={"type": "Sequence", "normalizers": list(steps)}))


def replaced(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


HOSTILE_TOKENIZERS: dict[str, tuple[Change, str]] = {
    "long replacement": (normalizer(replaced({"String": "a"}, "b" * 1000)), "makes more than 64 characters of one"),
    "growth in steps": (
        normalizer(*(replaced({"String": "a"}, "aa") for _ in range(40))),
        "makes more than 64 characters of one",
    ),
    "many steps": (normalizer(*({"type": "NFC"} for _ in range(5000))), "makes more than 64 characters of one"),
    "pattern": (normalizer(replaced({"Regex": "(a+)+$"}, "b")), "has a pattern of a kind"),
    "empty pattern": (normalizer(replaced({"String": ""}, "b")), "has a pattern of a kind"),
    "pattern that splits": (
        tokenizer(
            lambda content: content.update(
                pre_tokenizer={
                    "type": "Split",
                    "pattern": {"Regex": "(a|aa)+$"},
                    "behavior": "Isolated",
                    "invert": False,
                }
            )
        ),
        "has a pattern of a kind",
    ),
    "long decoding": (
        tokenizer(lambda content: content.update(decoder=replaced({"String": "a"}, "b" * 1000))),
        "makes more than 64 characters of one",
    ),
    "long beginning": (
        normalizer({"type": "Prepend", "prepend": "x" * 1000}),
        "makes more than 64 characters of one",
    ),
    "long affix": (
        tokenizer(lambda content: content["model"].update(end_of_word_suffix="x" * 1000)),
        "it puts a long text beside each word",
    ),
    "another model": (
        tokenizer(lambda content: content.update(model={"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"})),
        "its model is WordLevel; Gemma's is BPE",
    ),
    "token of a larger model": (
        tokenizer(
            lambda content: content["added_tokens"].append(content["added_tokens"][0] | {"id": 715, "content": "<new>"})
        ),
        "it has tokens up to 715, but config.json's vocab_size is 715",
    ),
    "pipe": (
        lambda folder: [(folder / "tokenizer.json").unlink(), os.mkfifo(folder / "tokenizer.json")],
        "a device or a pipe; give an ordinary file",
    ),
    "device": (
        lambda folder: [(folder / "config.json").unlink(), (folder / "config.json").symlink_to("/dev/zero")],
        "a device or a pipe; give an ordinary file",
    ),
    "large file": (
        lambda folder: os.truncate(folder / "config.json", 10**9),
        "more than the 8 MB that it may have",
    ),
    "large template": (
        lambda folder: os.truncate(folder / "chat_template.jinja", 10**6),
        "more than the 0.4 MB that it may have",
    ),
    "settings that are a pipe": (
        lambda folder: [(folder / "generation_config.json").unlink(), os.mkfifo(folder / "generation_config.json")],
        "a device or a pipe; give an ordinary file",
    ),
}


@pytest.mark.parametrize("name", HOSTILE_TOKENIZERS)
def test_what_could_exhaust_the_machine_is_refused(name: str, folder: Path) -> None:
    change, line = HOSTILE_TOKENIZERS[name]
    change(folder)
    with pytest.raises(GemmaError) as error:
        api.load(folder)
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_a_text_is_cut_the_same_each_time(folder: Path) -> None:
    encode = api.load(folder)[1].tokenizer.encode
    tokenizer(lambda content: content["model"].update(dropout=0.9))(folder)
    dropping = api.load(folder)[1].tokenizer.encode
    text = "What is in this picture, and why?"
    assert [dropping(text) for _ in range(5)] == [encode(text)] * 5


@pytest.mark.parametrize("content", ["hello " * 4000, ["hello " * 4000], [{"type": "text", "text": "hello " * 4000}]])
def test_what_no_context_holds_is_refused_before_it_is_read(content: Any, folder: Path) -> None:
    text_config(max_position_embeddings=700)(folder)
    _, processor = api.load(folder)
    assert len(processor.prompt([{"role": "user", "content": "hello " * 3000}]).ids) > 700
    with pytest.raises(GemmaError, match="the prompt has more than 22400 characters, which no context"):
        processor.prompt([{"role": "user", "content": content}])
