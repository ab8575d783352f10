"`python -m fvdm.worlds` is the command `fvdm worlds`."

import sys

from fvdm.cli import main

if __name__ == "__main__":
    sys.exit(main(["worlds", *sys.argv[1:]]))
