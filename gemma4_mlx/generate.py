"""`python -m gemma4_mlx.generate`; the function of this name is `gemma4_mlx.api.generate`."""

import sys

from gemma4_mlx.commands.start import start


def main() -> int:
    """Run the command; return its exit code."""
    return start("generate")


if __name__ == "__main__":
    sys.exit(main())
