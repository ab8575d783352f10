"""A grid of runs on a real Slurm of one node: requeued, cancelled, killed, drained, submitted twice."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest
import slurm_node
from safetensors.torch import load_file
from slurm_node import hurry, one_node, slurm, wait_for
from tiny_runs import asked, environment, process_of, step_of, straight_weights, tiny_grid, weights

from fvdm.experiments import Launcher, failures, look, submit, watch

on_slurm = pytest.mark.skipif(bool(slurm_node.missing()), reason=slurm_node.missing())
LAUNCHER = Launcher("slurm", partition="tiny", time="00:10")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    "Slurm, and jobs that find the library and these tests."
    with environment(), one_node(tmp_path_factory.mktemp("slurm")) as folder:
        yield folder


def job(tasks, jobs, i: int) -> str:
    return look(tasks[i : i + 1], jobs)[0]["job"]


def submitted_by(arguments) -> list[str]:
    "In a process of its own."
    return submit(*arguments)


@pytest.mark.slow
@on_slurm
def test_a_grid_of_six(cluster, tmp_path):
    tasks, jobs = tiny_grid(tmp_path, 6, steps=96), tmp_path / "jobs"
    with ProcessPoolExecutor(2, multiprocessing.get_context("fork")) as pool:  # ends by a word, not by a signal
        once, twice = pool.map(submitted_by, [(tasks, LAUNCHER, jobs)] * 2)
    assert sorted(once + twice) == sorted(task.name for task in tasks)  # each by one of the two
    host = slurm("sinfo", "-h", "-o", "%n").strip()
    ids = [job(tasks, jobs, i) for i in range(6)]

    # what happens to each in the middle of its training
    actions = {
        0: lambda: slurm("scontrol", "requeue", ids[0]),
        1: lambda: slurm("scancel", "--signal=USR2", f"{ids[1]}.0"),  # as Slurm sends it before the time limit
        2: lambda: slurm("scancel", ids[2]),
        3: lambda: process_of(ids[3]).kill(),
        4: lambda: slurm("scontrol", "update", f"NodeName={host}", "State=DRAIN", "Reason=test"),
    }
    until = time.monotonic() + 400
    while actions and time.monotonic() < until:
        for i in [i for i in actions if step_of(tasks[i]) >= 20]:
            actions.pop(i)()
        hurry()
        time.sleep(0.1)

    # the drained node ends what it has, and begins nothing
    wait_for(lambda: look(tasks[4:5], jobs)[0]["state"] == "done", 120)
    (last,) = look(tasks[5:], jobs)
    assert last["state"] == "waiting" and last["note"], last
    slurm("scontrol", "update", f"NodeName={host}", "State=RESUME")
    rows = watch(tasks, jobs, every=0.2, show=lambda rows: hurry())
    assert [row["state"] for row in rows] == ["done", "done", "failed", "failed", "done", "done"]
    said = failures(rows)
    assert said.count("its job ended without a result") == 2 and "Killed" in said, said
    assert "exit code 143" in said or "CANCELLED" in said, said  # it saved and left; or Slurm was quicker

    # the same command goes on with these two
    assert submit(tasks, LAUNCHER, jobs) == [tasks[2].name, tasks[3].name]
    rows = watch(tasks, jobs, every=0.2, show=lambda rows: hurry())
    assert {row["state"] for row in rows} == {"done"}, failures(rows)
    assert sorted((tmp_path / "computed").read_text().split()) == sorted(task.name for task in tasks)
    # told to end, a training saves where it is: no step is computed again, and the stop itself asks once more
    steps = tasks[0].run.config.steps
    assert [asked(tasks[i]) - steps for i in (0, 1, 4, 5)] == [1, 1, 0, 0]
    assert weights(tasks[1]) == straight_weights(tasks[1], tmp_path / "straight")  # told of its time limit
    assert weights(tasks[3]) == straight_weights(tasks[3], tmp_path / "straight")  # killed


@on_slurm
def test_what_slurm_refuses_is_one_line(cluster, tmp_path):
    (task,), jobs = tiny_grid(tmp_path, 1), tmp_path / "jobs"
    with pytest.raises(ValueError, match=r"^partition is 'gpu', but may be one of: tiny$"):
        submit([task], replace(LAUNCHER, partition="gpu"), jobs)
    with pytest.raises(ValueError, match="^slurm refuses the jobs: .*Invalid feature specification"):
        submit([task], replace(LAUNCHER, slurm=("constraint=none",)), jobs)
    assert look([task], jobs)[0]["state"] == "to do"


@on_slurm
def test_a_folder_that_the_node_does_not_share_is_found_out(cluster, tmp_path):
    (task,), jobs = tiny_grid(tmp_path, 1), tmp_path / "jobs"
    task = replace(task, results=cluster / "unshared")
    submit([task], LAUNCHER, jobs)
    (row,) = watch([task], jobs, every=0.2, show=lambda rows: None)
    assert row["state"] == "failed" and row["note"].endswith("on a file system that all nodes share"), row
    assert not task.folder.exists()  # before anything was computed


@pytest.mark.slow
def test_two_processes_train_together(tmp_path, monkeypatch):
    "As many as there are GPUs, by the variables that torchrun sets; here on the CPU."
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    (task,), jobs = tiny_grid(tmp_path, 1, steps=20), tmp_path / "jobs"
    with environment():
        submit([task], Launcher("local", gpus=2), jobs)
        rows = watch([task], jobs, every=0.2, show=lambda rows: None)
    assert rows[0]["state"] == "done", failures(rows)
    (second,) = jobs.glob("*_1_log.out")
    wait_for(lambda: "Job completed successfully" in second.read_text())
    straight_weights(task, tmp_path / "straight")
    folders = tmp_path / "straight" / task.name, task.folder
    alone, together = ((f / "training/log.csv").read_text().splitlines()[1].split(",") for f in folders)
    assert float(together[1]) == pytest.approx(float(alone[1]), rel=1e-4)  # the loss, of all processes
    alone, together = (load_file(f / "at-20.safetensors") for f in folders)
    apart = sum((alone[name] - together[name]).abs().sum().item() for name in alone)
    assert 0 < apart < 1e-4 * sum(tensor.numel() for tensor in alone.values())  # sums in another order, in bfloat16
