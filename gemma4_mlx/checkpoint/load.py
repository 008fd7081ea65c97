"""Checkpoint folder -> model. Weights stay on disk until they are evaluated."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from gemma4_mlx.checkpoint.names import module_name
from gemma4_mlx.config import DrafterConfig, ModelConfig, read_json
from gemma4_mlx.errors import GemmaError, one_line, shortened
from gemma4_mlx.model.drafter import Drafter
from gemma4_mlx.model.unified import Gemma4Unified

FLOAT_TYPES = (mx.float32, mx.float16, mx.bfloat16)
LISTED = 5
"""Tensors that an error names before it only counts."""


def load_model(folder: Path) -> Gemma4Unified:
    """The model of a checkpoint folder, ready to run. Raises GemmaError for anything that does not match."""
    return open_model(folder).prepare()


def open_model(folder: Path, adapters: Path | None = None) -> Gemma4Unified:
    """The model of a checkpoint folder with the checkpoint's own module tree, its weights lazy: only headers are read.

    `adapters` is a folder with LoRA adapters. `prepare` makes the model ready to run. Raises GemmaError for anything
    that does not match.
    """
    config = ModelConfig.from_folder(folder)
    weights = read_weights(folder)
    model = Gemma4Unified(present_inputs(config, weights))
    if config.quantization:
        quantize_modules(model, config.quantization, weights)
    check_weights(model, weights)
    model.load_weights(list(weights.items()))
    if adapters is not None:
        load_adapters(model, adapters)
    return model.eval()


def open_drafter(folder: Path) -> Drafter:
    """The drafter of a checkpoint folder, its weights lazy, to be fitted to a target by `prepare`.

    Raises GemmaError for anything that does not match.
    """
    config = DrafterConfig.from_folder(folder)
    weights = {name.removeprefix("language_model.model."): array for name, array in read_weights(folder).items()}
    drafter = Drafter(config)
    if config.quantization:
        quantize_modules(drafter, config.quantization, weights)
    check_weights(drafter, weights)
    drafter.load_weights(list(weights.items()))
    return drafter.eval()


def read_weights(folder: Path) -> dict[str, mx.array]:
    """All tensors of the folder's safetensors files by the module tree's names, lazy."""
    weights: dict[str, mx.array] = {}
    for path in weight_files(folder):
        try:
            tensors = mx.load(str(path))
        except (RuntimeError, ValueError) as error:
            raise GemmaError(f"{path}: not a whole safetensors file ({one_line(error)})") from None
        assert isinstance(tensors, dict)
        for name, tensor in tensors.items():
            own = module_name(name)
            if own in weights:
                raise GemmaError(f"{path}: {name} was already read under another name")
            weights[own] = tensor
    return weights


def weight_files(folder: Path) -> list[Path]:
    """The files that the index lists, or every `model*.safetensors` where there is no index."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        listed = read_json(index).get("weight_map")
        if not isinstance(listed, dict) or not all(_is_plain_name(name) for name in listed.values()):
            raise GemmaError(f"{index}: weight_map must map tensors to file names in the same folder")
        files = [folder / name for name in sorted(set(listed.values()))]
    else:
        files = sorted(folder.glob("model*.safetensors"))
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise GemmaError(f"{folder}: {_some(missing)} missing; download or convert the checkpoint again")
    if not files:
        raise GemmaError(f"{folder}: no model*.safetensors there; this package reads safetensors only")
    return files


def present_inputs(config: ModelConfig, weights: Iterable[str]) -> ModelConfig:
    """The configuration without audio where mlx-lm took the media tensors out: it drops vision_config but not
    audio_config."""
    text_only = config.vision is None and not any(name.startswith("embed_audio.") for name in weights)
    return replace(config, audio=None) if text_only else config


def quantize_modules(
    model: nn.Module, quantization: Mapping[str, Any], weights: Mapping[str, mx.array] | Iterable[str]
) -> None:
    """Turns the modules whose weights are quantized into quantized ones, each with its own settings.

    `quantization` has group_size, bits and mode for all, and overrides (or False) by module path in any dialect.
    """
    settings = {key: quantization[key] for key in ("group_size", "bits", "mode") if key in quantization}
    overrides = {module_name(path): value for path, value in quantization.items() if isinstance(value, (dict, bool))}

    def choose(path: str, module: nn.Module) -> bool | dict[str, Any]:
        if not hasattr(module, "to_quantized") or f"{path}.scales" not in weights:
            return False
        override = overrides.get(path)
        return {**settings, **override} if isinstance(override, dict) else dict(settings)

    try:
        nn.quantize(model, class_predicate=choose)
    except (ValueError, TypeError) as error:
        raise GemmaError(f"config.json: quantization can't be applied ({one_line(error)})") from None


def load_adapters(model: Gemma4Unified, folder: Path) -> None:
    """Adds LoRA adapters as mlx-lm's trainer writes them (adapter_config.json, adapters.safetensors)."""
    if not (folder / "adapter_config.json").is_file() or not (folder / "adapters.safetensors").is_file():
        raise GemmaError(f"{folder}: adapter_config.json and adapters.safetensors are expected there")
    from mlx_lm.tuner.utils import load_adapters as attach

    try:
        attach(model, str(folder))
    except (ValueError, RuntimeError, AttributeError, KeyError, TypeError) as error:
        said = shortened(one_line(error))
        raise GemmaError(f"{folder}: the adapters do not fit this model ({said})") from None


def check_weights(model: nn.Module, weights: Mapping[str, mx.array]) -> None:
    """Raises GemmaError naming the tensors that are missing, left over, or of the wrong shape or type."""
    expected = dict(tree_flatten(model.parameters()))
    missing, extra = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    problems = []
    if missing:
        problems.append(f"missing: {_some(missing)}")
    if extra:
        problems.append(f"unknown: {_some(extra)}")
    for name in sorted(expected.keys() & weights.keys()):
        want, got = expected[name], weights[name]
        if want.shape != got.shape:
            problems.append(f"{name} is {got.shape}, expected {want.shape}")
        elif got.dtype not in FLOAT_TYPES and got.dtype != want.dtype:
            problems.append(f"{name} is {got.dtype}, expected {want.dtype}")
    if problems:
        raise GemmaError(f"the weights do not match config.json: {'; '.join(problems[:LISTED])}")


def _is_plain_name(name: object) -> bool:
    return isinstance(name, str) and name == Path(name).name and name.endswith(".safetensors")


def _some(names: list[str]) -> str:
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
