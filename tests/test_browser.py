"""The playground in a browser: Chromium under Selenium, the notebook served by Voila.

Needs chromium and chromedriver (Debian: chromium, chromium-driver), selenium and voila; without them it is skipped.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from conftest import ROOT

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
pytest.importorskip("voila", reason="needs voila")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

PROGRAMS = [shutil.which(name) for name in ("chromium", "chromedriver")]
pytestmark = pytest.mark.skipif(not all(PROGRAMS), reason="needs chromium and chromedriver")
PATIENCE = 240  # seconds at most for one thing to appear, on a machine with other work


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = PROGRAMS[0]
    home = tmp_path_factory.mktemp("chromium")
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={home}")
    options.add_argument("--window-size=1440,1000")
    driver = webdriver.Chrome(options, webdriver.ChromeService(PROGRAMS[1]))
    driver.set_page_load_timeout(PATIENCE)
    yield driver
    driver.quit()


def serve(*words: str):
    "A server of notebooks on this machine: its address, once it answers."
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", *words, "--no-browser", f"--port={port}"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address, until = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE
    try:
        while True:
            assert server.poll() is None and time.monotonic() < until, f"{words[0]} does not answer"
            try:
                urlopen(f"{address}/static/none", timeout=5)
            except URLError as error:
                if not hasattr(error, "code"):  # nobody there yet
                    time.sleep(0.3)
                    continue
            break
        yield address
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def voila():
    yield from serve("voila", "nbs/playground.ipynb", "--Voila.ip=127.0.0.1")


def source(browser, css: str) -> str:
    "Where a picture or a film comes from; empty where there is none."
    # in one step: between two the page may put another in its place
    return browser.execute_script("return document.querySelector(arguments[0])?.src ?? ''", css)


def changed(browser, css: str, before: str) -> str:
    "The new source of a picture, once it is another."
    WebDriverWait(browser, PATIENCE).until(lambda b: source(b, css) not in ("", before))
    return source(browser, css)


def play(browser) -> None:
    "A widget is moved, and the pictures are seen to change; the film plays; the code is shown."
    plan, film = changed(browser, ".fvdm-plan", ""), changed(browser, "video", "")
    ready = "const v = document.querySelector('video'); return v.readyState > 2 && v.videoWidth == 256 && !v.error"
    WebDriverWait(browser, PATIENCE).until(lambda b: b.execute_script(ready))
    assert browser.execute_script("return document.querySelector('video').controls")
    Select(browser.find_elements(By.CSS_SELECTOR, ".widget-dropdown select")[1]).select_by_visible_text("interpolate")
    plan, film = changed(browser, ".fvdm-plan", plan), changed(browser, "video", film)
    browser.find_elements(By.CSS_SELECTOR, ".noUi-handle")[1].send_keys(Keys.ARROW_LEFT)  # steps: one fewer
    plan, film = changed(browser, ".fvdm-plan", plan), changed(browser, "video", film)
    levels = browser.find_elements(By.CSS_SELECTOR, ".noUi-vertical .noUi-handle")
    levels[3].send_keys(Keys.ARROW_DOWN)
    plan, film = changed(browser, ".fvdm-plan", plan), changed(browser, "video", film)
    browser.find_element(By.CSS_SELECTOR, ".widget-button").click()
    WebDriverWait(browser, PATIENCE).until(lambda b: "log_snr_ramp(9)" in b.page_source)
    assert "start_at(plan, [0, 1000, 1000, 950, 1000," in browser.page_source
    assert "Error" not in browser.find_element(By.TAG_NAME, "body").text


@pytest.mark.slow
def test_the_playground_is_a_page(voila, browser):
    browser.get(voila)
    play(browser)
    wide = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, f"{wide} pixels wider than the window"


@pytest.fixture(scope="module")
def jupyterlab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebooks")
    shutil.copy(ROOT / "nbs/playground.ipynb", folder)
    settings = (
        "--allow-root",
        f"--ServerApp.root_dir={folder}",
        "--IdentityProvider.token=",
        "--expose-app-in-browser",
    )
    for address in serve("jupyterlab", *settings):
        yield address, folder / "playground.ipynb"


def without_kernel(notebook: dict) -> list[dict]:
    "The cells, without what JupyterLab notes in memory as soon as a kernel runs."
    cells = []
    for cell in notebook["cells"]:
        metadata = {k: v for k, v in cell["metadata"].items() if k != "trusted"}
        cells.append([cell["id"], cell["cell_type"], "".join(cell["source"]), metadata])
    return cells


def ask(browser, script: str):
    "What JupyterLab answers."
    return browser.execute_script(f"const app = window.jupyterapp; return {script}")


def open_in_jupyterlab(browser, address: str, notebook):
    "The notebook, opened as a new workspace has it, with the list of files beside it; its kernel waits."
    browser.get(f"{address}/lab/tree/{notebook.name}?reset")
    patience = WebDriverWait(browser, PATIENCE)
    patience.until(lambda b: ask(b, "app?.shell.currentWidget?.context?.isReady"))
    patience.until(lambda b: ask(b, "app.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"))
    return notebook


@pytest.mark.slow
def test_the_playground_runs_in_jupyterlab(jupyterlab, browser):
    "As people have it: opened, all cells run, a widget moved; opening it changes no cell, and nothing on disk."
    notebook = open_in_jupyterlab(browser, *jupyterlab)
    opened = ask(browser, "app.shell.currentWidget.context.model.toJSON()")
    before = json.loads(notebook.read_text())
    assert without_kernel(opened) == without_kernel(before)
    assert opened["metadata"]["language_info"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert ask(browser, "app.shell.currentWidget.context.model.dirty") is False  # scripts/jupyter_server_config.py
    saved = "return await window.jupyterapp.shell.currentWidget.context.save().then(() => true)"
    assert browser.execute_script(saved) and json.loads(notebook.read_text()) == before
    shutil.copy(ROOT / "nbs/playground.ipynb", notebook)
    ask(browser, "void app.commands.execute('notebook:run-all-cells')")
    play(browser)
    loud = [e.text for e in browser.find_elements(By.CSS_SELECTOR, "[data-mime-type='application/vnd.jupyter.stderr']")]
    assert not loud, loud
    assert notebook.read_bytes() == (ROOT / "nbs/playground.ipynb").read_bytes()


SEEN = {  # what has to be seen of the playground -> how many
    ".noUi-vertical .noUi-handle": 16,
    ".widget-hslider": 6,
    ".widget-hslider .widget-readout": 6,
    ".widget-dropdown select": 2,
    ".widget-checkbox": 1,
    ".widget-button": 1,
    ".fvdm-plan": 1,
    "video": 2,
}
HIDDEN = """
const beyond = (r, b) => Math.max(b.left - r.left, r.right - b.right, b.top - r.top, r.bottom - b.bottom);
const hidden = e => {  // pixels of it that the window, its output or a box around it cuts off
    const area = e.closest('.jp-OutputArea-output'), r = e.getBoundingClientRect();
    let most = beyond(r, {left: 0, top: 0, right: innerWidth, bottom: innerHeight});
    for (let a = e.parentElement; a !== document.body; a = a.parentElement)
        if (a === area || getComputedStyle(a).overflow !== 'visible')
            most = Math.max(most, beyond(r, a.getBoundingClientRect()));
    return r.width && r.height ? Math.round(most) : 9999;
};
return [...document.querySelectorAll(arguments[0])].map(hidden)"""
WIDER = """
const all = [...document.querySelectorAll('.jp-OutputArea-output :is(.widget-box, .widget-label, .widget-readout)')];
const wider = all.filter(e => e.scrollWidth > e.clientWidth);
return wider.map(e => `${e.className}: ${e.scrollWidth} in ${e.clientWidth}`)"""
LOW = """
const [film, plan] = ['video', '.fvdm-plan'].map(css => document.querySelector(css).getBoundingClientRect().top);
return film > plan"""


def unseen(browser) -> list[str]:
    "What of the playground is cut off, by how many pixels each, or wider than its place."
    found = []
    for css, count in SEEN.items():
        hidden = browser.execute_script(HIDDEN, css)
        if len(hidden) != count or max(hidden) > 1:
            found.append(f"{css}, {count}: hidden {hidden}")
    low = ["the clip begins below the plan"] if browser.execute_script(LOW) else []
    return [*found, *browser.execute_script(WIDER), *low]


@pytest.mark.slow
def test_the_playground_fits_beside_jupyterlabs_list_of_files(jupyterlab, browser):
    "Controls, plan and clips are on the first screen of a usual window; nothing is cut off or scrolls sideways."
    open_in_jupyterlab(browser, *jupyterlab)
    assert ask(browser, "!app.shell.leftCollapsed"), "the list of files is closed"
    ask(browser, "void app.commands.execute('notebook:run-all-cells')")
    films = "const v = [...document.querySelectorAll('video')]; return v.length == 2 && v.every(f => f.readyState > 2)"
    WebDriverWait(browser, PATIENCE).until(lambda b: b.execute_script(films))
    found = []
    for width in (1280, 1440):
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        time.sleep(2)  # JupyterLab lays itself out
        found += [f"{width}: {line}" for line in unseen(browser)]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert not found, "\n".join(found)
