"""Data flows one way: no part of the package imports from one that comes after it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "gemma4_mlx"
MAY_IMPORT = {
    "characters": set(),
    "errors": {"characters"},
    "device_errors": {"errors"},
    "files": {"errors", "device_errors"},
    "config": {"errors", "files"},
    "settings": {"errors", "files"},
    "media": {"errors"},
    "prompt": {"errors", "files", "config", "media"},
    "model": {"errors", "device_errors", "config", "media", "prompt"},
    "checkpoint": {"errors", "device_errors", "files", "config", "model", "__version__"},
    "engine": {"errors", "device_errors", "files", "config", "prompt", "model"},
    "mcp_server": {"errors"},
    "mcp_config": {"errors", "files", "mcp_server"},
    "mcp_remote": {"errors", "mcp_server"},
    "mcp": {"errors", "prompt", "mcp_server", "mcp_remote"},
    "agent": {"errors", "prompt"},
    "api": {"errors", "device_errors", "prompt", "model", "checkpoint", "engine"},
    "measure": {"errors", "files", "config", "media", "prompt", "model", "engine", "api", "__version__"},
}


def imported(path: Path) -> set[str]:
    """The rooms that a file imports from, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "gemma4_mlx":
            names |= {f"gemma4_mlx.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("gemma4_mlx.")}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_from_rooms_before_it(room: str) -> None:
    files = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").exists() else sorted((PACKAGE / room).rglob("*.py"))
    assert files
    outside = {path.name: imported(path) - MAY_IMPORT[room] - {room} for path in files}
    assert {name: rooms for name, rooms in outside.items() if rooms} == {}
