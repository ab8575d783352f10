"""What several files of tests share. Where the reference numbers and the real videos lie: FVDM_SHARED, else ../shared.

Tests that need them are skipped, with the reason, where they are absent.
"""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


# the files that take longest, which `make test` begins with, so that its workers are done at the same time
LONGEST = (
    *("test_cluster", "test_training_faults", "test_several_devices", "test_browser"),
    *("test_paper_path", "test_pages", "test_metrics", "test_package", "test_mutated_files"),
)


def pytest_collection_modifyitems(items):
    "The longest files first; within a file nothing changes."
    place = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session")
def shared() -> Path:
    folder = Path(os.environ.get("FVDM_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"needs the reference numbers and videos in {folder.name}/ (set FVDM_SHARED to their folder)")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    "Indexes of data sets go to a folder of the test's own, not to the user's cache."
    monkeypatch.setenv("FVDM_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def latents(tmp_path_factory) -> Path:
    "A folder of 24 encoded clips of faces."
    from fvdm.codecs import load_codec
    from fvdm.data import encode, open_dataset

    folder = tmp_path_factory.mktemp("latents") / "faces"
    encode(open_dataset("faces"), load_codec(), 24, folder, progress=False)
    return folder
