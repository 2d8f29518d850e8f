"""`python -m glaciercube ...`."""

import sys

from glaciercube.cli import main

if __name__ == "__main__":
    sys.exit(main())
