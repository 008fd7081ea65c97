"""`python -m gemma4_mlx.chat`."""

import sys

from gemma4_mlx.commands.chat import main

if __name__ == "__main__":
    sys.exit(main())
