"""`python -m gemma4_mlx.convert`."""

import sys

from gemma4_mlx.commands.convert import main

if __name__ == "__main__":
    sys.exit(main())
