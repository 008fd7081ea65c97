"""Writes tensors into safetensors shards one by one; what waits in memory is never more than a shard."""

import json
from collections.abc import Mapping
from pathlib import Path

import mlx.core as mx

from gemma4_mlx.device_errors import device_errors_named
from gemma4_mlx.errors import GemmaError, one_line
from gemma4_mlx.files import cure, write_atomically

SHARD_BYTES = 900_000_000
METADATA = {"format": "mlx"}


class ShardWriter:
    """Collects tensors up to `shard_bytes`, then writes them. A tensor larger than that is a shard of its own."""

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        self._folder, self._shard_bytes = folder, shard_bytes
        self._waiting: dict[str, mx.array] = {}
        self._shard_of: dict[str, int] = {}
        self._shards = 0
        self._total = 0

    def add(self, tensors: Mapping[str, mx.array]) -> None:
        """Evaluates lazy tensors that belong together; what waits is written first if they would not fit beside it.

        The caller must hold no other reference to what the tensors are computed from.
        """
        size = sum(tensor.nbytes for tensor in tensors.values())
        if self._waiting and self._waiting_bytes() + size > self._shard_bytes:
            self._flush()
        mx.eval(*tensors.values())
        mx.clear_cache()
        self._waiting.update(tensors)
        self._total += size

    def finish(self) -> None:
        """Writes what waits, gives the shards their final names, and writes the index."""
        self._flush()
        names = {shard: self._name(shard) for shard in range(self._shards)}
        for shard, name in names.items():
            self._temporary(shard).rename(self._folder / name)
        index = {
            "metadata": {"total_size": self._total},
            "weight_map": {tensor: names[shard] for tensor, shard in sorted(self._shard_of.items())},
        }
        write_atomically(self._folder / "model.safetensors.index.json", json.dumps(index, indent=2) + "\n")

    def _flush(self) -> None:
        try:
            with device_errors_named():
                mx.save_safetensors(str(self._temporary(self._shards)), self._waiting, METADATA)
        except RuntimeError as error:
            reason = one_line(error)
            raise GemmaError(f"{self._folder.parent}: can't be written ({reason}); {cure(error)}") from None
        self._shard_of |= dict.fromkeys(self._waiting, self._shards)
        self._shards += 1
        self._waiting.clear()
        mx.clear_cache()

    def _waiting_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self._waiting.values())

    def _temporary(self, shard: int) -> Path:
        return self._folder / f"shard-{shard + 1}.safetensors"

    def _name(self, shard: int) -> str:
        return "model.safetensors" if self._shards == 1 else f"model-{shard + 1:05d}-of-{self._shards:05d}.safetensors"
