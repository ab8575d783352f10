"""Every tensor computed with the paper's published code, reproduced.

The reference holds tiny networks of random weights in float32. One pass of the network, losses and single steps agree
to 1e-5 (relative to the largest value where values exceed 1: a prediction of x0 near tau = 1000 is in the hundreds),
whole samples to 1e-4 relative.
"""

import json

import pytest
import torch
from safetensors.torch import load_file

from fvdm.dit import VideoDiT
from fvdm.objective import losses, split_prediction
from fvdm.samplers import Step, ddim, log_variance, sample
from fvdm.sde import Schedule
from fvdm.vtv import ramp, uniform

FOLDERS = ["unconditional", "no_learned_variance"]
KEYS = {"input_size", "patch_size", "in_channels", "hidden_size", "depth", "num_heads", "num_frames", "learn_sigma"}


class Reference:
    def __init__(self, folder):
        self.facts = json.loads((folder / "reference.json").read_text())
        tensors = load_file(folder / "reference.safetensors")
        self.weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        self.t = {k: v for k, v in tensors.items() if not k.startswith("model.")}
        self.net = (
            VideoDiT(**{k: v for k, v in self.facts["config"].items() if k in KEYS}).load_reference(self.weights).eval()
        )
        self.schedule = Schedule()

    def step(self):
        "The DDPM/DDIM quantities of the reference: one index down from t_train, all frames by their own timestep."
        tau = self.t["t_train"] + 1
        eps, v = split_prediction(self.net(self.t["x"], self.t["t_train"]), self.t["x"].shape[2])
        return Step(
            self.t["x"], eps, self.schedule.x0_from_eps(self.t["x"], tau, eps), v, tau, tau - 1, self.schedule, None
        )


@pytest.fixture(params=FOLDERS)
def ref(request, shared):
    with torch.no_grad():
        yield Reference(shared / "reference" / request.param)


def agree(ours, theirs, tolerance=1e-5):
    assert ours.shape == theirs.shape
    scale = max(1.0, theirs.abs().max().item())
    assert (ours - theirs).abs().max().item() <= tolerance * scale


def test_every_tensor_is_tested(ref):
    tested = {
        "x",
        "x0",
        "noise",
        "z",
        "t_vector",
        "t_scalar",
        "t_train",
        "out_vector",
        "out_uniform",
        "out_latte_scalar",
        "betas",
        "alphas_cumprod",
        "q_sample",
        "loss_mse",
        "loss_vb_bits",
        "p_mean",
        "p_log_variance",
        "pred_x0",
        "ddim_step_t_minus_1",
        "ddim10_sample",
        "ddim50_sample",
    }
    assert set(ref.t) <= tested


def test_network_with_vector_t(ref):
    agree(ref.net(ref.t["x"], ref.t["t_vector"]), ref.t["out_vector"])


def test_network_with_scalar_t_is_uniform_vector_and_latte(ref):
    out = ref.net(ref.t["x"], ref.t["t_scalar"])
    agree(out, ref.t["out_uniform"])
    agree(out, ref.t["out_latte_scalar"])
    agree(ref.net(ref.t["x"], ref.t["t_scalar"][:, None].expand(-1, out.shape[1])), ref.t["out_uniform"])


def test_position_tables(ref):
    fresh = VideoDiT(**ref.net.config)
    agree(fresh.pos_embed, ref.weights["pos_embed"])
    agree(fresh.temp_embed, ref.weights["temp_embed"])


def test_latte_and_own_layouts_load_the_same_function(ref):
    order = {"blocks_spatial": 0, "blocks_temp": 1}
    latte = {}
    for key, value in ref.weights.items():
        head, *rest = key.split(".")
        latte[".".join(["blocks", str(2 * int(rest[0]) + order[head]), *rest[1:]]) if head in order else key] = value
    assert set(latte) == set(ref.net.state_dict())
    agree(VideoDiT(**ref.net.config).load_reference(latte).eval()(ref.t["x"], ref.t["t_vector"]), ref.t["out_vector"])


def test_schedule(ref):
    torch.testing.assert_close(ref.schedule.betas, ref.t["betas"], rtol=1e-12, atol=0)
    torch.testing.assert_close(ref.schedule.alpha_bar_table[1:], ref.t["alphas_cumprod"], rtol=1e-12, atol=0)
    agree(ref.schedule.noise(ref.t["x0"], ref.t["t_train"] + 1, ref.t["noise"]), ref.t["q_sample"])


def test_losses(ref):
    ours = losses(ref.net, ref.t["x0"], ref.t["t_train"] + 1, ref.t["noise"])
    agree(ours["mse"], ref.t["loss_mse"])
    if "loss_vb_bits" in ref.t:
        agree(ours["vb"] / ref.t["loss_vb_bits"], torch.ones(2))
    else:
        assert not ours["vb"].any()
    agree(ours["loss"], ours["mse"] + ours["vb"])


def test_single_steps(ref):
    s = ref.step()
    agree(s.x0, ref.t["pred_x0"])
    agree(ref.schedule.posterior(s.x, s.x0, s.tau, s.tau_next)[0], ref.t["p_mean"])
    agree(log_variance(s).expand_as(s.x), ref.t["p_log_variance"])
    agree(ddim(s), ref.t["ddim_step_t_minus_1"])


@pytest.mark.parametrize("steps", [10, 50])
def test_ddim_samples(ref, steps):
    if f"ddim{steps}_sample" not in ref.t:
        pytest.skip(f"this reference has no DDIM-{steps} sample")
    assert (ramp(steps)[:-1] - 1).flip(0).tolist() == ref.facts["ddim_timesteps"][str(steps)]
    ours = sample(ref.net, ref.t["z"], uniform(steps, ref.t["z"].shape[1]))
    theirs = ref.t[f"ddim{steps}_sample"]
    assert ((ours - theirs).norm() / theirs.norm()).item() <= 1e-4
