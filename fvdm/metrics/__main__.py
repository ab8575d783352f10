"`python -m fvdm.metrics` is the command `fvdm fvd`."

import sys

from fvdm.cli import main

if __name__ == "__main__":
    sys.exit(main(["fvd", *sys.argv[1:]]))
