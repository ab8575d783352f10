"""Bad parameters of a reproduction notebook: an error that names the thing and what is allowed, and nothing written."""

import ast
import json
import subprocess

import pytest

from conftest import ROOT

papermill = pytest.importorskip("papermill", reason="the notebooks' tools are not installed")
from IPython.core.interactiveshell import InteractiveShell  # noqa: E402
from papermill.iorw import load_notebook_node  # noqa: E402
from papermill.parameterize import parameterize_notebook  # noqa: E402

from fvdm.experiments import EXPERIMENT_PRESETS  # noqa: E402


def with_papermill(notebook, parameters, tmp_path):
    "Execute a notebook in a kernel of its own: name and text of the error that ends it."
    target = tmp_path / "out.ipynb"
    with pytest.raises(papermill.PapermillExecutionError) as error:
        papermill.execute_notebook(notebook, target, parameters, kernel_name="python3", progress_bar=False)
    return error.value.ename, error.value.evalue


def in_this_process(notebook, parameters, tmp_path):
    "The same by an IPython shell in this process, which imports only once what all notebooks import."
    cells = parameterize_notebook(load_notebook_node(str(notebook)), parameters).cells
    shell = InteractiveShell.instance()
    try:
        for cell in cells:
            result = shell.run_cell(cell.source, store_history=True) if cell.cell_type == "code" else None
            if result and not result.success:
                error = result.error_in_exec
                return type(error).__name__, str(error)
    finally:
        InteractiveShell.clear_instance()
    pytest.fail("no error")


@pytest.mark.parametrize(
    "execute, notebook, parameters, words",
    [
        (with_papermill, "ablation_p", {"p_values": "0,2"}, "p is 2.0, but a probability is in [0, 1]"),
        (
            in_this_process,
            "ablation_p",
            {"preset": "fast"},
            "preset is 'fast', but may be one of: smoke, quick, brief, scratch, study, paper",
        ),
        (
            in_this_process,
            "ablation_p",
            {"preset": "smoke", "dataset": "ucf101=no/such/folder"},
            "root is 'no/such/folder', but must be an existing folder of videos",
        ),
        (
            in_this_process,
            "table1",
            {"preset": "smoke", "detector": "i3d"},
            "weights is None, but must be the file of the detector",
        ),
        (
            in_this_process,
            "ablation_scale",
            {"preset": "smoke", "seed": "0,1"},
            "parameter is 'seed', but may be one of: preset, dataset",
        ),
        (
            in_this_process,
            "errata",
            {"presett": "smoke"},
            "parameter is 'presett', but may be one of: preset, network, out",
        ),
    ],
)
def test_bad_parameter(execute, notebook, parameters, words, tmp_path):
    given = {"out": str(tmp_path / "report"), **parameters}
    name, text = execute(ROOT / f"nbs/{notebook}.ipynb", given, tmp_path)
    assert name == "ValueError" and words in text
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    "file", sorted(f.name for f in (ROOT / "nbs").glob("*.ipynb") if '"parameters"' in f.read_text())
)
def test_every_parameter_is_in_the_help(file):
    "papermill --help-notebook reads the cell of parameters by line, and leaves out a line with a second equals sign."
    cell = next(
        c
        for c in json.loads((ROOT / "nbs" / file).read_text())["cells"]
        if "parameters" in c["metadata"].get("tags", ())
    )
    written = [node.targets[0].id for node in ast.parse("".join(cell["source"])).body]
    found = papermill.inspect_notebook(ROOT / "nbs" / file)
    assert list(found) == written and all(p["help"] for p in found.values())


@pytest.mark.parametrize(
    "asked, words",
    [
        ("NB=nonsense", "NB is 'nonsense', but may be of: ablation_p"),
        ("PRESET=fast", f"PRESET is 'fast', but may be one of: {', '.join(EXPERIMENT_PRESETS)}"),
        ("JOBS=0", "JOBS is '0', but must be a whole number, at least 1"),
    ],
)
def test_make_checks_what_is_asked_before_it_installs(asked, words):
    done = subprocess.run(["make", "reproduce", asked], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and words in done.stdout and "pip" not in done.stdout
