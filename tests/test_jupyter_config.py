"""What the Jupyter of a clone's .venv shows and saves of a notebook's kernel."""

import asyncio
import json
import sys

import pytest

from conftest import ROOT

pytest.importorskip("jupyter_server", reason="needs jupyter_server")
from jupyter_client.kernelspec import KernelSpecManager  # noqa: E402
from traitlets.config import LoggingConfigurable, PyFileConfigLoader  # noqa: E402

VERSION = ".".join(map(str, sys.version_info[:3]))
CLEAN = {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}
OLD = {"kernelspec": CLEAN["kernelspec"], "language_info": {"name": "python", "version": "3.1"}}
OTHER = {"kernelspec": {"display_name": "R", "language": "R", "name": "ir"}}


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    "The contents manager of the configuration, over an empty folder."
    config = PyFileConfigLoader("jupyter_server_config.py", path=str(ROOT / "scripts")).load_config()
    server = LoggingConfigurable()
    server.kernel_spec_manager = KernelSpecManager()
    folder = str(tmp_path_factory.mktemp("notebooks"))
    return config.ServerApp.contents_manager_class(parent=server, root_dir=folder)


@pytest.mark.parametrize("metadata", [CLEAN, OLD, OTHER, {}], ids=["clean", "old", "of another language", "bare"])
def test_saving_what_was_opened_changes_nothing(contents, metadata):
    "JupyterLab writes what it is shown: the kernel's own note where the file has none, else what the file says."
    file = contents.root_dir + "/a.ipynb"
    notebook = {"cells": [], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    with open(file, "w") as f:
        json.dump(notebook, f)
    shown = asyncio.run(contents.get("a.ipynb"))
    noted = shown["content"]["metadata"].get("language_info", {}).get("version")
    assert noted == (VERSION if metadata is CLEAN else metadata.get("language_info", {}).get("version"))
    asyncio.run(contents.save({"type": "notebook", "content": shown["content"]}, "a.ipynb"))
    with open(file) as f:
        assert json.load(f)["metadata"] == metadata


def test_a_new_notebook_is_saved_as_it_is(contents):
    content = {"cells": [], "metadata": OLD, "nbformat": 4, "nbformat_minor": 5}
    asyncio.run(contents.save({"type": "notebook", "content": content}, "new.ipynb"))
    with open(contents.root_dir + "/new.ipynb") as f:
        assert json.load(f)["metadata"] == OLD
