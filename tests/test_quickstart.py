"nbs/quickstart, cell by cell; scripts/newcomer.sh executes it as it is, with its thirty seconds of training."

import subprocess
import sys

import nbformat
from IPython.core.interactiveshell import InteractiveShell

from conftest import ROOT


def test_every_cell_runs(monkeypatch):
    monkeypatch.chdir(ROOT / "nbs")
    cells = [c.source for c in nbformat.read(ROOT / "nbs/quickstart.ipynb", 4).cells if c.cell_type == "code"]
    assert len(cells) == 9 and "budget=30" in cells[-1]
    cells[-1] = cells[-1].replace("budget=30", "budget=2")
    shell = InteractiveShell.instance()
    try:
        for cell in cells:
            shell.run_cell(cell, store_history=True).raise_error()
        assert shell.user_ns["step"] > 0 and 0 < shell.user_ns["result"].value < 40
    finally:
        InteractiveShell.clear_instance()


SHOWN = """
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
shell.run_cell("import torch; from fvdm.viz import show_plan; from fvdm.vtv import uniform")
for code in ("uniform(4, 3)", "torch.eye(3)"):
    found = shell.run_cell(code).result
    print(sorted(shell.display_formatter.format(found)[0]))
"""


def test_a_plan_shows_itself():
    "As a picture, in a process of its own, where nothing is imported yet; another tensor as ever."
    done = subprocess.run([sys.executable, "-c", SHOWN], capture_output=True, text=True, check=True)
    plan, matrix = [line for line in done.stdout.splitlines() if line.startswith("['")]
    assert "image/png" in plan and "image/png" not in matrix
