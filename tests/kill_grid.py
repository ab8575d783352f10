"""Random kills over a grid of tiny runs on a Slurm of one node: what is lost, and what is computed twice?

    python tests/kill_grid.py --runs 20 --kills 50         # as root, with Debian's slurm-wlm and munge; half an hour

A job is met at a random moment, while it starts, trains or measures, by one of: kill -9 of its process, scancel,
scontrol requeue, the signal that comes before a time limit. What has failed is submitted again.
"""

import argparse
import collections
import csv
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from subprocess import CalledProcessError

import psutil
import slurm_node
from slurm_node import hurry, one_node, slurm
from tiny_runs import environment, process_of, straight_weights, tiny_grid, weights

from fvdm.experiments import Launcher, failures, look, submit
from fvdm.experiments.cluster import read_record

LAUNCHER = Launcher("slurm", partition="tiny", time="00:10")
KILLS = {
    "kill -9": lambda job: process_of(job).kill(),
    "scancel": lambda job: subprocess.Popen(["scancel", job]),  # it tries again and again, and is not waited for
    "requeue": lambda job: slurm("scontrol", "requeue", job),
    "USR2": lambda job: subprocess.Popen(["scancel", "--signal=USR2", f"{job}.0"], stderr=subprocess.DEVNULL),
}


def kill_at_random(job: str, chance: random.Random, counts: collections.Counter) -> None:
    "Do one of KILLS to a job, if it still runs."
    kind = chance.choice(list(KILLS))
    try:
        KILLS[kind](job)
        counts[kind] += 1
    except (LookupError, OSError, CalledProcessError, psutil.Error):
        pass  # it has just ended


def disturb(tasks: list, jobs: Path, kills: int, seed: int, every: float) -> collections.Counter:
    "Run the grid to its end while jobs are killed; returns how often by what."
    chance, counts, next_kill = random.Random(seed), collections.Counter(), time.monotonic() + 5
    while True:
        rows = look(tasks, jobs)
        if all(row["state"] == "done" for row in rows):
            return counts
        if any(row["state"] in ("failed", "to do") for row in rows):
            counts["submitted again"] += len(submit(tasks, LAUNCHER, jobs))
        hurry()
        left = kills - sum(counts[kind] for kind in KILLS)
        running = [row["job"] for row in rows if row["state"] == "running"] or (
            slurm("squeue", "-h", "-r", "-t", "RUNNING", "-o", "%i").split()
        )
        if left and running and time.monotonic() > next_kill:
            kill_at_random(chance.choice(running), chance, counts)
            unfinished = sum(row["state"] != "done" for row in rows)
            print(f"{len(tasks) - unfinished} of {len(tasks)} done, {dict(counts)}", flush=True)
            next_kill = time.monotonic() + chance.uniform(0.2, 1.8) * every
        time.sleep(0.3)


def exceed_time(folder: Path, steps: int = 2400) -> dict:
    "A run that needs more than the two minutes that its job may take: how often it was begun, and was it all there?"
    (task,), jobs, begun = tiny_grid(folder, 1, steps), folder / "jobs", set()
    submit([task], Launcher("slurm", partition="tiny", time="00:02", notice=55), jobs)
    while (row := look([task], jobs)[0])["state"] in ("waiting", "running"):
        begun.add(read_record(jobs, task.name).get("begun"))
        hurry()
        time.sleep(0.5)
    same = row["state"] == "done" and weights(task) == straight_weights(task, folder / "straight")
    return {"state": row["state"], "jobs it took": len(begun - {None}), "network as undisturbed": same}


def double_rows(tasks: list) -> int:
    "Steps that stand twice in a log, over all runs."
    twice = 0
    for task in tasks:
        steps = [row["step"] for row in csv.DictReader((task.folder / "training/log.csv").read_text().splitlines())]
        twice += len(steps) - len(set(steps))
    return twice


def report(tasks: list, folder: Path) -> dict[str, int]:
    "What was lost or computed twice."
    computed = collections.Counter((folder / "computed").read_text().split())
    unlike = [task.name for task in tasks if weights(task) != straight_weights(task, folder / "straight")]
    return {
        "runs": len(tasks),
        "results lost": sum(not task.output.exists() for task in tasks),
        "results computed twice": sum(count - 1 for count in computed.values()),
        "rows of a log twice": double_rows(tasks),
        "networks that differ from one trained undisturbed": len(unlike),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=10, help="seconds from kill to kill, on average")
    parser.add_argument("--time-limit", action="store_true", help="one run that exceeds the time of its job, instead")
    arguments = parser.parse_args()
    if slurm_node.missing():
        print(slurm_node.missing(), file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as place, environment(), one_node(Path(place) / "slurm"):
        folder, began = Path(place) / "grid", time.monotonic()
        if arguments.time_limit:
            found = exceed_time(folder)
            print(found, f"in {time.monotonic() - began:.0f} s")
            return int(not found["network as undisturbed"])
        tasks = tiny_grid(folder, arguments.runs)
        submit(tasks, LAUNCHER, folder / "jobs")
        counts = disturb(tasks, folder / "jobs", arguments.kills, arguments.seed, arguments.every)
        print(f"{sum(counts[kind] for kind in KILLS)} kills in {time.monotonic() - began:.0f} s: {dict(counts)}")
        found = report(tasks, folder)
        print(found, failures(look(tasks, folder / "jobs")))
    return int(any(found[name] for name in list(found)[1:]))


if __name__ == "__main__":
    sys.exit(main())
