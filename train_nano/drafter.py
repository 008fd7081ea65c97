"""The drafter of Gemma 4 in torch, guessing at many places of a batch at once. Names equal the checkpoint's.

A drafter has no keys and values: its sliding layers read those of the target's last sliding layer, its full layers
those of the target's last full layer. A guess is made at an anchor: the position of the last token that is certain. All
steps of it keep the anchor's position and see the keys before the anchor, sliding layers the newest window + 1 of them.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train_nano.architecture import FULL, SLIDING, Architecture
from train_nano.model import Attention, Batch, Block, RMSNorm, Unified, attend, rotary_frequencies, rotate

HIDDEN, MLP, LAYERS = 128, 384, (SLIDING, FULL)


def drafter_sizes(target: Architecture) -> Architecture:
    """The nano drafter's sizes: the target's heads, and a width, an MLP and layers of its own."""
    return replace(target, hidden=HIDDEN, mlp=MLP, layer_types=LAYERS)


def sizes_from(config: dict[str, Any], target: Architecture) -> Architecture:
    """The sizes of a drafter's config.json."""
    text = config["text_config"]
    layers = tuple(text["layer_types"])
    return replace(target, hidden=text["hidden_size"], mlp=text["intermediate_size"], layer_types=layers)


def drafter_config(target: dict[str, Any], arch: Architecture) -> dict[str, Any]:
    """config.json of a drafter, from the target's and the drafter's sizes."""
    own = {
        "final_logit_softcapping": None,
        "hidden_size": arch.hidden,
        "intermediate_size": arch.mlp,
        "layer_types": list(arch.layer_types),
        "num_hidden_layers": len(arch.layer_types),
        "num_kv_shared_layers": len(arch.layer_types),
    }
    return {
        "architectures": ["Gemma4UnifiedAssistantForCausalLM"],
        "backbone_hidden_size": target["text_config"]["hidden_size"],
        "dtype": "bfloat16",
        "model_type": "gemma4_unified_assistant",
        "text_config": target["text_config"] | own,
        "tie_word_embeddings": True,
        "use_ordered_embeddings": False,
    }


@dataclass(slots=True)
class Reading:
    """What a drafter takes from a target's pass over a batch of B rows and L tokens.

    Attributes:
        hidden: [B, L, hidden] after the final norm.
        kept: by kind of layer, the last such layer's rotated keys and normalised values, [B, L, kv_heads, D] each.
    """

    hidden: Tensor
    kept: dict[str, tuple[Tensor, Tensor]]


class Reader:
    """Runs a target without gradients and keeps what a drafter needs."""

    def __init__(self, target: Unified, dtype: torch.dtype) -> None:
        self.target, self.dtype = target, dtype
        self.kept: dict[str, tuple[Tensor, Tensor]] = {}
        last = {block.self_attn.full: block.self_attn for block in target.model["language_model"].layers}
        for attention in last.values():
            attention.register_forward_pre_hook(self._keep)

    def _keep(self, attention: Attention, given: tuple[Tensor, ...]) -> None:
        self.kept[FULL if attention.full else SLIDING] = attention.keys_values(*given[:3])

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Reading:
        hidden, _ = self.target.hidden_states(batch, self.dtype)
        return Reading(hidden.unflatten(0, batch.ids.shape), dict(self.kept))


class DraftAttention(nn.Module):
    """Queries of its own against the keys and values of the target."""

    def __init__(self, arch: Architecture, layer: int) -> None:
        super().__init__()
        dim, _ = arch.head(layer)
        self.heads, self.dim = arch.heads, dim
        self.q_proj = nn.Linear(arch.hidden, self.heads * dim, bias=False)
        self.o_proj = nn.Linear(self.heads * dim, arch.hidden, bias=False)
        self.q_norm = RMSNorm(dim, arch.eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q = rotate(self.q_norm(self.q_proj(x).unflatten(-1, (self.heads, self.dim))), cos, sin)
        return self.o_proj(attend(q, k.to(q.dtype), v.to(q.dtype), mask))


@dataclass(slots=True)
class View:
    """What the layers of one kind see at anchors [B, A]: rotation [B, A, 1, D / 2], mask [B, 1, A, L], keys, values."""

    cos: Tensor
    sin: Tensor
    mask: Tensor
    keys: Tensor
    values: Tensor

    def given(self) -> tuple[Tensor, ...]:
        """In the order of `DraftAttention`."""
        return self.cos, self.sin, self.mask, self.keys, self.values


class Drafter(nn.Module):
    """A few blocks between two projections from and to the target's width."""

    def __init__(self, arch: Architecture, backbone: int) -> None:
        super().__init__()
        self.arch = arch
        self.pre_projection = nn.Linear(2 * backbone, arch.hidden, bias=False)
        self.model = nn.ModuleDict(
            {
                "embed_tokens": nn.Embedding(arch.vocab, arch.hidden),
                "layers": nn.ModuleList(Block(arch, DraftAttention(arch, i)) for i in range(len(arch.layer_types))),
                "norm": RMSNorm(arch.hidden, arch.eps),
            }
        )
        self.post_projection = nn.Linear(arch.hidden, backbone, bias=False)
        for name in set(arch.layer_types):
            self.register_buffer(f"freqs_{name}", rotary_frequencies(arch, name), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=module.weight.shape[1] ** -0.5)

    def views(self, batch: Batch, reading: Reading, anchors: Tensor) -> dict[str, View]:
        """By kind of layer, for anchors [B, A]: indices into the batch's tokens."""
        positions, index = batch.positions, torch.arange(batch.ids.shape[1])
        at = positions.gather(1, anchors)
        before = index < anchors[..., None]
        near = at[..., None] - positions[:, None] <= self.arch.window + 1
        masks = {
            FULL: torch.where(before, batch.crowd[:, None], -1e9),
            SLIDING: torch.where(before & near, 0.0, -1e9),
        }
        views = {}
        for kind in set(self.arch.layer_types):
            angles = at[..., None, None].float() * getattr(self, f"freqs_{kind}")
            views[kind] = View(angles.cos(), angles.sin(), masks[kind][:, None], *reading.kept[kind])
        return views

    def forward(self, embedding: Tensor, hidden: Tensor, views: dict[str, View]) -> tuple[Tensor, Tensor]:
        """One step at all anchors: logits [B, A, vocab], and the next step's hidden state [B, A, backbone].

        `embedding` is the target's scaled one of the last token, `hidden` the target's of the token before it, or what
        the step before returned.
        """
        x = self.pre_projection(torch.cat((embedding, hidden), -1))
        for block, kind in zip(self.model["layers"], self.arch.layer_types, strict=True):
            x = block(x, *views[kind].given())
        x = self.model["norm"](x)
        return F.linear(x, self.model["embed_tokens"].weight), self.post_projection(x)


def embedded(target: Unified, ids: Tensor) -> Tensor:
    """The target's scaled embeddings of ids."""
    return F.embedding(ids, target.model["language_model"].embed_tokens.weight) * math.sqrt(target.arch.hidden)
