"""Bad parameters of a reproduction notebook: an error that names the thing and what is allowed, and nothing written."""
import ast
import json

import pytest

from conftest import ROOT

papermill = pytest.importorskip("papermill", reason="the notebooks' tools are not installed")


@pytest.mark.parametrize("notebook, parameters, words", [("ablation_p", {"p_values": "0,2"}, "p is 2.0, but a probability is in [0, 1]"),
                                                         ("ablation_p", {"preset": "fast"}, "preset is 'fast', but may be one of: smoke, quick, scratch, study, paper"),
                                                         ("ablation_p", {"preset": "smoke", "dataset": "ucf101=no/such/folder"}, "root is 'no/such/folder', but must be an existing folder of videos"),
                                                         ("table1", {"preset": "smoke", "detector": "i3d"}, "weights is None, but must be the file of the detector")])
def test_bad_parameter(notebook, parameters, words, tmp_path):
    with pytest.raises(papermill.PapermillExecutionError) as error:
        papermill.execute_notebook(ROOT / f"nbs/{notebook}.ipynb", tmp_path / "out.ipynb", {"out": str(tmp_path / "report"), **parameters}, kernel_name="python3", progress_bar=False)
    assert error.value.ename == "ValueError" and words in error.value.evalue
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("file", sorted(f.name for f in (ROOT / "nbs").glob("*.ipynb") if '"parameters"' in f.read_text()))
def test_every_parameter_is_in_the_help(file):
    "papermill --help-notebook reads the parameters' cell line by line, and leaves out a line with a second equals sign."
    cell = next(c for c in json.loads((ROOT / "nbs" / file).read_text())["cells"] if "parameters" in c["metadata"].get("tags", ()))
    written = [node.targets[0].id for node in ast.parse("".join(cell["source"])).body]
    found = papermill.inspect_notebook(ROOT / "nbs" / file)
    assert list(found) == written and all(p["help"] for p in found.values())
