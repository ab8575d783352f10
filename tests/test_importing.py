"""A published checkpoint from its file to a training that goes on: folder, pipeline, `fvdm train --init`."""

import argparse
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from fvdm.cli import main
from fvdm.dit import create_model
from fvdm.networks import load_network
from fvdm.tasks import Pipeline


@pytest.fixture
def autoencoder(tmp_path):
    "A folder with an AutoencoderKL of Stable Diffusion's layout and random weights."
    from fvdm.codecs import import_diffusers

    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    net = import_diffusers().AutoencoderKL(
        **blocks, block_out_channels=(8, 8, 8, 8), norm_num_groups=4, latent_channels=4
    )
    net.save_pretrained(tmp_path / "sd")
    return tmp_path / "sd"


@pytest.mark.parametrize("folder", ["unconditional", "no_learned_variance"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module.", "module._orig_mod."])
def test_published_weights_give_published_numbers(shared, tmp_path, folder, prefix):
    tensors = load_file(shared / "reference" / folder / "reference.safetensors")
    facts = json.loads((shared / "reference" / folder / "reference.json").read_text())["config"]
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    named = {prefix + name: value for name, value in weights.items()}
    other = {name: torch.full_like(value, 9) for name, value in named.items()}
    torch.save(
        {"model": other, "ema": named, "opt": {}, "args": argparse.Namespace(lr=1e-4, extras=1)}, tmp_path / "x.pt"
    )
    heads = str(facts["num_heads"])
    assert main(["import", str(tmp_path / "x.pt"), "--out", str(tmp_path / "net"), "--heads", heads]) == 0
    with torch.no_grad():
        net = load_network(tmp_path / "net")
        out = net(tensors["x"], tensors["t_vector"])
        scalar = net(tensors["x"], tensors["t_scalar"])
    assert (out - tensors["out_vector"]).abs().max() < 1e-5
    assert (scalar - tensors["out_latte_scalar"]).abs().max() < 1e-5


def test_a_scalar_network_goes_on_as_an_fvdm(tmp_path, autoencoder, capsys):
    torch.manual_seed(0)
    latte = create_model("cpu-nano/2", input_size=8, num_frames=16, num_classes=None)
    for p in latte.parameters():
        p.data.add_(0.02 * torch.randn_like(p) * p.requires_grad)
    torch.save({"ema": latte.state_dict(), "model": {}, "args": argparse.Namespace()}, tmp_path / "ffs.pt")
    out, run = tmp_path / "latte-ffs", tmp_path / "run"
    assert main(["import", str(tmp_path / "ffs.pt"), "--out", str(out), "--codec", str(autoencoder)]) == 0

    clip = Pipeline.from_pretrained(out).animate(
        torch.full((1, 3, 64, 64), 9, dtype=torch.uint8), steps=2, progress=False
    )
    assert clip.frames.shape == (1, 16, 3, 64, 64)
    assert (clip.frames[:, 0] == 9).all()

    words = ["--preset", "smoke", "--init", str(out), "--codec", str(autoencoder), "--out", str(run), "--steps", "1"]
    assert main(["train", *words, "--lr", "1e-9", "--warmup", "0", "--cache", str(tmp_path / "cache")]) == 0
    trained, capsys_text = load_network(run), capsys.readouterr()
    for name, value in trained.state_dict().items():
        assert torch.allclose(value, latte.state_dict()[name], atol=1e-6), (name, capsys_text)


def test_what_cannot_be_is_one_line(tmp_path, capsys):
    save_file({"weight": torch.ones(2)}, tmp_path / "other.safetensors")
    (tmp_path / "text.pt").write_text("no checkpoint")
    for words, said in (
        (["other.safetensors"], "other.safetensors: the checkpoint is of no Latte or FVDM"),
        (["text.pt"], "text.pt"),
        (["none.pt"], "none.pt"),
    ):
        assert main(["import", str(tmp_path / words[0]), "--out", str(tmp_path / "net")]) == 2
        error = capsys.readouterr().err
        assert said in error and len(error.strip().splitlines()) == 1, error
    assert not (tmp_path / "net").exists()
