"""Runs of an experiment that take seconds, as tasks that note in a file when they were computed to their end."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from conftest import ROOT
from fvdm.experiments import EVALUATIONS, RunTask, denoising_errors, grid, load_tools, prepare, run_tasks
from fvdm.experiments.execute import fit
from fvdm.files import sha256

FEW = {"clips": 8, "real": 8, "held_out": 2, "shrink": "ledoit-wolf"}


def denoising(net, run, prepared, title) -> tuple[dict, dict]:
    "The quickest of evaluations: nothing is sampled or decoded."
    return denoising_errors(net, prepared.held_out), {"generated": prepared.held_out}


EVALUATIONS["denoising"] = denoising  # a job's process too imports this


@dataclass(frozen=True)
class Counted(RunTask):
    "A run that leaves a line each time it is computed, and a byte each time its training asks whether to stop."

    def work(self, around) -> None:
        @contextmanager
        def counted():
            with around() as stop, open(self.root / f"asked-{self.name}", "ab", buffering=0) as f:
                yield lambda: bool(f.write(b".")) and stop()

        super().work(counted)
        with open(self.root / "computed", "a") as f:
            f.write(f"{self.name}\n")


def tiny_grid(folder: Path, count: int, steps: int = 48) -> list[Counted]:
    "So many runs, which differ in p."
    runs = grid("ablation_p", "smoke", ["faces"], [i / count for i in range(count)], steps=steps, tools=load_tools())
    small = {"model": "cpu-nano/4", "clips": 8, "batch": 2}
    measured = {"measurement": replace(runs[0].measurement, **FEW), "evaluation": "denoising"}
    runs = [replace(run, config=replace(run.config, **small), **measured) for run in runs]
    return [Counted(*vars(task).values()) for task in run_tasks(runs, (), folder / "results", folder)]


def asked(task: RunTask) -> int:
    "How often a training has asked whether to stop: before each of its steps, and once more where it was stopped."
    return (task.root / f"asked-{task.name}").stat().st_size


def weights(task: RunTask) -> str:
    "The hash of the network that a run has trained."
    return sha256(task.folder / f"at-{task.run.config.steps}.safetensors")


def straight_weights(task: RunTask, folder: Path) -> str:
    "The same of a training in this process that nothing disturbs."
    prepared = prepare(task.run, load_tools(), task.root / "cache")
    fit(task.run, prepared.latents, folder / task.name)
    return sha256(folder / task.name / f"at-{task.run.config.steps}.safetensors")


def step_of(task: RunTask) -> int:
    "The step that a training has reached, by its log."
    file = task.folder / "training/log.csv"
    rows = [line.partition(",")[0] for line in file.read_text().splitlines()] if file.exists() else []
    return max([int(row) for row in rows if row.isdigit()], default=0)


@contextmanager
def environment() -> Iterator[None]:
    "Jobs find the library and these tests, and take one core."
    own = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), "OMP_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in own}
    os.environ |= own
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def process_of(job: str) -> psutil.Process:
    "The Python process of a job. Raises LookupError if there is none."
    for process in psutil.process_iter(["cmdline"]):
        if "submitit.core._submit" in (process.info["cmdline"] or ()) and process.parent().name() == "slurmstepd":
            its = process.environ()
            if job in (its.get("SLURM_JOB_ID"), f"{its.get('SLURM_ARRAY_JOB_ID')}_{its.get('SLURM_ARRAY_TASK_ID')}"):
                return process
    raise LookupError(job)
