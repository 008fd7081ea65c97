"""Gemma 4 Unified in torch: what the nano checkpoint is trained with. Module names equal the checkpoint's tensor names.

Activations may be bfloat16 (`torch.autocast`); norms and rotations compute in float32.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train_nano.architecture import FULL, Architecture


@dataclass(slots=True, kw_only=True)
class Batch:
    """One padded batch. B rows, L tokens, P patches, A audio frames.

    Attributes:
        ids: [B, L] token ids; placeholders are already replaced by the pad id.
        positions: [B, L] absolute positions (they may jump).
        blocks: [B, L] 0 outside vision blocks, else a number that the tokens of one block share.
        segments: [B, L] 0 for padding, 1 for tokens.
        crowd: [B, L] logarithm of how many keys a token stands for in the full layers.
        patches, patch_xy, patch_at: [P, 6912] in 0..1, [P, 2], [P] index into the flattened B*L tokens.
        frames, frame_at: [A, 640], [A] index likewise.
        target_at, targets, target_weight: [T] index of the token that predicts, the token to predict, its loss weight.
        query_at: [B, N] the tokens of every row that predict, by their place in it; 0 where it has fewer.
        target_slot: [T] index of the predicting token into the flattened B*N queries.
        aux_at, aux_targets: [U] index of a media token, [U] its auxiliary class.
    """

    ids: Tensor
    positions: Tensor
    blocks: Tensor
    segments: Tensor
    crowd: Tensor
    patches: Tensor
    patch_xy: Tensor
    patch_at: Tensor
    frames: Tensor
    frame_at: Tensor
    target_at: Tensor
    targets: Tensor
    target_weight: Tensor
    query_at: Tensor
    target_slot: Tensor
    aux_at: Tensor
    aux_targets: Tensor


POSITION_STD = 0.4  # beside patch features of size 1: from zero, positions stay too faint to tell where a patch is


def rms_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    x32 = x.float()
    y = x32 * torch.pow(x32.square().mean(-1, keepdim=True) + eps, -0.5)
    return (y if weight is None else y * weight).to(x.dtype)


class RMSNorm(nn.Module):
    """Plain `w * x_hat`, in float32."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


def rotary_frequencies(arch: Architecture, layer_type: str) -> Tensor:
    """[head_dim / 2] angles per position; zeros leave a pair of dims unrotated ("proportional" RoPE of full layers)."""
    dim, theta, fraction = arch.head_dim, arch.rope_theta, 1.0
    if layer_type == FULL:
        dim, theta, fraction = arch.global_head_dim, arch.global_rope_theta, arch.rotary_fraction
    freqs = 1.0 / theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)
    freqs[int(fraction * dim // 2) :] = 0.0
    return freqs


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x [B, L, heads, D]; cos, sin [B, L, 1, D / 2]; dim i pairs with i + D / 2."""
    a, b = x.float().chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(x.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """q [B, N, heads, D], k and v [B, L, kv_heads, D], mask [B, 1, N, L] added to scores -> [B, N, heads * D].

    The queries of the heads that share keys are multiplied as one matrix: three times fewer products than with the
    keys repeated.
    """
    b, n, heads, dim = q.shape
    kv, length = k.shape[2], k.shape[1]
    group = heads // kv
    q = q.view(b, n, kv, group, dim).permute(0, 2, 3, 1, 4).reshape(b, kv, group * n, dim)
    k, v = k.transpose(1, 2), v.transpose(1, 2)
    scores = (q @ k.transpose(2, 3)).view(b, kv, group, n, length) + mask[:, :, None]
    out = torch.softmax(scores, -1).to(v.dtype).view(b, kv, group * n, length) @ v
    return out.view(b, kv, group, n, dim).permute(0, 3, 1, 2, 4).reshape(b, n, heads * dim)


class Attention(nn.Module):
    """Scale 1.0, q and k RMSNorm, v RMSNorm without weight; full layers read V from k_proj."""

    def __init__(self, arch: Architecture, layer: int) -> None:
        super().__init__()
        self.dim, self.kv_heads = arch.head(layer)
        self.heads, self.eps = arch.heads, arch.eps
        self.full = arch.layer_types[layer] == FULL
        self.q_proj = nn.Linear(arch.hidden, self.heads * self.dim, bias=False)
        self.k_proj = nn.Linear(arch.hidden, self.kv_heads * self.dim, bias=False)
        if not self.full:
            self.v_proj = nn.Linear(arch.hidden, self.kv_heads * self.dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.dim, arch.hidden, bias=False)
        self.q_norm = RMSNorm(self.dim, arch.eps)
        self.k_norm = RMSNorm(self.dim, arch.eps)

    def keys_values(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Rotated keys and normalised values [B, L, kv_heads, D]."""
        k = self.k_proj(x).unflatten(-1, (self.kv_heads, self.dim))
        v = k if self.full else self.v_proj(x).unflatten(-1, (self.kv_heads, self.dim))
        return rotate(self.k_norm(k), cos, sin), rms_norm(v, None, self.eps)

    def queries(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return rotate(self.q_norm(self.q_proj(x).unflatten(-1, (self.heads, self.dim))), cos, sin)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        return self.o_proj(attend(self.queries(x, cos, sin), *self.keys_values(x, cos, sin), mask))


class MLP(nn.Module):
    """GeGLU with the tanh approximation."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(arch.hidden, arch.mlp, bias=False)
        self.up_proj = nn.Linear(arch.hidden, arch.mlp, bias=False)
        self.down_proj = nn.Linear(arch.mlp, arch.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


class Block(nn.Module):
    """An attention and an MLP, each between two norms. What the attention is called with comes after x."""

    def __init__(self, arch: Architecture, attention: nn.Module) -> None:
        super().__init__()
        self.self_attn = attention
        self.mlp = MLP(arch)
        self.input_layernorm = RMSNorm(arch.hidden, arch.eps)
        self.post_attention_layernorm = RMSNorm(arch.hidden, arch.eps)
        self.pre_feedforward_layernorm = RMSNorm(arch.hidden, arch.eps)
        self.post_feedforward_layernorm = RMSNorm(arch.hidden, arch.eps)
        self.layer_scalar = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, *given: Tensor) -> Tensor:
        return self.attended(x, self.self_attn(self.input_layernorm(x), *given))

    def attended(self, x: Tensor, found: Tensor) -> Tensor:
        """What follows the attention, which `found` something for x."""
        x = x + self.post_attention_layernorm(found)
        x = x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))
        return x * self.layer_scalar.to(x.dtype)


class LanguageModel(nn.Module):
    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(arch.vocab, arch.hidden)
        self.layers = nn.ModuleList(Block(arch, Attention(arch, i)) for i in range(len(arch.layer_types)))
        self.norm = RMSNorm(arch.hidden, arch.eps)


class Projection(nn.Module):
    """RMSNorm without weight, then a linear map into the text width."""

    def __init__(self, dim: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.embedding_projection = nn.Linear(dim, hidden, bias=False)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding_projection(rms_norm(x, None, self.eps))


class VisionEmbedder(nn.Module):
    """Raw 48x48x3 patches [P, 6912] and their (x, y) [P, 2] -> [P, vision_dim]."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.patch_ln1 = nn.LayerNorm(arch.patch_values)
        self.patch_dense = nn.Linear(arch.patch_values, arch.vision_dim)
        self.patch_ln2 = nn.LayerNorm(arch.vision_dim)
        self.pos_embedding = nn.Parameter(torch.randn(arch.positions, 2, arch.vision_dim) * POSITION_STD)
        self.pos_norm = nn.LayerNorm(arch.vision_dim)

    def forward(self, patches: Tensor, xy: Tensor) -> Tensor:
        x = self.patch_ln2(self.patch_dense(self.patch_ln1(patches)))
        x = x + (self.pos_embedding[xy[:, 0], 0] + self.pos_embedding[xy[:, 1], 1])
        return self.pos_norm(x)


class Unified(nn.Module):
    """The whole model. `model.*` are the checkpoint's tensors; `aux_head` exists in training only.

    Args:
        aux_classes: size of the auxiliary head that names what a media token shows (0: none).
        aux_layer: the block after which it reads the hidden state.
    """

    def __init__(self, arch: Architecture, aux_classes: int = 0, aux_layer: int = 3) -> None:
        super().__init__()
        self.arch, self.aux_layer = arch, aux_layer
        self.model = nn.ModuleDict(
            {
                "language_model": LanguageModel(arch),
                "vision_embedder": VisionEmbedder(arch),
                "embed_vision": Projection(arch.vision_dim, arch.hidden, arch.eps),
                "embed_audio": Projection(arch.frame_samples, arch.hidden, arch.eps),
            }
        )
        self.aux_head = nn.Linear(arch.hidden, aux_classes) if aux_classes else None
        for name in set(arch.layer_types):
            self.register_buffer(f"freqs_{name}", rotary_frequencies(arch, name), persistent=False)
        self.apply(self._initialise)

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.arch.initializer_range)

    def embed(self, batch: Batch) -> Tensor:
        """[B, L, hidden] token embeddings with the media features in their places."""
        table = self.model["language_model"].embed_tokens.weight
        x = F.embedding(batch.ids, table) * math.sqrt(self.arch.hidden)
        flat = x.view(-1, self.arch.hidden)
        if len(batch.patch_at):
            seen = self.model["embed_vision"](self.model["vision_embedder"](batch.patches, batch.patch_xy))
            flat = flat.index_copy(0, batch.patch_at, seen.to(flat.dtype))
        if len(batch.frame_at):
            flat = flat.index_copy(0, batch.frame_at, self.model["embed_audio"](batch.frames).to(flat.dtype))
        return flat.view(x.shape)

    def masks(self, batch: Batch) -> dict[str, Tensor]:
        """[B, 1, L, L] biases: full layers causal; sliding layers (causal or same vision block) and in the window."""
        n = batch.ids.shape[1]
        causal = torch.ones(n, n, dtype=torch.bool).tril()[None]
        real = (batch.segments > 0)[:, None, :] | torch.eye(n, dtype=torch.bool)[None]
        block = batch.blocks
        same = (block[:, :, None] == block[:, None, :]) & (block > 0)[:, :, None]
        near = batch.positions[:, :, None] - batch.positions[:, None, :] < self.arch.window
        crowd = batch.crowd[:, None, :]
        return {
            FULL: torch.where(causal & real, crowd, -1e9)[:, None],
            "sliding_attention": torch.where((causal | same) & near & real, 0.0, -1e9)[:, None],
        }

    def hidden_states(self, batch: Batch, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """(after the final norm, after block `aux_layer`), both [B * L, hidden]."""
        x, middle, given = self._before_last(batch, dtype)
        text = self.model["language_model"]
        x = text.layers[-1](x, *given[self.arch.layer_types[-1]])
        return text.norm(x).flatten(0, 1), middle.flatten(0, 1)

    def target_states(self, batch: Batch, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """`hidden_states`, the first one at the predicting tokens only: [T, hidden].

        Nobody reads the other tokens after the last block, which is a sixth of the work.
        """
        x, middle, given = self._before_last(batch, dtype)
        text, at = self.model["language_model"], batch.query_at
        cos, sin, mask = given[self.arch.layer_types[-1]]
        block = text.layers[-1]
        asking = x.gather(1, at[..., None].expand(-1, -1, x.shape[-1]))
        normed = block.input_layernorm(x)
        cos_at, sin_at = (t.gather(1, at[..., None, None].expand(-1, -1, 1, t.shape[-1])) for t in (cos, sin))
        queries = block.self_attn.queries(block.input_layernorm(asking), cos_at, sin_at)
        rows = mask.gather(2, at[:, None, :, None].expand(-1, 1, -1, mask.shape[-1]))
        found = attend(queries, *block.self_attn.keys_values(normed, cos, sin), rows)
        x = block.attended(asking, block.self_attn.o_proj(found))
        return text.norm(x).flatten(0, 1)[batch.target_slot], middle.flatten(0, 1)

    def _before_last(self, batch: Batch, dtype: torch.dtype) -> tuple[Tensor, Tensor, dict[str, tuple[Tensor, ...]]]:
        """x before the last block, x after block `aux_layer`, and what each kind of layer is given: cos, sin, mask."""
        given = {}
        for name, mask in self.masks(batch).items():
            angles = batch.positions[..., None, None].float() * getattr(self, f"freqs_{name}")
            given[name] = angles.cos(), angles.sin(), mask
        x = middle = self.embed(batch).to(dtype)
        blocks = self.model["language_model"].layers[:-1]
        for i, (block, name) in enumerate(zip(blocks, self.arch.layer_types[:-1], strict=True)):
            x = block(x, *given[name])
            middle = x if i == self.aux_layer else middle
        return x, middle, given

    def logits(self, hidden: Tensor) -> Tensor:
        """[n, hidden] after the final norm -> [n, vocab], soft-capped, in float32."""
        cap = self.arch.softcap
        raw = F.linear(hidden, self.model["language_model"].embed_tokens.weight.to(hidden.dtype))
        return cap * torch.tanh(raw.float() / cap)
