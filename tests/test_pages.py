"""Every fenced block of README.md, CONTRIBUTING.md and docs/: Python is run, commands are run or have their flags read.

A page's blocks share names and a folder, in order. What a reader has and the page does not make (a network, latents,
videos) is made small here, once: `own_things` and `small_networks`.
"""

import ast
import json
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import torch

from conftest import ROOT
from fvdm import cli
from fvdm.backbones import tiny_backbone
from fvdm.dit import create_model
from fvdm.worlds import clip, export

PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{f.name}" for f in (ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ALIASES = {"fvdm.training": "train", "fvdm.data": "data", "fvdm.metrics": "fvd"}

# Commands that are run as they stand; of the others the words are read, for the reason behind each.
RUN = ("worlds export", "fvd data/sky", "fvd sky.safetensors", "fvd --show", "animate", "train --config run.yaml")
READ = {
    "--weights": "I3D's weights are a download",
    "--tracker": "test_trackers.py trains with one",
    "--prompt": "needs a network of diffusers; test_backbones.py and 10e_folders open tiny ones",
    "--launcher": "needs a cluster; tests/test_cluster.py has one of a node",
    "train": "hours, or latents of a data set that nobody may pass on",
    "data": "needs UCF-101's videos",
    "run": "minutes to days; tests/test_cluster.py runs grids, also on a Slurm",
    "generate": "needs the run that the line before would train; README runs the verbs",
    "bench": "up to nine minutes",
    "report": "minutes; make test runs all notebooks at the preset smoke",
    "import": "needs a published checkpoint; tests/test_importing.py has one of that form",
}
OTHERS = {  # programs that are not ours, and why they are not run
    "jupyter": "an editor",
    "nbdev_clean": "make check runs it",
    "nbdev_export": "make check runs it",
    "nbdev_test": "make test runs it",
    "pip": "needs a network",
}


def blocks(page: str) -> list[tuple[str, str]]:
    "Language and text of each fenced block."
    return FENCE.findall((ROOT / page).read_text())


def commands(text: str) -> list[list[str]]:
    "The commands of a block, as words; of a block with prompts, the lines behind them."
    text = text.replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip()]
    prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [words for line in prompted or lines if (words := shlex.split(line, comments=True))]


# What a reader has


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "A folder like a clone's, with two small sets of videos."
    here = tmp_path_factory.mktemp("pages")
    for name in ("examples", "nbs", "tests"):
        (here / name).symlink_to(ROOT / name)
    export("sky", here / "data/sky", 80, 16, 64, 0)
    export("sky", here / "samples/sky", 80, 16, 64, 5)
    return here


@pytest.fixture(autouse=True)
def small_networks(monkeypatch, folder):
    "Networks of the shapes that ship, a tenth of their work; a tiny Wan for the one on the hub."
    import diffusers

    small = lambda name: create_model("cpu-nano/4", in_channels=4, input_size=8, num_frames=16).eval()
    monkeypatch.setattr("fvdm.tasks.pipeline.load_network", small)
    wan = tiny_backbone("WanTransformer3DModel")
    monkeypatch.setattr(diffusers.WanTransformer3DModel, "from_pretrained", lambda *_, **__: wan)
    monkeypatch.chdir(folder)


@cache
def sky_clips() -> torch.Tensor:
    "Videos of a sampler: (80, 16, 3, 64, 64) uint8."
    return torch.stack([torch.from_numpy(clip("sky", i, 7, 16, 64)) for i in range(80)])


def own_things() -> dict:
    "The names that pages use for what is the reader's own."
    g = torch.Generator().manual_seed(0)
    return {
        "net": create_model("cpu-nano/4", in_channels=4, input_size=8, num_frames=16),
        "x0": torch.randn(8, 16, 4, 8, 8, generator=g),
        "z": torch.randn(2, 5, 4, 8, 8, generator=g),
        "text": torch.randn(2, 6, 16, generator=g),
        "clips": sky_clips(),
    }


# What is done with a block


def check_fvdm(name: str, words: list[str]) -> None:
    "Run a command, or read its words."
    line = " ".join([name, *words])
    assert name in cli.COMMANDS, f"{name} is no command"
    kind = cli.COMMANDS[name]
    kind.parse(words, name) if hasattr(kind, "parse") else cli.parse(kind, words, name)
    if any(word in READ for word in words if word.startswith("--")):
        return
    if any(line.startswith(start) for start in RUN):
        assert cli.main([name, *words]) == 0, line
    else:
        assert name in READ, f"{line}: neither run nor is there a reason"


def check_papermill(words: list[str]) -> None:
    "The notebook is there, an output is named, and its parameters are known."
    notebook, out, *rest = words
    assert (ROOT / notebook).is_file() and out.endswith(".ipynb")
    cells = re.findall(r'"(\w+) = ', (ROOT / notebook).read_text())
    for flag, name, _ in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        assert flag == "-p" and name in cells, f"{notebook} has no parameter {name}"


def check_make(words: list[str]) -> None:
    "Targets and variables are the Makefile's."
    makefile = (ROOT / "Makefile").read_text()
    for word in words:
        name, is_variable, _ = word.partition("=")
        found = rf"^{name} *\?=" if is_variable else rf"^{name}:"
        assert re.search(found, makefile, re.MULTILINE), f"make {word}"


def check_script(words: list[str]) -> None:
    "The script is there, and has the flags."
    text = (ROOT / words[0]).read_text()
    assert not [w for w in words[1:] if w.startswith("--") and f'"{w}"' not in text], words


def check_command(words: list[str]) -> None:
    "What a line of a shell block asks for exists and understands its words."
    program, *rest = words
    program = program.removeprefix(".venv/bin/")
    for word in rest:
        if word.startswith(("examples/", "nbs/", "tests/")):
            assert (ROOT / word).exists(), f"there is no {word}"
    if "-m" in rest and (module := next((w for w in rest if w in ALIASES), None)):
        check_fvdm(ALIASES[module], rest[rest.index(module) + 1 :])
    elif program == "fvdm":
        check_fvdm(rest[0], rest[1:])
    elif program in ("papermill", "make"):
        {"papermill": check_papermill, "make": check_make}[program](rest)
    elif program == "python" or program.startswith("scripts/"):
        check_script(rest if program == "python" else [program, *rest])
    else:
        assert program in OTHERS, f"{program}: neither checked nor is there a reason"


@pytest.mark.parametrize("page", PAGES)
def test_blocks(page, capsys):
    names = own_things() if any(kind == "python" for kind, _ in blocks(page)) else {}
    for kind, text in blocks(page):
        if kind == "python":
            exec(compile(text, f"{page}, a block", "exec"), names)
        elif kind == "yaml":
            Path(re.match(r"# (\S+)", text)[1]).write_text(text)
        elif kind in ("", "shell", "bash"):
            for words in commands(text):
                check_command(words)
        else:
            assert kind == "bibtex", f"{page}: nobody looks at blocks of {kind}"


@pytest.mark.parametrize(
    "line",
    [
        "fvdm animate examples/face.png --framez 3 -o out.webp",
        "fvdm animate examples/nobody.png -o out.webp",
        "fvdm anymate examples/face.png -o out.webp",
        "accelerate launch -m fvdm.training --preset fast",
        "papermill nbs/table1.ipynb",
        "papermill nbs/table1.ipynb out.ipynb -p presett smoke",
        "make reproduse",
        "make reproduce NOTEBOOK=table1",
        "python tests/kill_grid.py --kils 3",
        "curl https://example.org",
    ],
)
def test_a_wrong_line_is_found(line):
    with pytest.raises((AssertionError, ValueError)):
        check_command(shlex.split(line))


def test_links_of_the_pages():
    "What a page links to is there."
    for page in PAGES:
        text = FENCE.sub("", (ROOT / page).read_text())
        for link in re.findall(r"\]\(([^)#:\s]+)\)", text):
            assert ((ROOT / page).parent / link).exists(), f"{page}: {link}"


def test_links_of_notebooks():
    for file in sorted([*(ROOT / "nbs").glob("*.ipynb"), *(ROOT / "reports").glob("*/*/notebook.ipynb")]):
        cells = [c for c in json.loads(file.read_text())["cells"] if c["cell_type"] == "markdown"]
        for link in re.findall(
            r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", FENCE.sub("", "\n".join("".join(c["source"]) for c in cells))
        ):
            assert (file.parent / link).exists(), f"{file.name}: {link}"


def test_lines_of_notebooks():
    "The commands at the head of a reproduction notebook likewise."
    for file in sorted((ROOT / "nbs").glob("[a-z]*.ipynb")):
        for cell in re.findall(r'"source": (\[.*?\n   \])', file.read_text(), re.DOTALL):
            text = "".join(ast.literal_eval(cell))
            for _, block in FENCE.findall(text):
                for words in commands(block):
                    check_command(words)
