"""`gemma4-mlx`: commands by name, the model that is taken, and the list of models."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sparse import write_sparse

from gemma4_mlx import settings
from gemma4_mlx.checkpoint.hub import NANO_FOLDER, resolve
from gemma4_mlx.commands.list import age, size
from gemma4_mlx.commands.main import COMMANDS, main
from gemma4_mlx.commands.use import chosen, known_as, remember_use

ROOT = Path(__file__).resolve().parent.parent
NAME = "owner/model"
Home = Path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home with empty caches and nothing chosen."""
    from huggingface_hub import constants

    for variable, folder in (("HOME", ""), ("XDG_CONFIG_HOME", "config"), ("XDG_STATE_HOME", "state")):
        monkeypatch.setenv(variable, str(tmp_path / folder))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    monkeypatch.delenv("GEMMA4_MODEL", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def in_hub_cache(
    home: Home, name: str, folder: Path = NANO_FOLDER, *, commit: str = "c0ffee", ref: str = "main"
) -> Path:
    """A copy of a checkpoint where huggingface_hub would keep it."""
    repository = home / "hub" / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    (repository / "refs" / ref).write_text(commit)
    return Path(shutil.copytree(folder, repository / "snapshots" / commit))


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/gemma4-mlx"])


@pytest.fixture
def run(home: Home, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command: exit code, stdout, stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(words)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_help_and_version(run: Run) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for name in COMMANDS:
        assert f"\n  {name} " in out
    assert run() == run("help") == run("-h") == (0, out, "")
    assert run("--version") == run("-V") == (0, "gemma4-mlx 0.1.0\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_usage_is_named_after_what_was_typed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([name, "--help"], ["help", name]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: gemma4-mlx {name} [-h]")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["lst"], "no command 'lst'; did you mean list? --help lists all"),
        (["generte", "-p", "x"], "no command 'generte'; did you mean generate? --help lists all"),
        (["--model", "x"], "--model comes before a command: gemma4-mlx COMMAND --model; see --help"),
        (
            ["What is 2+2?"],
            "no command 'What is 2+2?': to ask something, gemma4-mlx generate --prompt TEXT; see --help",
        ),
        (
            ["help", "x\n\x1b[2J"],
            "no command 'x ?[2J': to ask something, gemma4-mlx generate --prompt TEXT; see --help",
        ),
    ],
)
def test_what_is_no_command(run: Run, words: list[str], line: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {line}")
    assert err.count("\n") == 1


def test_wrong_options_are_one_line(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["list", "--x"], ["generate", "--x"], ["use", "a", "b"], ["rm"], ["pull"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_the_module_is_the_same_and_light() -> None:
    watch = "import sys, runpy; sys.argv = ['x/__main__.py', '--help']\n"
    watch += "try: runpy.run_module('gemma4_mlx', run_name='__main__')\nexcept SystemExit: pass\n"
    watch += "print(sorted({'numpy', 'mlx', 'huggingface_hub', 'argparse.x', 'rich', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", watch], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: python -m gemma4_mlx COMMAND ...")
    assert done.stdout.endswith("\n[]\n")


# Which model is taken


def test_the_order_of_what_names_a_model(home: Home, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    assert (chosen().name, chosen().named_by) == ("nano", "")
    run("use", NAME)
    assert chosen().name == NAME
    monkeypatch.setenv("GEMMA4_MODEL", "owner/from-the-variable")
    assert (chosen().name, chosen().named_by) == ("owner/from-the-variable", "$GEMMA4_MODEL")
    assert (chosen("owner/given").name, chosen("owner/given").named_by) == ("owner/given", "--model")
    monkeypatch.setenv("GEMMA4_MODEL", "")
    assert chosen().name == NAME


def test_a_chosen_folder_that_is_gone_is_told(home: Home, run: Run) -> None:
    folder = home / "mine"
    shutil.copytree(NANO_FOLDER, folder)
    run("use", str(folder))
    folder.rename(home / "other")
    gone = f"note: {folder} isn't there any more; gemma4-mlx use NAME chooses another, --none nano\n"
    assert run("use")[2] == gone
    default = f"note: {folder}, the default, isn't there any more; gemma4-mlx use NAME chooses another\n"
    assert run("list")[2] == default
    code, out, err = run("generate", "-p", "Hi")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {folder}: no such folder")
    assert err.endswith("settings.json: --model NAME takes another\n")
    assert err.count("\n") == 1


def test_use_says_what_is_taken_and_why(home: Home, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    nothing = "nano, the built-in demonstration model (nothing is chosen; gemma4-mlx use NAME chooses)\n"
    assert run("use") == (0, nothing, "")
    file = home / "config" / "gemma4_mlx" / "settings.json"
    not_yet = f"note: {NAME} isn't downloaded yet: the first use downloads it, or gemma4-mlx pull {NAME}\n"
    assert run("use", NAME) == (0, f"{NAME} (set by gemma4-mlx use, in {file})\n", not_yet)
    assert run("use") == (0, f"{NAME} (set by gemma4-mlx use, in {file})\n", "")
    monkeypatch.setenv("GEMMA4_MODEL", "a/b")
    assert run("use") == (0, "a/b (set by $GEMMA4_MODEL)\n", "")
    goes_before = "note: $GEMMA4_MODEL is set and goes before the choice; unset GEMMA4_MODEL to let the choice count\n"
    assert run("use", "nano") == (0, "a/b (set by $GEMMA4_MODEL)\n", goes_before)
    monkeypatch.delenv("GEMMA4_MODEL")
    assert run("use") == (0, nothing, "")
    run("use", NAME)
    assert run("use", "--none") == (0, nothing, "")


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["https://huggingface.co/owner/model"], NAME),
        (["https://huggingface.co/owner/model/tree/main"], NAME),
        (["hf.co/owner/model/tree/v1"], f"{NAME}@v1"),
        ([NAME, "--revision", "v1"], f"{NAME}@v1"),
        (["kaggle:google/gemma-4/transformers/gemma-4-12b-it"], "kaggle:google/gemma-4/transformers/gemma-4-12b-it"),
    ],
)
def test_names_are_kept_in_one_form(run: Run, words: list[str], kept: str) -> None:
    assert run("use", *words)[0] == 0
    assert settings.default_model() == kept


def test_a_folder_is_kept_by_its_whole_path(home: Home, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(NANO_FOLDER, home / "mine")
    monkeypatch.chdir(home)
    assert run("use", "mine")[0] == 0
    assert settings.default_model() == str(home / "mine")
    assert settings.known_folders() == [home / "mine"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["no/such/folder"], 1, "no/such/folder: no such folder, nor the name of a Hub repository (owner/name)"),
        (["https://example.com/x"], 1, "https://example.com/x: no address of a model"),
        ([NAME, "--none"], 2, "NAME or --none, not both"),
        (["--revision", "v1"], 2, "--revision needs NAME"),
        (["{home}/llama"], 1, "config.json: model_type is 'llama'; this package runs 'gemma4_unified'"),
        (["{home}/empty"], 1, "{home}/empty: no config.json there"),
        (
            ["{home}/llama", "--revision", "v1"],
            2,
            "--revision v1: {home}/llama is a folder, which has none; leave it out",
        ),
        (["{home}/llama/config.json"], 1, "{home}/llama/config.json: a file; give the folder of a checkpoint"),
        (["x" * 5000], 1, "x" * 100),
    ],
)
def test_what_can_not_be_chosen(home: Home, run: Run, words: list[str], code: int, message: str) -> None:
    (home / "empty").mkdir()
    (home / "llama").mkdir()
    (home / "llama" / "config.json").write_text('{"model_type": "llama"}')
    found, out, err = run("use", *(word.format(home=home) for word in words))
    assert (found, out) == (code, "")
    assert err.startswith("error: " + message.format(home=home))
    assert err.count("\n") == 1
    assert settings.default_model() is None


def test_what_is_cached_is_checked(home: Home, run: Run) -> None:
    snapshot = in_hub_cache(home, NAME)
    assert run("use", NAME)[2] == ""
    (snapshot / "model.safetensors").unlink()
    assert run("use", NAME) == (
        1,
        "",
        f"error: {snapshot}: an unfinished download: model.safetensors is missing; "
        f"finish it with: gemma4-mlx pull {NAME}\n",
    )


@pytest.mark.parametrize("content", ["{", "[]", "", '{"model": 3}', '{"model": " "}', "\xff"])
def test_a_damaged_file_of_settings(home: Home, run: Run, content: str) -> None:
    file = settings.settings_file()
    file.parent.mkdir(parents=True)
    file.write_text(content, encoding="latin-1")
    code, out, err = run("use")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(f"error: {file}: ")
    assert chosen("owner/given").name == "owner/given"
    assert run("use", NAME)[0] == 0
    assert run("use")[1].startswith(NAME)


def test_settings_that_can_not_be_written(home: Home, run: Run) -> None:
    (home / "config").write_text("in the way")
    code, out, err = run("use", NAME)
    assert (code, out) == (1, "")
    assert f"error: {home}/config/gemma4_mlx: can't be made (" in err
    (home / "state").write_text("in the way")
    remember_use(NAME)  # is not worth an error


def test_a_user_without_a_home(home: Home, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "KAGGLEHUB_CACHE"):
        monkeypatch.delenv(variable)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # what it does where nobody knows a home
    monkeypatch.chdir(home)
    assert chosen().name == "nano"
    remember_use("nano")
    assert resolve(str(NANO_FOLDER)) == NANO_FOLDER
    code, _, err = run("use", NAME)
    assert (code, err.count("\n")) == (1, 2)
    assert "can't be made" in err
    assert list(home.iterdir()) == []


def test_other_entries_stay(home: Home, run: Run) -> None:
    settings.settings_file().parent.mkdir(parents=True)
    settings.settings_file().write_text('{"theme": "dark", "folders": []}')
    run("use", NAME)
    run("use", "nano")
    assert json.loads(settings.settings_file().read_text()) == {"theme": "dark", "folders": []}


ON_A_MAC = "Library/Application Support/gemma4_mlx/"


@pytest.mark.parametrize(
    ("platform", "variables", "config", "state"),
    [
        ("linux", {}, ".config/gemma4_mlx/", ".local/state/gemma4_mlx/"),
        ("linux", {"XDG_CONFIG_HOME": "relative"}, ".config/gemma4_mlx/", ".local/state/gemma4_mlx/"),
        ("darwin", {}, ON_A_MAC, ON_A_MAC),
        ("darwin", {"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "/s"}, "/c/gemma4_mlx/", "/s/gemma4_mlx/"),
    ],
)
def test_where_settings_lie(
    home: Home, monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], config: str, state: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    for variable in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, variables.get(variable, ""))
    assert settings.settings_file() == home / config / "settings.json"
    assert settings.uses_file() == home / state / "used.json"


# The list


def rows(out: str) -> dict[str, dict[str, object]]:
    return {row.pop("name"): row for row in json.loads(out)}


def test_the_list(home: Home, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sparse = write_sparse(home / "sparse", lambda path: 4 if path.startswith("language_model.") else None)
    snapshot = in_hub_cache(home, NAME)
    in_hub_cache(home, NAME, commit="beef", ref="v1")
    in_hub_cache(home, "google/gemma-4-12B-it-assistant", NANO_FOLDER.with_name("nano_drafter"))
    (in_hub_cache(home, "other/llama") / "config.json").write_text('{"model_type": "llama"}')
    (in_hub_cache(home, "other/broken") / "config.json").write_text("{")
    version = home / "kaggle" / "models" / "google" / "gemma-4" / "transformers" / "x" / "2"
    shutil.copytree(NANO_FOLDER, version)
    (version.parent / "2.complete").touch()
    settings.remember_folder(sparse)
    settings.remember_folder(home / "gone")
    settings.choose_default(NAME)
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0)
    remember_use(NAME)
    remember_use(str(sparse))
    monkeypatch.setattr(time, "time", lambda: 1_000_000.0 + 3 * 86_400)

    code, out, err = run("list", "--memory-limit", "16GB")
    assert (code, err) == (0, "")
    lines = [line.split("  ") for line in out.splitlines()]
    table = [[cell.strip() for cell in line if cell] for line in lines]
    nano, small = "16 bits (16.0 a weight)", size(sum(path.stat().st_size for path in NANO_FOLDER.iterdir()))
    assert table == [
        ["NAME", "SIZE", "BITS", "FITS", "LAST USED"],
        ["nano", small, nano, "yes, 131,000 tokens", "-"],
        [str(sparse), "6.80 GB", "4 bits, media 16 (4.6 a weight)", "yes, 262,000 tokens", "3 days ago"],
        ["google/gemma-4-12B-it-assistant", table[3][1], "16 bits (16.0 a weight)", "beside its model", "-"],
        ["kaggle:google/gemma-4/transformers/x/2", small, nano, "yes, 131,000 tokens", "-"],
        [f"{NAME} (default)", small, nano, "yes, 131,000 tokens", "3 days ago"],
        [f"{NAME}@v1", small, nano, "yes, 131,000 tokens", "-"],
    ]
    listed = rows(run("list", "--json", "--memory-limit", "16GB")[1])
    assert list(listed) == ["nano", str(sparse), table[3][0], table[4][0], NAME, f"{NAME}@v1"]
    assert listed[NAME]["folder"] == str(snapshot)
    assert (listed[NAME]["default"], listed["nano"]["default"]) == (True, False)
    assert listed[NAME]["last_used"] == 1_000_000


def test_what_can_not_be_run_is_said(home: Home, run: Run) -> None:
    snapshot = in_hub_cache(home, NAME)
    (snapshot / "model.safetensors").write_bytes(b"")
    odd = in_hub_cache(home, "owner/odd")
    config = json.loads((odd / "config.json").read_text())
    (odd / "config.json").write_text(
        json.dumps(config | {"quantization_config": {"quant_method": "compressed-tensors"}})
    )
    code, out, err = run("list")
    assert code == 0
    assert [line.split()[-3:] for line in out.splitlines() if "owner/" in line] == [["be", "run", "-"]] * 2
    assert err.splitlines() == [
        f"note: {NAME} can't be run: an unfinished download: model.safetensors is empty; "
        f"finish it with: gemma4-mlx pull {NAME}",
        "note: owner/odd can't be run: config.json: weights quantized by 'compressed-tensors' can't be read; "
        "use an MLX checkpoint or convert the unquantized one with convert.py",
    ]


def test_a_name_that_promises_too_much(home: Home, run: Run) -> None:
    name = "mlx-community/gemma-4-12B-it-qat-4bit"
    write_sparse(in_hub_cache(home, name), lambda path: 8 if ".mlp." in path else 4)
    assert run("list", "--memory-limit", "16GB")[2] == (
        f"note: {name} is called 4-bit, but has 7.3 bits a weight (attention 4, MLP 8, embedding 4, media 4)\n"
    )


def test_commands_take_what_was_chosen_and_mark_its_use(home: Home, run: Run) -> None:
    in_hub_cache(home, NAME)
    settings.choose_default(NAME)
    code, _, err = run("generate", "-p", "What is 2 + 3?", "-m", "1", "--offline")
    assert code == 0
    assert "nano, the built-in" not in err
    assert set(settings.last_uses()) == {NAME}


@pytest.mark.parametrize(
    ("name", "revision", "key"),
    [
        ("nano", None, "nano"),
        ("a/b", None, "a/b"),
        ("https://hf.co/a/b/tree/main", None, "a/b"),
        ("a/b", "main", "a/b"),
        ("a/b", "v1", "a/b@v1"),
        (".", None, os.getcwd()),
    ],
)
def test_a_model_has_one_name(name: str, revision: str | None, key: str) -> None:
    assert known_as(name, revision) == key


def test_ages_and_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 100 * 86_400.0)
    assert [age(int(day * 86_400)) for day in (100, 99.5, 98.9, 50, 101)] == [
        *("today", "today", "1 day ago", "50 days ago", "today"),
    ]
    assert age(None) == "-"
    assert age(86_400).startswith("1970-01-0")
    assert [size(count) for count in (11_350_002, 6_790_000_000)] == ["11 MB", "6.79 GB"]
