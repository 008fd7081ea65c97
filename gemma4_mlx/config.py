"""`config.json` -> one tree of frozen dataclasses.

Two dialects say the same thing: the published one has `global_head_dim` and `num_global_key_value_heads`, newer exports
have `per_layer_config` with overrides by layer index. Both end as one `LayerConfig` for each layer.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemma4_mlx.errors import GemmaError, one_line

MODEL_TYPE = "gemma4_unified"
DRAFTER_TYPE = "gemma4_unified_assistant"
FULL, SLIDING = "full_attention", "sliding_attention"
MOST_LAYERS = 1024
GLOBAL_NAMES = {"head_dim": "global_head_dim", "num_key_value_heads": "num_global_key_value_heads"}

# Settings of the wider Gemma 4 family that this model does not use, with the only value that this package computes.
FIXED_SETTINGS: Mapping[str, Any] = {
    "attention_bias": False,
    "attention_k_eq_v": True,
    "enable_moe_block": False,
    "hidden_activation": "gelu_pytorch_tanh",
    "hidden_size_per_layer_input": 0,
    "num_kv_shared_layers": 0,
    "tie_word_embeddings": True,
    "use_bidirectional_attention": "vision",
    "use_double_wide_mlp": False,
}


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """Rotary embedding: `theta`, and the share of a head's dimensions that is rotated."""

    theta: float
    partial_rotary_factor: float = 1.0


@dataclass(frozen=True, slots=True)
class LayerConfig:
    """One decoder layer. A sliding layer has a window; a full layer has none and takes its values from `k_proj`."""

    head_dim: int
    num_key_value_heads: int
    rope: RopeConfig
    window: int | None

    @property
    def turned(self) -> int:
        """Dimensions of a head that the rotary embedding turns: an even number, as it turns pairs."""
        return int(self.rope.partial_rotary_factor * self.head_dim) // 2 * 2

    @property
    def shared_widths(self) -> tuple[int, int, int]:
        """Numbers that a full layer keeps of a position: rotated keys, what never turns, values of what turns."""
        return self.turned, self.head_dim - self.turned, self.turned


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The decoder's sizes."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_attention_heads: int
    rms_norm_eps: float
    final_logit_softcapping: float | None
    max_position_embeddings: int
    layers: tuple[LayerConfig, ...]


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The patch embedder: `patch_size` pixels a side, `mm_posemb_size` positions on each axis."""

    patch_size: int
    mm_embed_dim: int
    mm_posemb_size: int
    rms_norm_eps: float


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """The audio embedder: `samples_per_token` raw samples become one token."""

    samples_per_token: int
    rms_norm_eps: float


@dataclass(frozen=True, slots=True)
class TokenIds:
    """Ids that the configuration names. All others are looked up in the tokenizer."""

    pad: int
    image: int
    video: int
    audio: int
    image_start: int
    image_end: int
    audio_start: int
    audio_end: int


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything that `config.json` says about a Gemma 4 Unified checkpoint.

    `vision` and `audio` are None for a checkpoint without that input. `quantization` is MLX's dictionary (group_size,
    bits, mode and overrides by module path), or None for plain weights.
    """

    text: TextConfig
    vision: VisionConfig | None
    audio: AudioConfig | None
    tokens: TokenIds
    quantization: Mapping[str, Any] | None

    @classmethod
    def from_folder(cls, folder: Path) -> "ModelConfig":
        """Reads `config.json`. Raises GemmaError where it is missing, damaged or of another model."""
        return cls.from_dict(read_json(folder / "config.json"))

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "ModelConfig":
        """Reads either dialect. Raises GemmaError for another model type, or a setting that is not computed here."""
        found = config.get("model_type")
        if found != MODEL_TYPE:
            raise GemmaError(
                f"config.json: model_type is {found!r}; this package runs {MODEL_TYPE!r} (Gemma 4 12B Unified) only"
            )
        with _reading():
            text = _table(config, "text_config")
            _check_fixed_settings(text)
            vision, audio = config.get("vision_config"), config.get("audio_config")
            return cls(
                text=_text(text),
                vision=_vision(vision) if vision else None,
                audio=_audio(audio) if audio else None,
                tokens=_token_ids(config, text),
                quantization=_quantization(config),
            )


@dataclass(frozen=True, slots=True)
class DrafterConfig:
    """`config.json` of a drafter: a few layers that read the caches of a model with `backbone_hidden_size`."""

    text: TextConfig
    backbone_hidden_size: int
    quantization: Mapping[str, Any] | None

    @classmethod
    def from_folder(cls, folder: Path) -> "DrafterConfig":
        """Raises GemmaError where the file is missing, damaged or of another kind of drafter."""
        config = read_json(folder / "config.json")
        if config.get("model_type") != DRAFTER_TYPE or config.get("use_ordered_embeddings"):
            raise GemmaError(
                f"{folder}: not a drafter of this model (model_type {config.get('model_type')!r}; {DRAFTER_TYPE!r} "
                "with plain embeddings is read)"
            )
        with _reading():
            text = _text(_table(config, "text_config"))
            return cls(text, _size(config, "backbone_hidden_size"), _quantization(config))


def read_given_json(path: str | Path, name: str) -> Any:
    """The JSON in a file that somebody gave; errors call it by `name`. Raises GemmaError where it holds none."""
    try:
        return json.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise GemmaError(f"{name}: not a readable JSON file ({one_line(error)})") from None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a checkpoint's file. Raises GemmaError where there is none."""
    if not path.exists():
        where = f"{path.parent}: no {path.name} there"
        raise GemmaError(f"{where}; give the folder of a checkpoint, or a Hub repository's name")
    value = read_given_json(path, str(path))
    if not isinstance(value, dict):
        raise GemmaError(f"{path}: a JSON object is expected, not {type(value).__name__}")
    return value


@contextmanager
def _reading() -> Iterator[None]:
    """Raises GemmaError where reading a configuration fails over what is in it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise GemmaError(f"config.json: an entry is missing or of the wrong kind ({error!r})") from None


def _text(config: Mapping[str, Any]) -> TextConfig:
    softcap = config.get("final_logit_softcapping")
    return TextConfig(
        vocab_size=_size(config, "vocab_size"),
        hidden_size=_size(config, "hidden_size"),
        intermediate_size=_size(config, "intermediate_size"),
        num_attention_heads=_size(config, "num_attention_heads"),
        rms_norm_eps=float(config.get("rms_norm_eps", 1e-6)),
        final_logit_softcapping=None if softcap is None else float(softcap),
        max_position_embeddings=_size(config, "max_position_embeddings"),
        layers=_layers(config),
    )


def _layers(config: Mapping[str, Any]) -> tuple[LayerConfig, ...]:
    kinds = config.get("layer_types")
    if not isinstance(kinds, list) or not kinds or not set(kinds) <= {FULL, SLIDING}:
        raise GemmaError(f"config.json: layer_types must list {SLIDING!r} and {FULL!r}, one for each layer")
    if len(kinds) > MOST_LAYERS:
        raise GemmaError(f"config.json: {len(kinds)} layers; at most {MOST_LAYERS} are accepted")
    if config.get("num_hidden_layers", len(kinds)) != len(kinds):
        raise GemmaError(f"config.json: {len(kinds)} layer_types for {config['num_hidden_layers']} num_hidden_layers")
    rope = {kind: _rope(config, kind) for kind in sorted(set(kinds))}
    overrides = {int(index): layer for index, layer in (config.get("per_layer_config") or {}).items()}
    return tuple(
        LayerConfig(
            head_dim=_layer_size(config, overrides.get(index, {}), kind, "head_dim"),
            num_key_value_heads=_layer_size(config, overrides.get(index, {}), kind, "num_key_value_heads"),
            rope=rope[kind],
            window=_size(config, "sliding_window") if kind == SLIDING else None,
        )
        for index, kind in enumerate(kinds)
    )


def _layer_size(config: Mapping[str, Any], override: Mapping[str, Any], kind: str, name: str) -> int:
    size = _size(config, name)
    return _size(override, name, _size(config, GLOBAL_NAMES[name], size) if kind == FULL else size)


def _rope(config: Mapping[str, Any], kind: str) -> RopeConfig:
    rope = _table(_table(config, "rope_parameters"), kind)
    known = "proportional" if kind == FULL else "default"
    if rope.get("rope_type", known) not in ("default", known):
        raise GemmaError(f"config.json: rope_type {rope['rope_type']!r} of {kind} layers is not supported")
    theta, share = float(rope["rope_theta"]), float(rope.get("partial_rotary_factor") or 1.0)
    if not (theta > 0 and 0 < share <= 1):
        raise GemmaError(f"config.json: rope_theta {theta:g} or partial_rotary_factor {share:g} is out of range")
    return RopeConfig(theta, share)


def _vision(config: Mapping[str, Any]) -> VisionConfig:
    return VisionConfig(
        patch_size=_size(config, "patch_size") * _size(config, "pooling_kernel_size"),
        mm_embed_dim=_size(config, "mm_embed_dim"),
        mm_posemb_size=_size(config, "mm_posemb_size"),
        rms_norm_eps=float(config.get("rms_norm_eps", 1e-6)),
    )


def _audio(config: Mapping[str, Any]) -> AudioConfig:
    return AudioConfig(_size(config, "audio_embed_dim"), float(config.get("rms_norm_eps", 1e-6)))


def _token_ids(config: Mapping[str, Any], text: Mapping[str, Any]) -> TokenIds:
    def token(name: str, table: Mapping[str, Any] = config) -> int:
        return _size(table, name, minimum=0)

    return TokenIds(
        pad=token("pad_token_id", text),
        image=token("image_token_id"),
        video=token("video_token_id"),
        audio=token("audio_token_id"),
        image_start=token("boi_token_id"),
        image_end=token("eoi_token_id"),
        audio_start=token("boa_token_id"),
        audio_end=token("eoa_token_index"),
    )


def _quantization(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    quantization = dict(config.get("quantization") or config.get("quantization_config") or {})
    if "quant_method" in quantization and "bits" not in quantization:
        raise GemmaError(
            f"config.json: weights quantized by {quantization['quant_method']!r} can't be read; "
            "use an MLX checkpoint or convert the unquantized one with convert.py"
        )
    return quantization or None


def _check_fixed_settings(text: Mapping[str, Any]) -> None:
    for name, value in FIXED_SETTINGS.items():
        found = text.get(name, value)
        if found != value and not (value in (0, False) and found is None):
            raise GemmaError(f"config.json: {name} = {found!r} is not supported; Gemma 4 12B Unified has {value!r}")


def _table(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = config.get(name)
    if not isinstance(value, Mapping):
        raise GemmaError(f"config.json: {name} is missing")
    return value


LARGEST = 2**24
"""No size or id in a configuration comes near it; a shape made of such numbers still fits in 64 bits."""


def _size(config: Mapping[str, Any], name: str, default: int | None = None, minimum: int = 1) -> int:
    value = config.get(name)
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= LARGEST:
        raise GemmaError(f"config.json: {name} must be a whole number from {minimum} to {LARGEST}, not {value!r}")
    return value
