"""The intended Gemma 4 Unified computation in plain numpy and float64, written from the architecture's description.

Slow and simple on purpose: one pass, no cache, dense masks. It shares no code with the package.
"""

from functools import cache

import numpy as np
from safetensors.numpy import load_file

Array = np.ndarray


class Reference:
    """Reads a Hub-layout checkpoint's tensors and its config.json as a dictionary."""

    def __init__(self, weights_path: str, config: dict) -> None:
        self.config, self.text = config, config["text_config"]
        self.kept: dict[bool, tuple[Array, Array]] = {}
        self.weights = {
            name.removeprefix("model."): np.asarray(tensor, np.float64)
            for name, tensor in load_file(weights_path).items()
        }

    def logits(self, ids: list[int], media: dict[int, Array]) -> Array:
        """Logits (L, vocab). `media` maps a span's first position to its projected rows (n, hidden)."""
        x = self.hidden(ids, media) @ self.weights["language_model.embed_tokens.weight"].T
        cap = self.text["final_logit_softcapping"]
        return np.tanh(x / cap) * cap

    def hidden(self, ids: list[int], media: dict[int, Array]) -> Array:
        """Final hidden states (L, hidden). Leaves in `kept` the keys and values (heads, L, D) of the last full layer
        (True) and of the last sliding one (False)."""
        embedding = self.weights["language_model.embed_tokens.weight"]
        x = embedding[ids] * np.sqrt(self.text["hidden_size"])
        for start, rows in media.items():
            x[start : start + len(rows)] = rows
        vision = np.isin(ids, [self.config["image_token_id"], self.config["video_token_id"]])
        for index, kind in enumerate(self.text["layer_types"]):
            x = self.layer(x, f"language_model.layers.{index}.", kind == "full_attention", vision)
        return rms(x) * self.weights["language_model.norm.weight"]

    def layer(self, x: Array, name: str, full: bool, vision: Array) -> Array:
        weights = {key.removeprefix(name): value for key, value in self.weights.items() if key.startswith(name)}
        normed = rms(x) * weights["input_layernorm.weight"]
        return self.feed(x, self.attention(normed, weights, full, vision), weights)

    def feed(self, x: Array, attended: Array, weights: dict[str, Array]) -> Array:
        x = x + rms(attended) * weights["post_attention_layernorm.weight"]
        normed = rms(x) * weights["pre_feedforward_layernorm.weight"]
        gate, up = normed @ weights["mlp.gate_proj.weight"].T, normed @ weights["mlp.up_proj.weight"].T
        gelu = 0.5 * gate * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
        x = x + rms((gelu * up) @ weights["mlp.down_proj.weight"].T) * weights["post_feedforward_layernorm.weight"]
        return x * weights["layer_scalar"]

    def attention(self, x: Array, weights: dict[str, Array], full: bool, vision: Array) -> Array:
        text, length = self.text, len(x)
        head_dim = text["global_head_dim"] if full else text["head_dim"]
        rope = text["rope_parameters"]["full_attention" if full else "sliding_attention"]

        def heads(projected: Array) -> Array:
            return projected.reshape(length, -1, head_dim).transpose(1, 0, 2)

        q, k = heads(x @ weights["self_attn.q_proj.weight"].T), heads(x @ weights["self_attn.k_proj.weight"].T)
        v = rms(k if full else heads(x @ weights["self_attn.v_proj.weight"].T))
        q = rotate(rms(q) * weights["self_attn.q_norm.weight"], rope)
        k = rotate(rms(k) * weights["self_attn.k_norm.weight"], rope)
        self.kept[full] = (k, v)
        group = len(q) // len(k)
        scores = q @ np.repeat(k, group, axis=0).transpose(0, 2, 1)
        seen = (
            np.tril(np.ones((length, length), bool)) if full else sliding(length, text["sliding_window"], tuple(vision))
        )
        scores = np.where(seen, scores, -np.inf)
        weights_of_keys = np.exp(scores - scores.max(-1, keepdims=True))
        weights_of_keys /= weights_of_keys.sum(-1, keepdims=True)
        out = weights_of_keys @ np.repeat(v, group, axis=0)
        return out.transpose(1, 0, 2).reshape(length, -1) @ weights["self_attn.o_proj.weight"].T

    def image(self, pixels: Array, positions: Array) -> Array:
        """Rows (n, hidden) of pixels (n, patch) in 0..1 at positions (n, 2)."""
        table = self.weights["vision_embedder.pos_embedding"]
        x = self.layer_norm(pixels.astype(np.float64), "patch_ln1")
        x = x @ self.weights["vision_embedder.patch_dense.weight"].T + self.weights["vision_embedder.patch_dense.bias"]
        x = self.layer_norm(x, "patch_ln2") + table[positions[:, 0], 0] + table[positions[:, 1], 1]
        return rms(self.layer_norm(x, "pos_norm")) @ self.weights["embed_vision.embedding_projection.weight"].T

    def audio(self, frames: Array) -> Array:
        """Rows (n, hidden) of raw frames (n, samples)."""
        return rms(frames.astype(np.float64)) @ self.weights["embed_audio.embedding_projection.weight"].T

    def layer_norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return scaled * self.weights[f"vision_embedder.{name}.weight"] + self.weights[f"vision_embedder.{name}.bias"]


class DraftReference(Reference):
    """A drafter's checkpoint, guessing from what a target's Reference has kept."""

    def draft(self, target: Reference, token: int, hidden: Array, count: int) -> Array:
        """Logits (count, vocab) of guesses after `token`; `hidden` (hidden,) is the target's of the position before."""
        embedding = target.weights["language_model.embed_tokens.weight"]
        logits = []
        for _ in range(count):
            scaled = embedding[token] * np.sqrt(embedding.shape[1])
            x = self.weights["pre_projection.weight"] @ np.concatenate([scaled, hidden])
            for index, kind in enumerate(self.text["layer_types"]):
                x = self.guess(x, f"layers.{index}.", kind == "full_attention", target)
            x = rms(x) * self.weights["norm.weight"]
            logits.append(x @ self.weights["embed_tokens.weight"].T)
            hidden = self.weights["post_projection.weight"] @ x
            token = int(logits[-1].argmax())
        return np.array(logits)

    def guess(self, x: Array, name: str, full: bool, target: Reference) -> Array:
        weights = {key.removeprefix(name): value for key, value in self.weights.items() if key.startswith(name)}
        keys, values = target.kept[full]
        if not full:
            newest = self.text["sliding_window"] + 1
            keys, values = keys[:, -newest:], values[:, -newest:]
        length = target.kept[full][0].shape[1]
        head_dim = keys.shape[-1]
        rope = self.text["rope_parameters"]["full_attention" if full else "sliding_attention"]
        q = (weights["self_attn.q_proj.weight"] @ (rms(x) * weights["input_layernorm.weight"])).reshape(-1, 1, head_dim)
        q = rotate(rms(q) * weights["self_attn.q_norm.weight"], rope, length)
        group = len(q) // len(keys)
        scores = (q @ np.repeat(keys, group, axis=0).transpose(0, 2, 1))[:, 0]
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = np.einsum("ht,htd->hd", shares, np.repeat(values, group, axis=0)).reshape(-1)
        return self.feed(x, weights["self_attn.o_proj.weight"] @ mixed, weights)


def rms(x: Array) -> Array:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)


def rotate(x: Array, rope: dict, start: int = 0) -> Array:
    """Rotary embedding of (heads, L, D) from position `start` on, pairs half a head apart, only the first share."""
    half = x.shape[-1] // 2
    turning = int(rope.get("partial_rotary_factor", 1.0) * half)
    speed = np.zeros(half)
    speed[:turning] = rope["rope_theta"] ** -(np.arange(turning) / half)
    angle = np.arange(start, start + x.shape[1])[:, None] * speed
    first, second = x[..., :half], x[..., half:]
    return np.concatenate(
        [first * np.cos(angle) - second * np.sin(angle), second * np.cos(angle) + first * np.sin(angle)], axis=-1
    )


@cache
def sliding(length: int, window: int, vision: tuple[bool, ...]) -> Array:
    """(causal OR same vision block) AND window, one pair of positions at a time."""
    block = np.cumsum(np.diff(np.array(vision, int), prepend=0) == 1)
    seen = np.zeros((length, length), bool)
    for query in range(length):
        for key in range(length):
            together = bool(vision[query] and vision[key] and block[query] == block[key])
            seen[query, key] = (key <= query or together) and query - key < window
    return seen
