"""Files that were damaged at random: a named error or a usable result; never a crash, a hang, or code of the file's.

Each kind of file is damaged by a seeded mutator and read in a process of its own, a minute in all.
FVDM_MUTANTS=1000 for a long attack.
"""

import faulthandler
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

MUTANTS = int(os.environ.get("FVDM_MUTANTS", 70))  # in all
SECONDS = 60  # for one file
KINDS = (
    "mp4",
    "avi",
    "gif",
    "webp",
    "png",
    "jpg",
    "latents",
    "manifest",
    "network",
    "card",
    "codec",
    "statistics",
    "pt",
)


def write_seed(kind: str, folder: Path) -> Path:
    "A whole file of a kind, and what belongs to it, in a folder; the file that will be damaged."
    import torch
    from PIL import Image

    from fvdm.codecs import CODEC_FOLDER
    from fvdm.files import sha256
    from fvdm.media import save_video, write_video
    from fvdm.metrics import DETECTOR_FOLDER
    from fvdm.networks import network_folder
    from fvdm.worlds import clip

    frames = clip("faces", 3, frames=12, size=32)
    file = folder / f"seed.{kind}"
    if kind in ("mp4", "avi"):
        write_video(frames, file)
    elif kind in ("gif", "webp"):
        save_video(torch.from_numpy(frames), file)
    elif kind in ("png", "jpg"):
        Image.fromarray(frames[0].transpose(1, 2, 0)).save(file)
    elif kind in ("latents", "manifest"):
        from fvdm.codecs import Identity
        from fvdm.data import encode, open_dataset

        encode(open_dataset("sky", frames=2, size=8), Identity(), 3, folder, progress=False)
        file = folder / ("manifest.json" if kind == "manifest" else "shard-00000.safetensors")
    elif kind in ("network", "card"):
        shutil.copytree(network_folder("faces"), folder, dirs_exist_ok=True)
        file = folder / ("model.safetensors" if kind == "network" else "config.json")
    elif kind == "codec":
        shutil.copytree(CODEC_FOLDER, folder, dirs_exist_ok=True)
        file = folder / "config.json"
    elif kind == "statistics":
        shutil.copy(DETECTOR_FOLDER / "model.safetensors", file)
    else:
        torch.save({"logits.conv3d.weight": torch.zeros(4, 4)}, file)
        (folder / "sha256").write_text(sha256(file))
    return file


def read(kind: str, file: Path) -> None:
    "What the library does with a file of a kind."
    from fvdm.codecs import load_codec
    from fvdm.data import Latents, as_frames
    from fvdm.files import sha256
    from fvdm.metrics import load_detector, load_protocol, load_statistics
    from fvdm.networks import load_network

    if kind in ("mp4", "avi", "gif", "webp", "png", "jpg"):
        frames = as_frames(file, 32)
        assert frames.ndim == 4 and frames.shape[1:] == (3, 32, 32) and 1 <= len(frames) <= 13
    elif kind in ("latents", "manifest"):
        latents = Latents(file.parent)
        latents.take(range(len(latents)))
    elif kind in ("network", "card"):
        load_network(file.parent)
    elif kind == "codec":
        load_codec(file.parent)
    elif kind == "statistics":
        load_statistics(file, load_protocol())
    else:
        load_detector("i3d", file, "cpu", sha256(file))


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    "Bytes flipped, cut off, left out, doubled, or overwritten."
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        where, length = int(rng.integers(len(data))), int(rng.integers(1, 64))
        what = rng.integers(6)
        if what == 0:
            data[where] ^= 1 << int(rng.integers(8))
        elif what == 1:
            del data[max(where, 1) :]
        elif what == 2 and len(data) > length + 1:
            del data[where : where + length]
        elif what == 3:
            data[where:where] = data[where : where + length]
        elif what == 4:
            data[where : where + length] = bytes([int(rng.choice([0, 255]))]) * len(data[where : where + length])
        else:
            data[where : where + length] = rng.integers(0, 256, len(data[where : where + length]), np.uint8).tobytes()
    return bytes(data)


def attack(kind: str, count: int, folder: Path) -> dict[str, int]:
    "Read so many mutants of a kind; how many were read, and how many refused. Anything else is raised."
    outcome = {"read": 0, "refused": 0}
    seed = write_seed(kind, folder)
    whole, rng = seed.read_bytes(), np.random.default_rng(KINDS.index(kind))
    read(kind, seed) if kind not in ("statistics", "pt") else None
    signal.signal(signal.SIGALRM, lambda *_: faulthandler.dump_traceback() or os._exit(99))
    for i in range(count):
        seed.write_bytes(mutated(whole, rng))
        print(f"{kind} {i}", flush=True)
        signal.alarm(SECONDS)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read(kind, seed)
            outcome["read"] += 1
        except (ValueError, OSError) as error:
            assert str(error), f"{kind} {i}: {error!r} says nothing"
            outcome["refused"] += 1
        finally:
            signal.alarm(0)
    return outcome


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_read_or_refused(kind, tmp_path):
    code = "import sys, json; from pathlib import Path; from test_mutated_files import attack; "
    code += "print(json.dumps(attack(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))"
    count = max(1, MUTANTS // len(KINDS))
    words = [sys.executable, "-X", "faulthandler", "-c", code, kind, str(count), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.returncode == 0, f"{done.stdout[-300:]}\n{done.stderr[-3000:]}"
    outcome = json.loads(done.stdout.splitlines()[-1])
    print(kind, outcome)
    assert sum(outcome.values()) == count


class Burglar:
    "Pickled, it runs a command when it is loaded."

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("name", ["model.safetensors", "weights.pt"])
def test_no_code_of_a_file_runs(name, tmp_path):
    import torch

    from fvdm.metrics import load_detector
    from fvdm.networks import load_network, network_folder

    trace = tmp_path / "trace"
    if name == "model.safetensors":  # a pickle under another name
        shutil.copy(network_folder("faces") / "config.json", tmp_path)
        (tmp_path / name).write_bytes(pickle.dumps({"x": Burglar(trace)}))
        with pytest.raises(ValueError):
            load_network(tmp_path)
    else:
        from fvdm.files import sha256

        torch.save({"x": Burglar(trace)}, tmp_path / name)
        with pytest.raises(ValueError, match="is not a state dict"):
            load_detector("i3d", tmp_path / name, "cpu", sha256(tmp_path / name))
    assert not trace.exists()
