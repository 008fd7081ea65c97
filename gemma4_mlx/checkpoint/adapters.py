"""What a folder of adapters is, if it is none that can be read: those of other libraries, and damaged ones.

Its own file because it tells kinds of files apart, and loads nothing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gemma4_mlx.checkpoint.files import some
from gemma4_mlx.checkpoint.unfinished import cure, fault_of_file
from gemma4_mlx.errors import GemmaError, shortened
from gemma4_mlx.files import JSON_BYTES, read_limited

CONFIG, WEIGHTS = "adapter_config.json", "adapters.safetensors"
EXPECTED = f"{CONFIG} and {WEIGHTS} are expected there"
PEFT_FILES = ("adapter_model.safetensors", "adapter_model.bin")
KINDS = ("lora", "dora", "full")
"""What mlx-lm's trainer calls kinds of tuning."""


def check_adapters(folder: Path) -> None:
    """Raise GemmaError that says what a folder is, unless it has what mlx-lm's trainer writes."""
    if not folder.is_dir():
        raise GemmaError(f"{folder}: {_no_folder(folder)}")
    _check_peft(folder)
    for name in (CONFIG, WEIGHTS):
        path = folder / name
        if not path.exists() and not path.is_symlink():
            raise GemmaError(f"{folder}: {_lacking(folder, name)}")
        fault = fault_of_file(path)
        if fault is not None:
            raise GemmaError(f"{folder}: an unfinished download: {name} is {fault.what}; {cure(folder, fault)}")
    _check_settings(folder / CONFIG, _settings(folder))


def _no_folder(folder: Path) -> str:
    if folder.is_file():
        return f"a file; give the folder that it lies in: {EXPECTED}"
    return f"no such folder; {EXPECTED} (from the Hub: hf download OWNER/NAME --local-dir FOLDER)"


def _settings(folder: Path) -> Any:
    """What the settings say, None if they can't be read."""
    try:
        return json.loads(read_limited(folder / CONFIG, JSON_BYTES))
    except (OSError, ValueError, RecursionError):
        return None


def _check_peft(folder: Path) -> None:
    """Raise GemmaError for adapters of PEFT (Unsloth, Axolotl, LLaMA-Factory and TRL write them), with the way out."""
    settings = _settings(folder)
    told = settings if isinstance(settings, dict) else {}
    files = [name for name in PEFT_FILES if (folder / name).exists()]
    if (folder / WEIGHTS).exists() or not (files or "peft_type" in told):
        return
    if not files:
        raise GemmaError(f"{folder}: the settings of a PEFT adapter without {PEFT_FILES[0]}; download it again")
    kind, base = told.get("peft_type"), told.get("base_model_name_or_path")
    named = f" ({shortened(kind)})" if isinstance(kind, str) else ""
    made_for = f" for {shortened(base)}" if isinstance(base, str) and base else ""
    raise GemmaError(
        f"{folder}: an adapter of PEFT{named}{made_for}, which can't be read beside a model: merge it into one "
        "with peft (merge_and_unload, then save_pretrained), and load that"
    )


def _lacking(folder: Path, name: str) -> str:
    """What is there in the place of a file."""
    numbered = sorted(path.name for path in folder.glob("*_adapters.safetensors"))
    if name == WEIGHTS and numbered:
        return f"no {WEIGHTS} there, only {some(numbered)}; copy the one that you want to {WEIGHTS}"
    if (folder / "config.json").exists() and any(folder.glob("*.safetensors")) and not (folder / CONFIG).exists():
        return "a whole model, no adapters; give it as the model"
    if any(folder.glob("*.gguf")):
        return f"adapters of llama.cpp (GGUF), which can't be read; {EXPECTED}"
    pickled = sorted(path.name for pattern in ("*.npz", "*.pt", "*.bin", "*.pth") for path in folder.glob(pattern))
    if name == WEIGHTS and pickled:
        return f"no {WEIGHTS} there, only {some(pickled)}; {EXPECTED}"
    return f"no {name} there; {EXPECTED}"


def _check_settings(path: Path, settings: Any) -> None:
    """Raise GemmaError for settings of another form than mlx-lm's."""
    if not isinstance(settings, Mapping):
        return  # it is said when they are read
    kind = settings.get("fine_tune_type", "lora")
    if kind not in KINDS:
        raise GemmaError(f"{path}: fine_tune_type {shortened(repr(kind))} is unknown; there are {', '.join(KINDS)}")
    needed = () if kind == "full" else ("num_layers", "lora_parameters")
    lacking = [name for name in needed if name not in settings]
    if lacking:
        raise GemmaError(f"{path}: {' and '.join(lacking)} missing; mlx-lm's trainer writes it, copy it from there")
