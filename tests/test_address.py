"""Names and addresses of models, as people paste them."""

import pytest

from gemma4_mlx.checkpoint.address import HUB, KAGGLE, Address, read_address
from gemma4_mlx.errors import GemmaError, UsageError

NAME = "google/gemma-4-12B-it"
ON_KAGGLE = "google/gemma-4/transformers/gemma-4-12b-it"
HUB_FORMS = {
    NAME: None,
    f" {NAME} ": None,
    f"{NAME}@v1": "v1",
    f"{NAME}@refs/pr/3": "refs/pr/3",
    f"https://huggingface.co/{NAME}": None,
    f"https://huggingface.co/{NAME}/": None,
    f"http://www.huggingface.co/{NAME}": None,
    f"HTTPS://HuggingFace.co/{NAME}": None,
    f"huggingface.co/{NAME}": None,
    f"www.huggingface.co/{NAME}": None,
    f"hf.co/{NAME}": None,
    f"https://hf.co/{NAME}": None,
    f"https://hf.co:443/{NAME}": None,
    f"https://huggingface.co/models/{NAME}": None,
    f"https://huggingface.co/api/models/{NAME}": None,
    f"https://huggingface.co/api/models/{NAME}/revision/v1": "v1",
    f"https://huggingface.co/{NAME}?library=mlx": None,
    f"https://huggingface.co/{NAME}#usage": None,
    f"https://huggingface.co/{NAME}.git": None,
    f"git@hf.co:{NAME}": None,
    f"git@hf.co:{NAME}.git": None,
    f"ssh://git@hf.co/{NAME}": None,
    f"https://user:secret@huggingface.co/{NAME}": None,
    f"https://huggingface.co/{NAME}/tree/main": "main",
    f"https://huggingface.co/{NAME}/tree/73bcf090/": "73bcf090",
    f"https://huggingface.co/{NAME}/tree/main/assets": "main",
    f"https://huggingface.co/{NAME}/tree/refs%2Fpr%2F3": "refs/pr/3",
    f"https://huggingface.co/{NAME}/tree/refs/pr/3": "refs/pr/3",
    f"https://huggingface.co/{NAME}/blob/main/config.json": "main",
    f"https://huggingface.co/{NAME}/resolve/v1/model.safetensors?download=true": "v1",
    f"https://huggingface.co/{NAME}/raw/main/config.json": "main",
    f"https://huggingface.co/{NAME}/commits/main": "main",
    f"https://huggingface.co/{NAME}/commit/73bcf090": "73bcf090",
    f"https://huggingface.co/{NAME}/discussions/12": None,
    f"https://huggingface.co/{NAME}/tree": None,
    f"hf://{NAME}": None,
    f"hf://models/{NAME}": None,
    f"hf://{NAME}@v1": "v1",
    f"hf://{NAME}@v1/config.json": "v1",
    f"hf://{NAME}@refs/pr/3/config.json": "refs/pr/3",
    f"hf://{NAME}@refs%2Fpr%2F3": "refs/pr/3",
    f"hf://{NAME}/config.json": None,
}
KAGGLE_FORMS = {
    f"kaggle:{ON_KAGGLE}": None,
    f"kaggle:{ON_KAGGLE}/": None,
    f"kaggle:{ON_KAGGLE}/2": "2",
    f"kaggle:{ON_KAGGLE}/versions/2": "2",
    f"kaggle://{ON_KAGGLE}": None,
    f"kaggle://models/{ON_KAGGLE}/2": "2",
    f"https://www.kaggle.com/models/{ON_KAGGLE}": None,
    f"https://www.kaggle.com/models/{ON_KAGGLE}/1": "1",
    f"https://www.kaggle.com/models/{ON_KAGGLE}/versions/11": "11",
    f"https://www.kaggle.com/models/{ON_KAGGLE}?select=config.json": None,
    f"http://kaggle.com/models/{ON_KAGGLE}/": None,
    f"kaggle.com/models/{ON_KAGGLE}": None,
    f"www.kaggle.com/models/{ON_KAGGLE}": None,
    "https://www.kaggle.com/models/google/gemma-4/Transformers/gemma-4-12b-it": None,
}


@pytest.mark.parametrize(("text", "revision"), HUB_FORMS.items())
def test_forms_of_a_hub_name(text: str, revision: str | None) -> None:
    assert read_address(text) == Address(HUB, NAME, revision)


@pytest.mark.parametrize(("text", "version"), KAGGLE_FORMS.items())
def test_forms_of_a_kaggle_name(text: str, version: str | None) -> None:
    assert read_address(text) == Address(KAGGLE, ON_KAGGLE, version)


@pytest.mark.parametrize("text", [f"{NAME}@refs/pr/3", NAME, f"kaggle:{ON_KAGGLE}", f"kaggle:{ON_KAGGLE}/2"])
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert str(read_address(text)) == text


def test_a_mirror_is_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example:8080")
    assert read_address(f"http://hub.example:8080/{NAME}/tree/v1") == Address(HUB, NAME, "v1")


@pytest.mark.parametrize("text", ["name", "./a/b", "~/a/b", "/a/b", "a/b/c", "a b/c", "", "a/", "@v1"])
def test_what_can_only_be_a_path(text: str) -> None:
    assert read_address(text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://example.com/a/b", "no address of a model on huggingface.co or kaggle.com; give a folder, or owner/n"),
        ("https://github.com/google-deepmind/gemma", "no address of a model on huggingface.co or kaggle.com"),
        ("s3://bucket/model", "no address of a model on huggingface.co or kaggle.com"),
        ("file:///tmp/model", "no address of a model on huggingface.co or kaggle.com"),
        ("https://huggingface.co.example/a/b", "no address of a model on huggingface.co or kaggle.com"),
        ("https://huggingface.co/datasets/a/b", "the address of something else (datasets), not of a model"),
        ("hf://datasets/a/b", "the address of something else (datasets), not of a model"),
        ("https://huggingface.co/spaces/a/b", "the address of something else (spaces), not of a model"),
        ("https://huggingface.co/google", "no model there: owner/name is missing; copy the address of its page"),
        ("https://huggingface.co", "no model there: owner/name is missing"),
        ("hf://", "no model there: owner/name is missing"),
        ("hf.co/a/b:Q4_K_M", "a/b:Q4_K_M is no name of a Hub repository"),
        ("https://[::1/a/b", "no address (Invalid IPv6 URL); give a folder, or owner/name"),
        ("https://hf.co:port/a/b", "no address (Port could not be cast to integer value as 'port')"),
        ("kaggle:google/gemma-4", "has four parts: kaggle:google/gemma-4/transformers/gemma-4-12b-it"),
        ("https://www.kaggle.com/models/google/gemma-4", "has four parts"),
        ("kaggle:", "has four parts"),
        ("kaggle:../../x/y", "../../x/y is no name of a model on Kaggle"),
    ],
)
def test_addresses_of_something_else(text: str, message: str) -> None:
    with pytest.raises(GemmaError) as error:
        read_address(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_revision_is_given_once() -> None:
    assert read_address(NAME, "v1") == Address(HUB, NAME, "v1")
    assert read_address(f"{NAME}@v1", "v1") == Address(HUB, NAME, "v1")
    assert read_address(f"kaggle:{ON_KAGGLE}", "3") == Address(KAGGLE, ON_KAGGLE, "3")
    with pytest.raises(UsageError, match="names the revision v1, and v2 is asked for: give one"):
        read_address(f"{NAME}@v1", "v2")
    for version in ("main", "0", "-1", "../2", "9" * 12):
        with pytest.raises(UsageError, match="a version on Kaggle is a number"):
            read_address(f"kaggle:{ON_KAGGLE}", version)
