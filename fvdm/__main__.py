"`python -m fvdm ...` is the command `fvdm ...`."

import os
import sys


def main() -> int:
    "The command. Threads that wait sleep, unless OMP_WAIT_POLICY says otherwise: spinning, they hinder each other."
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read when torch is imported
    from fvdm.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
