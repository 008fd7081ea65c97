"""`python -m gemma4_mlx.doctor`."""

import sys

from gemma4_mlx.commands.doctor import main

if __name__ == "__main__":
    sys.exit(main())
