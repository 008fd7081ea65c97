"""`python -m gemma4_mlx.bench`."""

import sys

from gemma4_mlx.commands.bench import main

if __name__ == "__main__":
    sys.exit(main())
