"""The installed library: light to import, free of notebook tools, and the notebooks fit to be run by papermill."""
import json, subprocess, sys
from configparser import ConfigParser

import pytest

from conftest import ROOT

HEAVY = ["av", "diffusers", "accelerate", "timm", "torchvision", "matplotlib", "pandas", "nbdev", "fastcore", "IPython", "papermill"]


def loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("module", ["fvdm", "fvdm.samplers", "fvdm.data", "fvdm.metrics", "fvdm.training", "fvdm.experiments", "fvdm.viz"])
def test_imports_nothing_heavy(module):
    assert not loaded_by(module) & set(HEAVY)


def test_import_fvdm_does_not_even_import_torch():
    assert "torch" not in loaded_by("fvdm")


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
    subprocess.run([sys.executable, "-m", "fvdm.data", "encode", "sky", "--clips", "4", "--out", tmp_path / "latents"], check=True, capture_output=True)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "reached step 2" in done.stdout, done.stderr


def test_modules_import_only_modules_above_them():
    order = ["vtv", "sde", "dit", "objective", "samplers", "codecs", "worlds", "data", "metrics", "training", "tasks", "experiments", "viz"]
    for i, name in enumerate(order):
        file = ROOT / "fvdm" / f"{name}.py"
        if not file.exists(): continue
        text = file.read_text()
        assert not [later for later in order[i:] if f"fvdm.{later} import" in text], name


def test_settings_keep_cell_tags():
    settings = ConfigParser()
    settings.read(ROOT / "settings.ini")
    assert "tags" in settings["DEFAULT"]["allowed_cell_metadata_keys"].split()


REPRODUCTIONS = sorted(f for f in (ROOT / "nbs").glob("[a-z]*.ipynb"))


@pytest.mark.parametrize("notebook", REPRODUCTIONS, ids=lambda f: f.stem)
def test_reproduction_notebooks_have_parameters_and_import_only_the_library(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    assert [c for c in cells if "parameters" in c["metadata"].get("tags", [])], "no cell is tagged 'parameters'"
    assert not [c for c in cells if "#| export" in "".join(c["source"])]


def test_command_lines_say_what_is_allowed():
    for module, arguments, words in [("fvdm.training", ["--preset", "fast"], "preset is 'fast', but may be one of: smoke, quick, scratch, study, paper"),
                                     ("fvdm.training", ["--p", "1.5"], "p is 1.5, but a probability is in [0, 1]"),
                                     ("fvdm.data", ["index", "ucf101", "no/such/folder"], "root is 'no/such/folder', but must be an existing folder of videos"),
                                     ("fvdm.metrics", ["real", "fake", "--protocol", "latte"], "protocol is 'latte', but may be one of: fvdm-default, fvdm-i3d"),
                                     ("fvdm.worlds", ["export", "oceans", "out"], "world is 'oceans', but may be one of: faces, sky, actions, figures"),
                                     ("fvdm.experiments", ["run", "ablation_p", "--datasets", "ucf101=no/such/folder"], "but must be an existing folder of videos")]:
        done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True)
        assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr, done.stderr
