"""Real video of people through every part: clips, latents and back, a training step, a sample, a distance."""

import pytest
import torch

from fvdm.codecs import load_codec
from fvdm.data import index_video, open_dataset, read_frames
from fvdm.experiments import grid, load_tools, run_experiment
from fvdm.samplers import begin, sample
from fvdm.vtv import hold, uniform


@pytest.fixture
def weizmann(shared):
    return shared / "data/weizmann"


def test_layout_of_ucf101(weizmann):
    data = open_dataset("ucf101", weizmann)
    assert len(data) == 64 and data.classes == ["bend", "jumping_jack", "wave_one_hand", "wave_two_hands"]
    item = data[17]
    assert item["video"].shape == (16, 3, 64, 64) and item["video"].dtype == torch.uint8 and item["label"] == 1


def test_clips_are_flipped_only_when_training(weizmann):
    video = index_video(weizmann / "bend/v_bend_g01_c01.avi")

    def clip(item):
        return read_frames(video, int(item["source"].split("@")[1]) + torch.arange(16).numpy())

    still, train = open_dataset("ucf101", weizmann, train=False), open_dataset("ucf101", weizmann)
    assert torch.equal(still[0]["video"], clip(still[0]))
    flips = set()
    for epoch in range(12):
        train.set_epoch(epoch)
        item = train[0]
        plain = clip(item)
        mirrored = torch.equal(item["video"], plain.flip(-1))
        assert mirrored or torch.equal(item["video"], plain)
        flips.add(mirrored)
    assert flips == {False, True}


def test_mirrored_recordings_are_read_as_mirrors(weizmann):
    "c02 is the mirror image of c01, so reading both at the same place must give mirrored frames (up to compression)."
    data = open_dataset("ucf101", weizmann, train=False)
    pairs = [(i, i + 1) for i in range(0, 16, 2)]
    assert all(str(data.videos[b].path) == str(data.videos[a].path).replace("c01", "c02") for a, b in pairs)
    for a, b in pairs:
        error = (data[a]["video"].float() - data[b]["video"].flip(-1).float()).abs().mean()
        assert error < 6 < (data[a]["video"].float() - data[b]["video"].float()).abs().mean()


def test_folder_of_frames(shared):
    data = open_dataset("folder", shared / "data/weizmann/bend", size=32)
    assert len(data) == 16 and data[0]["video"].shape[-1] == 32
    # SkyTimelapse keeps only clips of more than 48 frames
    with pytest.raises(ValueError, match="shorter than a clip of 16 frames at interval 3, which needs 49"):
        open_dataset("skytimelapse", shared / "data/shapes", interval=3)
    assert open_dataset("taichi", shared / "data/shapes", interval=2)[0]["video"].shape == (16, 3, 64, 64)


def test_codec_reconstructs_people(weizmann):
    codec, data = load_codec(), open_dataset("ucf101", weizmann, train=False)
    video = torch.stack([data[i]["video"] for i in range(0, 64, 8)])
    mse = ((codec.decode(codec.encode(video)).float() - video.float()) / 255).square().mean()
    assert -10 * mse.log10() > 29


def test_a_smoke_ablation_on_people(weizmann, tmp_path):
    tools = load_tools()
    runs = grid("ablation_p", "smoke", [f"ucf101={weizmann}"], [0.2], tools=tools)
    (result,) = run_experiment(runs, tools, root=tmp_path)
    assert result["config"]["data_path"] == "weizmann"
    assert result["real_vs_real"].keys() == {"FVD[worlds, ledoit-wolf]", "FD[codec]"}
    for name, floor in result["real_vs_real"].items():
        assert result["points"][-1]["distances"][name]["value"] > floor


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "dpm++"])
def test_frames_that_do_not_move_come_back_exactly(weizmann, solver):
    "Context frames (tau = 0), and a frame that rests at a noisy level: bit for bit, whatever the solver computes."
    from fvdm.dit import create_model

    codec, data = load_codec(), open_dataset("ucf101", weizmann, train=False)
    z = codec.encode(data[0]["video"])[None]
    net, plan = create_model("cpu-nano/2", input_size=8).eval(), hold(uniform(4, 16), [0, 7, -1])
    plan[:, 3] = 500
    start = begin(plan, z.shape, z)
    out = sample(net, start, plan, solver)
    assert torch.equal(out[:, [0, 7, 15]], z[:, [0, 7, 15]]) and torch.equal(out[:, 3], start[:, 3])
    assert out.isfinite().all() and not torch.equal(out[:, 1], z[:, 1])
