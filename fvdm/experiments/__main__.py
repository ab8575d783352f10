"`python -m fvdm.experiments run|list|bench ...` is `fvdm run ...`, `fvdm run ... --list` or `fvdm bench ...`."

import sys

from fvdm.cli import main


def translated(words: list[str]) -> list[str]:
    "The words of `fvdm` for those of this module."
    if words[:1] == ["list"]:
        return ["run", *words[1:], "--list"]
    if words[:2] == ["bench", "--models"]:
        return ["bench", *words[2:]]
    return words


if __name__ == "__main__":
    sys.exit(main(translated(sys.argv[1:])))
