"""A tiny random checkpoint with a real small tokenizer, made once for all tests."""

from pathlib import Path

import pytest

from benchmarks.random_checkpoint import tiny_config, write_checkpoint
from gemma4_mlx.prompt.processor import Processor

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "tiny", tiny_config())


@pytest.fixture(scope="session")
def processor(tiny_folder: Path) -> Processor:
    return Processor.from_folder(tiny_folder)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference fixtures that lie beside a developer's checkout."""
    if not SHARED.is_dir():
        pytest.skip("the reference fixtures are not here")
    return SHARED
