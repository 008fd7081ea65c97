"""`config.json` -> one tree of frozen dataclasses.

Several dialects say the same thing: the published one has `global_head_dim` and `num_global_key_value_heads`, newer
exports have `per_layer_config` with overrides by layer index. Both end as one `LayerConfig` for each layer. Exports
leave out what their library has as a default, and text-only ones have no `text_config` but its entries themselves.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gemma4_mlx.errors import GemmaError, shortened
from gemma4_mlx.files import TOKENIZER_BYTES, read_json

MODEL_TYPE, TEXT_TYPE = "gemma4_unified", "gemma4_unified_text"
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

# What an entry that is left out stands for, in the published model and in the libraries that leave it out.
TEXT_DEFAULTS: Mapping[str, Any] = {
    "head_dim": 256,
    "max_position_embeddings": 262144,
    "sliding_window": 1024,
    "vocab_size": 262144,
}
FULL_HEAD_DIM = 512
LAYERS_PER_FULL = 6
FULL_ROPE = {"partial_rotary_factor": 0.25, "rope_theta": 1e6, "rope_type": "proportional"}
SLIDING_ROPE = {"rope_theta": 1e4, "rope_type": "default"}
VISION_DEFAULTS: Mapping[str, Any] = {"mm_posemb_size": 1120, "patch_size": 16, "pooling_kernel_size": 3}
AUDIO_SIZES = ("audio_embed_dim", "audio_samples_per_token", "hidden_size", "output_proj_dims")
"""Names of the one size of audio, in the order in which they count."""

TOKENS = {
    "image_token_id": ("<|image|>", 258880),
    "video_token_id": ("<|video|>", 258884),
    "audio_token_id": ("<|audio|>", 258881),
    "boi_token_id": ("<|image>", 255999),
    "eoi_token_id": ("<image|>", 258882),
    "boa_token_id": ("<|audio>", 256000),
    "eoa_token_id": ("<audio|>", 258883),
}
"""Entries for the ids of media tokens (also spelled `..._index`), the tokens' names, and the published ids."""


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
        """Reads `config.json`, and tokenizer.json for media tokens that it leaves out.

        Raises GemmaError if it is missing, damaged or of another model.
        """
        config = read_json(folder / "config.json")
        return cls.from_dict(config | _tokenizers_ids(folder, config))

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> "ModelConfig":
        """Reads either dialect. Raises GemmaError for another model type, or a setting that is not computed here."""
        found = config.get("model_type")
        if found not in (MODEL_TYPE, TEXT_TYPE):
            raise GemmaError(
                f"config.json: model_type is {found!r}; this package runs {MODEL_TYPE!r} (Gemma 4 12B Unified) only"
            )
        with _reading():
            text = _text_table(config, flat=found == TEXT_TYPE)
            _check_fixed_settings(text)
            _check_fixed_settings(config)
            vision, audio = config.get("vision_config"), config.get("audio_config")
            return cls(
                text=_text(text),
                vision=None if vision is None else _vision(_table(config, "vision_config"), text),
                audio=None if audio is None else _audio(_table(config, "audio_config")),
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
            text = _text(_text_table(config))
            return cls(text, _size(config, "backbone_hidden_size"), _quantization(config))


def whole(value: Any) -> Any:
    """The value, as an integer if it is a float without a fraction: exporters write 64.0 for 64."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


@contextmanager
def _reading(name: str = "config.json") -> Iterator[None]:
    """Raises GemmaError where reading a configuration fails over what is in it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise GemmaError(f"{name}: an entry is missing or of the wrong kind ({error!r})") from None


def _text_table(config: Mapping[str, Any], *, flat: bool = False) -> Mapping[str, Any]:
    """Entries of `text_config`, else of the top level, else defaults. A `flat` configuration has no such table."""
    own = {} if flat and config.get("text_config") is None else _table(config, "text_config")
    text = {**TEXT_DEFAULTS, **config, **own}
    return text if text.get("per_layer_config") else {"global_head_dim": FULL_HEAD_DIM, **text}


def _text(config: Mapping[str, Any]) -> TextConfig:
    softcap = config.get("final_logit_softcapping")
    return TextConfig(
        vocab_size=_size(config, "vocab_size"),
        hidden_size=_size(config, "hidden_size"),
        intermediate_size=_size(config, "intermediate_size"),
        num_attention_heads=_size(config, "num_attention_heads"),
        rms_norm_eps=_eps(config),
        final_logit_softcapping=None if softcap is None else _real(config, "final_logit_softcapping", SOFTCAPS),
        max_position_embeddings=_size(config, "max_position_embeddings"),
        layers=_layers(config),
    )


def _layers(config: Mapping[str, Any]) -> tuple[LayerConfig, ...]:
    kinds = config.get("layer_types")
    kinds = _usual_layers(config) if kinds is None else kinds
    if not isinstance(kinds, list) or not kinds or not set(kinds) <= {FULL, SLIDING}:
        raise GemmaError(f"config.json: layer_types must list {SLIDING!r} and {FULL!r}, one for each layer")
    if len(kinds) > MOST_LAYERS:
        raise GemmaError(f"config.json: {len(kinds)} layers; at most {MOST_LAYERS} are accepted")
    if config.get("num_hidden_layers", len(kinds)) != len(kinds):
        raise GemmaError(f"config.json: {len(kinds)} layer_types for {config['num_hidden_layers']} num_hidden_layers")
    rope = {kind: _rope(config, kind) for kind in sorted(set(kinds))}
    overrides = {int(index): _override(layer) for index, layer in (config.get("per_layer_config") or {}).items()}
    layers = tuple(
        LayerConfig(
            head_dim=_layer_size(config, overrides.get(index, {}), kind, "head_dim"),
            num_key_value_heads=_layer_size(config, overrides.get(index, {}), kind, "num_key_value_heads"),
            rope=rope[kind],
            window=_size(config, "sliding_window") if kind == SLIDING else None,
        )
        for index, kind in enumerate(kinds)
    )
    for layer in layers:
        _check_heads(config, layer)
    return layers


def _check_heads(config: Mapping[str, Any], layer: LayerConfig) -> None:
    """Raises GemmaError for heads that do not divide, or of which everything turns in a full layer, or nothing."""
    heads = _size(config, "num_attention_heads")
    if heads % layer.num_key_value_heads or layer.head_dim % 2:
        raise GemmaError(
            f"config.json: {heads} num_attention_heads do not divide into {layer.num_key_value_heads} "
            f"num_key_value_heads, or head_dim {layer.head_dim} is odd"
        )
    if not 0 < layer.turned < layer.head_dim + (layer.window is not None):
        raise GemmaError(
            f"config.json: partial_rotary_factor {layer.rope.partial_rotary_factor:g} of {FULL} layers is not "
            "supported, or missing; Gemma 4 12B Unified has 0.25"
        )


def _usual_layers(config: Mapping[str, Any]) -> list[str]:
    """Every sixth layer is a full one, or as `sliding_window_pattern` says, and so is the last."""
    layers, period = _size(config, "num_hidden_layers"), _size(config, "sliding_window_pattern", LAYERS_PER_FULL)
    if layers > MOST_LAYERS:
        raise GemmaError(f"config.json: {layers} layers; at most {MOST_LAYERS} are accepted")
    return [FULL if layer % period == 0 or layer == layers else SLIDING for layer in range(1, layers + 1)]


def _override(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    unknown = sorted(layer.keys() - GLOBAL_NAMES.keys())
    if unknown:
        raise GemmaError(
            f"config.json: {unknown[0]} in per_layer_config is not supported; there may be head_dim and "
            "num_key_value_heads"
        )
    return layer


def _layer_size(config: Mapping[str, Any], override: Mapping[str, Any], kind: str, name: str) -> int:
    size = _size(config, name)
    return _size(override, name, _size(config, GLOBAL_NAMES[name], size) if kind == FULL else size)


def _rope(config: Mapping[str, Any], kind: str) -> RopeConfig:
    rope = _table(_rope_tables(config), kind)
    known = "proportional" if kind == FULL else "default"
    found, factor = rope.get("rope_type", rope.get("type", known)), rope.get("factor")
    if found not in ("default", known) or factor not in (None, 1):
        stretched = "" if factor is None else f" with factor {factor}"
        raise GemmaError(f"config.json: rope_type {found!r}{stretched} of {kind} layers is not supported")
    share = _real(rope, "partial_rotary_factor", SHARES, 1.0)
    if kind == SLIDING and share != 1:
        raise GemmaError(
            f"config.json: partial_rotary_factor {share:g} of {kind} layers is not supported; "
            "Gemma 4 12B Unified has 1 there"
        )
    return RopeConfig(_real(rope, "rope_theta", THETAS), share)


def _rope_tables(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings by kind of layer: `rope_parameters`, which was once called `rope_scaling`, or single entries."""
    tables, scaling = config.get("rope_parameters"), config.get("rope_scaling")
    if tables is not None:
        return _table(config, "rope_parameters")
    if scaling and FULL in scaling:
        return _table(config, "rope_scaling")
    if scaling and scaling.get("rope_type", scaling.get("type")) not in (None, "default"):
        raise GemmaError(f"config.json: rope_scaling {scaling!r} is not supported; Gemma 4 12B Unified has none")
    single = {"rope_theta": config.get("rope_theta"), "partial_rotary_factor": config.get("partial_rotary_factor")}
    full = FULL_ROPE | {name: value for name, value in single.items() if value is not None}
    return {FULL: full, SLIDING: SLIDING_ROPE | {"rope_theta": config.get("rope_local_base_freq") or 1e4}}


def _vision(given: Mapping[str, Any], text: Mapping[str, Any]) -> VisionConfig:
    config = {**VISION_DEFAULTS, "mm_embed_dim": text.get("hidden_size"), **given}
    return VisionConfig(
        patch_size=_size(config, "patch_size") * _size(config, "pooling_kernel_size"),
        mm_embed_dim=_size(config, "mm_embed_dim"),
        mm_posemb_size=_size(config, "mm_posemb_size"),
        rms_norm_eps=_eps(config),
    )


def _audio(config: Mapping[str, Any]) -> AudioConfig:
    name = next((name for name in AUDIO_SIZES if config.get(name) is not None), AUDIO_SIZES[0])
    return AudioConfig(_size(config, name, 640), _eps(config))


def _token_ids(config: Mapping[str, Any], text: Mapping[str, Any]) -> TokenIds:
    def token(name: str) -> int:
        return _size({name: config.get(_spelling(config, name), TOKENS[name][1])}, name, minimum=0)

    return TokenIds(
        pad=_pad(text),
        image=token("image_token_id"),
        video=token("video_token_id"),
        audio=token("audio_token_id"),
        image_start=token("boi_token_id"),
        image_end=token("eoi_token_id"),
        audio_start=token("boa_token_id"),
        audio_end=token("eoa_token_id"),
    )


def _pad(text: Mapping[str, Any]) -> int:
    """It only stands where features go, so any id does if there is none: some exports write -1, or one too large."""
    pad = _size(text, "pad_token_id", 0, minimum=-1)
    return pad if 0 <= pad < _size(text, "vocab_size") else 0


def _spelling(config: Mapping[str, Any], name: str) -> str:
    """How the configuration calls a token's id. Raises GemmaError if it has both names and they disagree."""
    other = name.replace("_id", "_index")
    first, second = config.get(name), config.get(other)
    if first is not None and second is not None and first != second:
        raise GemmaError(f"config.json: {name} is {first!r} but {other} is {second!r}; leave the wrong one out")
    return other if first is None and other in config else name


def _tokenizers_ids(folder: Path, config: Mapping[str, Any]) -> dict[str, int]:
    """The tokenizer's ids of media tokens that the configuration leaves out."""
    absent = [name for name in TOKENS if config.get(_spelling(config, name)) is None]
    path = folder / "tokenizer.json"
    if not absent or not path.exists():
        return {}
    with _reading(path.name):
        content = read_json(path, TOKENIZER_BYTES)
        ids = {token["content"]: token["id"] for token in content.get("added_tokens") or ()}
    return {name: ids[TOKENS[name][0]] for name in absent if TOKENS[name][0] in ids}


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
        if found != value and not (found is None and value != "vision"):  # null would be no attention to what follows
            raise GemmaError(f"config.json: {name} = {found!r} is not supported; Gemma 4 12B Unified has {value!r}")


def _table(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = config.get(name)
    if not isinstance(value, Mapping):
        problem = "is missing" if name not in config or value is None else f"must be an object, not {value!r}"
        raise GemmaError(f"config.json: {name} {problem}")
    return value


EPSILONS, SOFTCAPS, THETAS, SHARES = (1e-12, 0.1), (1e-3, 1e6), (1.0, 1e12), (1e-3, 1.0)
"""The least and the largest that a number may be: what lies outside makes other numbers infinite, or all alike."""


def _eps(config: Mapping[str, Any]) -> float:
    return _real(config, "rms_norm_eps", EPSILONS, 1e-6)


def _real(config: Mapping[str, Any], name: str, bounds: tuple[float, float], default: float | None = None) -> float:
    value = default if config.get(name) is None else config[name]
    least, largest = bounds
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not least <= value <= largest:
        raise GemmaError(
            f"config.json: {name} must be a number from {least:g} to {largest:g}, not {shortened(repr(value))}"
        )
    return float(value)


LARGEST = 2**24
"""No size or id in a configuration comes near it; a shape made of such numbers still fits in 64 bits."""


def _size(config: Mapping[str, Any], name: str, default: int | None = None, minimum: int = 1) -> int:
    value = whole(config.get(name))
    value = default if value is None else value
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= LARGEST:
        raise GemmaError(
            f"config.json: {name} must be a whole number from {minimum} to {LARGEST}, not {shortened(repr(value))}"
        )
    return value
