"""What is kept under reports/: executed notebooks without errors, progress bars or paths; pages; results."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from fvdm.experiments import Run, backbone_runs, grid, load_tools
from fvdm.experiments.runs import record_hash

REPORTS = Path(__file__).parent.parent / "reports"
NOTEBOOKS = sorted(REPORTS.glob("*/*/notebook.ipynb"))
RESULTS = sorted((REPORTS / "results").glob("*.json"))
ABSOLUTE = re.compile(
    r"""(?:^|[\s"'`(=])(/[\w.-]+/[\w.-]+|[A-Za-z]:\\)"""
)  # a path from the root, of any machine; an address has its // behind a colon


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda f: f.parent.relative_to(REPORTS).as_posix())
def test_report_is_clean(file):
    notebook = json.loads(file.read_text())
    outputs = [o for c in notebook["cells"] for o in c.get("outputs", [])]
    assert not notebook["metadata"]["papermill"]["exception"] and not any(o["output_type"] == "error" for o in outputs)
    assert not [o for o in outputs if o.get("name") == "stderr"], (
        "progress bars: scripts/place_report.py leaves them out"
    )
    said = json.dumps([notebook["metadata"], *(c["source"] for c in notebook["cells"])]) + "".join(
        "".join(o.get("text", "")) for o in outputs
    )
    assert not ABSOLUTE.findall(said)


def test_the_study_is_kept():
    "A kept result whose name does not follow from what decides it would be computed again, unseen."
    tools, names = load_tools(), set()
    for experiment in ("table1", "ablation_p", "ablation_scale"):
        names |= {run.name for run in grid(experiment, "brief", seeds=[0, 1, 2], tools=tools)}
    names |= {run.name for run in grid("table1", "brief", ["ucf101=weizmann"], seeds=[0, 1, 2], tools=tools)}
    names |= {run.name for run in grid("ablation_p", "scratch", seeds=[0, 1, 2], tools=tools)}
    names |= {run.name for run in grid("table1", "scratch", ["faces"], seeds=range(5), tools=tools)}
    names |= {run.name for run in backbone_runs(tools)}
    assert names <= {f.stem for f in RESULTS}


@pytest.mark.parametrize("file", RESULTS, ids=lambda f: f.stem)
def test_a_result_is_named_after_what_decides_it(file):
    result = json.loads(file.read_text())
    decides = {f.name for f in fields(Run)} | {"schema", "schedules"}
    assert file.stem == result["name"]
    assert file.stem.endswith(record_hash({k: v for k, v in result.items() if k in decides}))


@pytest.mark.parametrize("file", sorted(REPORTS.glob("*/*/report.md")), ids=lambda f: f.parent.name)
def test_what_a_page_shows_is_there(file):
    for link in re.findall(r"\]\(([^)#:]+)\)", file.read_text()):
        assert (file.parent / link).exists(), link


def test_reports_are_small():
    "Under 12 MB in all, and no file over 1 MB but moving pictures: a clone takes every version of them along."
    kept = [f for f in REPORTS.rglob("*") if f.is_file() and f.relative_to(REPORTS).parts[0] != "smoke"]
    kept = [f for f in kept if f.suffix not in (".svg", ".safetensors")]  # git ignores these
    made_again = [f for f in kept if f.name.startswith((".", "smoke-")) or f.suffix == ".safetensors"]
    sizes = {f.relative_to(REPORTS).as_posix(): f.stat().st_size for f in kept if f not in made_again}
    assert sum(sizes.values()) < 12e6, f"{sum(sizes.values()) / 1e6:.1f} MB"
    assert not {f: s for f, s in sizes.items() if s > 1e6 and not f.endswith((".gif", ".webp", ".mp4"))}


@pytest.mark.parametrize("name", ["ablation_p", "training_schemes"])  # runs that they show are committed
def test_notebooks_do_without_clips_that_a_clone_does_not_have(name):
    "Results are committed, their clips are not: `make reproduce` in a clone must get by with the numbers."
    cells = json.loads((REPORTS.parent / f"nbs/{name}.ipynb").read_text())["cells"]
    showing = [source for cell in cells if "load_samples(" in (source := "".join(cell["source"]))]
    assert showing and all("except ValueError" in source for source in showing)
