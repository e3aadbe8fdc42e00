"""``python -m iqlightning COMMAND``."""

import sys

from iqlightning.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
