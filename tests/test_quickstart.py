"nbs/quickstart, cell by cell; scripts/newcomer.sh executes it as it is, with its thirty seconds of training."

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
