"""A Slurm of one node on this machine: munged, slurmctld and slurmd, for tests. Nothing of it is left when it ends.

Debian: apt-get install slurm-wlm munge. It needs root, which slurmd starts jobs as.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CalledProcessError

WITH_US = ["setpriv", "--pdeathsig", "TERM"]  # nothing outlives who started it
PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=2
KillWait=30
NodeName={host} NodeAddr=127.0.0.1 CPUs=1 State=UNKNOWN
PartitionName=tiny Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    "Why there can be no Slurm here; empty: there can."
    programs = [p for p in ("munged", "slurmctld", "slurmd", "sbatch", "srun") if not shutil.which(p, path=PATH)]
    if programs:
        return f"needs Slurm ({', '.join(programs)} not found; Debian: apt-get install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "needs root, to start Slurm's node"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, seconds: float = 30, every: float = 0.1):
    "The first answer that is true. Raises TimeoutError."
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := what():
            return answer
        time.sleep(every)
    raise TimeoutError(f"not within {seconds} seconds")


def slurm(*command: str, check: bool = True) -> str:
    "What a command of Slurm prints."
    return subprocess.run(command, check=check, capture_output=True, text=True).stdout


def hurry() -> None:
    "Let requeued jobs begin now, and not after the two minutes that Slurm gives a node to recover."
    for line in slurm("squeue", "-h", "-r", "-o", "%i %r").splitlines():
        if line.endswith("BeginTime"):
            slurm("scontrol", "update", f"JobId={line.split()[0]}", "StartTime=now", check=False)


def node_is(*states: str) -> bool:
    done = subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True)
    return done.stdout.strip() in states


@contextmanager
def one_node(folder: Path) -> Iterator[Path]:
    "Slurm with one node of one CPU runs while the block does; SLURM_CONF says where."
    for name in ("state", "spool", "unshared"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    key, file = folder / "munge.key", folder / "slurm.conf"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    host = socket.gethostname().partition(".")[0]
    file.write_text(CONFIGURATION.format(folder=folder, host=host, controller=free_port(), node=free_port()))
    munge = {name: folder / f"munge.{name}" for name in ("socket", "log", "seed")}
    options = [f"--{'seed' if n == 'seed' else n}{'-file' if n != 'socket' else ''}={f}" for n, f in munge.items()]
    # the node sees another folder than we do under the name unshared
    private = f"mount -t tmpfs none {folder}/unshared && exec slurmd -D -f {file}"
    commands = [
        ["munged", "--foreground", "--force", f"--key-file={key}", f"--pid-file={folder}/munged.pid", *options],
        ["slurmctld", "-D", "-c", "-f", str(file)],
        ["unshare", "--mount", "sh", "-c", private],
    ]
    started, before = [], {name: os.environ.get(name) for name in ("SLURM_CONF", "PATH")}
    os.environ |= {"SLURM_CONF": str(file), "PATH": PATH}
    try:
        for command in commands:
            with open(folder / f"{command[0]}.out", "w") as out:
                started.append(subprocess.Popen([*WITH_US, *command], stdout=out, stderr=out, start_new_session=True))
            if command[0] == "munged":
                wait_for(munge["socket"].exists)
        wait_for(lambda: node_is("idle"))
        yield folder
    finally:
        subprocess.run(["scancel", "--user=root", "--signal=KILL"], capture_output=True)
        subprocess.run(["scancel", "--user=root"], capture_output=True)
        try:
            wait_for(lambda: not slurm("squeue", "-h"), 10)
        except (TimeoutError, CalledProcessError):
            pass
        for process in reversed(started):
            process.terminate()
            process.wait(20)
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place, one_node(Path(place) / "slurm") as folder:
        print(f"export SLURM_CONF={folder}/slurm.conf PATH=$PATH:/usr/sbin    # until Ctrl-C", flush=True)
        time.sleep(1e6)
