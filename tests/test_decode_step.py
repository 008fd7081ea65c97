"""The decode step stays small, and says the same as a prompt read at once, whatever the layers are made of."""

import json
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten

from benchmarks.decode_step import count_launches, stepper
from benchmarks.random_checkpoint import tiny_config, write_checkpoint
from gemma4_mlx.checkpoint.load import open_model
from gemma4_mlx.measure.paths import step
from gemma4_mlx.model.cache import cache_arrays
from gemma4_mlx.model.compiled import Traces, compile_method
from gemma4_mlx.model.unified import Gemma4Unified

IDS = list(range(300, 325))


def adapters(folder: Path, target: Path) -> Path:
    """Random LoRA weights on two kinds of projections of the layers 2 to 5, a sliding one to a full one."""
    rank, weights = 2, {}
    for name, array in tree_flatten(open_model(folder).parameters()):
        path = name.removesuffix(".weight")
        if path.endswith(("self_attn.q_proj", "mlp.down_proj")) and int(path.split(".")[3]) > 1:
            outputs, inputs = array.shape
            weights[f"{path}.lora_a"] = mx.random.normal((inputs, rank), key=mx.random.key(inputs)) * 0.2
            weights[f"{path}.lora_b"] = mx.random.normal((rank, outputs), key=mx.random.key(outputs)) * 0.2
    target.mkdir()
    mx.save_safetensors(str(target / "adapters.safetensors"), weights)
    parameters = {"rank": rank, "scale": 2.0, "dropout": 0.0, "keys": ["self_attn.q_proj", "mlp.down_proj"]}
    config = {"fine_tune_type": "lora", "num_layers": 4, "lora_parameters": parameters}
    (target / "adapter_config.json").write_text(json.dumps(config))
    return target


@pytest.fixture(params=["plain", "mixed bits", "adapters"])
def model(request: pytest.FixtureRequest, tiny_folder: Path, mixed: Path, tmp_path: Path) -> Gemma4Unified:
    if request.param == "mixed bits":
        return open_model(mixed).prepare()
    added = adapters(tiny_folder, tmp_path / "adapters") if request.param == "adapters" else None
    return open_model(tiny_folder, added).prepare()


def test_token_by_token_gives_the_logits_of_one_pass(model: Gemma4Unified) -> None:
    want = model.logits(model(model.embed(IDS)))[0]
    caches = model.make_caches(len(IDS))
    got = mx.concatenate([step(model, caches, mx.array([id])) for id in IDS])
    np.testing.assert_allclose(np.array(got), np.array(want), atol=1e-4)


def test_layers_that_are_alike_are_compiled_once(tiny_folder: Path, mixed: Path) -> None:
    def compiled(folder: Path) -> list[int]:
        steps = [layer._step_feed for layer in open_model(folder).prepare().language_model.model.layers]
        return [steps.index(step) for step in steps]

    assert compiled(tiny_folder) == [0, 0, 0, 0, 0, 5]
    assert compiled(mixed) == [0, 1, 2]  # 8 bits in the first, a full one, 4 bits in the last


def test_kernels_of_a_step(tmp_path: Path) -> None:
    def kernels(layers: int) -> int:
        config = tiny_config(num_hidden_layers=layers)
        return count_launches(stepper("gemma4_mlx", write_checkpoint(tmp_path / str(layers), config)))

    six, twelve = kernels(6), kernels(12)
    assert twelve - six <= 5 * 15 + 24  # five sliding layers and a full one
    assert six - (twelve - six) <= 9  # embedding, norm, head, and two angles of each kind of layer


@pytest.mark.parametrize(("bits", "launches"), [(None, 119), (8, 164), (4, 164)])
def test_kernels_of_a_step_in_16_bits(tiny_folder: Path, bits: int | None, launches: int) -> None:
    """Six layers. Neither queries nor scales of packed rows are made float32 for it."""
    model = open_model(tiny_folder)
    model.set_dtype(mx.bfloat16)
    caches = model.prepare().make_caches(200, bits, 32)

    def run(ids: mx.array) -> tuple[mx.array, list[mx.array]]:
        return step(model, caches, ids), cache_arrays(caches)

    mx.eval(run(mx.array([300])), run(mx.array([300])))
    assert count_launches(run) == launches


class Scaled(nn.Module):
    """A weight in an argument and a factor that is compiled in."""

    def __init__(self, weight: float, factor: float) -> None:
        super().__init__()
        self.weight, self.factor = mx.array([weight]), factor

    def __call__(self, x: mx.array) -> mx.array:
        return x * self.weight * self.factor


def test_what_is_compiled_is_shared_where_only_arrays_differ() -> None:
    traces: Traces = {}
    modules = [Scaled(2, 10), Scaled(3, 10), Scaled(2, 100)]
    methods = [compile_method(module, Scaled.__call__, traces) for module in modules]

    def results() -> list[list[float]]:
        return [method(module, mx.array([1.0, 4.0])).tolist() for module, method in zip(modules, methods, strict=True)]

    assert results() == [[20, 80], [30, 120], [200, 800]]
    modules[1].weight = mx.array([5.0])
    assert results() == [[20, 80], [50, 200], [200, 800]]
    assert len(traces) == 2
