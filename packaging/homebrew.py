"""Write a Homebrew formula for a source distribution: python packaging/homebrew.py dist/gemma4_mlx-0.1.0.tar.gz

The formula goes to standard output; save it as Formula/gemma4-mlx.rb in a tap. It installs wheels, since MLX can't be
built by pip without Xcode.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template

FORMULA = Template("""\
class Gemma4Mlx < Formula
  desc "Gemma 4 12B Unified with MLX: text, images, audio and video in, text out"
  homepage "https://huggingface.co/google/gemma-4-12B-it"
  url "$url"
  sha256 "$sha256"
  license "Apache-2.0"

  depends_on arch: :arm64
  depends_on :macos
  depends_on "python@3.13"

  # Wheels bring libraries that are signed and must not be relinked.
  preserve_rpath

  def install
    system "python3.13", "-m", "venv", libexec
    system libexec/"bin/python", "-m", "pip", "install", "--no-cache-dir", buildpath.to_s
    bin.install_symlink libexec/"bin/gemma4-mlx"
  end

  test do
    assert_match "nano", shell_output("#{bin}/gemma4-mlx generate --model nano --prompt Hello 2>&1")
  end
end
""")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the formula; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path, help="the source distribution, as python -m build makes it")
    parser.add_argument("--url", help="where the archive is published (default: the file itself)")
    args = parser.parse_args(argv)
    try:
        digest = hashlib.sha256(args.archive.read_bytes()).hexdigest()
    except OSError as error:
        print(f"error: {args.archive}: {error.strerror}; python -m build makes it", file=sys.stderr)
        return 1
    print(FORMULA.substitute(url=args.url or args.archive.resolve().as_uri(), sha256=digest), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
