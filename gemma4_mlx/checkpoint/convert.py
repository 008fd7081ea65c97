"""Checkpoint folder -> MLX checkpoint folder, one tensor at a time."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from gemma4_mlx.checkpoint.address import NANO, Address
from gemma4_mlx.checkpoint.card import CARD_FILE, Result, model_card, read_source
from gemma4_mlx.checkpoint.files import INDEX, some, weight_files
from gemma4_mlx.checkpoint.float_types import FLOAT_TYPES
from gemma4_mlx.checkpoint.hub import NANO_FOLDER
from gemma4_mlx.checkpoint.load import build, fit_weights, present_inputs, read_weights
from gemma4_mlx.checkpoint.quantize import Quantization, config_entries, plan
from gemma4_mlx.checkpoint.shards import ShardWriter
from gemma4_mlx.checkpoint.unfinished import origin as origin_of
from gemma4_mlx.config import ModelConfig
from gemma4_mlx.device_errors import device_errors_named
from gemma4_mlx.errors import GemmaError, UsageError, one_line
from gemma4_mlx.files import (
    JSON_BYTES,
    TOKENIZER_BYTES,
    check_room,
    cure,
    read_json,
    read_limited,
    system_reason,
    try_lock,
    write_atomically,
)
from gemma4_mlx.model.bits import bits_per_weight, bits_text
from gemma4_mlx.model.disk import read
from gemma4_mlx.model.unified import Gemma4Unified

COPIED = (
    *("chat_template.jinja", "chat_template.json", "generation_config.json", "preprocessor_config.json"),
    *("processor_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"),
    "video_preprocessor_config.json",
)
"""Files that go along unchanged where the source has them."""

TEMPLATES = "additional_chat_templates"
"""A folder of further templates, which goes along too."""

MOST_TEMPLATES = 64

CHECKED_AT_ONCE = 2**24
"""Numbers of a tensor that are looked at together."""

FLOAT_TYPE_OF = {"float32": mx.float32, "float16": mx.float16, "bfloat16": mx.bfloat16}
Progress = Callable[[int, int], None]
"""Called with the bytes written so far and the bytes in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertOptions:
    """What becomes of the weights.

    Attributes:
        quantization: how they are quantized, or None.
        dequantize: whether a quantized source becomes a plain one.
        dtype: float32, float16 or bfloat16 for what is not quantized; None keeps the source's.
    """

    quantization: Quantization | None = None
    dequantize: bool = False
    dtype: str | None = None

    def __post_init__(self) -> None:
        if self.quantization and self.dequantize:
            raise UsageError("quantize or dequantize, not both")
        if self.dtype is not None and self.dtype not in FLOAT_TYPE_OF:
            raise UsageError(f"no dtype {self.dtype!r}; there are {', '.join(FLOAT_TYPE_OF)}")


@dataclass(frozen=True, slots=True)
class Written:
    """What a conversion wrote: bytes of weights, and how many weights they stand for."""

    bytes: int
    weights: int


def convert(
    source: Path,
    target: Path,
    options: ConvertOptions,
    *,
    origin: str | None = None,
    address: Address | None = None,
    progress: Progress | None = None,
) -> Written:
    """Writes the checkpoint in `source` to the new folder `target`.

    `origin` is what the model card calls the source, `address` where it was downloaded from if it was.

    At any time one tensor and at most one shard are in memory. Raises GemmaError where the source is not a whole
    checkpoint, or the target can't be written; then nothing is left of it.
    """
    companions = _companions(source)
    _check_inside(source, ["config.json", INDEX, *companions])
    _check_inside(source, [path.name for path in weight_files(source).paths])
    config = ModelConfig.from_folder(source)
    weights = read_weights(source)
    conversion = Conversion(config, options, weights)
    groups = conversion.groups(weights)
    total = sum(conversion.size({name: weights[name] for name in group}) for group in groups)
    beside = sum((source / name).stat().st_size for name in companions)
    with new_folder(target, total + beside) as folder, _no_buffer_cache():
        writer, done = ShardWriter(folder), 0
        for group in groups:
            done += _write(writer, conversion, {name: weights.pop(name) for name in group}, source)
            if progress:
                progress(done, total)
        writer.finish()
        _write_companions(folder, source, companions)
        config_json = conversion.config_json(read_json(source / "config.json"))
        known = read_source(source, address or origin_of(source))
        name = origin or (NANO if source.samefile(NANO_FOLDER) else source.resolve().name)
        result, how = conversion.result(folder, config_json), (options.quantization, options.dequantize, options.dtype)
        card = model_card(name, *how, known, result)
        write_atomically(folder / CARD_FILE, card)
        # Last, so that a folder with a configuration is whole.
        write_atomically(folder / "config.json", json.dumps(config_json, indent=2) + "\n")
    return Written(total, conversion.weight_count)


class Conversion:
    """How each tensor of one checkpoint changes."""

    def __init__(self, config: ModelConfig, options: ConvertOptions, weights: dict[str, mx.array]) -> None:
        """Fits the weights to the model. Raises GemmaError if they are others, or can't be changed as asked for."""
        self._config = present_inputs(config, weights)
        model = build(Gemma4Unified, self._config)
        self._options = options
        self.weight_count = sum(tensor.size for _, tensor in tree_flatten(model.parameters()))
        self._widths = {
            path: module.weight.shape[-1] for path, module in model.named_modules() if hasattr(module, "to_quantized")
        }
        fit_weights(model, config.quantization, weights)
        self._packed = {path: module for path, module in model.named_modules() if hasattr(module, "scales")}
        _check_direction(self._packed, options)
        self._plan = plan(options.quantization, config, self._widths) if options.quantization else {}
        self._dtype = FLOAT_TYPE_OF[options.dtype] if options.dtype else None
        self._own_dtype = weights["language_model.model.norm.weight"].dtype

    def groups(self, names: Mapping[str, Any]) -> list[list[str]]:
        """Names of tensors that change together: a packed weight with its scales, any other one alone."""
        groups: dict[str, list[str]] = {}
        for name in sorted(names):
            path, _, leaf = name.rpartition(".")
            together = path in self._packed and leaf in ("weight", "scales", "biases")
            groups.setdefault(path if together else name, []).append(name)
        return list(groups.values())

    def size(self, tensors: Mapping[str, mx.array]) -> int:
        """Bytes that `change` makes of these tensors. Nothing is evaluated."""
        return sum(tensor.nbytes for tensor in self.change(tensors).values())

    def change(self, tensors: Mapping[str, mx.array]) -> dict[str, mx.array]:
        """What becomes of one group, lazy."""
        name = next(iter(tensors))
        path, _, leaf = name.rpartition(".")
        if len(tensors) > 1:
            tensor = self._unpack(path, tensors)
            name, leaf = f"{path}.weight", "weight"
        else:
            tensor = tensors[name]
        tensor = tensor.astype(self._dtype or tensor.dtype)
        if leaf != "weight" or path not in self._plan:
            return {name: tensor}
        packed = mx.quantize(tensor, **self._plan[path])
        return {f"{path}.{part}": array for part, array in zip(("weight", "scales", "biases"), packed, strict=False)}

    def config_json(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The source's config.json with what changed."""
        dropped = ("quantization", "quantization_config")
        changed = {name: value for name, value in config.items() if name not in dropped}
        if self._options.dtype:
            changed = _retyped(changed, self._options.dtype)
            text = config.get("text_config") or {}
            if "dtype" in text or "torch_dtype" in text:
                changed["text_config"] = _retyped(text, self._options.dtype)
        if self._options.quantization:
            entries = config_entries(self._options.quantization, self._plan)
            changed |= dict.fromkeys(dropped, entries)
        return changed

    def result(self, folder: Path, config_json: Mapping[str, Any]) -> Result:
        """What the weights that were written are, by their headers."""
        model, weights = build(Gemma4Unified, self._config), read_weights(folder)
        fit_weights(model, config_json.get("quantization"), weights)
        model.load_weights(list(weights.items()))
        told = f"{bits_text(model)}; {bits_per_weight(model):.1f} bits a weight"
        return Result(told, self._config.vision is not None, self._config.audio is not None)

    def _unpack(self, path: str, tensors: Mapping[str, mx.array]) -> mx.array:
        module: nn.Module = self._packed[path]
        return mx.dequantize(
            tensors[f"{path}.weight"],
            tensors[f"{path}.scales"],
            tensors.get(f"{path}.biases"),
            group_size=module.group_size,
            bits=module.bits,
            mode=module.mode,
            dtype=self._dtype or self._own_dtype,
        )


def _retyped(config: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name != "torch_dtype"} | {"dtype": dtype}


def check_target(target: Path) -> None:
    """Raises GemmaError unless the folder is empty or does not exist."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise GemmaError(f"{target}: already there and not empty; remove it or choose another folder")


@contextmanager
def new_folder(target: Path, size: int = 0) -> Iterator[Path]:
    """A folder beside `target` to fill with about `size` bytes; it gets its name when the block ends without an error.

    After an error it is removed. One that a killed process left is removed by the next conversion to that target.
    """
    check_target(target)
    target = target.absolute()
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GemmaError(f"{target}: can't be written ({system_reason(error)}); {cure(error)}") from None
    with _only_writer(unfinished, target):
        try:
            _empty(unfinished)
            _check_space(unfinished, size)
            yield unfinished
            unfinished.rename(target)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


@contextmanager
def _only_writer(folder: Path, target: Path) -> Iterator[None]:
    """Locks the folder. The lock ends with the process, however that ends."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        raise GemmaError(f"{folder}: is a link, not a folder of a conversion that was broken off; remove it") from None
    try:
        if os.fstat(handle).st_uid != os.geteuid():
            raise GemmaError(f"{folder}: belongs to another user; choose another folder for the result")
        if not try_lock(handle, str(target)):
            raise GemmaError(f"{target}: another conversion is writing it")
        yield
    finally:
        os.close(handle)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _check_space(folder: Path, size: int) -> None:
    check_room(folder.parent, shutil.disk_usage(folder).free, size)


@contextmanager
def _no_buffer_cache() -> Iterator[None]:
    """Gives freed buffers back at once: tensors of many sizes would fill the cache with buffers that fit no other."""
    limit = mx.set_cache_limit(0)
    try:
        yield
    finally:
        mx.set_cache_limit(limit)


def _write(writer: ShardWriter, conversion: Conversion, tensors: dict[str, mx.array], source: Path) -> int:
    """Changes a group and hands it to the writer; returns its bytes."""
    name = next(iter(tensors))
    try:
        with device_errors_named():
            read(tensors)
            _check_finite(source, tensors)
            changed = conversion.change(tensors)
            tensors.clear()
            writer.add(changed)
            _check_finite(source, changed, of="once it is converted")
    except (RuntimeError, ValueError) as error:
        raise GemmaError(f"{source}: {name} can't be converted ({one_line(error)})") from None
    return sum(tensor.nbytes for tensor in changed.values())


def _check_finite(source: Path, tensors: Mapping[str, mx.array], of: str = "as it is") -> None:
    """Raise GemmaError naming a tensor with a number that is infinite or none, as an overflow makes it."""
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOAT_TYPES:
            continue
        numbers = tensor.reshape(-1)
        for start in range(0, numbers.size, CHECKED_AT_ONCE):
            if not mx.isfinite(numbers[start : start + CHECKED_AT_ONCE]).all().item():
                raise GemmaError(
                    f"{source}: {name} has numbers that are not finite in {tensor.dtype}, {of}; take another source, "
                    "or dtype=bfloat16",
                    arguments=["dtype"],
                )


def _companions(source: Path) -> list[str]:
    """Names of what goes along unchanged. Raises GemmaError for more templates than any checkpoint has."""
    templates = sorted(f"{TEMPLATES}/{path.name}" for path in (source / TEMPLATES).glob("*.jinja"))
    if len(templates) > MOST_TEMPLATES:
        raise GemmaError(f"{source}: {len(templates)} files in {TEMPLATES}; at most {MOST_TEMPLATES} are accepted")
    return [name for name in (*COPIED, *templates) if os.path.lexists(source / name)]


def _check_inside(source: Path, names: Sequence[str]) -> None:
    """Raise GemmaError for a link that leads out of the folder, or out of the folder's repository in the Hub's cache.

    What is converted is often published, and a link could lead to anything that its owner can read.
    """
    folder = source.resolve()
    inside = [folder, *([folder.parent.parent / "blobs"] if folder.parent.name == "snapshots" else [])]
    outside = [name for name in names if not any((source / name).resolve().is_relative_to(place) for place in inside)]
    if outside:
        raise GemmaError(
            f"{source}: {some(outside)} leads out of the folder, and may not be meant to be published; put a copy there"
        )


def _write_companions(folder: Path, source: Path, names: Sequence[str]) -> None:
    """Everything but weights, configuration and card."""
    for name in names:
        most = TOKENIZER_BYTES if name.startswith("tokenizer.") else JSON_BYTES
        (folder / name).parent.mkdir(exist_ok=True)
        try:
            (folder / name).write_bytes(read_limited(source / name, most))
        except (OSError, ValueError) as error:
            raise GemmaError(f"{source / name}: can't be copied ({one_line(error)})") from None


def _check_direction(packed: Mapping[str, nn.Module], options: ConvertOptions) -> None:
    if packed and not options.dequantize:
        bits = Counter(module.bits for module in packed.values()).most_common(1)[0][0]
        raise GemmaError(f"the source is quantized already ({bits} bits); convert the original, or dequantize with -d")
    if options.dequantize and not packed:
        raise UsageError("the source is not quantized; leave -d out")
