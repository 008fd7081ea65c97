"""`python -m gemma4_mlx`, the same as `gemma4-mlx`."""

import sys

from gemma4_mlx.commands.start import start


def main() -> int:
    """Run the command; return its exit code."""
    return start("main")


if __name__ == "__main__":
    sys.exit(main())
