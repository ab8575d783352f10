"`python -m fvdm ...` is the command `fvdm ...`."

import sys

from fvdm.cli import main

if __name__ == "__main__":
    sys.exit(main())
