"""What the headers of a checkpoint say of its bits, whatever its name and its config.json promise."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sparse import write_sparse

from gemma4_mlx.checkpoint.hub import NANO_DRAFTER_FOLDER
from gemma4_mlx.checkpoint.load import open_drafter, open_model
from gemma4_mlx.commands.fitting import broken_promise, facts, promised_bits
from gemma4_mlx.engine.plan import check, need
from gemma4_mlx.errors import DoesNotFitError
from gemma4_mlx.model.bits import bits_by_part, bits_per_weight, bits_text
from gemma4_mlx.model.unified import Gemma4Unified

ATTENTION, MLP, EMBEDDING, MEDIA = 2_406_481_920, 8_493_465_600, 1_006_632_960, 43_745_280
"""Weights of the published model.

Attention: 40 layers of 3840 x (4096 + 2048 + 2048 + 4096), 8 of 3840 x (8192 + 512 + 8192). MLP: 48 of
3 x 3840 x 15360. Embedding: 262144 x 3840. Media: 6912 x 3840, 3840 x 3840 and 640 x 3840 (the table of
positions is no matrix).
"""


def everywhere(bits: int) -> Callable[[str], int | None]:
    return lambda path: bits if path.startswith("language_model.") else None


def mlp_8(path: str) -> int | None:
    return 8 if ".mlp." in path else everywhere(4)(path)


def recipe(path: str) -> int | None:
    return 8 if path.endswith(("down_proj", "embed_tokens")) else everywhere(4)(path)


@pytest.mark.parametrize(
    ("bits", "words", "per_weight"),
    [
        (everywhere(4), "4 bits, media 16", 4.5),
        (lambda _: 4, "4 bits", 4.5),
        (lambda _: None, "16 bits", 16.0),
        (recipe, "attention 4, MLP 4 and 8, embedding 8, media 16", 5.8),
    ],
)
def test_bits_of_the_published_shapes(
    tmp_path: Path, bits: Callable[[str], int | None], words: str, per_weight: float
) -> None:
    model = open_model(write_sparse(tmp_path, bits))
    assert bits_text(model) == words
    assert bits_per_weight(model) == pytest.approx(per_weight, abs=0.1)
    counted = {part: sum(numbers.values()) for part, numbers in bits_by_part(model).items()}
    assert counted == {"attention": ATTENTION, "MLP": MLP, "embedding": EMBEDDING, "media": MEDIA}


def test_a_drafter_has_bits_too() -> None:
    told = facts(open_drafter(NANO_DRAFTER_FOLDER), None)
    assert (told.bits, told.fits) == ("16 bits", "beside its model")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Gemma4Unified:
    """What is called 4 bits, with MLPs of 8."""
    return open_model(write_sparse(tmp_path_factory.mktemp("mixed"), mlp_8))


@pytest.mark.parametrize(
    ("limit", "fits"),
    [("64GB", "yes, 262,000 tokens"), ("18GB", "yes, 2,000 tokens"), ("16GB", "no: 11.37 GB of 10.35 GB")],
)
def test_what_fits_is_told_from_headers(mixed: Gemma4Unified, limit: str, fits: str) -> None:
    told = facts(mixed, limit)
    assert told.fits == fits
    assert told.weights / 1e9 == pytest.approx(11.05, abs=0.01)
    name = "mlx-community/gemma-4-12B-it-qat-4bit"
    words = "attention 4, MLP 8, embedding 4, media 16"
    assert broken_promise(name, told) == f"{name} is called 4-bit, but has 7.4 bits a weight ({words})"
    assert broken_promise("mlx-community/gemma-4-12B-it-8bit", told) == ""
    assert broken_promise("google/gemma-4-12B-it", told) == ""


def test_what_does_not_fit_is_called_what_it_is(mixed: Gemma4Unified) -> None:
    wanted = need(mixed, None, chunk=512, kv_group_size=64, limit=10_900_000_000)
    with pytest.raises(DoesNotFitError) as error:
        check(wanted, wanted.plan(1000, 4))
    cure = "no context fits: use a checkpoint of fewer bits; this one has attention 4, MLP 8, embedding 4, media 16"
    assert str(error.value).endswith(cure)


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("mlx-community/gemma-4-12B-it-4bit", 4),
        ("x/gemma-4-12B-it-OptiQ-4bit", 4),
        ("x/gemma-4-12b-it-8-bit", 8),
        ("x/gemma-4-12b-it-6bits", 6),
        ("x/gemma-4-12b-it-qat-q4_0-unquantized", 4),
        ("x/gemma-4-12b-it-qat-w4a16-ct", 4),
        ("x/gemma-4-12b-it-nvfp4", 4),
        ("x/gemma-4-12b-it-MXFP8", 8),
        ("x/gemma-4-12b-int4", 4),
        ("google/gemma-4-12B-it", None),
        ("x/gemma-4-12b-bf16", None),
        ("x/qwen3-12b", None),
        ("x/habit-3", None),
    ],
)
def test_what_a_name_promises(name: str, bits: int | None) -> None:
    assert promised_bits(name) == bits
