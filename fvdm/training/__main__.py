"`python -m fvdm.training` is the command `fvdm train`."

import sys

from fvdm.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
