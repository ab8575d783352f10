"""Trainings that take seconds, as commands in processes of their own."""

import csv
from pathlib import Path

import torch
from launch import Launched
from safetensors.torch import load_file

STEPS = 40


def flags(latents, out, *more):
    where = ["--latents", latents, "--out", out]
    return ["--preset", "smoke", *where, "--steps", STEPS, "--save-every", 5, "--log-every", 1, *more]


def begin(latents, out, *more):
    "A training that runs."
    return Launched("fvdm.training", *flags(latents, out, *more))


def run(latents, out, *more):
    "A training from begin to end."
    return begin(latents, out, *more).wait()


def weights(out):
    return load_file(Path(out) / "model.safetensors")


def curve(out):
    return [
        (int(r["step"]), float(r["loss"]), float(r["grad_norm"])) for r in csv.DictReader(open(Path(out) / "log.csv"))
    ]


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
