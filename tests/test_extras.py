"""Packages that only a part of the users need: without one, its use says in a line how to get it."""

import ast
import json
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gemma4_mlx
from gemma4_mlx.checkpoint.hub import resolve
from gemma4_mlx.errors import GemmaError
from gemma4_mlx.mcp import open_servers
from gemma4_mlx.measure.plot import check_picture

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def load_adapters(folder: Path) -> None:
    settings = {"fine_tune_type": "lora", "num_layers": 1, "lora_parameters": {"rank": 1, "scale": 1.0, "dropout": 0.0}}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    weights = {"language_model.model.layers.0.self_attn.q_proj.lora_a": mx.zeros((1, 1))}
    mx.save_safetensors(str(folder / "adapters.safetensors"), weights)
    gemma4_mlx.load("nano", adapter_path=folder)


def start_servers(_: Path) -> None:
    with open_servers({}):
        pass


@pytest.mark.parametrize(
    ("extra", "module", "use", "what"),
    [
        ("adapters", "mlx_lm", load_adapters, "LoRA adapters"),
        ("kaggle", "kagglehub", lambda _: resolve("kaggle:a/b/c/d"), "kaggle:a/b/c/d: models on Kaggle"),
        ("mcp", "mcp", start_servers, "MCP servers"),
        ("plot", "matplotlib", lambda folder: check_picture(folder / "plot.png"), "plots"),
    ],
)
def test_a_missing_package_is_named_with_the_version_of_its_extra(
    extra: str, module: str, use: Callable[[Path], Any], what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    (requirement,) = PROJECT["optional-dependencies"][extra]
    with pytest.raises(GemmaError) as refused:
        use(tmp_path)
    assert str(refused.value) == f"{what} need one more package: pip install '{requirement}'"


def imported_modules() -> set[str]:
    """The top-level modules of other packages that are imported anywhere in this one."""
    names = set()
    for path in (ROOT / "gemma4_mlx").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module)
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"gemma4_mlx"}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    extras = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] + [line for name in extras if name != "dev" for line in extras[name]]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    distributions = packages_distributions()
    imported = {
        module: {canonicalize_name(name) for name in distributions[module]}
        for module in imported_modules()
        - {"anyio", "pydantic", "kagglesdk", "requests"}  # these come with mcp and kagglehub
    }
    assert [module for module, names in imported.items() if not names & declared] == []
    assert declared <= set().union(*imported.values())
