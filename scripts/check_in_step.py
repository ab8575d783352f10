"""nbs/ and fvdm/ say the same and are clean: in a copy, nbdev_clean and nbdev_export must change nothing.

Untracked files are included; nbdev's index of links, which git ignores, is not."""

import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

root, bin = Path(__file__).resolve().parent.parent, Path(sys.executable).parent
listed = subprocess.run(
    ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "nbs", "fvdm", "settings.ini"],
    cwd=root,
    capture_output=True,
    text=True,
    check=True,
).stdout
files = [Path(f) for f in listed.split("\0") if f and (root / f).exists()]

with tempfile.TemporaryDirectory() as folder:
    copy = Path(folder)
    for file in files:
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / file, copy / file)
    for command in ("nbdev_clean", "nbdev_export"):
        subprocess.run([bin / command], cwd=copy, check=True)
    made = {
        f.relative_to(copy)
        for part in ("nbs", "fvdm")
        for f in (copy / part).rglob("*")
        if f.is_file() and "__pycache__" not in f.parts and f.name != "_modidx.py"
    }
    changed = sorted(
        f
        for f in made | set(files)
        if not (copy / f).exists() or f not in files or not filecmp.cmp(root / f, copy / f, shallow=False)
    )

if changed:
    sys.exit(
        "nbs/ and fvdm/ are out of step or not clean; run nbdev_clean and nbdev_export. They change: "
        + ", ".join(map(str, changed))
    )
print(f"nbs/ and fvdm/ are in step and clean ({len(files)} files)")
