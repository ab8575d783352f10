"""What a month of training meets: kills, signals, full disks, several devices. Each is done here, to a real process."""
import csv, json, os, signal, subprocess, sys, time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fvdm.data import encode, open_dataset
from fvdm.training import STOPPED, checkpoints

STEPS = 40
ENV = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONWARNINGS": "default"}


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latents") / "faces"
    subprocess.run([sys.executable, "-m", "fvdm.data", "encode", "faces", "--clips", "24", "--out", folder], check=True, capture_output=True)
    return folder


def command(latents, out, *more): return [sys.executable, "-m", "fvdm.training", "--preset", "smoke", "--latents", str(latents), "--out", str(out), "--steps", str(STEPS), "--save-every", "5", "--log-every", "1", *map(str, more)]


def run(latents, out, *more, **how): return subprocess.run(command(latents, out, *more), capture_output=True, text=True, env=ENV, timeout=300, **how)


def weights(out): return load_file(Path(out) / "model.safetensors")


def curve(out): return [(int(r["step"]), float(r["loss"]), float(r["grad_norm"])) for r in csv.DictReader(open(Path(out) / "log.csv"))]


def same(a, b): return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def whole(latents, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    done = run(latents, out)
    assert done.returncode == 0, done.stderr
    return out


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(.02)


def test_killed_again_and_again(latents, whole, tmp_path):
    "kill -9 at random moments, the runs pieced together: the same weights and the same log, bit for bit."
    rng, kills = np.random.default_rng(0), 0
    for _ in range(12):
        before = len(curve(tmp_path)) if (tmp_path / "log.csv").exists() else 0
        process = subprocess.Popen(command(latents, tmp_path), env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: process.poll() is not None or ((tmp_path / "log.csv").exists() and len(curve_lines(tmp_path)) > before % 5 + 1))
        time.sleep(rng.uniform(.2, 1.5))
        if process.poll() is not None: break
        process.kill()
        process.wait()
        kills += 1
        if kills == 3: break
    done = run(latents, tmp_path)
    assert done.returncode == 0 and kills >= 2, (kills, done.stderr)
    assert same(weights(tmp_path), weights(whole)) and curve(tmp_path) == curve(whole)


def curve_lines(out): return (Path(out) / "log.csv").read_text().splitlines()


def test_killed_while_a_checkpoint_is_written(latents, whole, tmp_path):
    "The process kills itself between the files of its third checkpoint: what is half written is never used."
    script = f"""
import os, signal
from fvdm import training
save_file, written = training.save_file, []
def deadly(tensors, path):
    save_file(tensors, path); written.append(path)
    if len(written) == 8: os.kill(os.getpid(), signal.SIGKILL)      # the second file of the third checkpoint
training.save_file = deadly
training.main({command(latents, tmp_path)[3:]!r})
"""
    done = subprocess.run([sys.executable, "-c", script], env=ENV, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    assert [c.name for c in checkpoints(tmp_path)] == ["step-00000005", "step-00000010"] and list(tmp_path.glob(".part-step*"))
    assert run(latents, tmp_path).returncode == 0
    assert same(weights(tmp_path), weights(whole)) and not list(tmp_path.glob(".part-step*"))


def test_sigterm_saves_and_leaves_with_its_code(latents, whole, tmp_path):
    process = subprocess.Popen(command(latents, tmp_path, "--save-every", 1000), env=ENV, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: (tmp_path / "log.csv").exists() and len(curve_lines(tmp_path)) > 7)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == STOPPED == 75 and "SIGTERM: saved at step" in said
    reached = len(curve_lines(tmp_path)) - 1
    assert [c.name for c in checkpoints(tmp_path)] == [f"step-{reached:08d}"] and reached < STEPS
    assert run(latents, tmp_path).returncode == 0 and same(weights(tmp_path), weights(whole))


def test_budget_in_pieces(latents, whole, tmp_path):
    "A run made of runs of two seconds."
    for pieces in range(1, 60):
        done = run(latents, tmp_path, "--budget", 2)
        assert done.returncode == 0, done.stderr
        if json.loads((tmp_path / "config.json").read_text())["step"] == STEPS: break
    assert same(weights(tmp_path), weights(whole)) and curve(tmp_path) == curve(whole)


def test_a_second_run_in_the_same_folder_is_refused(latents, tmp_path):
    process = subprocess.Popen(command(latents, tmp_path, "--steps", 100000), env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: (tmp_path / "log.csv").exists())
        second = run(latents, tmp_path)
        assert second.returncode == 2 and "is in use by another run" in second.stderr
    finally:
        process.kill()
        process.wait()
    assert run(latents, tmp_path, "--steps", 3).returncode == 0                               # a dead run holds nothing


def test_full_disk(latents, tmp_path):
    "On a disk that holds two checkpoints but not three: warnings, training goes on, and the last failure is an error that keeps the good one."
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=42m", "tmpfs", disk], capture_output=True).returncode: pytest.skip("mounting a small disk is not allowed here")
    try:
        first = run(latents, disk / "run", "--steps", 10)
        assert first.returncode == 0 and [c.name for c in checkpoints(disk / "run")] == ["step-00000005", "step-00000010"], first.stderr
        (disk / "ballast").write_bytes(bytes(8 << 20))
        second = run(latents, disk / "run", "--steps", 20)
        assert second.returncode == 1 and "could not be written" in second.stderr and "No space left" in second.stderr and "the newest is step-00000010" in second.stderr
        assert checkpoints(disk / "run")[-1].name == "step-00000010" and not list((disk / "run").glob(".part-step*"))
        (disk / "ballast").unlink()
        assert run(latents, disk / "run", "--steps", 20).returncode == 0 and checkpoints(disk / "run")[-1].name == "step-00000020"
    finally: subprocess.run(["umount", disk])


def test_another_configuration_is_refused_by_name(latents, whole):
    done = run(latents, whole, "--p", .7, "--lr", .5)
    assert done.returncode == 2 and "p was 0.2 and is 0.7" in done.stderr and "lr was 0.001 and is 0.5" in done.stderr and "override" in done.stderr


def two_processes(latents, out, *more):
    done = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", str(29500 + os.getpid() % 1000), *command(latents, out, *more)[1:]], env=ENV, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("more", [(), ("--per", "batch"), ("--optimizer", "muon")], ids=["per sample", "per batch", "muon"])
def test_two_processes_follow_one(latents, tmp_path, more):
    "DDP over gloo with the same whole batch: the same losses to 1e-5 over 50 steps (Muon's products are in bfloat16: 1e-4). One coin a batch is a coin a device, so there the curves part."
    one, two, common = tmp_path / "one", tmp_path / "two", ("--steps", 50, "--p", .5, "--precision", "fp32", *more)
    assert run(latents, one, *common).returncode == 0
    two_processes(latents, two, *common)
    a, b = (np.array([loss for _, loss, _ in curve(out)]) for out in (one, two))
    assert len(a) == len(b) == 50
    if "batch" in more: assert np.abs(a - b).max() > 1e-3
    else: assert np.abs(a - b).max() < (1e-4 if "muon" in more else 1e-5), np.abs(a - b).max()


def test_sharded_training_follows_one_and_resumes_either_way(latents, tmp_path):
    "FSDP over gloo: the same losses to 1e-5 over 50 steps; its checkpoints continue on one device, and one device's sharded; Muon's continue sharded."
    one, spread, mixed, muon = (tmp_path / name for name in ("one", "spread", "mixed", "muon"))
    common, pieces = ("--p", .5, "--precision", "fp32"), ("--accumulate", 2, "--override")
    assert run(latents, one, "--steps", 50, *common).returncode == 0
    two_processes(latents, spread, "--steps", 50, *common, "--shard")
    two_processes(latents, mixed, "--steps", 20, *common, *pieces, "--shard")
    assert run(latents, mixed, "--steps", 35, *common, *pieces).returncode == 0
    two_processes(latents, mixed, "--steps", 50, *common, *pieces, "--shard")
    assert run(latents, muon / "one", "--steps", 6, *common, "--optimizer", "muon").returncode == 0
    for steps in (5, 6): two_processes(latents, muon / "spread", "--steps", steps, *common, "--optimizer", "muon", "--shard")
    for expected, *followers, near in ((one, spread, mixed, 1e-5), (muon / "one", muon / "spread", 1e-4)):
        expected = np.array([loss for _, loss, _ in curve(expected)])
        for out in followers:
            losses = np.array([loss for _, loss, _ in curve(out)])
            assert len(losses) == len(expected) and np.abs(losses - expected).max() < near, np.abs(losses - expected).max()
    assert "nothing to spread over" in run(latents, tmp_path / "alone", "--steps", 2, "--shard").stderr


class Suicidal:
    "A data set whose reader dies at clip 5."
    flips, classes, rule = False, [], {}
    def fingerprint(self): return "x"
    def __len__(self): return 24
    def item(self, index, epoch, flip=True):
        if index == 5 and not (self.here / "died").exists():
            (self.here / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return open_dataset("faces", size=8).item(index, 0)


def test_a_data_worker_that_dies(tmp_path):
    "Encoding stops with an error, and goes on where it was."
    from fvdm.codecs import load_codec
    data = Suicidal()
    data.here = tmp_path
    with pytest.raises(RuntimeError, match="DataLoader worker"): encode(data, load_codec("identity"), 24, tmp_path / "l", shard=4, workers=1, progress=False)
    assert len(json.loads((tmp_path / "l/manifest.json").read_text())["shards"]) == 1
    assert len(encode(data, load_codec("identity"), 24, tmp_path / "l", shard=4, workers=1, progress=False)) == 24


def test_tracker_that_is_not_installed_is_named(latents, tmp_path):
    done = run(latents, tmp_path, "--tracker", "nobody")
    assert done.returncode == 2 and "nobody" in done.stderr
