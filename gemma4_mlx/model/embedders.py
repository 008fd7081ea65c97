"""Encoder-free media: raw patches and raw audio frames become decoder inputs by one linear projection each."""

import mlx.core as mx
import mlx.nn as nn

from gemma4_mlx.config import VisionConfig

LAYER_NORM_EPS = 1e-5


class VisionEmbedder(nn.Module):
    """Patches -> LayerNorm -> Dense -> LayerNorm -> + column and row embeddings -> LayerNorm."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        patch_dim = config.patch_size**2 * 3
        self.patch_ln1 = nn.LayerNorm(patch_dim, eps=LAYER_NORM_EPS)
        self.patch_dense = nn.Linear(patch_dim, config.mm_embed_dim)
        self.patch_ln2 = nn.LayerNorm(config.mm_embed_dim, eps=LAYER_NORM_EPS)
        self.pos_embedding = mx.zeros((config.mm_posemb_size, 2, config.mm_embed_dim))
        self.pos_norm = nn.LayerNorm(config.mm_embed_dim, eps=LAYER_NORM_EPS)

    def __call__(self, pixels: mx.array, positions: mx.array) -> mx.array:
        """Maps pixels `(n, patch_dim)` in 0..1 at positions `(n, 2)` (column, row) to `(n, mm_embed_dim)`."""
        x = self.patch_ln2(self.patch_dense(self.patch_ln1(pixels)))
        x = x + (self.pos_embedding[positions[:, 0], 0] + self.pos_embedding[positions[:, 1], 1])
        return self.pos_norm(x)


class MediaProjection(nn.Module):
    """RMSNorm without weight, then the projection into the decoder's width."""

    def __init__(self, input_dim: int, hidden_size: int, eps: float) -> None:
        super().__init__()
        self.embedding_projection = nn.Linear(input_dim, hidden_size, bias=False)
        self._eps = eps

    def __call__(self, x: mx.array) -> mx.array:
        """Maps `(n, input_dim)` to `(n, hidden)`."""
        return self.embedding_projection(mx.fast.rms_norm(x, None, self._eps))
