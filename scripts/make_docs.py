"""Build the documentation site into build/docs/site, from the README, the lessons, the reports and the source.

    make docs

Nothing is executed. Pages are assembled in build/docs/pages, MkDocs makes HTML of them, formulas become MathML, and
then every address in the site is looked at: one that leads nowhere, or a part that is loaded from elsewhere, ends it.
"""

import base64
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

from docs_api import api_page

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/docs"
GUIDES = {
    "apply": "Apply it to your model",
    "fvd": "Measure FVD so that others can compare",
    "cluster": "From one laptop to a cluster",
    "measured": "What is measured, and what is not",
    "paper_scale": "At the paper's scale",
    "words": "Words",
    "roadmap": "Roadmap",
}
STYLE = """
.md-grid { max-width: 88rem; }
.md-typeset pre > code { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .66rem; }
.md-typeset .output { border-left: .15rem solid var(--md-default-fg-color--lightest); padding-left: .6rem; }
.md-typeset .output pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .62rem; line-height: 1.35; }
.md-typeset table:not([class]), .md-typeset .output table { font-size: .62rem; }
.md-typeset table:not([class]) th, .md-typeset table:not([class]) td { padding: .35em .7em; min-width: 0; }
.md-typeset .output table { border-collapse: collapse; }
.md-typeset .output table :is(th, td) { padding: .2em .6em; text-align: right; }
.md-typeset .output :is(th, td) { white-space: normal; overflow-wrap: anywhere; min-width: 0; }
math { font-size: 1.05em; }
math[display="block"] { margin: .8em 0; }
"""


# Pages: where each file of the repository goes


def lessons() -> list[tuple[str, str]]:
    "Module and notebook, in the order of nbs/README.md."
    return re.findall(r"^\| `([\w.]+)` \| \[.+?\]\((\w+)\.ipynb\)", (ROOT / "nbs/README.md").read_text(), re.MULTILINE)


def page_map() -> dict[str, str]:
    "Each file of the repository that becomes a page -> its Markdown file in the site."
    pages = {"README.md": "index.md", "nbs/README.md": "lessons/index.md", "reports/README.md": "reports/index.md"}
    pages |= {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
    pages |= {f"docs/{f.name}": f"guides/{f.name}" for f in sorted((ROOT / "docs").glob("*.md"))}
    pages |= {f"nbs/{f.name}": f"lessons/{f.stem}.md" for f in sorted((ROOT / "nbs").glob("*.ipynb"))}
    for file in sorted((ROOT / "reports").glob("*/*/*")):
        if file.name in ("report.md", "notebook.ipynb") and file.parts[-3] != "smoke":
            pages[file.relative_to(ROOT).as_posix()] = file.relative_to(ROOT).with_suffix(".md").as_posix()
    return pages


def title_of(text: str) -> str:
    "The first heading of a page."
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    return re.sub(r"[`*$\\]", "", found[1]) if found else ""


# Links


class Links:
    "Turns addresses between files of the repository into addresses between pages, and copies what they lead to."

    def __init__(self, pages: dict[str, str], out: Path):
        self.pages, self.out = pages, out

    def copy(self, path: str) -> str:
        "A file that is no page: into files/."
        target = self.out / "files" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, target)
        return f"files/{path}"

    def find(self, path: str, source: str) -> str | None:
        "What a path in a file means: an executed notebook's were written in nbs/, its tables' in reports/."
        executed = source.startswith("reports/") and source.endswith(".ipynb")
        for base in (os.path.dirname(source), *(("nbs", "reports") if executed else ())):
            there = os.path.normpath(os.path.join(base, path))
            if f"{there}/README.md" in self.pages:
                return f"{there}/README.md"
            if not there.startswith("..") and (ROOT / there).exists():
                return there
        return None

    def resolve(self, url: str, source: str) -> str | None:
        "The address as page `source` of the site has it; None: a folder, which a site does not show."
        if urlsplit(url).scheme or url.startswith(("#", "//")):
            return url
        path, anchor = urldefrag(unquote(url))
        there = self.find(path, source)
        if there is None or (ROOT / there).is_dir():
            return url if there is None else None  # an address that leads nowhere stays, and is found at the end
        place = self.pages.get(there) or self.copy(there)
        here = os.path.dirname(self.pages[source])
        return os.path.relpath(place, here or ".") + (f"#{anchor}" if anchor else "")

    def rewrite(self, text: str, source: str) -> str:
        "A page's Markdown with its addresses as the site has them; fenced and quoted code is left alone."

        def link(match: re.Match) -> str:
            if match["code"]:
                return match["code"]
            if match["attribute"]:
                return f'{match["attribute"]}"{self.resolve(match["value"], source) or "#"}"'
            place = self.resolve(match["url"], source)
            return f"]({place})" if place else "]"

        code, place = r"(?P<code>^```.*?^```|`[^`\n]+`)", r"\]\((?P<url>[^)\s]+)\)"
        pattern = rf'{code}|{place}|(?P<attribute>(?:src|href)=)"(?P<value>[^"]+)"'
        return re.sub(pattern, link, text, flags=re.MULTILINE | re.DOTALL)


# Notebooks


def picture(data: str, kind: str, links: Links, page: str) -> str:
    "Keep a picture that a notebook holds as a file; its address."
    blob = base64.b64decode(data)
    name = f"{hashlib.sha256(blob).hexdigest()[:16]}.{kind.split('+')[0]}"
    target = links.out / "pictures" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(blob)
    return os.path.relpath(f"pictures/{name}", os.path.dirname(page) or ".")


def keep_pictures(text: str, links: Links, page: str) -> str:
    "HTML with the pictures that lie in its addresses as files."

    def keep(match: re.Match) -> str:
        return f'"{picture(match[2], match[1], links, page)}"'

    return re.sub(r'"data:(?:image|video)/([\w+]+);base64,([^"]+)"', keep, text)


def output_html(output: dict, links: Links, page: str) -> str:
    "What a cell gave, as Markdown or HTML."
    joined = lambda value: value if isinstance(value, str) else "".join(value)
    data = {kind: joined(value) for kind, value in output.get("data", {}).items()}
    if output["output_type"] == "stream":
        data = {"text/plain": joined(output["text"])} if output["name"] == "stdout" else {}
    for kind in ("image/png", "image/jpeg", "image/webp"):
        if kind in data:
            return f'<img alt="" src="{picture(data[kind], kind.partition("/")[2], links, page)}">'
    if "text/html" in data:
        return " ".join(
            keep_pictures(re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.S), links, page).split("\n")
        )
    if "text/markdown" in data:
        return f'\n<div markdown="1">\n\n{data["text/markdown"]}\n\n</div>\n'
    text = html.escape(re.sub(r"\x1b\[[\d;]*m", "", data.get("text/plain", ""))).rstrip()
    return "<pre>" + text.replace("\n", "&#10;") + "</pre>" if text else ""


def cell_markdown(cell: dict, links: Links, page: str) -> str:
    "A cell as Markdown; code that a lesson hides is folded away."
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    if cell["cell_type"] != "code":
        return ""
    hidden = bool(re.search(r"^#\| *hide", source, re.MULTILINE))
    source = re.sub(r"^#\|.*\n?", "", source, flags=re.MULTILINE).strip()
    if not source:
        return ""
    block = f"```python\n{source}\n```"
    if hidden:
        block = '??? note "more tests and preparations"\n\n' + "\n".join(f"    {line}" for line in block.splitlines())
    outputs = [output_html(o, links, page) for o in cell.get("outputs", [])]
    shown = "\n".join(o for o in outputs if o)
    return block + (f'\n\n<div class="output" markdown="1">\n\n{shown}\n\n</div>' if shown else "")


def notebook_markdown(file: Path, links: Links, page: str) -> str:
    "A notebook, as it lies here."
    cells = json.loads(file.read_text())["cells"]
    return "\n\n".join(part for c in cells if (part := cell_markdown(c, links, page)))


# Assembling


def source_file(module: str) -> Path:
    "Where a module lies."
    path = ROOT / "fvdm" / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def assemble(out: Path) -> dict[str, str]:
    "Write all pages; their titles by file."
    pages, titles, lesson_of = page_map(), {}, {notebook: module for module, notebook in lessons()}
    links = Links(pages, out)
    for source, page in pages.items():
        file = ROOT / source
        if file.suffix == ".ipynb":
            text = notebook_markdown(file, links, page)
        else:
            text = file.read_text()
        text = links.rewrite(text, source)
        if module := lesson_of.get(file.stem) if source.startswith("nbs/") else None:
            text = re.sub(r"^(# .+)$", rf"\1\n\n[`fvdm.{module}`](../api/{module}.md)", text, count=1, flags=re.M)
        titles[page] = title_of(text) or Path(page).stem
        write(out / page, text)
    for module, notebook in lessons():
        page = f"api/{module}.md"
        link = f"[{titles[f'lessons/{notebook}.md']}](../lessons/{notebook}.md)"
        write(out / page, api_page(module, source_file(module), link))
        titles[page] = module
    rows = [f"| [`fvdm.{m}`]({m}.md) | {titles[f'lessons/{n}.md']} |" for m, n in lessons()]
    write(out / "api/index.md", "\n".join(["# The library", "", "| module | lesson |", "| --- | --- |", *rows]))
    write(out / "assets/site.css", STYLE)
    return titles


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


def navigation(titles: dict[str, str]) -> list:
    "The order of the pages."
    named = [f"lessons/{notebook}.md" for _, notebook in lessons()]
    first = [p for p in ("lessons/quickstart.md", "lessons/playground.md") if p in titles]
    rest = [p for p in titles if p.startswith("lessons/") and p not in {*named, *first, "lessons/index.md"}]
    guides = [{GUIDES.get(Path(p).stem, titles[p]): p} for p in titles if p.startswith("guides/")]
    order = list(GUIDES.values())
    guides.sort(key=lambda entry: order.index(next(iter(entry))) if next(iter(entry)) in order else len(order))
    reports = [p for p in titles if p.startswith("reports/") and p != "reports/index.md"]
    reports.sort(key=lambda p: (p.rpartition("/")[0], p.endswith("notebook.md")))
    label = lambda p: f"{'/'.join(Path(p).parts[1:3])}{', executed' if p.endswith('notebook.md') else ''}"
    return [
        {"Start": "index.md"},
        *({titles[p]: p} for p in first),
        {"Lessons": ["lessons/index.md", *({titles[p]: p} for p in named)]},
        {"Reproduction": [{titles[p]: p} for p in rest]},
        {"Reports": [{"The paper's claims": "reports/index.md"}, *({label(p): p} for p in reports)]},
        {"Guides": guides},
        {"Library": ["api/index.md", *({m: f"api/{m}.md"} for m, _ in lessons())]},
        {"Project": ["contributing.md", "changelog.md"]},
    ]


def configuration(titles: dict[str, str]) -> dict:
    "mkdocs.yml, which may be JSON."
    features = ["navigation.indexes", "navigation.top", "toc.integrate", "content.code.copy"]
    return {
        "site_name": "fvdm",
        "site_url": "",
        "use_directory_urls": False,
        "docs_dir": "pages",
        "site_dir": "site",
        "theme": {"name": "material", "font": False, "features": features, "icon": {"logo": "material/filmstrip"}},
        "plugins": ["search"],
        "extra": {"generator": False},
        "extra_css": ["assets/site.css"],
        "markdown_extensions": [
            "attr_list",
            "md_in_html",
            "tables",
            "admonition",
            "pymdownx.details",
            "pymdownx.superfences",
            {"pymdownx.arithmatex": {"generic": True}},
            {"pymdownx.highlight": {"use_pygments": True}},
            {"toc": {"toc_depth": "1-3"}},
        ],
        "validation": {"omitted_files": "ignore", "links": {"anchors": "warn", "unrecognized_links": "warn"}},
        "nav": navigation(titles),
    }


# Formulas


def mathml(text: str) -> str:
    "A page with its formulas as MathML, which browsers show without a script."
    from latex2mathml.converter import convert

    def formula(match: re.Match) -> str:
        display = match[2] == "["
        return convert(html.unescape(match[3]).strip(), display="block" if display else "inline")

    return re.sub(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', formula, text, flags=re.DOTALL)


# Checking


class Addresses(HTMLParser):
    "All addresses of a page, and the names that addresses may lead to."

    def __init__(self, text: str):
        super().__init__()
        self.found, self.names = [], set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.names |= {values[key] for key in ("id", "name") if values.get(key)}
        for key in ("href", "src", "poster", "data"):
            if values.get(key) and (key != "data" or tag == "object"):
                self.found.append((tag, values.get("rel") or "", values[key]))


def broken(site: Path) -> Iterator[str]:
    "What is wrong with the addresses of a site, in sentences."
    parsed = {f.resolve(): Addresses(f.read_text()) for f in sorted(site.resolve().rglob("*.html"))}
    for file, page in parsed.items():
        name = file.relative_to(site.resolve()).as_posix()
        for tag, rel, url in page.found:
            parts = urlsplit(url)
            if parts.scheme in ("data", "javascript", "mailto"):
                continue
            if parts.scheme or parts.netloc:
                if tag != "a" and rel != "canonical":
                    yield f"{name}: <{tag}> loads {url} from elsewhere"
                continue
            path = unquote(parts.path)
            there = (
                (site.resolve() / path[1:] if path.startswith("/") else file.parent / path).resolve() if path else file
            )
            there = there / "index.html" if there.is_dir() else there
            if not there.is_file():
                yield f"{name}: {url} leads nowhere"
            elif parts.fragment and there in parsed and not anchor_of(parts.fragment, parsed[there]):
                yield f"{name}: {url} names a place that is not there"


def anchor_of(fragment: str, page: Addresses) -> bool:
    "Whether a page has the place that an address names."
    return unquote(fragment) in page.names or fragment == "__skip"


def loaded_by_styles(site: Path) -> Iterator[str]:
    "Fonts and pictures that style sheets take from elsewhere."
    for file in sorted(site.rglob("*.css")):
        for url in re.findall(r"""(?:url\(|@import\s+)["']?((?:https?:)?//[^"')]+)""", file.read_text()):
            yield f"{file.relative_to(site)}: loads {url} from elsewhere"


# The whole


def timed(what: str, work: Callable):
    started = time.perf_counter()
    result = work()
    print(f"{what}: {time.perf_counter() - started:.1f} s", flush=True)
    return result


def build() -> None:
    "Run MkDocs; its warnings are errors."
    quiet = {"NO_MKDOCS_2_WARNING": "1", "DISABLE_MKDOCS_2_WARNING": "true"}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(BUILD / "mkdocs.yml")]
    if code := subprocess.run(command, env=os.environ | quiet, cwd=BUILD).returncode:
        sys.exit(code)


def formulas(site: Path) -> int:
    "Formulas of all pages to MathML; how many."
    count = 0
    for file in site.rglob("*.html"):
        text = file.read_text()
        if 'class="arithmatex"' in text:
            file.write_text(new := mathml(text))
            count += new.count("<math")
    return count


def main() -> None:
    shutil.rmtree(BUILD, ignore_errors=True)
    titles = timed("pages", lambda: assemble(BUILD / "pages"))
    (BUILD / "mkdocs.yml").write_text(json.dumps(configuration(titles), indent=1))
    timed("site", build)
    site = BUILD / "site"
    count = timed("formulas", lambda: formulas(site))
    faults = timed("addresses", lambda: [*broken(site), *loaded_by_styles(site)])
    print(*faults, sep="\n", end="\n" if faults else "")
    size = sum(f.stat().st_size for f in site.rglob("*") if f.is_file()) / 1e6
    print(f"{len(titles) + 1} pages, {count} formulas, {size:.0f} MB in {site.relative_to(ROOT)}; {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
