"""Training's rows in TensorBoard and in Weights & Biases without a network: what they keep is what log.csv says."""

import csv
import re
import time

import pytest

from fvdm.data import Latents
from fvdm.training import preset, train


def trained(latents, folder, tracker: str) -> list[dict[str, str]]:
    "Train a few steps; the rows of log.csv."
    train(preset("smoke", steps=3, batch=2), Latents(latents), folder, tracker=tracker, log_every=1, progress=False)
    return list(csv.DictReader((folder / "log.csv").open()))


def test_tensorboard(latents, tmp_path):
    pytest.importorskip("tensorboard", reason="needs tensorboard: the extra 'trackers'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows = trained(latents, tmp_path / "run", "tensorboard")
    kept = EventAccumulator(str(next((tmp_path / "run/fvdm").glob("events*")).parent)).Reload()
    assert [e.step for e in kept.Scalars("loss")] == [1, 2, 3]
    assert [e.value for e in kept.Scalars("loss")] == pytest.approx([float(r["loss"]) for r in rows], rel=1e-5)


def test_wandb_offline(latents, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="needs wandb: the extra 'trackers'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)
    rows = trained(latents, tmp_path / "run", "wandb")
    (file,) = (tmp_path / "run").glob(
        "wandb/offline-run-*/*.wandb"
    )  # beside the checkpoints, not in the folder of work
    assert not (tmp_path / "wandb").exists()
    told = {f"{float(row['loss']):.5g}" for row in rows}
    assert len(rows) == 3
    until = time.monotonic() + 30  # W&B writes from a process of its own
    while told != (kept := losses_in(file)) and time.monotonic() < until:
        time.sleep(0.2)
    assert kept == told


def losses_in(file) -> set[str]:
    "The losses in a file of W&B, whose records hold numbers as text."
    found = re.findall(rb"\x04loss.{1,3}?(\d\.\d+)", file.read_bytes(), re.DOTALL)
    return {f"{float(value):.5g}" for value in found}
