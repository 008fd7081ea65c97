"""Folders that are given as adapters and are none, or damaged ones."""

import json
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import pytest
from test_decode_step import adapters

from gemma4_mlx import api
from gemma4_mlx.checkpoint.hub import NANO_FOLDER
from gemma4_mlx.errors import GemmaError

EXPECTED = "adapter_config.json and adapters.safetensors are expected there"
PEFT = {"peft_type": "LORA", "base_model_name_or_path": "google/gemma-4-12B-it", "r": 16, "lora_alpha": 32}
LORA_A = "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight"
NO = "there; " + EXPECTED
UNFINISHED = "{}: an unfinished download: "
MERGE = "merge it into one with peft (merge_and_unload, then save_pretrained), and load that"
Change = Callable[[Path], object]


def peft(folder: Path, name: str = "adapter_model.safetensors") -> None:
    """A folder as PEFT writes it."""
    for path in folder.iterdir():
        path.unlink()
    (folder / "adapter_config.json").write_text(json.dumps(PEFT))
    if name.endswith(".safetensors"):
        mx.save_safetensors(str(folder / name), {LORA_A: mx.zeros((16, 64))})
    elif name:
        (folder / name).write_bytes(b"x")


def settings(**changes: object) -> Change:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        known = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({name: value for name, value in known.items() if value is not None}))

    return change


def model(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((NANO_FOLDER / name).read_bytes())


def only(name: str, content: bytes = b"x") -> Change:
    def change(folder: Path) -> None:
        (folder / "adapters.safetensors").unlink()
        (folder / name).write_bytes(content)

    return change


def write(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content)


AGAIN = "download it, copy it or convert the checkpoint again"
WRONG: dict[str, tuple[Change, str]] = {
    "PEFT": (
        peft,
        "{}: an adapter of PEFT (LORA) for google/gemma-4-12B-it, which can't be read beside a model: " + MERGE,
    ),
    "PEFT, pickled": (lambda folder: peft(folder, "adapter_model.bin"), "{}: an adapter of PEFT (LORA) for google"),
    "PEFT without weights": (
        lambda folder: peft(folder, ""),
        "{}: the settings of a PEFT adapter without adapter_model.safetensors; download it again",
    ),
    "PEFT without settings": (
        lambda folder: (peft(folder), (folder / "adapter_config.json").unlink()),
        "{}: an adapter of PEFT, which can't be read beside a model: ",
    ),
    "no weights": (lambda folder: (folder / "adapters.safetensors").unlink(), "{}: no adapters.safetensors " + NO),
    "no settings": (lambda folder: (folder / "adapter_config.json").unlink(), "{}: no adapter_config.json " + NO),
    "numbered": (
        lambda folder: (folder / "adapters.safetensors").rename(folder / "0000100_adapters.safetensors"),
        "{}: no adapters.safetensors there, only 0000100_adapters.safetensors; copy the one that you want",
    ),
    "a model": (model, "{}: a whole model, no adapters; give it as the model"),
    "GGUF": (only("adapter.gguf"), f"{{}}: adapters of llama.cpp (GGUF), which can't be read; {EXPECTED}"),
    "npz": (only("adapters.npz"), f"{{}}: no adapters.safetensors there, only adapters.npz; {EXPECTED}"),
    "empty weights": (write("adapters.safetensors", b""), f"{UNFINISHED}adapters.safetensors is empty; {AGAIN}"),
    "empty settings": (write("adapter_config.json", b""), f"{UNFINISHED}adapter_config.json is empty; {AGAIN}"),
    "a pointer": (
        write("adapters.safetensors", b"version https://git-lfs.github.com/spec/v1\noid"),
        "{}: an unfinished download: adapters.safetensors is only a Git LFS pointer; ",
    ),
    "cut": (
        lambda folder: write("adapters.safetensors", (folder / "adapters.safetensors").read_bytes()[:-9])(folder),
        "{}: an unfinished download: adapters.safetensors is cut off at ",
    ),
    "another kind": (settings(fine_tune_type="prefix"), "{}/adapter_config.json: fine_tune_type 'prefix' is unknown"),
    "no layers": (settings(num_layers=None), "{}/adapter_config.json: num_layers missing; mlx-lm's trainer writes it"),
    "no parameters": (settings(lora_parameters=None), "{}/adapter_config.json: lora_parameters missing; mlx-lm"),
    "damaged settings": (write("adapter_config.json", b"{"), "{}/adapter_config.json: not a readable JSON file"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_what_are_no_adapters_says_what_it_is(tiny_folder: Path, tmp_path: Path, change: Change, message: str) -> None:
    given = adapters(tiny_folder, tmp_path / "adapters")
    change(given)
    with pytest.raises(GemmaError) as error:
        api.load(tiny_folder, adapter_path=given, lazy=True)
    assert str(error.value).startswith(message.replace("{}", str(given)))
    assert "\n" not in str(error.value)


def test_no_folder(tiny_folder: Path, tmp_path: Path) -> None:
    given = adapters(tiny_folder, tmp_path / "adapters")
    for path, why in (
        (given / "adapters.safetensors", f"a file; give the folder that it lies in: {EXPECTED}"),
        (tmp_path / "no", f"no such folder; {EXPECTED} (from the Hub: hf download OWNER/NAME --local-dir FOLDER)"),
    ):
        with pytest.raises(GemmaError) as error:
            api.load(tiny_folder, adapter_path=path, lazy=True)
        assert str(error.value) == f"{path}: {why}"
