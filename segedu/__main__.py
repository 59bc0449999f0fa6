"""``python -m segedu``: the command line of `segedu.cli`."""

import sys

from segedu.cli import main

if __name__ == "__main__":
    sys.exit(main())
