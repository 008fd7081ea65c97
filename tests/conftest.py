"""Random checkpoints with a real small tokenizer, made once for all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Products of the float64 reference are small: BLAS threads would only spin, here and in the processes of commands.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.random_checkpoint import tiny_config, write_checkpoint
from gemma4_mlx.commands.convert import main as convert
from gemma4_mlx.prompt.processor import Processor


@pytest.fixture(scope="session", autouse=True)
def _no_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what a developer has chosen out of the tests, and what they choose out of a developer's files."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
            patch.setenv(variable, str(tmp_path_factory.mktemp("settings")))
        patch.delenv("GEMMA4_MODEL", raising=False)
        yield


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny", tiny_config())


@pytest.fixture(scope="session")
def processor(tiny_folder: Path) -> Processor:
    return Processor.from_folder(tiny_folder)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide enough for groups of 128."""
    config = tiny_config(
        hidden_size=128, head_dim=32, layer_types=["sliding_attention", "full_attention", "sliding_attention"]
    )
    return write_checkpoint(tmp_path_factory.mktemp("convert") / "source", config)


@pytest.fixture(scope="session")
def mixed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source with 4 bits and, where they matter, 8."""
    target = tmp_path_factory.mktemp("convert") / "mixed"
    assert convert(["--hf-path", str(source), "--mlx-path", str(target), "-q", "--quant-predicate", "mixed_4_8"]) == 0
    return target
