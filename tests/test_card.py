"""Model cards of checkpoints whose names are somebody else's."""

import shutil
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt

from gemma4_mlx.checkpoint.address import KAGGLE, Address
from gemma4_mlx.checkpoint.card import Result, Source, model_card
from gemma4_mlx.checkpoint.hub import NANO_FOLDER
from gemma4_mlx.checkpoint.quantize import Quantization
from gemma4_mlx.commands.convert import main as convert


def card(origin: str) -> str:
    return model_card(origin, None, False, None)


@pytest.mark.parametrize("name", ["gemma-4-12B-it", "my_model.v2", "\u6a21\u578b"])
def test_plain_names_stay(name: str) -> None:
    assert f"# {name} in MLX format\n\nMade from {name} by" in card(name)
    assert f"--hf-path {name} --mlx-path" in card(name).replace("'", "")


@pytest.mark.parametrize(
    "name",
    [
        "a\n---\nlicense: mit",
        "a\n\n# Another heading",
        "[click](http://evil.example)",
        "![x](http://evil.example/p.png)",
        "<img src=x onerror=alert(1)>",
        "`code` **bold** _it_",
        "__init__",
        "www.evil.example",
        "\u202egpj\x1b[2J",
        "a: b # c",
        "own/er\nbase_model: x",
        "../up",
    ],
)
def test_no_name_has_effect(name: str) -> None:
    text = card(name)
    front, body = text.split("---\n")[1], text.split("---\n", 2)[2]
    assert front == ("library_name: mlx\npipeline_tag: any-to-any\ntags:\n- mlx\n- gemma4_unified\n")
    html = MarkdownIt("gfm-like", {"linkify": False}).render(body)
    assert not [tag for tag in ("<img", "<a ", "<strong", "<em") if tag in html]
    assert html.count("<h1") == 1
    assert not set("\u202e\x1b") & set(text)


def test_a_repository_is_linked() -> None:
    assert "base_model: some/model-1.5_b\n" in card("some/model-1.5_b")
    assert "[some/model-1.5_b](https://huggingface.co/some/model-1.5_b)" in card("some/model-1.5_b")


def front_of(text: str) -> dict[str, object]:
    return dict(yaml.safe_load(text.split("---\n")[1]))


def converted(folder: Path, target: Path, *options: str) -> str:
    assert convert(["--hf-path", str(folder), "--mlx-path", str(target), *options]) == 0
    return (target / "README.md").read_text()


def with_card(source: Path, folder: Path, front: str) -> Path:
    shutil.copytree(source, folder)
    (folder / "README.md").write_text(f"---\n{front}---\n# A model\n")
    return folder


def test_nano_is_no_copy_of_googles_weights(tmp_path: Path) -> None:
    for number, name in enumerate(("nano", str(NANO_FOLDER))):
        text = converted(Path(name), tmp_path / str(number), "-q")
        assert "they are no copy of Google's Gemma. They are under the Apache License 2.0." in text
        assert "changed copy" not in text
        assert front_of(text)["license"] == "apache-2.0"
        assert "base_model" not in front_of(text)
        assert "# nano in MLX format\n\nMade from nano by gemma4-mlx" in text
        assert "python -m gemma4_mlx.convert --hf-path nano --mlx-path OUT -q --q-mode affine" in text


def test_googles_weights_are_called_so() -> None:
    text = model_card("google/gemma-4-12B-it", Quantization.choose(), False, None)
    assert text.endswith("\nThe weights are a changed copy of Google's Gemma 4, under the Apache License 2.0.\n")
    assert front_of(text)["license"] == "apache-2.0"
    assert front_of(text)["base_model"] == "google/gemma-4-12B-it"


def test_no_index_is_named_that_has_not_the_package() -> None:
    text = card("some/model")
    assert "pip install gemma4" not in text
    assert "installed from its repository (`pip install .` in a clone of it)" in text


@pytest.mark.parametrize(
    ("front", "license", "base", "told"),
    [
        ("license: mit\n", "mit", None, "those of model, whose card names the license mit."),
        (
            "license: gemma\nbase_model: google/gemma-4-12B-it\n",
            *("gemma", "google/gemma-4-12B-it"),
            "those of model, which was made from google/gemma-4-12B-it, whose card names the license gemma.",
        ),
        (
            "base_model: [a/b, c/d]\n",
            None,
            "a/b",
            "model, which was made from a/b, whose license is not known here: ask",
        ),
        ("license: [mit]\nbase_model: 3\n", None, None, "of model, whose license is not known here: ask for it there."),
        ('license: "a\\nb: c"\nbase_model: "x/y\\nz"\n', None, None, "of model, whose license is not known here: ask"),
        (": [\n", None, None, "of model, whose license is not known here: ask for it there."),
    ],
)
def test_the_source_says_license_and_base(
    source: Path, tmp_path: Path, front: str, license: str | None, base: str | None, told: str
) -> None:
    text = converted(with_card(source, tmp_path / "model", front), tmp_path / "out")
    assert told in text
    assert "Google's" not in text
    assert (front_of(text).get("license"), front_of(text).get("base_model")) == (license, base)


def test_a_folder_of_the_hubs_cache_is_its_repository(source: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--owner--some-name" / "snapshots" / ("73bcf090" * 5)
    (tmp_path / "models--owner--some-name" / "refs").mkdir(parents=True)
    (tmp_path / "models--owner--some-name" / "refs" / "v1").write_text(snapshot.name)
    text = converted(with_card(source, snapshot, "license: mit\nbase_model: google/gemma-4-12B-it\n"), tmp_path / "out")
    assert front_of(text)["base_model"] == "owner/some-name"
    assert (
        "# some-name in MLX format\n\nMade from [owner/some-name](https://huggingface.co/owner/some-name) at v1 by"
        in text
    )
    assert "--hf-path owner/some-name@v1 --mlx-path OUT" in text


def test_kaggle_is_linked() -> None:
    address = Address(KAGGLE, "google/gemma-4/transformers/gemma-4-12b-it", "2")
    text = model_card("x", None, False, None, Source(address))
    assert f"[{address.name}](https://www.kaggle.com/models/{address.name}) at 2" in text
    assert "--hf-path kaggle:google/gemma-4/transformers/gemma-4-12b-it/2 --mlx-path" in text
    assert text.endswith("a changed copy of Google's Gemma 4, under the Apache License 2.0.\n")


def test_bits_are_those_of_the_parts(mixed: Path, source: Path, tmp_path: Path) -> None:
    assert "(attention 4 and 8, MLP 4 and 8, embedding 8, media 32; 26.2 bits a weight).\n" in (
        (mixed / "README.md").read_text()
    )
    assert ": not quantized (32 bits; 32.0 bits a weight).\n" in converted(source, tmp_path / "plain")
    assert ": not quantized, in bfloat16 (16 bits; 16.0 bits a weight).\n" in (
        converted(source, tmp_path / "short", "--dtype", "bfloat16")
    )


def test_what_it_reads_is_said() -> None:
    both = model_card("x", None, False, None)
    assert "Ask it about text, images, audio and video, with" in both
    text = model_card("x", None, False, None, None, Result("", has_vision=False, has_audio=False))
    assert "Ask it about text, with" in text
    assert '--prompt "What is MLX?"\n' in text
    assert front_of(text)["pipeline_tag"] == "text-generation"
    heard = model_card("x", None, False, None, None, Result("", has_vision=False))
    assert "Ask it about text and audio, with" in heard
