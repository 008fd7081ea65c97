"""`python -m gemma4_mlx`, the same as `gemma4-mlx`."""

import sys

from gemma4_mlx.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
