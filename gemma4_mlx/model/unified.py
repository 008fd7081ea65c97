"""Gemma 4 Unified: text, image, audio and video embeddings spliced into one sequence for one decoder."""

from collections.abc import Sequence

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from gemma4_mlx.config import ModelConfig
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.images import Patches
from gemma4_mlx.model.cache import Cache, make_caches
from gemma4_mlx.model.compiled import Traces
from gemma4_mlx.model.disk import Preparation, read
from gemma4_mlx.model.embedders import MediaProjection, VisionEmbedder
from gemma4_mlx.model.masks import Block
from gemma4_mlx.model.rows import KVQuantization
from gemma4_mlx.model.text import DecoderLayer, LanguageModel
from gemma4_mlx.prompt.prompt import Span


class Gemma4Unified(nn.Module):
    """The whole model. Module names are those of MLX checkpoints."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self._preparation = Preparation()
        self.language_model = LanguageModel(config.text)
        if config.vision is not None:
            vision = config.vision
            self.vision_embedder = VisionEmbedder(vision)
            self.embed_vision = MediaProjection(vision.mm_embed_dim, config.text.hidden_size, vision.rms_norm_eps)
        if config.audio is not None:
            audio = config.audio
            self.embed_audio = MediaProjection(audio.samples_per_token, config.text.hidden_size, audio.rms_norm_eps)

    @property
    def layers(self) -> list[DecoderLayer]:
        """The decoder layers, where adapters attach. Raises GemmaError for a prepared model: it is too late then."""
        if self._preparation.begun:
            raise GemmaError(
                "adapters attach before a model is prepared: give adapter_path to load()", arguments=["adapter_path"]
            )
        return self.language_model.model.layers

    def prepare(self) -> "Gemma4Unified":
        """Reads the weights from disk, if that is where they are, and rearranges them for inference, layer by layer.

        The model computes nothing before; a second call does nothing. Any thread may call it, and again after it was
        interrupted. Raises GemmaError if weights can't be read.
        """
        self._preparation.run(self._prepare)
        return self

    def _prepare(self) -> None:
        traces: Traces = {}
        for layer in self.language_model.model.layers:
            layer.prepare(traces)
        read(self.parameters())

    def make_caches(self, max_length: int, kv_bits: int | None = None, kv_group_size: int = 64) -> list[Cache]:
        """Empty caches for at most `max_length` positions, their rows quantized where `kv_bits` is given."""
        quantization = None if kv_bits is None else KVQuantization(kv_bits, kv_group_size)
        return make_caches(self.config.text, max_length, quantization)

    def __call__(
        self,
        embeddings: mx.array,
        caches: Sequence[Cache] | None = None,
        blocks: Sequence[Block] = (),
        outputs: int | None = None,
    ) -> mx.array:
        """Hidden states of embeddings `(B, L, hidden)` that follow the positions in `caches`.

        Returns `(B, outputs, hidden)` for the last `outputs` positions: None stands for all of them, 0 only writes the
        caches. Without caches the embeddings are the whole sequence.
        """
        caches = self.make_caches(embeddings.shape[1]) if caches is None else caches
        return self.language_model.model(embeddings, caches, blocks, outputs)

    def logits(self, hidden: mx.array) -> mx.array:
        """Float32 logits `(B, L, vocab)`."""
        return self.language_model.logits(hidden)

    def embed(self, ids: Sequence[int], spans: Sequence[Span] = (), start: int = 0) -> mx.array:
        """Embeddings `(1, L, hidden)` of the ids at positions from `start` on, media features in their places.

        Every span must lie inside. Nothing is evaluated: projections, splice and what reads them stay one lazy graph.
        Raises GemmaError for ids that the model does not have: MLX would look outside of its embedding.
        """
        tokens = np.asarray(ids, dtype=np.int32)
        vocab_size = self.config.text.vocab_size
        if tokens.size and not 0 <= tokens.min() <= tokens.max() < vocab_size:
            raise GemmaError(f"ids must be from 0 to {vocab_size - 1}, not {tokens.min()} to {tokens.max()}")
        for span in spans:
            tokens[span.start - start : span.stop - start] = self.config.tokens.pad
        text = self.language_model.model.embed(mx.array(tokens)[None])
        if not spans:
            return text
        features = self._features(spans)
        pieces, position = [], 0
        for span in spans:
            pieces += [text[:, position : span.start - start], features[span.start][None]]
            position = span.stop - start
        return mx.concatenate([*pieces, text[:, position:]], axis=1)

    def _features(self, spans: Sequence[Span]) -> dict[int, mx.array]:
        """The rows `(n, hidden)` of each span by its start; one projection for all spans that use it."""
        features: dict[int, mx.array] = {}
        vision = [span for span in spans if span.kind != "audio"]
        audio = [span for span in spans if span.kind == "audio"]
        for group, project in ((vision, self._project_patches), (audio, self._project_frames)):
            if group:
                stops = np.cumsum([span.stop - span.start for span in group]).tolist()
                rows = mx.split(project(group), stops[:-1])
                features |= {span.start: part for span, part in zip(group, rows, strict=True)}
        return features

    def _project_patches(self, spans: Sequence[Span]) -> mx.array:
        if self.config.vision is None:
            raise GemmaError("this checkpoint has no vision input: it can't read images or video; leave them out")
        patches = [span.features for span in spans if isinstance(span.features, Patches)]
        pixels = mx.array(np.concatenate([item.pixels for item in patches]))
        if pixels.dtype == mx.uint8:
            pixels = pixels.astype(mx.float32) / 255
        positions = mx.array(np.concatenate([item.positions for item in patches]))
        dtype = self.language_model.model.dtype
        return self.embed_vision(self.vision_embedder(pixels.astype(dtype), positions))

    def _project_frames(self, spans: Sequence[Span]) -> mx.array:
        if self.config.audio is None:
            raise GemmaError("this checkpoint has no audio input: it can't listen; leave the audio out")
        frames = [span.features for span in spans if isinstance(span.features, np.ndarray)]
        return self.embed_audio(mx.array(np.concatenate(frames)).astype(self.language_model.model.dtype))
