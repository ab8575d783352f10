"""The library reads as a lesson: short definitions, each shown at once, in lines that fit a page.

Lengths are those of formatted code (`ruff format`, 120 columns), so packing statements onto a line gains nothing.
"""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from conftest import ROOT

LESSONS = sorted((ROOT / "nbs").glob("[0-9]*.ipynb"))  # the notebooks that the library is exported from
SOURCES = [*sorted((ROOT / "nbs").glob("*.ipynb")), *(f for d in ("scripts", "tests") for f in (ROOT / d).glob("*.py"))]

COLUMNS = 120
FUNCTION = {"median": 12, "p90": 40, "longest": 80}  # lines, the decorators' and the signature's included
DEFINITION = {"median": 15, "p90": 40}  # lines of an exported cell that defines functions or classes
FOLLOWED = 0.7  # share of these that a demonstration or a test follows at once

# functions that may be longer than FUNCTION["longest"], "notebook: function", each with the reason beside it
LONG_FUNCTIONS: set[str] = set()
# lines that may be longer than COLUMNS, by the text that they contain, each with the reason beside it
LONG_LINES: set[str] = set()


def code_cells(notebook: Path) -> list[str]:
    cells = json.loads(notebook.read_text())["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]


def is_export(cell: str) -> bool:
    return cell.startswith("#| export")


def is_definition(cell: str) -> bool:
    return is_export(cell) and any(isinstance(n, ast.FunctionDef | ast.ClassDef) for n in ast.parse(cell).body)


def is_shown(cell: str) -> bool:
    "Whether a cell demonstrates or tests: it is not exported."
    return not is_export(cell)


def functions(notebooks: list[Path]) -> dict[str, int]:
    "Lines of each exported function and method, by `notebook: function`; of two with one name the longer."
    lengths = {}
    for notebook in notebooks:
        for cell in filter(is_export, code_cells(notebook)):
            for node in ast.walk(ast.parse(cell)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    name = f"{notebook.stem}: {node.name}"
                    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                    lengths[name] = max(lengths.get(name, 0), node.end_lineno - first + 1)
    return lengths


def definitions(notebooks: list[Path]) -> list[tuple[str, int, bool]]:
    "Of each definition cell: `notebook: name`, its lines, whether a demonstration or test follows."
    found = []
    for notebook in notebooks:
        cells = code_cells(notebook)
        for cell, following in zip(cells, [*cells[1:], "#| export"], strict=True):
            if is_definition(cell):
                defined = [n for n in ast.parse(cell).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
                lines = len(cell.splitlines()) - 1  # less the line that says export
                found.append((f"{notebook.stem}: {defined[0].name}", lines, is_shown(following)))
    return found


def long_lines(files: list[Path]) -> list[str]:
    "Lines of code that are longer than the page is wide: `file: line`."
    found = []
    for file in files:
        code = "\n".join(code_cells(file)) if file.suffix == ".ipynb" else file.read_text()
        long = [line for line in code.splitlines() if len(line) > COLUMNS]
        found += [f"{file.name}: {line}" for line in long if not any(known in line for known in LONG_LINES)]
    return found


def unnamed_encodings(notebooks: list[Path]) -> list[str]:
    "Where exported code reads or writes text in whatever encoding the machine has: `notebook: call`."
    found = []
    for notebook in notebooks:
        for cell in filter(is_export, code_cells(notebook)):
            calls = [node for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.Call)]
            found += [f"{notebook.stem}: {ast.unparse(call)}" for call in calls if takes_any_encoding(call)]
    return found


def takes_any_encoding(call: ast.Call) -> bool:
    named, called = any(k.arg == "encoding" for k in call.keywords), call.func
    if isinstance(called, ast.Name) and called.id == "open":
        modes = [*call.args[1:2], *(k.value for k in call.keywords if k.arg == "mode")]
        return not named and not any("b" in ast.literal_eval(mode) for mode in modes)
    is_method = isinstance(called, ast.Attribute) and called.attr in ("read_text", "write_text")
    return is_method and not named


def p90(lengths: list[int]) -> int:
    return sorted(lengths)[min(len(lengths) - 1, int(0.9 * len(lengths)))]


def longest(lengths: dict[str, int]) -> str:
    return ", ".join(f"{name} ({n})" for name, n in sorted(lengths.items(), key=lambda item: -item[1])[:10])


def style_faults(notebooks: list[Path]) -> list[str]:
    "What the lessons' functions and cells exceed, in sentences."
    of_functions, cells = functions(notebooks), definitions(notebooks)
    of_cells = {name: lines for name, lines, _ in cells}
    faults = []
    for what, lengths, limits in (("functions", of_functions, FUNCTION), ("definition cells", of_cells, DEFINITION)):
        for name, found in (("median", median(lengths.values())), ("p90", p90(list(lengths.values())))):
            if found > limits[name]:
                faults.append(f"{name} of {what} is {found}, but at most {limits[name]}; longest: {longest(lengths)}")
    too_long = {f: n for f, n in of_functions.items() if n > FUNCTION["longest"] and f not in LONG_FUNCTIONS}
    if too_long:
        faults.append(f"functions are at most {FUNCTION['longest']} lines long, but: {longest(too_long)}")
    not_shown = [name for name, _, shown in cells if not shown]
    if len(not_shown) > (1 - FOLLOWED) * len(cells):
        share = 1 - len(not_shown) / len(cells)
        faults.append(f"{share:.0%} of definitions are shown at once, but at least {FOLLOWED:.0%}: {not_shown}")
    return faults


def test_definitions_are_short_and_shown_at_once():
    faults = style_faults(LESSONS)
    assert not faults, "\n".join(faults)


def test_lines_fit_the_page():
    found = long_lines(SOURCES)
    assert not found, "\n".join(found)


def test_text_is_utf_8_on_every_machine():
    found = unnamed_encodings(LESSONS)
    assert not found, "\n".join(found)


def test_lengths_are_those_of_formatted_code():
    command = [sys.executable, "-m", "ruff", "format", "--check", "nbs", "scripts", "tests"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_exceptions_are_still_needed():
    lengths = functions(LESSONS)
    assert not [f for f in LONG_FUNCTIONS if lengths.get(f, 0) <= FUNCTION["longest"]]
    code = "\n".join("\n".join(code_cells(f)) if f.suffix == ".ipynb" else f.read_text() for f in SOURCES)
    longs = [line for line in code.splitlines() if len(line) > COLUMNS]
    assert not [known for known in LONG_LINES if not any(known in line for line in longs)]


def function(name: str, lines: int) -> str:
    return "\n".join([f"def {name}():", *["    pass"] * (lines - 1)])


def notebook(folder: Path, *cells: str) -> Path:
    file = folder / "99_planted.ipynb"
    planted = [{"cell_type": "code", "id": str(i), "metadata": {}, "source": cell} for i, cell in enumerate(cells)]
    file.write_text(json.dumps({"cells": planted}))
    return file


SHORT = ("#| export\n" + function("short", 3), "short()")  # a good lesson has these two cells over and over


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        ([*SHORT * 20, "#| export\n" + function("giant", 81), "giant()"], "at most 80 lines long, but: .*giant"),
        ([*SHORT * 4, *("#| export\n" + function("big", 41), "big()") * 2], "p90 of definition cells is 41"),
        (["#| export\n" + function("wide", 16), "wide()"], "median of definition cells is 16"),
        (["#| export\n" + function("wide", 13), "wide()"], "median of functions is 13"),
        ([*SHORT, SHORT[0]], "50% of definitions are shown"),
        ([*SHORT, *SHORT], None),
    ],
)
def test_planted_faults_are_found(tmp_path, cells, fault):
    found = style_faults([notebook(tmp_path, *cells)])
    assert found == [] if fault is None else any(re.search(fault, sentence) for sentence in found), found


def test_planted_long_lines_are_found(tmp_path):
    line = f"x = {'1' * 117}"
    script = tmp_path / "script.py"
    script.write_text(f"y = 1\n{line}\n{line[1:]}\n")
    lesson = notebook(tmp_path, f"y = 1\n{line}")
    assert long_lines([script, lesson]) == [f"script.py: {line}", f"99_planted.ipynb: {line}"]


def test_planted_encodings_are_found(tmp_path):
    bad = [
        "file.read_text()",
        "file.write_text(x)",
        "open(file)",
        "open(file, 'a', newline='')",
        "open(file, mode='w')",
    ]
    good = ["file.read_text(encoding='utf-8')", "open(file, 'rb')", "open(file, encoding='utf-8')", "read_text(file)"]
    lesson = notebook(tmp_path, "#| export\n" + "\n".join(bad + good), bad[0])
    assert unnamed_encodings([lesson]) == [f"99_planted: {call}" for call in bad]


def test_outputs_name_no_place_of_the_machine_they_were_made_on():
    "What a cell writes to stderr (progress bars, warnings with paths) is not kept."
    for notebook in sorted((ROOT / "nbs").glob("*.ipynb")):
        for cell in json.loads(notebook.read_text())["cells"]:
            kept = [o for o in cell.get("outputs", []) if o.get("name") == "stderr"]
            assert not kept, f"{notebook.name}: {kept[0]['text']}"


def test_running_a_notebook_does_not_rewrite_the_library():
    writers = [n.name for n in LESSONS if any("nbdev_export" in cell for cell in code_cells(n))]
    assert writers == []
