"""`python convert.py`: convert a checkpoint without installing the package."""

import sys

from gemma4_mlx.commands.convert import main

if __name__ == "__main__":
    sys.exit(main())
