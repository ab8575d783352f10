"`python -m fvdm.tasks animate ...` is the command `fvdm animate ...`."

import sys

from fvdm.cli import main

if __name__ == "__main__":
    sys.exit(main())
