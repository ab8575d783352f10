"""The documentation site: the reference is what the docments say, and no address leads nowhere or elsewhere.

The last tests open the site in a browser. They need chromium, and a site: `make docs`.
"""

import json
import re
import shutil
import subprocess
import sys
import textwrap
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import Request, urlopen

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import docs_api  # noqa: E402
import make_docs  # noqa: E402

SITE = ROOT / "build/docs/site"
CHROMIUM = shutil.which("chromium")


def reference(tmp_path, text: str) -> str:
    "The page of a module."
    (tmp_path / "room.py").write_text(textwrap.dedent(text))
    return docs_api.api_page("room", tmp_path / "room.py", "[a lesson](a.md)")


def test_docments_become_the_reference(tmp_path):
    page = reference(
        tmp_path,
        """
        "A room."
        from torch import Tensor

        def sums(
            x: Tensor,  # (B, N) float, any values
            # several lines
            # of comment
            keep: bool | None = None,  # as they are
            *,
            unit: str = "s",
        ) -> Tensor:  # (B,) in `unit`
            "Sum x_i. Raises ValueError."
            return x.sum(1)

        def _own(x):
            "Nobody's."
        """,
    )
    assert "| `x` | `Tensor` |  | (B, N) float, any values |" in page
    assert "| `keep` | `bool | None` | `None` | several lines of comment as they are |" in page
    assert '| `unit` | `str` | `"s"` |  |' in page
    assert "Returns `Tensor`, (B,) in `unit`" in page
    assert r"Sum x\_i. Raises ValueError." in page and "_own" not in page


def test_every_public_function_of_the_library_is_in_the_reference():
    for module, _ in make_docs.lessons():
        file = make_docs.source_file(module)
        exported = re.search(r"__all__ = \[(.*?)\]", file.read_text(), re.DOTALL)
        names = [] if file.name == "__init__.py" else re.findall(r"'(\w+)'", exported[1])
        page = docs_api.api_page(module, file, "")
        missing = [n for n in names if f"{{: #{n} }}" not in page]
        assert not missing, f"{module}: {missing}"


def test_planted_faults_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html">b</a> <a href="b.html#here">b</a> <a href="https://arxiv.org">the paper</a>'
        '<a href="c.html">gone</a> <a href="b.html#there">gone</a> <img src="no.png">'
        '<script src="https://cdn.example/x.js"></script> <link rel="stylesheet" href="//fonts.example/x.css">'
    )
    (tmp_path / "b.html").write_text('<h1 id="here">b</h1>')
    (tmp_path / "a.css").write_text("@import url(https://fonts.example/y.css); a { background: url(b.png) }")
    assert [*make_docs.broken(tmp_path), *make_docs.loaded_by_styles(tmp_path)] == [
        "a.html: c.html leads nowhere",
        "a.html: b.html#there names a place that is not there",
        "a.html: no.png leads nowhere",
        "a.html: <script> loads https://cdn.example/x.js from elsewhere",
        "a.html: <link> loads //fonts.example/x.css from elsewhere",
        "a.css: loads https://fonts.example/y.css from elsewhere",
    ]


# In a browser


@pytest.fixture(scope="module")
def served():
    "The site on this machine: its address."
    if not (SITE / "index.html").exists():
        pytest.skip("needs a site: make docs")
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *args: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


class Browser:
    "A page of headless Chromium, over its debugging protocol."

    def __init__(self, socket):
        self.socket, self.number, self.events = socket, 0, []

    def call(self, method: str, **parameters) -> dict:
        "One command and its answer; events that come before it are kept."
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while (said := json.loads(self.socket.recv())).get("id") != self.number:
            self.events.append(said)
        return said["result"]

    def open(self, url: str) -> None:
        "Go to a page and wait until it is loaded."
        self.events.clear()
        self.call("Page.navigate", url=url)
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(json.loads(self.socket.recv()))

    def ask(self, expression: str):
        "The value of a piece of JavaScript."
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    "Chromium with a window of 1440 pixels."
    websocket = pytest.importorskip("websocket", reason="needs websocket-client")
    if not CHROMIUM:
        pytest.skip("needs chromium")
    home = tmp_path_factory.mktemp("chromium")
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    where = ["--remote-debugging-port=0", "--remote-allow-origins=*", f"--user-data-dir={home}"]
    program = subprocess.Popen(
        [CHROMIUM, *quiet, *where, "--window-size=1440,1000", "about:blank"], stderr=subprocess.PIPE, text=True
    )
    try:
        port = next(m[1] for line in program.stderr if (m := re.search(r"ws://127.0.0.1:(\d+)/", line)))
        threading.Thread(target=program.stderr.read, daemon=True).start()
        opened = json.load(urlopen(Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")))
        page = Browser(websocket.create_connection(opened["webSocketDebuggerUrl"], timeout=60))
        for domain in ("Page", "Network", "Log"):
            page.call(f"{domain}.enable")
        yield page
    finally:
        program.terminate()
        program.wait()


WIDE = """
[...document.querySelectorAll("article :is(pre, pre > code, table, math, img, .md-typeset__scrollwrap)")]
    .filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth || e.getBoundingClientRect().right > innerWidth)
    .map(e => e.tagName + " " + e.textContent.trim().slice(0, 80))
"""
PAGES = ["index", "lessons/quickstart", "lessons/01_sde", "lessons/08_metrics", "lessons/12_experiments", "api/vtv"]
REPORTS = ["reports/index", "reports/claims/quick/notebook", "guides/words"]
REPORTS += [
    f"reports/{name}/report" for name in ("table1/brief", "study/quick", "zero_shot/quick", "training_schemes/quick")
]


@pytest.mark.parametrize("name", PAGES + REPORTS)
def test_a_page_in_the_browser(served, browser, name):
    "Nothing is asked of another machine, nothing is missing, nothing is wider than the window."
    browser.open(f"{served}/{name}.html")
    wide = browser.ask(WIDE)
    asked = [e["params"]["request"]["url"] for e in browser.events if e["method"] == "Network.requestWillBeSent"]
    answers = [e["params"]["response"] for e in browser.events if e["method"] == "Network.responseReceived"]
    assert asked and not [url for url in asked if not url.startswith((served, "data:", "blob:"))]
    assert not [a["url"] for a in answers if a["status"] >= 400]
    assert not [
        e for e in browser.events if e["method"] == "Log.entryAdded" and e["params"]["entry"]["level"] == "error"
    ]
    assert not wide, f"wider than its place: {wide}"


def test_formulas_are_drawn(served, browser):
    browser.open(f"{served}/lessons/01_sde.html")
    count, drawn = (
        browser.ask("document.querySelectorAll('math').length"),
        browser.ask("[...document.querySelectorAll('math')].filter(m => m.getBoundingClientRect().width > 4).length"),
    )
    assert count > 20 and drawn == count
    assert "\\" not in browser.ask("[...document.querySelectorAll('math')].map(m => m.textContent).join('')")
