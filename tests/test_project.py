"""What surrounds the package says what it says: README, workflow, packaging."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "benchmarks/README.md", "benchmarks/results/README.md", "packaging/README.md")
INSTALL = (
    'pip install -e . && python -m gemma4_mlx.generate --image examples/photo.png --prompt "What is in this picture?"'
)
TEST = 'pip install -e ".[dev]" && python -m pytest'


@pytest.mark.parametrize("command", [INSTALL, TEST])
@pytest.mark.parametrize("page", ["README.md", ".github/workflows/test.yml"])
def test_the_two_commands_are_the_same_everywhere(page: str, command: str) -> None:
    assert [line for line in (ROOT / page).read_text().splitlines() if line.strip().removeprefix("run: ") == command]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_that_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    links = re.findall(r"\]\(([^)#]+)[^)]*\)|src=\"([^\"]+)\"", text)
    local = [link or source for link, source in links if "://" not in (link or source)]
    assert [link for link in local if not ((ROOT / page).parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_modules_in_commands_exist(page: str) -> None:
    names = re.findall(r"python -m ((?:benchmarks|train_nano|gemma4_mlx)[\w.]*)", (ROOT / page).read_text())
    files = [ROOT.joinpath(*name.split(".")) for name in names]
    assert [name for name, file in zip(names, files, strict=True) if not file.with_suffix(".py").is_file()] == []


def test_the_formula_has_the_archive_and_its_digest(tmp_path: Path) -> None:
    archive = tmp_path / "gemma4_mlx-0.1.0.tar.gz"
    archive.write_bytes(b"an archive")
    script = [sys.executable, ROOT / "packaging" / "homebrew.py", archive]
    made = subprocess.run(
        [*script, "--url", "https://example.org/a.tar.gz"], capture_output=True, text=True, check=True
    )
    assert 'url "https://example.org/a.tar.gz"\n  sha256 "' + hashlib.sha256(b"an archive").hexdigest() in made.stdout
    assert subprocess.run([*script[:2], tmp_path / "none"], capture_output=True, check=False).returncode == 1
