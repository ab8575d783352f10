"`python -m fvdm.data` is the command `fvdm data`."

import sys

from fvdm.cli import main

if __name__ == "__main__":
    sys.exit(main(["data", *sys.argv[1:]]))
