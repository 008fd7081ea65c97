"""Checkpoint folder -> model. Weights stay on disk until they are evaluated."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from gemma4_mlx.checkpoint.adapters import check_adapters
from gemma4_mlx.checkpoint.files import LISTED, check_header, some, weight_files
from gemma4_mlx.checkpoint.float_types import ADAPTER_TENSORS, FLOAT_TYPES, unify
from gemma4_mlx.checkpoint.names import module_name
from gemma4_mlx.checkpoint.packing import Packing, read_packing
from gemma4_mlx.checkpoint.quantize import AFFINE, DEFAULTS
from gemma4_mlx.config import DrafterConfig, ModelConfig, whole
from gemma4_mlx.device_errors import device_errors_named
from gemma4_mlx.errors import GemmaError, MissingPackageError, note, one_line, shortened
from gemma4_mlx.files import read_json
from gemma4_mlx.model.disk import disk
from gemma4_mlx.model.drafter import Drafter
from gemma4_mlx.model.unified import Gemma4Unified

Config = TypeVar("Config")
Model = TypeVar("Model")

VISION, AUDIO = ("vision_embedder.", "embed_vision."), ("embed_audio.",)
"""How the names of the weights of each input begin."""

LARGEST_SCALE = 1e4  # of adapters

COMPUTED = re.compile(r"rotary_emb\.|inv_freq$|\.(embed_scale|position_ids)$")
"""Names of buffers that some exporters write and every runtime computes."""


def load_model(folder: Path) -> Gemma4Unified:
    """The model of a checkpoint folder, ready to run. Raises GemmaError for anything that does not match."""
    return open_model(folder).prepare()


def open_model(folder: Path, adapters: Path | None = None) -> Gemma4Unified:
    """The model of a checkpoint folder with the checkpoint's own module tree, its weights lazy: only headers are read.

    Weights of several floating-point types become one, which a note says.
    `adapters` is a folder with LoRA adapters. `prepare` makes the model ready to run. Raises GemmaError for anything
    that does not match.
    """
    config = ModelConfig.from_folder(folder)
    weights = read_weights(folder)
    model = build(Gemma4Unified, present_inputs(config, weights))
    fit_weights(model, config.quantization, weights)
    model.load_weights(list(weights.items()))
    if adapters is not None:
        load_adapters(model, adapters)
    unify(model, model.language_model)
    return model.eval()


def open_drafter(folder: Path) -> Drafter:
    """The drafter of a checkpoint folder, its weights lazy, to be fitted to a target by `prepare`.

    Raises GemmaError for anything that does not match.
    """
    config = DrafterConfig.from_folder(folder)
    weights = {name.removeprefix("language_model.model."): array for name, array in read_weights(folder).items()}
    drafter = build(Drafter, config)
    fit_weights(drafter, config.quantization, weights)
    drafter.load_weights(list(weights.items()))
    return drafter.eval()


def build(kind: Callable[[Config], Model], config: Config) -> Model:
    """An empty model. Raises GemmaError for sizes that are possible alone, but not together."""
    try:
        with device_errors_named():
            return kind(config)
    except (OverflowError, ValueError, RuntimeError) as error:
        raise GemmaError(f"config.json: its sizes make no model ({shortened(one_line(error))})") from None


def read_weights(folder: Path) -> dict[str, mx.array]:
    """All tensors of the folder's safetensors files by the module tree's names, lazy."""
    files, weights = weight_files(folder), dict[str, mx.array]()
    for path in files.paths:
        for name, tensor in _read_tensors(path).items():
            own = module_name(name)
            if files.index.get(name, path.name) != path.name:
                continue  # the index has it elsewhere: what a shard keeps of an earlier division
            if own in weights:
                raise GemmaError(f"{path}: {name} was already read under another name")
            weights[own] = tensor
    return without_copies(weights)


def _read_tensors(path: Path) -> dict[str, mx.array]:
    """The tensors of a safetensors file, lazy. Raises GemmaError if it is damaged or has a header without end."""
    try:
        check_header(path)
        with device_errors_named():
            tensors = mx.load(str(path), format="safetensors", stream=disk())
    except (RuntimeError, ValueError, OSError) as error:
        raise GemmaError(f"{path}: not a whole safetensors file ({shortened(one_line(error))})") from None
    assert isinstance(tensors, dict)
    return tensors


def without_copies(weights: dict[str, mx.array]) -> dict[str, mx.array]:
    """The weights without an output head, which is the embedding, and without tables that are computed.

    If only the head was stored, it becomes the embedding.
    """
    computed = sorted(name for name in weights if COMPUTED.search(name))
    heads = {name: name.replace("lm_head.", "embed_tokens.") for name in weights if "lm_head." in name}
    if computed:
        note(f"{some(computed)}: not used, as it is computed")
    kept = {name: tensor for name, tensor in weights.items() if name not in computed}
    if heads and not any("embed_tokens." in name for name in kept):
        note(f"{next(iter(heads))} is taken as the embedding, which is tied to it and isn't there")
        return {heads.get(name, name): tensor for name, tensor in kept.items()}
    if heads:
        note(f"{some(list(heads))}: not used, as this model's output head is its embedding")
    return {name: tensor for name, tensor in kept.items() if name not in heads}


def present_inputs(config: ModelConfig, weights: Iterable[str]) -> ModelConfig:
    """The configuration without the inputs that have no weights: exporters of text-only checkpoints leave them in it.

    Says in a note what is missing.
    """
    names = list(weights)
    has_vision = any(name.startswith(VISION) for name in names)
    has_audio = any(name.startswith(AUDIO) for name in names)
    for section, has in (("vision", has_vision), ("audio", has_audio)):
        if getattr(config, section) is not None and not has:
            note(
                f"config.json has {section}_config, but there are no {section} weights: this checkpoint reads no "
                + ("images and no video" if section == "vision" else "audio")
            )
    return replace(config, vision=config.vision if has_vision else None, audio=config.audio if has_audio else None)


def fit_weights(model: nn.Module, declared: Mapping[str, Any] | None, weights: dict[str, mx.array]) -> None:
    """Makes the model's modules and the weights fit each other: quantized modules, shapes, nothing that has no place.

    `declared` is config.json's `quantization`. Raises GemmaError naming what can't be fitted.
    """
    _drop_absent_inputs(model, weights)
    quantize_modules(model, declared, weights)
    expected = dict(tree_flatten(model.parameters()))
    for name in expected.keys() & weights.keys():
        weights[name] = _fit(name, weights[name], expected[name].shape)
    check_weights(model, weights)


def quantize_modules(model: nn.Module, declared: Mapping[str, Any] | None, weights: Mapping[str, mx.array]) -> None:
    """Turns the modules whose weights are packed into quantized ones, each as the shapes of its weights say.

    `declared` has group_size, bits and mode for all, and overrides by module path in any dialect; without a mode an
    override is affine, whatever holds for all. A note says where it is wrong, or that there is none.
    """
    declared = declared or {}
    overrides = {module_name(path): value for path, value in declared.items() if isinstance(value, dict)}
    differing: dict[str, Packing] = {}

    def choose(path: str, module: nn.Module) -> bool | dict[str, Any]:
        if not hasattr(module, "to_quantized") or f"{path}.scales" not in weights:
            return False
        found = read_packing(path, module.weight.shape[-1], weights)
        if not declared or found != _declared_packing(overrides.get(path, declared)):
            differing[path] = found
        return found.settings()

    nn.quantize(model, class_predicate=choose)
    if differing:
        _note_packing(differing, said=bool(declared))


def _declared_packing(settings: Mapping[str, Any]) -> Packing:
    mode = str(settings.get("mode") or AFFINE).lower()
    bits, group_size = DEFAULTS.get(mode, DEFAULTS[AFFINE])
    return Packing(whole(settings.get("group_size", group_size)), whole(settings.get("bits", bits)), mode)


def _note_packing(found: Mapping[str, Packing], *, said: bool) -> None:
    path, packing = next(iter(found.items()))
    others = f" and {len(found) - 1} more" if len(found) > 1 else ""
    problem = "is wrong about" if said else "doesn't say"
    note(f"config.json {problem} how {path}{others} are quantized; by their shapes it is {packing}")


def _drop_absent_inputs(model: nn.Module, weights: dict[str, mx.array]) -> None:
    """Takes out the weights of inputs that config.json does not have."""
    for kind, prefixes in (("vision", VISION), ("audio", AUDIO)):
        names = [name for name in weights if name.startswith(prefixes)]
        if names and not any(hasattr(model, prefix.rstrip(".")) for prefix in prefixes):
            note(f"config.json has no {kind}_config: {len(names)} tensors of {kind} are not used")
            for name in names:
                del weights[name]


def _fit(name: str, tensor: mx.array, shape: tuple[int, ...]) -> mx.array:
    """The tensor with the model's axes of size 1, and without the rows that pad a vocabulary.

    What changes it belongs to the stream that reads it, see `model.disk`.
    """
    if tensor.shape != shape and [n for n in tensor.shape if n != 1] == [n for n in shape if n != 1]:
        return mx.reshape(tensor, shape, stream=disk())
    if "embed_tokens." in name and tensor.shape[1:] == shape[1:] and tensor.shape[0] > shape[0]:
        if name.endswith(".weight"):
            note(f"{name} has {tensor.shape[0]} rows and config.json's vocab_size is {shape[0]}: the rest is not used")
        return mx.split(tensor, [shape[0]], stream=disk())[0]
    return tensor


def load_adapters(model: Gemma4Unified, folder: Path) -> None:
    """Adds LoRA adapters as mlx-lm's trainer writes them (adapter_config.json, adapters.safetensors).

    Raises GemmaError for what is damaged, does not fit the model, or is only a part of what the settings name.
    """
    path = folder / "adapters.safetensors"
    check_adapters(folder)
    try:
        from mlx_lm.tuner.utils import load_adapters as attach
    except ImportError:
        raise MissingPackageError("LoRA adapters", "mlx-lm>=0.32.2") from None
    try:
        _check_scale(folder / "adapter_config.json")
        given = _read_tensors(path)
        with device_errors_named():
            attach(model, str(folder))
        model.load_weights(list(given.items()), strict=False)  # attached, they are on a stream of this thread
    except (ValueError, RuntimeError, AttributeError, KeyError, TypeError, OverflowError, ZeroDivisionError) as error:
        said = shortened(one_line(error))
        raise GemmaError(f"{folder}: the adapters do not fit this model ({said})") from None
    names = {name for name, _ in tree_flatten(model.parameters()) if name.rpartition(".")[2] in ADAPTER_TENSORS}
    missing, unreal = sorted(names - given.keys()), [name for name in given if given[name].dtype not in FLOAT_TYPES]
    if missing or unreal or not given:
        problem = f"missing: {some(missing)}" if missing else f"no numbers: {some(unreal)}" if unreal else "empty"
        raise GemmaError(f"{path}: the adapters do not fit adapter_config.json ({problem})")


def _check_scale(path: Path) -> None:
    """Raise GemmaError if what adapters are multiplied with is no sensible number."""
    parameters = read_json(path).get("lora_parameters")
    scale = parameters.get("scale", 1.0) if isinstance(parameters, dict) else 1.0
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not abs(scale) <= LARGEST_SCALE:
        raise GemmaError(f"{path}: scale must be a number up to {LARGEST_SCALE:g}, not {shortened(repr(scale))}")


def check_weights(model: nn.Module, weights: Mapping[str, mx.array]) -> None:
    """Raises GemmaError naming the tensors that are missing, left over, or of the wrong shape or type."""
    expected = dict(tree_flatten(model.parameters()))
    missing, extra = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    problems = []
    if missing:
        problems.append(f"missing: {some(missing)}")
    if extra:
        problems.append(f"unknown: {some(extra)}")
    for name in sorted(expected.keys() & weights.keys()):
        want, got = expected[name], weights[name]
        if want.shape != got.shape:
            problems.append(f"{name} is {got.shape}, expected {want.shape}")
        elif got.dtype not in FLOAT_TYPES and got.dtype != want.dtype:
            problems.append(f"{name} is {got.dtype}, expected {want.dtype}")
    if problems:
        raise GemmaError(f"the weights do not match config.json: {'; '.join(problems[:LISTED])}")
