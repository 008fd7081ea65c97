"""Bytes and operations of a pass, counted from the configuration. Pure arithmetic: nothing here is measured.

What is counted is the least that this package's graph moves and computes: every weight is read once a pass, every
cached row once for each product and each tile of queries that uses it, causal attention has no wasted pairs, and
activations cost nothing. So the times made of it are bounds. Scores of plain 16-bit rows are two products, as the
rounding of the first is taken off (`float32_product`).
"""

from dataclasses import dataclass

from gemma4_mlx.config import LayerConfig, ModelConfig, TextConfig
from gemma4_mlx.engine.plan import row_bytes
from gemma4_mlx.model.full_attention import tile_size
from gemma4_mlx.model.rows import KVQuantization, for_windows

GROUP = 64
"""Numbers that share a scale and a bias, 2 bytes each."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Bytes read from memory, and floating-point operations (a multiplication and an addition are two)."""

    bytes: float
    operations: float

    def seconds(self, bandwidth: float, speed: float | None) -> float:
        """The least time, given bytes and operations a second; None leaves the operations out."""
        return max(self.bytes / bandwidth, self.operations / speed if speed else 0.0)

    def __add__(self, other: "Pass") -> "Pass":
        return Pass(self.bytes + other.bytes, self.operations + other.operations)


def decoding_pass(
    config: ModelConfig, context: int, weight_bytes: float, kv_bits: int | None = None, tokens: int = 1
) -> Pass:
    """One step behind `context` positions: one token, or one and some drafts that are checked with it."""
    text = config.text
    keys = sum(layer_cache_bytes(layer, context, kv_bits) for layer in text.layers)
    linear = sum(matrix_numbers(text, layer) for layer in text.layers) + text.vocab_size * text.hidden_size
    pairs = sum(pair_operations(text, layer, kv_bits) * tokens * seen(layer, context) for layer in text.layers)
    return Pass(weight_bytes + keys, 2 * linear * tokens + pairs)


def reading_pass(
    config: ModelConfig, depth: int, tokens: int, weight_bytes: float, kv_bits: int | None = None, chunk: int = 512
) -> Pass:
    """Reading `tokens` of prompt behind `depth` positions. Only the last position is computed to the end."""
    text = config.text
    last = text.layers[-1]
    linear = tokens * sum(matrix_numbers(text, layer) for layer in text.layers[:-1])
    linear += tokens * key_value_numbers(text, last) + matrix_numbers(text, last) - key_value_numbers(text, last)
    pairs = sum(
        pair_operations(text, layer, kv_bits, many=True) * _pairs(layer, depth, tokens) for layer in text.layers[:-1]
    )
    pairs += pair_operations(text, last, kv_bits) * seen(last, depth + tokens)
    chunks, middle = -(-tokens // chunk), depth + tokens // 2
    keys = sum(
        layer_cache_bytes(layer, middle, kv_bits) * tiles(text, layer, middle, min(tokens, chunk))
        for layer in text.layers[:-1]
    )
    keys += layer_cache_bytes(last, middle, kv_bits)
    operations = 2 * (linear + text.vocab_size * text.hidden_size) + pairs
    return Pass(chunks * (weight_bytes + keys), operations)


def plain_weight_bytes(config: ModelConfig, bits: int) -> float:
    """Bytes of all matrices of the decoder at so many bits (16: plain), with scales and biases below 16."""
    text = config.text
    numbers = sum(matrix_numbers(text, layer) for layer in text.layers) + text.vocab_size * text.hidden_size
    return numbers * bits_with_scales(bits) / 8


def bits_with_scales(bits: int) -> float:
    """Bits that a number takes."""
    return bits if bits >= 16 else bits + 32 / GROUP


def matrix_numbers(text: TextConfig, layer: LayerConfig) -> int:
    """Weights of a layer that each of its tokens is multiplied with: attention and MLP."""
    heads = text.num_attention_heads * layer.head_dim
    return key_value_numbers(text, layer) + text.hidden_size * (2 * heads + 3 * text.intermediate_size)


def key_value_numbers(text: TextConfig, layer: LayerConfig) -> int:
    """Weights of the key and value projections; a full layer's values are its keys."""
    projections = 1 if layer.window is None else 2
    return projections * text.hidden_size * layer.num_key_value_heads * layer.head_dim


def layer_cache_bytes(layer: LayerConfig, context: int, kv_bits: int | None) -> float:
    """Bytes of cached rows that one query reads.

    A full layer keeps rotated keys, values that are also keys, and values of the rotated dimensions; the middle part is
    read once for each use, and plain keys twice. A sliding layer keeps keys and values.
    """
    rows = layer.num_key_value_heads * seen(layer, context)
    quantization = None if kv_bits is None else KVQuantization(kv_bits, GROUP)
    if layer.window is not None:
        return rows * 2 * row_bytes(layer.head_dim, for_windows(quantization), 2)
    turned, shared, values = (row_bytes(width, quantization, 2) for width in layer.shared_widths)
    return rows * (score_products(layer, kv_bits) * (turned + shared) + shared + values)


def score_products(layer: LayerConfig, kv_bits: int | None, *, many: bool = False) -> int:
    """Products that scores are made of. A sliding layer has a kernel for few queries, and unpacks rows for many."""
    return 2 if (kv_bits is None if layer.window is None else many) else 1


def pair_operations(text: TextConfig, layer: LayerConfig, kv_bits: int | None, *, many: bool = False) -> int:
    """Operations of one query, or one of many, and one key in all heads: a score, and a share of the mixed values."""
    return 2 * (score_products(layer, kv_bits, many=many) + 1) * text.num_attention_heads * layer.head_dim


def tiles(text: TextConfig, layer: LayerConfig, context: int, queries: int) -> int:
    """Times that a chunk of queries reads a layer's rows."""
    if layer.window is not None:
        return 1
    heads = text.num_attention_heads
    return -(-queries // tile_size(heads, heads // layer.num_key_value_heads, max(1, context)))


def seen(layer: LayerConfig, context: int) -> int:
    """Positions that a layer attends to."""
    return context if layer.window is None else min(context, layer.window)


def _pairs(layer: LayerConfig, depth: int, tokens: int) -> int:
    """Pairs of a query and a key that it sees, for `tokens` causal queries behind `depth` positions."""
    if layer.window is None:
        return tokens * depth + tokens * (tokens + 1) // 2
    growing = max(0, min(tokens, layer.window - depth))
    return growing * depth + growing * (growing + 1) // 2 + (tokens - growing) * layer.window
