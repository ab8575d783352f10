"""Opening a large video model holds its weights once, whatever the size of its files and their precision."""

import json
import subprocess
import sys

import pytest
import torch

from conftest import ROOT

CHILD = """
import json, sys
from pathlib import Path
import torch
from fvdm.backbones import open_backbone
from fvdm.tasks.folders import load_transformer

def held():
    "Resident memory now and at its peak, MiB."
    rows = dict(line.split(":") for line in open("/proc/self/status"))
    return [int(rows[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM")]

open_backbone(sys.argv[1])  # a tiny one: all modules are imported
before, _ = held()
if sys.argv[3] == "half":  # as a pipeline opens it
    net = load_transformer(Path(sys.argv[2]), torch.device("cpu"), torch.bfloat16)
else:
    net = open_backbone(sys.argv[2])
size = sum(p.numel() * p.element_size() for p in net.parameters()) / 2**20
print(json.dumps({"size": size, "peak": held()[1] - before}))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    "A tiny model, and one of 32M parameters in float32, in files of which the largest is half of it."
    from fvdm.backbones import tiny_backbone

    place = tmp_path_factory.mktemp("models")
    larger = {"num_attention_heads": 8, "attention_head_dim": 64, "ffn_dim": 2048, "num_layers": 7, "text_dim": 512}
    tiny_backbone("WanTransformer3DModel").save_pretrained(place / "tiny")
    tiny_backbone("WanTransformer3DModel", **larger).save_pretrained(place / "larger", max_shard_size="60MB")
    return place


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("precision", ["as stored", "half"])
def test_opening_holds_one_copy(folders, precision):
    command = [sys.executable, "-c", CHILD, str(folders / "tiny"), str(folders / "larger"), precision]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["size"] > (50 if precision == "half" else 100)
    assert found["peak"] < 1.15 * found["size"] + 24, found  # 24: the largest tensor and Python's own


def test_a_lora_is_put_in_and_taken_out():
    "Adapters of diffusers' kind change what a vectorized model gives, by frame, and leave it as it was when removed."
    from fvdm.backbones import tiny_backbone, vectorize
    from fvdm.runtime import patch_torchvision

    patch_torchvision()  # which peft imports by way of transformers
    peft = pytest.importorskip("peft")

    torch.manual_seed(0)
    net = vectorize(tiny_backbone("WanTransformer3DModel"))
    x, t, y = torch.randn(2, 5, 4, 8, 8), torch.rand(2, 5) * 1000, torch.randn(2, 6, 16)
    with torch.no_grad():
        before = net(x, t, y)
        config = peft.LoraConfig(r=2, target_modules=["to_q", "to_out.0"], init_lora_weights=False)
        net.model.add_adapter(config)
        adapted, scalar = net(x, t, y), net.model(x.transpose(1, 2), t[:, 0], y).sample.transpose(1, 2)
        assert (adapted - before).abs().max() > 1e-3
        assert torch.allclose(net(x, t[:, 0], y), scalar, atol=1e-5)
        net.model.delete_adapters("default")
        assert torch.allclose(net(x, t, y), before, atol=1e-6)
