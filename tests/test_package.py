"""The installed library: light to import, free of notebook tools, and the notebooks fit to be run by papermill."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest
from launch import launch

from conftest import ROOT

HEAVY = [
    "av",
    "diffusers",
    "accelerate",
    "timm",
    "torchvision",
    "matplotlib",
    "pandas",
    "nbdev",
    "fastcore",
    "IPython",
    "papermill",
]


LIGHT = [
    "fvdm",
    "fvdm.samplers",
    "fvdm.data",
    "fvdm.metrics",
    "fvdm.training",
    "fvdm.tasks",
    "fvdm.experiments",
    "fvdm.bench",
    "fvdm.viz",
]


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    "What one process has loaded after importing each module of LIGHT, one after another."
    code = f"""
import importlib, sys
for module in {LIGHT}:
    importlib.import_module(module)
    print(module, *{{m.partition(".")[0] for m in sys.modules}})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    return {module: set(packages) for module, *packages in lines}


@pytest.mark.parametrize("module", LIGHT)
def test_imports_nothing_heavy(module, loaded):
    assert not loaded[module] & set(HEAVY)


def test_import_fvdm_does_not_even_import_torch(loaded):
    assert "torch" not in loaded["fvdm"]


@pytest.mark.parametrize(("given", "found"), [({}, "passive"), ({"OMP_WAIT_POLICY": "active"}, "active")])
def test_threads_of_the_command_wait_asleep(given, found):
    "Said before torch is imported, which is when it is read."
    code = """
import os, sys
from fvdm.__main__ import main
assert "torch" not in sys.modules
sys.argv = ["fvdm", "bench", "--help"]
try:
    main()
finally:
    print(os.environ["OMP_WAIT_POLICY"], file=sys.stderr)
"""
    clean = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean | given)
    assert (done.returncode, done.stderr.split()) == (0, [found]), done.stderr
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["fvdm"] == "fvdm.__main__:main"


def test_training_from_latents_needs_neither_videos_nor_codecs(tmp_path):
    "Encoded clips can be carried to a machine that has neither PyAV nor diffusers."
    code = f"""
import sys
sys.modules["av"] = sys.modules["diffusers"] = None          # importing either raises ImportError
from fvdm.data import Latents
from fvdm.training import preset, train
net, step, _ = train(preset("smoke", steps=2, batch=2), Latents({str(tmp_path / "latents")!r}), progress=False)
print("reached step", step)
"""
    encoded = launch("fvdm.data", "encode", "sky", "--clips", 4, "--out", tmp_path / "latents")
    assert encoded.returncode == 0, encoded.stderr
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "reached step 2" in done.stdout, done.stderr


# The architecture: nbs/README.md lists the modules; each imports only modules above it, within functions too.

COMMANDS = "__main__"  # `python -m fvdm.room`: imports what it likes, and nobody imports it
EXEMPT = {"_modidx"}  # nbdev's index of links, which imports nothing


def listed_modules() -> dict[str, str]:
    "Modules in the order of nbs/README.md, without `fvdm.`, and the notebook of each."
    rows = re.findall(r"^\| `([\w.]+)` \| \[.+?\]\((\w+\.ipynb)\)", (ROOT / "nbs/README.md").read_text(), re.MULTILINE)
    return dict(rows)


def ranks(modules: list[str]) -> dict[str, int]:
    "A number for each module: it may import those with a smaller one. A room's face comes after its last module."
    numbers = {"": -1} | {module: 2 * i for i, module in enumerate(modules)}
    for room in modules:
        inside = [numbers[m] for m in modules if m.startswith(room + ".")]
        if inside:
            numbers[room] = max(inside) + 1
    return numbers


def module_name(file: Path, package: Path) -> str:
    "`data.index` for data/index.py, `data` for its face data/__init__.py, nothing for the package's own __init__.py."
    parts = file.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_names(file: Path, package: Path) -> Iterator[tuple[int, str]]:
    "Line and full name (`fvdm.data.index.VideoIndex`, or less of it) of each import in a file, at any depth."
    inside = ("fvdm", *file.relative_to(package).parent.parts)  # the package that relative imports start from
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = inside[: len(inside) + 1 - node.level] if node.level else ()
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def imports(file: Path, package: Path, modules: set[str]) -> Iterator[tuple[int, str]]:
    "Line and module, without `fvdm.`, of each import of the library."
    for line, name in imported_names(file, package):
        first, *parts = name.split(".")
        if first == "fvdm":
            while parts and ".".join(parts) not in modules:  # the last names may be a function's or a class's
                parts.pop()
            yield line, ".".join(parts)


def architecture_faults(package: Path, modules: list[str]) -> list[str]:
    "Modules that are not listed, and imports that go upward, in sentences."
    files = {module_name(f, package): f for f in sorted(package.rglob("*.py"))}
    number, faults = ranks(modules), []
    for name, file in files.items():
        if name in EXEMPT:
            continue
        command = file.stem == COMMANDS
        if name not in number and not command:
            faults.append(f"{name} is not listed in nbs/README.md")
            continue
        for line, target in imports(file, package, set(files)):
            upward = target.endswith(COMMANDS) or not command and number.get(target, -1) >= number[name]
            if upward and target != name:
                faults.append(f"{name}, line {line}: imports {target}, which is not above it")
    return faults


def test_modules_import_only_modules_above_them():
    faults = architecture_faults(ROOT / "fvdm", list(listed_modules()))
    assert not faults, "\n".join(faults)


def test_listed_modules_are_there_and_their_notebooks_export_them():
    for module, notebook in listed_modules().items():
        cells = json.loads((ROOT / "nbs" / notebook).read_text())["cells"]
        exports = re.findall(r"^#\| *default_exp +(\S+)", "".join(cells[0]["source"]))
        assert exports in ([module], [module + ".__init__"]), f"{notebook} exports {exports}, not {module}"
    files = {module_name(f, ROOT / "fvdm") for f in (ROOT / "fvdm").rglob("*.py")}
    assert not set(listed_modules()) - files


PLANTED = [  # file, import, what is found
    ("vtv.py", "from fvdm.experiments import run_experiment", "vtv, line .*: imports experiments"),
    ("vtv.py", "from .experiments import run_experiment", "vtv, line .*: imports experiments"),
    ("vtv.py", "from . import cli", "vtv, line .*: imports cli"),
    ("vtv.py", "import fvdm.bench as timing", "vtv, line .*: imports bench"),
    ("vtv.py", "def later():\n    from .sde import Schedule", "vtv, line .*: imports sde"),
    ("data/index.py", "from ..training import train", "data.index, line .*: imports training"),
    ("data/index.py", "from .latents import Latents", "data.index, line .*: imports data.latents"),
    ("data/index.py", "from . import latents", "data.index, line .*: imports data.latents"),
    ("data/index.py", "from .. import cli", "data.index, line .*: imports cli"),
    ("data/index.py", "from fvdm.data import open_dataset", "data.index, line .*: imports data, "),
    ("data/__init__.py", "from ..tasks import Pipeline", "data, line .*: imports tasks"),
    ("cli.py", "from .data.__main__ import main", "cli, line .*: imports data.__main__"),
    ("attic.py", "import torch", "attic is not listed"),
    ("data/attic.py", "import torch", "data.attic is not listed"),
]


@pytest.mark.parametrize(("file", "line", "fault"), PLANTED)
def test_planted_faults_are_found(tmp_path, file, line, fault):
    package = tmp_path / "fvdm"
    shutil.copytree(ROOT / "fvdm", package, ignore=shutil.ignore_patterns("weights", "__pycache__"))
    (package / "data" / "__main__.py").touch()
    before = architecture_faults(package, list(listed_modules()))
    with open(package / file, "a") as f:
        f.write(f"\n\n{line}\n")
    new = set(architecture_faults(package, list(listed_modules()))) - set(before)
    assert len(new) == 1 and re.match(fault, new.pop())


def test_what_is_allowed_is_no_fault(tmp_path):
    (tmp_path / "room").mkdir()
    for file, text in {
        "__init__.py": "",
        "low.py": "import torch, fvdm\nfrom fvdm import __version__",
        "room/__init__.py": "from .a import f\nfrom fvdm.room.b import g",
        "room/a.py": "from ..low import h",
        "room/b.py": "from .a import f\nimport fvdm.low",
        "room/__main__.py": "from fvdm.top import main",
        "top.py": "from .room import f\nfrom fvdm.room.a import f",
    }.items():
        (tmp_path / file).write_text(text)
    assert not architecture_faults(tmp_path, ["low", "room", "room.a", "room.b", "top"])


def test_settings_keep_cell_tags():
    settings = ConfigParser()
    settings.read(ROOT / "settings.ini")
    assert "tags" in settings["DEFAULT"]["allowed_cell_metadata_keys"].split()


FOR_READERS = {"quickstart", "playground"}  # neither lessons of the library nor reproductions
REPRODUCTIONS = sorted(f for f in (ROOT / "nbs").glob("[a-z]*.ipynb") if f.stem not in FOR_READERS)


@pytest.mark.parametrize("notebook", REPRODUCTIONS, ids=lambda f: f.stem)
def test_reproduction_notebooks_have_parameters_and_import_only_the_library(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    assert [c for c in cells if "parameters" in c["metadata"].get("tags", [])], "no cell is tagged 'parameters'"
    assert not [c for c in cells if "#| export" in "".join(c["source"])]


def test_command_lines_say_what_is_allowed():
    for module, arguments, words in [
        (
            "fvdm.training",
            ["--preset", "fast"],
            "preset is 'fast', but may be one of: smoke, quick, brief, scratch, study, paper",
        ),
        ("fvdm.training", ["--p", "1.5"], "p is 1.5, but a probability is in [0, 1]"),
        (
            "fvdm.data",
            ["index", "ucf101", "no/such/folder"],
            "root is 'no/such/folder', but must be an existing folder of videos",
        ),
        (
            "fvdm.metrics",
            ["real", "fake", "--protocol", "latte"],
            "protocol is 'latte', but may be one of: fvdm-default, fvdm-i3d",
        ),
        (
            "fvdm.worlds",
            ["export", "oceans", "out"],
            "world is 'oceans', but may be one of: faces, sky, actions, figures",
        ),
        (
            "fvdm.experiments",
            ["run", "ablation_p", "--datasets", "ucf101=no/such/folder"],
            "but must be an existing folder of videos",
        ),
    ]:
        done = launch(module, *arguments)
        assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_clone_in_the_working_directory_does_not_hide_the_package(tmp_path):
    (tmp_path / "fvdm/nbs").mkdir(parents=True)  # as after `git clone`, one folder above it
    shown = subprocess.run(
        [sys.executable, "-c", "import fvdm; print(fvdm.__file__)"], cwd=tmp_path, capture_output=True, text=True
    )
    assert shown.stdout.strip().endswith("__init__.py"), shown.stdout + shown.stderr
