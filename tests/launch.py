"""Commands as real processes, forked from one that has imported what they need: they start without seconds of imports.

A forked process has its own memory, signals and exit code, as one that `python -m` begins.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
import time
from pathlib import Path

import pytest

CONTEXT = multiprocessing.get_context("forkserver")
ENV = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONWARNINGS": "default"}  # of all processes


def begin(out: Path, err: Path, environment: dict[str, str], program: str, arguments: list[str]) -> None:
    "In the forked process: what `python -m program arguments` does, or `python -c script`."
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [program, *arguments]
    if program == "-c":
        exec(arguments[0], {"__name__": "__main__"})
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def start_server() -> None:
    "The process that the others are forked from, if there is none yet. It imports with one thread."
    CONTEXT.set_forkserver_preload(["launch_imports"])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ENV | {"PYTHONPATH": os.pathsep.join(map(str, sys.path))}).items():
            patch.setenv(name, value)
        multiprocessing.forkserver.ensure_running()


class Launched:
    "A process that runs, with the names of `subprocess.Popen`. What it prints goes to two files."

    def __init__(self, program: str, *arguments, **environment: str):
        start_server()
        self.folder = tempfile.TemporaryDirectory()
        self.out, self.err = (Path(self.folder.name) / name for name in ("stdout", "stderr"))
        own = dict(os.environ | ENV | environment)
        words = [str(a) for a in arguments]
        self.process = CONTEXT.Process(target=begin, args=(self.out, self.err, own, program, words))
        self.process.start()

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self, seconds: float = 300) -> "Launched":
        "Wait for its end."
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            pytest.fail(f"not done after {seconds} seconds: {self.stderr[-2000:]}")
        return self

    def terminate(self) -> None:
        "SIGTERM, as a scheduler sends it."
        self.process.terminate()

    def kill(self) -> None:
        "kill -9, and wait for the end."
        self.process.kill()
        self.wait()

    @property
    def returncode(self) -> int:
        return self.process.exitcode

    @property
    def stdout(self) -> str:
        return self.out.read_text() if self.out.exists() else ""

    @property
    def stderr(self) -> str:
        return self.err.read_text() if self.err.exists() else ""


def launch(program: str, *arguments, **environment: str) -> Launched:
    "A process from begin to end."
    return Launched(program, *arguments, **environment).wait()


def wait_for(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
