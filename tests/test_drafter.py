"""The drafter against a plain float64 computation, and drafting with it through the engine."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from plain_decode import decode
from reference import DraftReference, Reference
from safetensors.numpy import save_file

from benchmarks.random_checkpoint import write_checkpoint
from benchmarks.shapes import tiny_config
from gemma4_mlx.checkpoint.load import load_model, open_drafter, open_model
from gemma4_mlx.engine.drafts import DraftModel
from gemma4_mlx.engine.options import GenerationOptions
from gemma4_mlx.engine.pacer import Pacer
from gemma4_mlx.engine.prefill import read_hidden
from gemma4_mlx.engine.sampling import Sampler
from gemma4_mlx.engine.speculative import decode_with_drafts
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.model.unified import Gemma4Unified
from gemma4_mlx.prompt.prompt import Prompt

HIDDEN, MLP = 32, 48
IDS = np.random.default_rng(1).integers(300, 500, 50).tolist()


def write_drafter(folder: Path, target: dict[str, Any]) -> Path:
    """A random drafter of two sliding layers and a full one for a target's configuration."""
    text = target["text_config"]
    kinds = ["sliding_attention", "sliding_attention", "full_attention"]
    own = {**text, "hidden_size": HIDDEN, "intermediate_size": MLP, "layer_types": kinds, "num_hidden_layers": 3}
    config = {
        "model_type": "gemma4_unified_assistant",
        "backbone_hidden_size": text["hidden_size"],
        "text_config": {**own, "num_kv_shared_layers": 3, "final_logit_softcapping": None},
    }
    rng = np.random.default_rng(5)
    shapes = {
        "model.embed_tokens.weight": (text["vocab_size"], HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "pre_projection.weight": (HIDDEN, 2 * text["hidden_size"]),
        "post_projection.weight": (text["hidden_size"], HIDDEN),
    }
    for index, kind in enumerate(kinds):
        head_dim = text["global_head_dim"] if kind == "full_attention" else text["head_dim"]
        width = text["num_attention_heads"] * head_dim
        layer = {"self_attn.q_proj": (width, HIDDEN), "self_attn.o_proj": (HIDDEN, width)}
        layer |= {"self_attn.q_norm": (head_dim,), "mlp.down_proj": (HIDDEN, MLP)}
        layer |= {f"mlp.{name}_proj": (MLP, HIDDEN) for name in ("gate", "up")}
        norms = ("input", "post_attention", "pre_feedforward", "post_feedforward")
        layer |= {f"{name}_layernorm": (HIDDEN,) for name in norms}
        shapes |= {f"model.layers.{index}.{name}.weight": shape for name, shape in layer.items()}
        shapes[f"model.layers.{index}.layer_scalar"] = (1,)
    tensors = {
        name: (rng.normal(0, shape[-1] ** -0.5, shape) if len(shape) == 2 else rng.uniform(0.3, 0.9, shape)).astype(
            np.float32
        )
        for name, shape in shapes.items()
    }
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("drafter")
    target = write_checkpoint(root / "target", tiny_config())
    return target, write_drafter(root / "assistant", json.loads((target / "config.json").read_text()))


@pytest.fixture(scope="module")
def model(folders: tuple[Path, Path]) -> Gemma4Unified:
    return load_model(folders[0])


@pytest.mark.parametrize("length", [5, 50])
def test_guesses_are_the_intended_ones(folders: tuple[Path, Path], model: Gemma4Unified, length: int) -> None:
    target, assistant = (Reference(str(folders[0] / "model.safetensors"), read(folders[0])), folders[1])
    hidden = target.hidden(IDS[:length], {})[-1]
    want = DraftReference(str(assistant / "model.safetensors"), read(assistant)).draft(target, 333, hidden, 4)

    drafter = open_drafter(assistant).prepare(model)
    caches = model.make_caches(length)
    state, token, got = read_hidden(model, Prompt(IDS[:length]), caches, 16), mx.array([333]), []
    rotations = drafter.rotations(caches)
    for _ in range(4):
        logits, state = drafter(model.language_model.model.embed(token[None]), state, caches, rotations)
        got.append(np.array(logits[0, 0]))
        token = mx.argmax(logits[:, 0], axis=-1)
    np.testing.assert_allclose(got, want, atol=1e-4)


@pytest.mark.parametrize("kv", [{}, {"kv_bits": 8, "kv_group_size": 32}], ids=["plain", "8 bits"])
def test_drafting_changes_no_token(folders: tuple[Path, Path], model: Gemma4Unified, kv: dict[str, int]) -> None:
    prompt, options, count = Prompt(IDS), GenerationOptions(), 60
    caches = model.make_caches(len(IDS) + count, **kv)
    logits = model.logits(read_hidden(model, prompt, caches, 16))[:, 0]
    want = list(decode(model, caches, logits, lambda logits: mx.argmax(logits, axis=-1), count))

    caches, pacer = model.make_caches(len(IDS) + count, **kv), Pacer(fixed=3)
    source = DraftModel(open_drafter(folders[1]).prepare(model), model, caches)
    sampler = Sampler(options, model.config.text.vocab_size)
    hidden = read_hidden(model, prompt, caches, 16)
    assert list(decode_with_drafts(model, caches, hidden, sampler, count, (), source, pacer)) == want
    assert pacer.passes > 0


def test_a_drafter_takes_the_type_of_its_target(folders: tuple[Path, Path]) -> None:
    target = open_model(folders[0])
    target.set_dtype(mx.float16)
    drafter = open_drafter(folders[1]).prepare(target.prepare())
    assert {array.dtype for _, array in tree_flatten(drafter.parameters())} == {mx.float16}


def test_a_drafter_of_another_model_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    other = load_model(write_checkpoint(tmp_path / "other", tiny_config(hidden_size=128)))
    with pytest.raises(GemmaError, match="the drafter was made for another model"):
        open_drafter(folders[1]).prepare(other)


def test_a_model_is_no_drafter(folders: tuple[Path, Path]) -> None:
    with pytest.raises(GemmaError, match="not a drafter"):
        open_drafter(folders[0])


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())
