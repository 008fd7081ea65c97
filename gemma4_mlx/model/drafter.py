"""The drafter of Gemma 4 (multi-token prediction): a few small layers that guess the tokens after the next one.

It has no keys and values of its own. Its sliding layers read the cache of the target's last sliding layer, its full
layers that of the target's last full layer, and every guess is made from the position of the last sampled token.
Formulas: transformers' `Gemma4UnifiedAssistantForCausalLM`.
"""

import copy
import weakref
from collections.abc import Callable, Mapping, Sequence

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.config import DrafterConfig, LayerConfig, TextConfig
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.model.attention import merge_heads, split_heads
from gemma4_mlx.model.cache import Cache, SharedCache
from gemma4_mlx.model.disk import READING, Preparation, disk, read
from gemma4_mlx.model.full_attention import FullAttention, attend, fold_key_norm, head_order, turned_first
from gemma4_mlx.model.projection import reorder
from gemma4_mlx.model.rotary import rotate, rotations
from gemma4_mlx.model.text import DecoderLayer
from gemma4_mlx.model.unified import Gemma4Unified


class DraftAttention(nn.Module):
    """One query a head against keys and values that the target has written."""

    def __init__(self, config: TextConfig, layer: LayerConfig) -> None:
        super().__init__()
        width = config.num_attention_heads * layer.head_dim
        self.q_proj = nn.Linear(config.hidden_size, width, bias=False)
        self.o_proj = nn.Linear(width, config.hidden_size, bias=False)
        self.q_norm = nn.RMSNorm(layer.head_dim, eps=config.rms_norm_eps)
        self.head_dim, self.window = layer.head_dim, layer.window
        self._turned, self._ordered = layer.turned, False

    def fused(self) -> "DraftAttention":
        """The same with a full layer's queries in the order of the target's cache. This module stays as it is."""
        if self.window is not None or self._ordered:
            return self
        fused, order = copy.copy(self), turned_first(self.head_dim, self._turned)
        heads = self.q_proj.weight.shape[0] // self.head_dim
        fused.q_proj, fused.q_norm = reorder(self.q_proj, head_order(order, heads)), reorder(self.q_norm, order)
        mx.eval(fused.parameters())
        fused._ordered = True
        return fused

    def fit(self, target: FullAttention) -> None:
        """Folds the target's key norm into a full layer's query norm; a sliding layer's stays as it is."""
        weights = self.q_norm.weight
        if self.window is None:
            weights = fold_key_norm(weights, target.qk_norm[target.num_heads, 0], self._turned)
        self._weights = weights[None, None]
        mx.eval(self._weights)  # the view too: what is lazy belongs to this thread

    def __call__(self, x: mx.array, cache: Cache, rotation: mx.array) -> mx.array:
        """Merged heads `(B, 1, H * D)` of `(B, 1, hidden)`; the query stands right behind the cache's last position."""
        heads = mx.fast.rms_norm(split_heads(self.q_proj(x), self.head_dim), None, self.q_norm.eps)
        weights = self._weights
        turned = rotate(heads[..., : self._turned], weights[..., : self._turned], rotation)
        if isinstance(cache, SharedCache):
            return merge_heads(attend(turned, heads[..., self._turned :] * weights[..., self._turned :], cache))
        assert self.window is not None
        # transformers lets a draft see one key more than the window on either end of the distance.
        return merge_heads(cache.rows.attention(turned, cache.newest(self.window + 1)))


class Drafter(nn.Module):
    """The drafter's layers between two projections from and to the target's width."""

    def __init__(self, config: DrafterConfig) -> None:
        super().__init__()
        self.config = config
        self._preparation = Preparation()
        self._fitted: Callable[[], Gemma4Unified | None] = lambda: None
        text, target_size = config.text, config.backbone_hidden_size
        self.embed_tokens = nn.Embedding(text.vocab_size, text.hidden_size)
        self.pre_projection = nn.Linear(2 * target_size, text.hidden_size, bias=False)
        self.layers = [DecoderLayer(text, DraftAttention(text, layer)) for layer in text.layers]
        self.norm = nn.RMSNorm(text.hidden_size, eps=text.rms_norm_eps)
        self.post_projection = nn.Linear(text.hidden_size, target_size, bias=False)

    def prepare(self, target: Gemma4Unified) -> "Drafter":
        """Fits the weights to a target that is prepared itself; for one that it is fitted to it does nothing.

        Any thread may call it, and again after it was interrupted. Raises GemmaError if the two do not match, or if
        weights can't be read.
        """
        if self._fitted() is not target:
            self.check(target)
            with READING:
                self._take_type(target.language_model.model.dtype)
                self._preparation.run(self._prepare)
                self._fit(target)
        return self

    def _take_type(self, dtype: mx.Dtype) -> None:
        """Gives all floating-point weights one type, the target's: mixed types would be computed in float32."""
        self.apply(
            lambda array: array.astype(dtype, stream=disk()) if mx.issubdtype(array.dtype, mx.floating) else array
        )

    def _prepare(self) -> None:
        for layer in self.layers:
            layer.read_and_fuse()
        read(self.parameters())

    def _fit(self, target: Gemma4Unified) -> None:
        read(self.parameters())
        self._full = max(index for index, layer in enumerate(target.config.text.layers) if layer.window is None)
        self._sliding = max(index for index, layer in enumerate(target.config.text.layers) if layer.window is not None)
        for layer in self.layers:
            layer.self_attn.fit(target.language_model.model.layers[self._full].self_attn)
        self._fitted = weakref.ref(target)

    def rotations(self, caches: Sequence[Cache]) -> dict[LayerConfig, mx.array]:
        """By kind of layer, for the position behind the caches: all guesses of a pass are made from it."""
        return rotations(self.config.text.layers, caches[0].offset, 1)

    def __call__(
        self,
        embedding: mx.array,
        hidden: mx.array,
        caches: Sequence[Cache],
        turned: Mapping[LayerConfig, mx.array],
    ) -> tuple[mx.array, mx.array]:
        """Logits `(B, 1, vocab)` of the token after the given one, and the "hidden state" of the next guess.

        Both inputs are `(B, 1, target's hidden)`: the target's scaled embedding of the last token, and the target's
        final hidden state (or what this returned) of the position before it. `caches` are the target's, and `turned`
        what `rotations` says of them.
        """
        x = self.pre_projection(mx.concatenate([embedding, hidden], axis=-1))
        for kind, layer in zip(self.config.text.layers, self.layers, strict=True):
            cache = caches[self._full if kind.window is None else self._sliding]
            x = layer.feed(x, layer.self_attn(layer.input_layernorm(x), cache, turned[kind]))
        x = self.norm(x)
        return self.embed_tokens.as_linear(x), self.post_projection(x)

    def check(self, target: Gemma4Unified) -> None:
        """Raises GemmaError where the target is not one that the drafter can read."""
        own, theirs = self.config, target.config.text
        shapes = {(layer.window, layer.head_dim) for layer in theirs.layers}
        if (own.backbone_hidden_size, own.text.vocab_size) != (theirs.hidden_size, theirs.vocab_size) or not {
            (layer.window, layer.head_dim) for layer in own.text.layers
        } <= shapes:
            raise GemmaError("the drafter was made for another model: hidden size, vocabulary or heads differ")
