"""The API reference as Markdown, from the source alone: nothing of the library is imported.

A parameter's line of comment (its docment: shape, range, unit) becomes its description.
"""

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path

OWN_NAMES = ("__init__", "__call__", "__iter__", "__len__", "__sub__", "forward")


@dataclass(frozen=True)
class Source:
    "A module's lines, its syntax tree, and its comments by line."

    lines: list[bytes]  # a syntax tree counts columns in bytes
    tree: ast.Module
    comments: dict[int, tuple[str, bool]]  # line -> text, and whether it stands alone on its line

    def segment(self, node: ast.AST) -> str:
        "A piece of source. As `ast.get_source_segment`, which splits the whole text for each piece."
        *before, last = self.lines[node.lineno - 1 : node.end_lineno]
        return b"".join([*before, last[: node.end_col_offset]])[node.col_offset :].decode()

    def code(self, node: ast.AST | None) -> str:
        "A piece of source, on one line."
        return " ".join(self.segment(node).split()) if node else ""

    def comment(self, first: int, last: int) -> str:
        "What is said behind a parameter that stands on lines first to last, and right above it."
        above, line = [], first - 1
        while self.comments.get(line, ("", False))[1]:
            above.insert(0, self.comments[line][0])
            line -= 1
        behind = self.comments.get(last, ("", True))
        return " ".join([*above, *([] if behind[1] else [behind[0]])])


def read_source(text: str) -> Source:
    "Parse a module."
    comments = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith("# %%"):
            alone = not token.line[: token.start[1]].strip()
            comments[token.start[0]] = (token.string.lstrip("# ").strip(), alone)
    return Source(text.encode().splitlines(keepends=True), ast.parse(text), comments)


def escape(text: str) -> str:
    "Prose without what Markdown would take for markup; what stands in backticks stays."
    parts = text.split("`")
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"([\\[\]*_|])", r"\\\1", parts[i]).replace("<", "&lt;")
    return "`".join(parts)


def code_cell(text: str) -> str:
    "Code for a cell of a Markdown table."
    return f"`{text}`" if text else ""


def table(rows: list[tuple[str, str, str, str]], first: str) -> list[str]:
    "A table of names, types, defaults and comments; columns that are empty throughout are left out."
    if not rows:
        return []
    heads = [first, "type", "default", "what it is"]
    kept = [i for i in range(4) if i == 0 or any(row[i] for row in rows)]
    lines = ["", "| " + " | ".join(heads[i] for i in kept) + " |", "|" + " --- |" * len(kept)]
    for row in rows:
        cells = [code_cell(row[0]), code_cell(row[1]), code_cell(row[2]), escape(row[3])]
        lines.append("| " + " | ".join(cells[i] for i in kept) + " |")
    return [*lines, ""]


def parameters(source: Source, function: ast.FunctionDef) -> list[tuple[str, str, str, str]]:
    "Name, type, default and comment of each parameter but self."
    a = function.args
    positional = [*a.posonlyargs, *a.args]
    defaults = [None] * (len(positional) - len(a.defaults)) + a.defaults
    every = [*zip(positional, defaults, strict=True), *([(a.vararg, None)] if a.vararg else [])]
    every += [*zip(a.kwonlyargs, a.kw_defaults, strict=True), *([(a.kwarg, None)] if a.kwarg else [])]
    stars = {id(a.vararg): "*", id(a.kwarg): "**"}
    lines = [arg.lineno for arg, _ in every]
    rows = []
    for arg, default in every:
        if arg.arg in ("self", "cls"):
            continue
        last = (default or arg).end_lineno
        own_line = lines.count(arg.lineno) == 1 and arg.lineno != function.lineno
        comment = source.comment(arg.lineno, last) if own_line else ""
        name = stars.get(id(arg), "") + arg.arg
        rows.append((name, source.code(arg.annotation), source.code(default), comment))
    return rows


def returned(source: Source, function: ast.FunctionDef) -> str:
    "Type and comment of what a function returns."
    if function.returns is None:
        first = function.body[0].lineno
        said = source.comments.get(first - 1, ("", True))
        return "" if said[1] or first - 1 == function.lineno else said[0]
    said = source.comments.get(function.returns.end_lineno, ("", True))
    kind = source.code(function.returns)
    return f"`{kind}`" + ("" if said[1] else f", {escape(said[0])}")


def docstring(node: ast.AST) -> str:
    "A docstring, without what Markdown would take for a list or a formula."
    return escape(ast.get_docstring(node) or "")


def function_page(source: Source, function: ast.FunctionDef, name: str, level: str = "##") -> list[str]:
    "Heading, docstring, parameters and result of a function."
    rows = parameters(source, function)
    words = [name if not default else f"{name}={default}" for name, _, default, _ in rows]
    bare = any(source.code(d) in ("property", "cached_property") for d in function.decorator_list)
    call = name.rpartition(".")[2] + ("" if bare else f"({', '.join(words)})")
    lines = [
        f"{level} `{name}` {{: #{name.replace('__', '')} }}",
        "",
        f"```python\n{call}\n```",
        "",
        docstring(function),
    ]
    lines += table(rows, "parameter")
    result = returned(source, function)
    return [*lines, "", *([f"Returns {result}", ""] if result and function.name != "__init__" else [])]


def fields_of(source: Source, node: ast.ClassDef) -> list[tuple[str, str, str, str]]:
    "The annotated fields of a class, with their comments."
    found = [n for n in node.body if isinstance(n, ast.AnnAssign) and not source.code(n.target).startswith("_")]
    return [
        (source.code(n.target), source.code(n.annotation), source.code(n.value), source.comment(n.lineno, n.end_lineno))
        for n in found
    ]


def class_page(source: Source, node: ast.ClassDef) -> list[str]:
    "Heading, docstring, fields and methods of a class."
    bases = ", ".join(f"`{source.code(base)}`" for base in node.bases)
    lines = [f"## `class {node.name}` {{: #{node.name} }}", "", *([f"A kind of {bases}.", ""] if bases else [])]
    lines += [docstring(node), *table(fields_of(source, node), "field")]
    for method in (n for n in node.body if isinstance(n, ast.FunctionDef)):
        public = method.name in OWN_NAMES or not method.name.startswith("_")
        if public and (method.name != "__init__" or len(method.args.args) > 1):
            lines += function_page(source, method, f"{node.name}.{method.name}", "###")
    return lines


def assigned(node: ast.AST) -> list[str]:
    "The names that an assignment gives values."
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    targets = [t for target in targets for t in (target.elts if isinstance(target, ast.Tuple) else [target])]
    return [t.id for t in targets if isinstance(t, ast.Name)]


def constant_page(source: Source, node: ast.Assign | ast.AnnAssign) -> list[str]:
    "Heading and value of a constant; of a long one its first lines."
    lines = source.segment(node).splitlines()
    more = [f"# and {len(lines) - 12} more lines"] if len(lines) > 12 else []
    heads = [f"## `{name}` {{: #{name} }}" for name in assigned(node)]
    return [*heads, "", "```python", *lines[:12], *more, "```", ""]


def is_public(node: ast.AST) -> bool:
    "Whether a definition at the top of a module is for others."
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        return any(not name.startswith("_") for name in assigned(node))
    return isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")


def api_page(
    module: str,  # without `fvdm.`
    file: Path,  # its source
    lesson: str,  # the link to its lesson, Markdown
) -> str:  # Markdown
    "One module's page."
    source = read_source(file.read_text())
    summary = (ast.get_docstring(source.tree) or "").strip()
    lines = [f"# `fvdm.{module}`", "", summary, "", f"The lesson: {lesson}.", ""]
    imported = [f"`{a.name}`" for n in source.tree.body if isinstance(n, ast.ImportFrom) for a in n.names]
    if file.name == "__init__.py" and imported:
        lines += [f"From `fvdm.{module}` one imports {', '.join(imported)}; the modules of the package have them.", ""]
    makers = {ast.ClassDef: class_page, ast.Assign: constant_page, ast.AnnAssign: constant_page}
    for node in filter(is_public, source.tree.body):
        if isinstance(node, ast.FunctionDef):
            lines += function_page(source, node, node.name)
        else:
            lines += makers[type(node)](source, node)
    return "\n".join(lines)
