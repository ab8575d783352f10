"A backbone as a run of an experiment: trained, measured, kept, resumed, known by its weights."

import json
import shutil
from dataclasses import replace

import pytest

from fvdm.backbones import tiny_backbone
from fvdm.codecs import import_diffusers
from fvdm.experiments import Measurement, Run, load_tools, run_experiment
from fvdm.training import preset
from fvdm.training.tuning import ZEROS

import_diffusers()  # before transformers, which peft imports
pytest.importorskip("peft")

SMALL = Measurement(points=2, clips=80, real=80, ddim=2, held_out=8)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "A folder with a transformer of diffusers."
    place = tmp_path_factory.mktemp("adaptation")
    tiny_backbone("WanTransformer3DModel").save_pretrained(place / "wan/transformer")
    return place


def runs_of(folder, tools):
    "The network as it is, and a LoRA for it."
    flow = {"path": "flow", "prediction": "velocity", "prompts": ZEROS}
    config = replace(preset("smoke", steps=4, batch=2), backbone=str(folder), lora="2", **flow)
    run = Run("smoke", config, SMALL, "adaptation", **tools.names)
    return [replace(run, network=str(folder)), run]


def test_a_backbone_is_a_run(place):
    "As it is, every method of a scalar network is tried; adapted, its error is another at each checkpoint."
    tools = load_tools()
    runs = runs_of(place / "wan", tools)
    how = {"results": place / "results", "root": place}
    before, after = run_experiment(runs, tools, **how)
    methods = [row["method"] for row in before["points"][0]["completions"]]
    assert methods == ["vector", "replacement", "repaint", "nearest given frame", "the true clip"]
    assert [point["step"] for point in after["points"]] == [2, 4]
    errors = {point["mse_given"] for point in before["points"] + after["points"]}
    assert len(errors) == 3
    assert after["training"]["parameters"] > before["training"]["parameters"]
    text = json.dumps([before, after])
    assert str(place) not in text and '"backbone": "wan@' in text  # known by its weights, not by where it lies

    again = run_experiment(runs, tools, **how)
    assert all(result["kept"] for result in again)
    shutil.copytree(place / "wan", place / "elsewhere/wan")
    assert [run.name for run in runs_of(place / "elsewhere/wan", tools)] == [run.name for run in runs]
    tiny_backbone("WanTransformer3DModel", seed=1).save_pretrained(place / "other/wan/transformer")
    assert not {run.name for run in runs_of(place / "other/wan", tools)} & {run.name for run in runs}
