"A backbone as a run of an experiment: trained, measured, kept, resumed, known by its weights."

import json
import shutil
import warnings
from dataclasses import replace

import pytest
import torch

from fvdm.backbones import tiny_backbone
from fvdm.cli import Generate, parse
from fvdm.codecs import import_diffusers
from fvdm.experiments import BACKBONE_WORLDS, Measurement, Run, backbone_runs, draw_clips, load_tools, run_experiment
from fvdm.experiments.runs import weights_hash
from fvdm.files import WEIGHTS, read_tensors, save_tensors
from fvdm.tasks import Pipeline
from fvdm.training import preset
from fvdm.training.step import build
from fvdm.training.tuning import LORA_FILE, ZEROS

import_diffusers()  # before transformers, which peft imports
pytest.importorskip("peft")

SMALL = Measurement(points=2, clips=8, real=8, ddim=2, held_out=8, shrink="ledoit-wolf")


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
    assert set(after["libraries"]) == {"diffusers", "peft"}
    assert str(place) not in text and '"backbone": "wan@' in text  # known by its weights, not by where it lies

    again = run_experiment(runs, tools, **how)
    assert all(result["kept"] for result in again)
    shutil.copytree(place / "wan", place / "elsewhere/wan")
    assert [run.name for run in runs_of(place / "elsewhere/wan", tools)] == [run.name for run in runs]
    tiny_backbone("WanTransformer3DModel", seed=1).save_pretrained(place / "other/wan/transformer")
    assert not {run.name for run in runs_of(place / "other/wan", tools)} & {run.name for run in runs}


def test_a_record_is_of_one_network(place, tmp_path):
    "Measured is what is named; other weights in the same folder have another hash, in the same process too."
    flow = {"path": "flow", "prediction": "velocity", "prompts": ZEROS}
    config = replace(preset("smoke"), backbone="wan-faces", full=True, **flow)
    with pytest.raises(ValueError, match="network is 'wan-sky', but backbone is 'wan-faces'"):
        Run("smoke", config, SMALL, "adaptation", network="wan-sky")
    as_chain = replace(config, path="vp", prediction="eps")
    names = {Run("smoke", c, SMALL, "adaptation", network="wan-faces").name for c in (config, as_chain)}
    assert len(names) == 2  # the noise path decides what is measured
    shutil.copytree(place / "wan", tmp_path / "wan")
    before = weights_hash(str(tmp_path / "wan"))
    tiny_backbone("WanTransformer3DModel", seed=1).save_pretrained(tmp_path / "wan/transformer")
    assert weights_hash(str(tmp_path / "wan")) != before


class Clips:
    "Stands for latents."

    shape, classes, labels = (16, 4, 8, 8), [], None
    __len__ = lambda self: 1


def test_a_report_draws_what_a_user_gets():
    "By the flow that it was trained on; a report in the device's fastest arithmetic, so not bit for bit."
    net = build(backbone_runs(datasets=["faces"])[0].config, Clips()).eval()
    pipe = Pipeline.from_pretrained("wan-faces")
    video = next(iter(pipe.batches(2, size=32, steps=4, solver="ddim", seed=0, progress=False)))
    assert (draw_clips(net, 2, 4, seed=0) - video.latents).abs().mean() < 0.05


def test_tuned_weights_of_another_class_are_refused(tmp_path):
    tiny_backbone("LTXVideoTransformer3DModel").save_pretrained(tmp_path / "transformer")
    with pytest.raises(ValueError, match="holds a LTXVideoTransformer3DModel, but the network is a Wan"):
        Pipeline.from_pretrained("wan-faces", tuned=tmp_path)


@pytest.mark.parametrize("world", BACKBONE_WORLDS)
def test_they_open_by_name(world):
    "With the codec, length and size that model_index.json names; that they know no vector is said, once."
    pipe = Pipeline.from_pretrained(f"wan-{world}")
    assert (pipe.frames, pipe.size, pipe.path.continuous) == (16, 64, True)
    picture = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8)
    with pytest.warns(UserWarning, match="trained with one timestep for all frames"):
        video = pipe.animate(picture, steps=4, progress=False)
    assert torch.equal(video.frames[0, 0], picture)


def test_a_lora_that_comes_along():
    "It opens by name, changes what is drawn, and no warning is left."
    picture = torch.full((3, 64, 64), 90, dtype=torch.uint8)
    how = {"steps": 4, "progress": False}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "the network was trained with one timestep")
        tuned = Pipeline.from_pretrained("wan-faces", tuned="wan-faces/lora").animate(picture, **how)
    plain = Pipeline.from_pretrained("wan-faces", tuned=WEIGHTS / "wan-faces/lora").animate(picture, **how)
    assert torch.equal(tuned.latents, plain.latents)  # by its folder, too
    assert not torch.equal(tuned.latents, Pipeline.from_pretrained("wan-faces").animate(picture, **how).latents)


def test_no_place_of_one_machine():
    "Nothing that comes along says where on a disk it was made."
    for file in WEIGHTS.rglob("*.json"):
        assert '": "/' not in file.read_text(), file


def test_clips_of_another_network_are_not_taken_for_these(tmp_path):
    "What is drawn into a folder goes on by the same network only: its weights, what it was tuned to, its clips' shape."
    shutil.copytree(WEIGHTS / "wan-faces", tmp_path / "wan")
    for name in "ab":
        shutil.copytree(WEIGHTS / "wan-faces/lora", tmp_path / name)
    lora = tmp_path / "b" / LORA_FILE
    save_tensors({name: value * 1.5 for name, value in read_tensors(lora).items()}, lora)

    def draw(tuned, *flags):
        network = [
            "--network",
            str(tmp_path / "wan"),
            "--tuned",
            str(tmp_path / tuned),
            "--out",
            str(tmp_path / "clips"),
        ]
        how = ["--n", "2", "--batch", "2", "--shards", "1", "--steps", "1", "--files", ".webp", "--progress", "off"]
        return parse(Generate, [*network, *how, *flags], "generate").run()

    assert draw("a") == 0
    drawn = {file.name: file.read_bytes() for file in (tmp_path / "clips").iterdir()}
    assert draw("a") == 0  # the same command goes on
    refused = {"tuned is 'a@.* there, 'b@": ("b",), "clip_frames is None there, 8 here": ("a", "--clip-frames", "8")}
    refused |= {"edges is None there, '32x64' here": ("a", "--size", "64", "32")}
    refused |= {"codec is 'tiny@.* there, 'identity' here": ("a", "--codec", "identity")}
    for words, other in refused.items():
        with pytest.raises(ValueError, match=f"which is for other clips: {words}"):
            draw(*other)
    scheduler = tmp_path / "wan/scheduler/scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("{", '{"shift": 7.0,', 1))
    with pytest.raises(ValueError, match="network is 'wan@.* there, 'wan@"):
        draw("a")
    assert {file.name: file.read_bytes() for file in (tmp_path / "clips").iterdir()} == drawn
