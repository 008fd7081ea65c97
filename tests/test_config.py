"""`config.json` of models and drafters: both dialects, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from goldens import published

from gemma4_mlx.checkpoint.hub import NANO_DRAFTER_FOLDER
from gemma4_mlx.config import DrafterConfig, ModelConfig
from gemma4_mlx.errors import GemmaError


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    shutil.copy(tiny_folder / "config.json", tmp_path)
    return tmp_path


def edit_config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def test_the_published_configuration() -> None:
    config = ModelConfig.from_dict(published()["config"])
    text = config.text
    assert (text.hidden_size, text.intermediate_size, text.vocab_size, len(text.layers)) == (3840, 15360, 262144, 48)
    sliding, full = text.layers[4], text.layers[5]
    assert (sliding.head_dim, sliding.num_key_value_heads, sliding.window, sliding.rope.theta) == (256, 8, 1024, 1e4)
    assert (full.head_dim, full.num_key_value_heads, full.window, full.rope.partial_rotary_factor) == (
        512,
        1,
        None,
        0.25,
    )
    assert [index for index, layer in enumerate(text.layers) if layer.window is None] == list(range(5, 48, 6))
    assert (config.tokens.image, config.tokens.audio_end, config.vision.patch_size) == (258880, 258883, 48)


def test_both_config_dialects_mean_the_same(folder: Path) -> None:
    published = ModelConfig.from_folder(folder)

    def newer(config: dict[str, Any]) -> None:
        text = config["text_config"]
        layer = {"head_dim": text.pop("global_head_dim"), "num_key_value_heads": text.pop("num_global_key_value_heads")}
        text["per_layer_config"] = {"05": layer}

    edit_config(folder, newer)
    assert ModelConfig.from_folder(folder) == published


CONFIG_ERRORS = [
    (
        {"model_type": "gemma3"},
        "config.json: model_type is 'gemma3'; this package runs 'gemma4_unified' (Gemma 4 12B Unified) only",
    ),
    ({"text_config": None}, "config.json: text_config is missing"),
    ({"image_token_id": None}, "config.json: image_token_id must be a whole number from 0 to 16777216, not None"),
    (
        {"quantization": [1]},
        "config.json: an entry is missing or of the wrong kind "
        "(TypeError('cannot convert dictionary update sequence element #0 to a sequence'))",
    ),
    (
        {"quantization_config": {"quant_method": "compressed-tensors"}},
        "config.json: weights quantized by 'compressed-tensors' can't be read; "
        "use an MLX checkpoint or convert the unquantized one with convert.py",
    ),
]
TEXT_ERRORS = [
    ({"hidden_size": -1}, "config.json: hidden_size must be a whole number from 1 to 16777216, not -1"),
    ({"head_dim": "64"}, "config.json: head_dim must be a whole number from 1 to 16777216, not '64'"),
    ({"num_hidden_layers": 9}, "config.json: 6 layer_types for 9 num_hidden_layers"),
    (
        {"layer_types": ["linear_attention"]},
        "config.json: layer_types must list 'sliding_attention' and 'full_attention', one for each layer",
    ),
    (
        {"enable_moe_block": True},
        "config.json: enable_moe_block = True is not supported; Gemma 4 12B Unified has False",
    ),
    (
        {"attention_k_eq_v": False},
        "config.json: attention_k_eq_v = False is not supported; Gemma 4 12B Unified has True",
    ),
    ({"rope_parameters": {}}, "config.json: full_attention is missing"),
    (
        {"vocab_size": 2**60},
        "config.json: vocab_size must be a whole number from 1 to 16777216, not 1152921504606846976",
    ),
    (
        {"rope_parameters": {"full_attention": {}, "sliding_attention": {}}},
        "config.json: rope_theta must be a number from 1 to 1e+12, not None",
    ),
    (
        {"rope_parameters": {"full_attention": {"rope_theta": 1e6, "partial_rotary_factor": 9}}},
        "config.json: partial_rotary_factor must be a number from 0.001 to 1, not 9",
    ),
    (
        {"rope_parameters": {"full_attention": {"rope_theta": float("nan")}}},
        "config.json: rope_theta must be a number from 1 to 1e+12, not nan",
    ),
    (
        {"rope_parameters": {"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}}},
        "config.json: partial_rotary_factor 1 of full_attention layers is not supported, or missing",
    ),
    (
        {
            "rope_parameters": {
                "full_attention": {"rope_theta": 1e6, "partial_rotary_factor": 0.25},
                "sliding_attention": {"rope_theta": 1e4, "partial_rotary_factor": 0.5},
            }
        },
        "config.json: partial_rotary_factor 0.5 of sliding_attention layers is not supported",
    ),
    ({"num_attention_heads": 5}, "config.json: 5 num_attention_heads do not divide into"),
    ({"head_dim": 15}, "config.json: 4 num_attention_heads do not divide into 2 num_key_value_heads, or head_dim 15"),
    ({"layer_types": ["full_attention"] * 2000}, "config.json: 2000 layers; at most 1024 are accepted"),
    ({"per_layer_config": {"first": {}}}, "config.json: an entry is missing or of the wrong kind (ValueError("),
    ({"final_logit_softcapping": 10**400}, "config.json: final_logit_softcapping must be a number from 0.001 to 1e+06"),
    (
        {"final_logit_softcapping": 0},
        "config.json: final_logit_softcapping must be a number from 0.001 to",
    ),
    *(
        ({"rms_norm_eps": eps}, f"config.json: rms_norm_eps must be a number from 1e-12 to 0.1, not {eps!r}")
        for eps in ("small", float("nan"), float("inf"), -1.0, 0, True, 1e30)
    ),
]


@pytest.mark.parametrize(("changes", "line"), CONFIG_ERRORS)
def test_bad_config(folder: Path, changes: dict[str, Any], line: str) -> None:
    edit_config(folder, lambda config: config.update(changes))
    with pytest.raises(GemmaError) as error:
        ModelConfig.from_folder(folder)
    assert str(error.value) == line


@pytest.mark.parametrize(("changes", "line"), TEXT_ERRORS)
def test_bad_text_config(folder: Path, changes: dict[str, Any], line: str) -> None:
    edit_config(folder, lambda config: config["text_config"].update(changes))
    with pytest.raises(GemmaError) as error:
        ModelConfig.from_folder(folder)
    assert str(error.value).startswith(line)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"rope_parameters": {"sliding_attention": {}, "full_attention": {}}}, "rope_theta must be a number from 1"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps must be a number from 1e-12 to 0.1, not 'small'"),
        ({"per_layer_config": [1]}, "wrong kind (AttributeError("),
        ({"vocab_size": None}, "vocab_size must be a whole number"),
    ],
)
def test_bad_config_of_a_drafter(tmp_path: Path, changes: dict[str, Any], line: str) -> None:
    shutil.copy(NANO_DRAFTER_FOLDER / "config.json", tmp_path)
    assert DrafterConfig.from_folder(tmp_path).backbone_hidden_size > 0
    edit_config(tmp_path, lambda config: config["text_config"].update(changes))
    with pytest.raises(GemmaError) as error:
        DrafterConfig.from_folder(tmp_path)
    assert line in str(error.value)
