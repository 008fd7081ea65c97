"""The built-in drafter guesses what the built-in model says, and changes none of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from gemma4_mlx.api import load, load_drafter, stream_generate
from gemma4_mlx.checkpoint.hub import resolve_drafter
from gemma4_mlx.commands.generate import main
from gemma4_mlx.errors import GemmaError

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
STORY = "The code of the red door is 4719. It rained all day. The bread was warm. "
LONG_ANSWERS: list[dict[str, Any]] = [
    {"prompt": "What can you do?"},
    {"prompt": "What is 27 + 58?", "enable_thinking": True},
    {"prompt": "What is 12 + 7?", "enable_thinking": True},
    {"prompt": STORY + "What is the code of the red door?"},
    {"prompt": "Answer in JSON with the keys color, shape and place.", "images": [str(EXAMPLES / "photo.png")]},
]
SHORT_ANSWERS: list[dict[str, Any]] = [
    {"prompt": "Repeat after me: apple river 2041", "num_draft_tokens": 1},
    {"prompt": "What is in this picture?", "images": [str(EXAMPLES / "photo.png")], "num_draft_tokens": 15},
    {"prompt": "Transcribe the speech.", "audio": [str(EXAMPLES / "digits.m4a")], "num_draft_tokens": 3},
    {"prompt": "What happens in the video?", "videos": [str(EXAMPLES / "film.mp4")], "num_draft_tokens": "auto"},
]


@pytest.fixture(scope="module")
def nano() -> tuple[Any, Any]:
    return load("nano")


@pytest.fixture(scope="module")
def drafter() -> Any:
    return load_drafter("nano")


@pytest.mark.parametrize("asked", LONG_ANSWERS + SHORT_ANSWERS, ids=lambda asked: asked["prompt"][-30:])
def test_it_changes_no_token(nano: tuple[Any, Any], drafter: Any, asked: dict[str, Any]) -> None:
    want = [piece.token for piece in stream_generate(*nano, **{**asked, "num_draft_tokens": 0}, temperature=0)]
    drafted = list(stream_generate(*nano, **asked, drafter=drafter, temperature=0))
    assert [piece.token for piece in drafted] == want
    assert drafted[-1].drafted_tokens > 0


def test_a_pass_brings_several_tokens_of_longer_answers(nano: tuple[Any, Any], drafter: Any) -> None:
    tokens = passes = 0
    for asked in LONG_ANSWERS:
        *_, last = stream_generate(*nano, **asked, drafter=drafter, num_draft_tokens=4, temperature=0)
        tokens += last.generation_tokens
        passes += last.generation_tokens - last.accepted_tokens
    assert tokens > 80
    assert tokens / passes > 3


def test_the_command_knows_it_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--model", "nano", "--draft-model", "nano", "--num-draft-tokens", "4", "-p", "What can you do?", "--json"]
    assert main(asked) == 0
    assert "colors" in json.loads(capsys.readouterr().out)["content"]


def test_a_plan_counts_its_weights(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "nano", "--plan", "-p", "Hello"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["weights", "0.011", "GB"]
    assert main(["--model", "nano", "--plan", "-p", "Hello", "--draft-model", "nano"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["weights", "0.013", "GB"]
    assert main(["--model", "nano", "--plan", "-p", "Hello", "--draft-model", "nowhere"]) == 1


def test_other_names_are_looked_up_as_models_are(tmp_path: Path) -> None:
    assert resolve_drafter(str(tmp_path)) == tmp_path
    with pytest.raises(GemmaError, match="no such folder"):
        resolve_drafter("nano-drafter")


def test_it_is_small() -> None:
    assert sum(path.stat().st_size for path in resolve_drafter("nano").iterdir()) <= 2e6
