"""What a model on the Hub or Kaggle is, before it is downloaded: its files, and its headers read over the network."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from gemma4_mlx.checkpoint import kaggle
from gemma4_mlx.checkpoint.address import KAGGLE, Address
from gemma4_mlx.checkpoint.hub import MODEL_FILES, hub_errors
from gemma4_mlx.checkpoint.load import build, fit_weights, present_inputs, without_copies
from gemma4_mlx.checkpoint.names import module_name
from gemma4_mlx.config import DRAFTER_TYPE, DrafterConfig, ModelConfig
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.files import read_json
from gemma4_mlx.model.drafter import Drafter
from gemma4_mlx.model.unified import Gemma4Unified

DTYPES: Mapping[str, mx.Dtype] = {
    **{"F32": mx.float32, "F16": mx.float16, "BF16": mx.bfloat16, "U8": mx.uint8, "I8": mx.int8, "U32": mx.uint32},
    **{"I32": mx.int32, "I64": mx.int64, "U16": mx.uint16, "I16": mx.int16, "BOOL": mx.bool_},
}
"""The types of safetensors that MLX has; others are none that a checkpoint of this model has."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A model to download.

    Attributes:
        address: it, at the commit or version that would be downloaded.
        files: bytes of each file.
        size: bytes to download: those of the files that aren't in the cache.
    """

    address: Address
    files: Mapping[str, int]
    size: int

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())


def find_offer(address: Address) -> Offer:
    """Ask what there is. Raise GemmaError if there is no such model, or nothing that this package reads."""
    return _on_kaggle(address) if address.host == KAGGLE else _on_hub(address)


def _on_kaggle(address: Address) -> Offer:
    version, files = kaggle.files(address)
    exact = Address(KAGGLE, address.name, str(version))
    return Offer(_with_weights(exact, files), files, 0 if kaggle.cached(exact) else sum(files.values()))


def _on_hub(address: Address) -> Offer:
    from huggingface_hub import HfApi, snapshot_download

    with hub_errors(address.name, address.revision, bars=False):
        commit = HfApi().model_info(address.name, revision=address.revision).sha
        found = snapshot_download(address.name, revision=commit, allow_patterns=list(MODEL_FILES), dry_run=True)
    sizes = {file.filename: file.file_size or 0 for file in found}
    size = sum(file.file_size or 0 for file in found if file.will_download)
    return Offer(_with_weights(Address(address.host, address.name, commit), sizes), sizes, size)


def _with_weights(address: Address, files: Mapping[str, int]) -> Address:
    """The address, if there is what a checkpoint has. Raise GemmaError."""
    wanted = {"config.json": "config.json", "weights": ".safetensors"}
    lacking = [what for what, ending in wanted.items() if not any(name.endswith(ending) for name in files)]
    if lacking:
        raise GemmaError(f"{address}: no {' and no '.join(lacking)} there that this package reads (safetensors only)")
    return address


def offered_model(offer: Offer) -> Gemma4Unified | Drafter:
    """The model of an offer on the Hub without its weights: headers and config.json alone are read.

    Raises:
        GemmaError: this package can't run it.
    """
    from huggingface_hub import HfApi, hf_hub_download

    name, commit = offer.address.name, offer.address.revision
    with hub_errors(name, commit, bars=False):
        folder = Path(hf_hub_download(name, "config.json", revision=commit)).parent
        config = offered_config(folder)
        files = [file for file in offer.files if "/" not in file and file.endswith(".safetensors")]
        headers = [HfApi().parse_safetensors_file_metadata(name, file, revision=commit) for file in files]
    tensors = {name: tensor for header in headers for name, tensor in header.tensors.items()}
    weights = {
        module_name(name): mx.zeros(tensor.shape, DTYPES.get(tensor.dtype, mx.uint8))
        for name, tensor in tensors.items()
    }
    return _assemble(config, without_copies(weights))


def offered_config(folder: Path) -> ModelConfig | DrafterConfig:
    """The configuration in a folder. Raise GemmaError if it is of another model."""
    is_drafter = read_json(folder / "config.json").get("model_type") == DRAFTER_TYPE
    return DrafterConfig.from_folder(folder) if is_drafter else ModelConfig.from_folder(folder)


def _assemble(config: ModelConfig | DrafterConfig, weights: dict[str, mx.array]) -> Gemma4Unified | Drafter:
    """A model whose weights are zeros that are never made."""
    model: Gemma4Unified | Drafter
    if isinstance(config, DrafterConfig):
        weights = {name.removeprefix("language_model.model."): array for name, array in weights.items()}
        model = build(Drafter, config)
    else:
        model = build(Gemma4Unified, present_inputs(config, weights))
    fit_weights(model, config.quantization, weights)
    model.load_weights(list(weights.items()))
    return model
