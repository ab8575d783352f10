"""What a month of training meets: kills, signals, full disks. Each is done here, to a real process."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from launch import Launched, launch, wait_for
from training_runs import STEPS, begin, curve, run, same, weights

from fvdm.codecs import load_codec
from fvdm.data import ClipDataset, encode, open_dataset
from fvdm.training import STOPPED, list_checkpoints


@pytest.fixture(scope="module")
def whole(latents, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    done = run(latents, out)
    assert done.returncode == 0, done.stderr
    return out


def curve_lines(out):
    return (Path(out) / "log.csv").read_text().splitlines()


def rows(out):
    "Rows of the log so far."
    return len(curve_lines(out)) - 1 if (Path(out) / "log.csv").exists() else 0


def kill_after(latents, out, count, seconds):
    "Start a run, wait for so many rows of the log and a while, and kill it; False if it was done before."
    process = begin(latents, out)
    wait_for(lambda: process.poll() is not None or rows(out) > count)
    time.sleep(seconds)
    if process.poll() is not None:
        return False
    process.kill()
    return True


@pytest.mark.slow
def test_killed_again_and_again(latents, whole, tmp_path):
    "kill -9 at random moments, the runs pieced together: the same weights and the same log, bit for bit."
    rng, kills = np.random.default_rng(0), 0
    while kills < 3 and kill_after(latents, tmp_path, rows(tmp_path) % 5, rng.uniform(0, 0.5)):
        kills += 1
    done = run(latents, tmp_path)
    assert done.returncode == 0 and kills >= 2, (kills, done.stderr)
    assert same(weights(tmp_path), weights(whole)) and curve(tmp_path) == curve(whole)


def test_killed_while_a_checkpoint_is_written(latents, whole, tmp_path):
    "The process kills itself between the files of its third checkpoint: what is half written is never used."
    script = f"""
import importlib, os, signal
from fvdm.training import TrainOptions, preset, train_command

checkpoints = importlib.import_module("fvdm.training.checkpoints")
save_tensors, written = checkpoints.save_tensors, []

def deadly(tensors, path):
    save_tensors(tensors, path)
    written.append(path)
    if len(written) == 8:  # the second file of the third checkpoint
        os.kill(os.getpid(), signal.SIGKILL)

checkpoints.save_tensors = deadly
options = TrainOptions(out={str(tmp_path)!r}, latents={str(latents)!r}, save_every=5, log_every=1)
train_command(preset("smoke", steps={STEPS}), options)
"""
    done = launch("-c", script)
    assert done.returncode == -signal.SIGKILL
    assert [c.name for c in list_checkpoints(tmp_path)] == ["step-00000005", "step-00000010"] and list(
        tmp_path.glob(".part-step*")
    )
    assert run(latents, tmp_path).returncode == 0
    assert same(weights(tmp_path), weights(whole)) and not list(tmp_path.glob(".part-step*"))


def test_sigterm_saves_and_leaves_with_its_code(latents, whole, tmp_path):
    process = begin(latents, tmp_path, "--save-every", 1000)
    wait_for(lambda: (tmp_path / "log.csv").exists() and len(curve_lines(tmp_path)) > 7)
    process.terminate()
    process.wait(60)
    assert process.returncode == STOPPED == 75 and "SIGTERM: saved at step" in process.stdout
    reached = len(curve_lines(tmp_path)) - 1
    assert [c.name for c in list_checkpoints(tmp_path)] == [f"step-{reached:08d}"] and reached < STEPS
    assert run(latents, tmp_path).returncode == 0 and same(weights(tmp_path), weights(whole))


@pytest.mark.slow
def test_budget_in_pieces(latents, whole, tmp_path):
    "A run made of runs of a second."
    for _ in range(120):
        done = run(latents, tmp_path, "--budget", 1)
        assert done.returncode == 0, done.stderr
        if json.loads((tmp_path / "config.json").read_text())["step"] == STEPS:
            break
    assert same(weights(tmp_path), weights(whole)) and curve(tmp_path) == curve(whole)


def test_a_second_run_in_the_same_folder_is_refused(latents, tmp_path):
    process = begin(latents, tmp_path, "--steps", 100000)
    try:
        wait_for(lambda: (tmp_path / "log.csv").exists())
        second = run(latents, tmp_path)
        assert second.returncode == 2 and "is in use by another run" in second.stderr
    finally:
        process.kill()
    assert run(latents, tmp_path, "--steps", 100000, "--budget", 0.1).returncode == 0  # a dead run holds nothing


def test_full_disk(latents, tmp_path):
    """On a disk that holds two checkpoints but not three: warnings, training goes on, and the last failure is an error
    that keeps the good one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=42m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        first = run(latents, disk / "run", "--steps", 10)
        assert first.returncode == 0 and [c.name for c in list_checkpoints(disk / "run")] == [
            "step-00000005",
            "step-00000010",
        ], first.stderr
        (disk / "ballast").write_bytes(bytes(8 << 20))
        second = run(latents, disk / "run", "--steps", 20)
        assert (
            second.returncode == 1
            and "could not be written" in second.stderr
            and "No space left" in second.stderr
            and "the newest is step-00000010" in second.stderr
        )
        assert list_checkpoints(disk / "run")[-1].name == "step-00000010" and not list(
            (disk / "run").glob(".part-step*")
        )
        (disk / "ballast").unlink()
        assert (
            run(latents, disk / "run", "--steps", 20).returncode == 0
            and list_checkpoints(disk / "run")[-1].name == "step-00000020"
        )
    finally:
        subprocess.run(["umount", disk])


def test_another_configuration_is_refused_by_name(latents, whole):
    done = run(latents, whole, "--p", 0.7, "--lr", 0.5)
    assert (
        done.returncode == 2
        and "p was 0.2 and is 0.7" in done.stderr
        and "lr was 0.001 and is 0.5" in done.stderr
        and "override" in done.stderr
    )


def test_fewer_steps_than_the_run_has_done_are_refused(latents, whole):
    done = run(latents, whole, "--steps", 10)
    assert done.returncode == 2 and "steps is 10" in done.stderr and f"has reached step {STEPS}" in done.stderr
    assert "reached step" not in done.stdout and weights(whole)


class Suicidal(ClipDataset):
    "A data set whose reader dies at clip 5."

    flips, classes, rule = False, [], {}

    def fingerprint(self):
        return "x"

    def __len__(self):
        return 24

    def item(self, index, epoch, flip=True):
        if index == 5 and not (self.here / "died").exists():
            (self.here / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return open_dataset("faces", size=8).item(index, 0)


def test_a_data_worker_that_dies(tmp_path):
    "Encoding stops with an error, and goes on where it was."
    data = Suicidal()
    data.here = tmp_path
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        encode(data, load_codec("identity"), 24, tmp_path / "l", shard=4, workers=1, progress=False)
    assert len(json.loads((tmp_path / "l/manifest.json").read_text())["shards"]) == 1
    assert len(encode(data, load_codec("identity"), 24, tmp_path / "l", shard=4, workers=1, progress=False)) == 24


def test_tracker_that_is_not_installed_is_named(latents, tmp_path):
    done = run(latents, tmp_path, "--tracker", "nobody")
    assert done.returncode == 2 and "nobody" in done.stderr


def test_a_stream_that_is_ended_leaves_nothing(tmp_path):
    process = Launched("fvdm", "stream", "--network", "faces", "--frames", 100_000, "-o", tmp_path / "long.webp")
    wait_for(lambda: list(tmp_path.glob(".part-*")))
    process.terminate()
    process.wait(60)
    assert process.returncode == 143 and not list(tmp_path.iterdir())
