"""Muon for matrices, Adam for everything else, sharded over data-parallel ranks.

Muon (Jordan et al. 2024): momentum, then the nearest semi-orthogonal matrix by five Newton-Schulz steps.
"""

from collections import defaultdict

import torch
import torch.distributed as dist
from torch import Tensor, nn

ADAM_RATES = {"embed_tokens": 2e-3, "pos_embedding": 6e-3, "patch_ln1": 3e-4, "aux_head": 1e-3}
ADAM_RATE = 3e-3  # norms, biases, layer scalars
MUON_RATE = 0.02
WIDE_INPUT_RATE = 0.03  # raw pixels and samples: many noisy inputs
WEIGHT_DECAY = 0.01


def orthogonal(matrices: Tensor) -> Tensor:
    """[k, rows, columns] -> about U V^T of each, in bfloat16."""
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if tall else x
    x = x / (x.float().norm(dim=(1, 2), keepdim=True) + 1e-7).bfloat16()
    for _ in range(5):
        square = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.transpose(1, 2) if tall else x).float()


def is_matrix(name: str) -> bool:
    return name.endswith(("_proj.weight", "_projection.weight", "patch_dense.weight"))


class Optimizer:
    """Owns one flat gradient buffer; parameters' `.grad` are views of it, so one all-reduce averages them."""

    def __init__(self, model: nn.Module) -> None:
        self.rank, self.world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.named = dict(model.named_parameters())
        self.flat = torch.zeros(sum(p.numel() for p in self.named.values()))
        offset = 0
        for parameter in self.named.values():
            parameter.grad = self.flat[offset : offset + parameter.numel()].view_as(parameter)
            offset += parameter.numel()
        self.matrices = self._by_shape()
        self.momentum = {n: torch.zeros_like(p) for n, p in self.named.items() if is_matrix(n)}
        others = {n: p for n, p in self.named.items() if not is_matrix(n)}
        groups = [{"params": [p], "lr": _adam_rate(n), "rate": _adam_rate(n)} for n, p in others.items()]
        self.adam = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0, foreach=True)

    def _by_shape(self) -> list[list[str]]:
        """Names of equally shaped matrices, split evenly over the ranks."""
        shapes = defaultdict(list)
        for name, parameter in self.named.items():
            if is_matrix(name):
                shapes[parameter.shape].append(name)
        return [[n for i, n in enumerate(names) if i % self.world == self.rank] for names in shapes.values()]

    def step(self, scale: float) -> None:
        """Average the gradients over the ranks and update with the learning rates times `scale`."""
        if self.world > 1:
            dist.all_reduce(self.flat)
            self.flat /= self.world
        for group in self.adam.param_groups:
            group["lr"] = group["rate"] * scale
        self.adam.step()
        self._muon(scale)
        self.flat.zero_()

    @torch.no_grad()
    def _muon(self, scale: float) -> None:
        for name, velocity in self.momentum.items():
            velocity.lerp_(self.named[name].grad, 0.05)
            self.named[name].grad.lerp_(velocity, 0.95)  # Nesterov
        updates = {n: u for names in self.matrices if names for n, u in zip(names, self._direction(names), strict=True)}
        shared = torch.cat(
            [updates[n].flatten() if n in updates else torch.zeros(self.named[n].numel()) for n in self.momentum]
        )
        if self.world > 1:
            dist.all_reduce(shared)
        offset = 0
        for name in self.momentum:
            parameter = self.named[name]
            update = shared[offset : offset + parameter.numel()].view_as(parameter)
            offset += parameter.numel()
            rate = scale * (WIDE_INPUT_RATE if "patch_dense" in name or "embed_audio" in name else MUON_RATE)
            rows, columns = parameter.shape
            parameter.mul_(1 - rate * WEIGHT_DECAY).sub_(update, alpha=rate * (rows / columns) ** 0.5)

    def _direction(self, names: list[str]) -> Tensor:
        return orthogonal(torch.stack([self.named[n].grad for n in names]))

    def state(self) -> dict:
        return {"momentum": self.momentum, "adam": self.adam.state_dict()}

    def load(self, state: dict) -> None:
        self.adam.load_state_dict(state["adam"])
        for name, velocity in state["momentum"].items():
            self.momentum[name].copy_(velocity)


def _adam_rate(name: str) -> float:
    return next((rate for part, rate in ADAM_RATES.items() if part in name), ADAM_RATE)


def decay(progress: float, warmup: float = 0.02) -> float:
    """Linear warm-up, then a linear fall to zero, over progress 0..1."""
    return min(progress / warmup, max(0.0, (1 - progress) / (1 - warmup)))
