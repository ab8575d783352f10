"""Two processes train as one does: data parallel, sharded, and from the one to the other."""

import os
import subprocess
import sys

import numpy as np
import pytest
from launch import ENV, Launched
from training_runs import curve, flags, run

SMALL = ("--model", "cpu-nano/4", "--p", 0.5, "--precision", "fp32")  # what two processes are compared on
PORT = str(29500 + os.getpid() % 1000)


def by_torchrun(arguments):
    "Two processes that PyTorch's launcher begins."
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", PORT]
    command = [sys.executable, *launcher, "-m", "fvdm.training", *map(str, arguments)]
    done = subprocess.run(command, env=os.environ | ENV, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


def two_processes(latents, out, *more):
    "Two processes with the environment that PyTorch's launcher gives them."
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": PORT, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    arguments = flags(latents, out, *more)
    pair = [Launched("fvdm.training", *arguments, RANK=rank, LOCAL_RANK=rank, **common) for rank in "01"]
    for process in pair:
        assert process.wait().returncode == 0, process.stderr[-2000:]


@pytest.mark.parametrize(
    "more", [(), ("--per", "batch"), ("--optimizer", "muon")], ids=["per sample", "per batch", "muon"]
)
@pytest.mark.slow
def test_two_processes_follow_one(latents, tmp_path, more):
    """DDP over gloo with the same whole batch: the same losses to 1e-5 over 50 steps (Muon's products are in bfloat16:
    1e-4). One coin a batch is a coin a device, so there the curves part."""
    one, two, common = tmp_path / "one", tmp_path / "two", ("--steps", 50, *SMALL, *more)
    assert run(latents, one, *common).returncode == 0
    if more:
        two_processes(latents, two, *common)
    else:
        by_torchrun(flags(latents, two, *common))
    a, b = (np.array([loss for _, loss, _ in curve(out)]) for out in (one, two))
    assert len(a) == len(b) == 50
    if "batch" in more:
        assert np.abs(a - b).max() > 1e-3
    else:
        assert np.abs(a - b).max() < (1e-4 if "muon" in more else 1e-5), np.abs(a - b).max()


@pytest.mark.slow
def test_sharded_training_follows_one_and_resumes_either_way(latents, tmp_path):
    """FSDP over gloo: the same losses to 1e-5 over 50 steps; its checkpoints continue on one device, and one device's
    sharded; Muon's continue sharded."""
    one, sharded, mixed, muon = (tmp_path / name for name in ("one", "sharded", "mixed", "muon"))
    common, pieces = SMALL, ("--accumulate", 2, "--override")
    assert run(latents, one, "--steps", 50, *common).returncode == 0
    two_processes(latents, sharded, "--steps", 50, *common, "--shard")
    two_processes(latents, mixed, "--steps", 20, *common, *pieces, "--shard")
    assert run(latents, mixed, "--steps", 35, *common, *pieces).returncode == 0
    two_processes(latents, mixed, "--steps", 50, *common, *pieces, "--shard")
    assert run(latents, muon / "one", "--steps", 6, *common, "--optimizer", "muon").returncode == 0
    for steps in (5, 6):
        two_processes(latents, muon / "sharded", "--steps", steps, *common, "--optimizer", "muon", "--shard")
    for expected, *followers, near in ((one, sharded, mixed, 1e-5), (muon / "one", muon / "sharded", 1e-4)):
        expected = np.array([loss for _, loss, _ in curve(expected)])
        for out in followers:
            losses = np.array([loss for _, loss, _ in curve(out)])
            assert len(losses) == len(expected) and np.abs(losses - expected).max() < near, np.abs(
                losses - expected
            ).max()
    assert "nothing to spread over" in run(latents, tmp_path / "alone", "--steps", 2, "--shard").stderr
