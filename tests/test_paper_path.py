"""Table 1 as the paper's preset runs it, on the four layouts on disk, with a Stable Diffusion autoencoder and I3D whose weights are random: nothing but data and weights is missing."""
from dataclasses import replace

import pytest, torch

from fvdm.codecs import import_diffusers
from fvdm.data import sha256
from fvdm.experiments import FOUR, grid, load_tools, points_table, run_experiment
from fvdm.metrics import I3D
from fvdm.worlds import WORLDS, export


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    "An AutoencoderKL in Stable Diffusion's layout, and a state dict of I3D."
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    import_diffusers().AutoencoderKL(down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, block_out_channels=(8,) * 4, norm_num_groups=4, latent_channels=4).save_pretrained(folder / "sd/vae")
    net = I3D()
    for m in net.modules():
        if isinstance(m, torch.nn.Conv3d): torch.nn.init.kaiming_normal_(m.weight)        # or the clips' differences die out on the way
    torch.save(net.state_dict(), folder / "i3d_pretrained_400.pt")
    return load_tools(folder / "sd", "i3d", folder / "i3d_pretrained_400.pt", sha256(folder / "i3d_pretrained_400.pt"), "sample")


def test_table1_on_the_four_layouts(tools, tmp_path, monkeypatch):
    for world, layout in zip(WORLDS, FOUR): export(world, tmp_path / layout, clips=6, frames=50, size=64, progress=False)
    cells = grid("table1", "paper", [f"{layout}={tmp_path / layout}" for layout in FOUR], tools=tools)
    assert [(c.config.dataset, c.config.p) for c in cells] == [(layout, p) for layout in FOUR for p in (0., .2)]
    assert all((c.config.model, c.config.size, c.config.frames, c.config.interval, c.config.batch, c.config.steps, c.evaluation.clips, c.evaluation.ddim) == ("FVDM-XL/2", 256, 16, 3, 4, 250_000, 2048, 50) for c in cells)
    # the same cells, small enough for a test: seven clips where there are 2,048, so the covariances are shrunk, by name; two of the eight: frames in folders, and videos with labels
    small = [replace(c, config=replace(c.config, model="cpu-nano/2", size=64, frames=9, clips=8, steps=2), evaluation=replace(c.evaluation, points=1, clips=7, real=7, ddim=2, probe=4, shrink="ledoit-wolf")) for c in (cells[3], cells[5])]
    monkeypatch.setattr("fvdm.experiments.home", lambda: tmp_path)
    results = run_experiment(small, tools, tmp_path / "results")
    table = points_table(results)
    assert len(table) == 2 and table["FVD[i3d, ledoit-wolf]"].gt(0).all() and table["FD[codec]"].gt(0).all()
    assert all(r["codec"].startswith("sd-sample@") and r["protocol"]["detector"] == "i3d" and r["protocol"]["store_fake"] == "jpeg75" and "3 apart" in r["protocol"]["split"] for r in results)
    labelled = {r["config"]["dataset"] for r in results if r["config"]["labels"]}
    assert labelled == {"ucf101"} and all(r["evaluation"]["cfg"] == 7. for r in results)
