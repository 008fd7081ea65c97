"""Model cards of checkpoints whose names are somebody else's."""

import pytest
from markdown_it import MarkdownIt

from gemma4_mlx.checkpoint.card import model_card


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
    assert front == (
        "license: apache-2.0\nlibrary_name: mlx\npipeline_tag: any-to-any\ntags:\n- mlx\n- gemma4_unified\n"
    )
    html = MarkdownIt("gfm-like", {"linkify": False}).render(body)
    assert not [tag for tag in ("<img", "<a ", "<strong", "<em") if tag in html]
    assert html.count("<h1") == 1
    assert not set("\u202e\x1b") & set(text)


def test_a_repository_is_linked() -> None:
    assert "base_model: some/model-1.5_b\n" in card("some/model-1.5_b")
    assert "[some/model-1.5_b](https://huggingface.co/some/model-1.5_b)" in card("some/model-1.5_b")
