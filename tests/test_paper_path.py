"""Table 1 as the paper's preset runs it, on the four layouts on disk, with random weights.

The autoencoder has Stable Diffusion's layout and the detector is I3D: nothing but data and weights is missing.
"""

from dataclasses import replace

import pytest
import torch

from fvdm.codecs import import_diffusers
from fvdm.experiments import PAPER_DATASETS, grid, load_tools, points_table, run_experiment
from fvdm.files import sha256
from fvdm.metrics import I3D
from fvdm.worlds import WORLDS, export


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    "An AutoencoderKL in Stable Diffusion's layout, and a state dict of I3D."
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    import_diffusers().AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4,
        norm_num_groups=4,
        latent_channels=4,
    ).save_pretrained(folder / "sd/vae")
    net = I3D()
    for m in net.modules():
        if isinstance(m, torch.nn.Conv3d):
            torch.nn.init.kaiming_normal_(m.weight)  # or the clips' differences die out on the way
    torch.save(net.state_dict(), folder / "i3d_pretrained_400.pt")
    return load_tools(
        folder / "sd", "i3d", folder / "i3d_pretrained_400.pt", sha256(folder / "i3d_pretrained_400.pt"), "sample"
    )


@pytest.mark.slow
def test_table1_on_the_four_layouts(tools, tmp_path):
    for world, layout in list(zip(WORLDS, PAPER_DATASETS, strict=True))[1:3]:  # those of the two that are run below
        export(world, tmp_path / layout, clips=6, frames=50, size=64, progress=False)
    layouts = [f"{layout}={tmp_path / layout}" for layout in PAPER_DATASETS]
    runs = grid("table1", "paper", layouts, tools=tools)
    assert [(r.config.dataset, r.config.p) for r in runs] == [(d, p) for d in PAPER_DATASETS for p in (0.0, 0.2)]
    for run in runs:
        c, m = run.config, run.measurement
        assert (c.model, c.size, c.frames, c.interval, c.batch, c.steps) == ("FVDM-XL/2", 256, 16, 3, 4, 250_000)
        assert (m.clips, m.ddim) == (2048, 50)
    # the same runs, small enough for a test: seven clips where there are 2,048, so the covariances are shrunk, by name;
    # two of the eight: frames in folders, and videos with labels
    small = [small_enough(run) for run in (runs[3], runs[5])]
    results = run_experiment(small, tools, tmp_path / "results", root=tmp_path)
    table = points_table(results)
    assert len(table) == 2 and table["FVD[i3d, ledoit-wolf]"].gt(0).all() and table["FD[codec]"].gt(0).all()
    for r in results:
        assert r["codec"].startswith("sd-sample@") and r["measurement"]["cfg"] == 7.0
        assert (r["protocol"]["detector"], r["protocol"]["store_fake"]) == ("i3d", "jpeg75")
        assert "3 apart" in r["protocol"]["split"]
    assert {r["config"]["dataset"] for r in results if r["config"]["labels"]} == {"ucf101"}


def small_enough(run):
    config = replace(run.config, model="cpu-nano/2", size=64, frames=9, clips=8, steps=2)
    measurement = replace(run.measurement, points=1, clips=7, real=7, ddim=2, held_out=4, shrink="ledoit-wolf")
    return replace(run, config=config, measurement=measurement)
