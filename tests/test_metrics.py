"""FVD from files: folders in and a record out, bad folders and bad weights named, files opened only when they are what they should be."""
import json, shutil, subprocess, sys
from dataclasses import replace

import pytest, torch
from PIL import Image

from fvdm.data import sha256
from fvdm.metrics import DETECTOR_FOLDER, I3D, PROTOCOLS, Protocol, Result, Statistics, frechet_distance, load_detector, load_protocol, main, measure, worlds_detector
from fvdm.worlds import clip, export

CLIPS = 84                                   # more than the detector's 77 features


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    "Videos of one world, and as many folders of frames of the same."
    root = tmp_path_factory.mktemp("videos")
    export("actions", root / "real", CLIPS, frames=20, size=64, progress=False)
    for i in range(CLIPS):
        (root / "fake" / f"{i:03}").mkdir(parents=True)
        for t, frame in enumerate(clip("actions", 900 + i, frames=16).transpose(0, 2, 3, 1)): Image.fromarray(frame).save(root / f"fake/{i:03}/{t:04}.png")
    return root


@pytest.fixture
def copy(folders, tmp_path):
    "The two folders, to be damaged."
    for name in ("real", "fake"): shutil.copytree(folders / name, tmp_path / name)
    return tmp_path


def refused(capsys, *arguments) -> str:
    with pytest.raises(SystemExit) as stop: main([str(a) for a in arguments])
    assert stop.value.code == 2
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_two_folders_to_a_record(folders, tmp_path):
    done = subprocess.run([sys.executable, "-m", "fvdm.metrics", folders / "real", folders / "fake", "--split", "none", "--json", tmp_path / "out/record.json", "--no-stills"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "FVD[worlds]" in done.stdout and "95%" in done.stdout and f"{CLIPS}/{CLIPS}" in done.stderr
    record = Result.from_json((tmp_path / "out/record.json").read_text())
    assert record.low <= record.value <= record.high and record.protocol.sha256 == sha256(DETECTOR_FOLDER / "model.safetensors")
    assert record.sets["real"]["files"] == f"{CLIPS} .avi" and record.sets["fake"]["files"] == f"{CLIPS} .png" and record.protocol.split == "none"
    assert json.loads((tmp_path / "out/record.json").read_text())["hash"] == record.protocol.hash


def test_memory_and_folder_agree(folders, copy):
    clips = [torch.from_numpy(clip("actions", 900 + i, frames=16)) for i in range(CLIPS)]
    how = dict(detector=worlds_detector(), progress=False, stills=False, resamples=10)
    assert measure(folders / "real", folders / "fake", **how).value == measure(folders / "real", clips, **how).value
    kept = measure(folders / "real", clips, save_real=copy / "real.safetensors", **how)
    assert measure(copy / "real.safetensors", folders / "fake", **how).value == kept.value


def test_seeds_give_a_spread(folders, capsys, tmp_path):
    main([str(folders / "real"), str(folders / "fake"), "--start", "random", "--seeds", "1", "2", "--no-stills", "--resamples", "10", "--json", str(tmp_path / "both.json")])
    assert "+-" in capsys.readouterr().out.splitlines()[-1]
    one, two = json.loads((tmp_path / "both.json").read_text())
    assert one["protocol"]["seed"] == 1 and two["protocol"]["seed"] == 2 and one["value"] != two["value"]


def test_bad_folders_are_named(copy, capsys):
    (copy / "empty").mkdir()
    assert "holds no video files" in refused(capsys, copy / "empty", copy / "fake")
    assert "must be an existing folder" in refused(capsys, copy / "real", copy / "none")
    assert "fake is missing" in refused(capsys, copy / "real")
    for late in ("0013", "0014", "0015"): (copy / f"fake/003/{late}.png").unlink()
    assert "1 fake videos are shorter than 16 frames, the first is 003 with 13" in refused(capsys, copy / "real", copy / "fake")
    shutil.rmtree(copy / "fake/003")
    video = sorted((copy / "real").rglob("*.avi"))[3]
    video.write_bytes(b"not a video")
    with pytest.warns(UserWarning, match="skipped 1 of 84 videos"): record = measure(copy / "real", copy / "fake", detector=worlds_detector(), progress=False, stills=False, resamples=10)
    assert record.sets["real"]["unreadable"] == 1 and record.sets["real"]["clips"] == CLIPS - 1 == record.sets["fake"]["clips"]
    Image.new("RGB", (32, 48)).save(copy / "fake/005/0004.png")
    assert "005" in refused(capsys, copy / "real", copy / "fake")


def test_too_few_clips_are_refused_with_the_rank(folders, copy, capsys):
    assert "60 clips for 77 features: the covariance is singular (rank 59 of 77" in refused(capsys, folders / "real", folders / "fake", "--clips", 60, "--no-stills")
    main([str(folders / "real"), str(folders / "fake"), "--clips", "60", "--no-stills", "--shrink", "ledoit-wolf", "--resamples", "10"])
    assert "FVD[worlds, ledoit-wolf]" in capsys.readouterr().out


def test_wrong_arguments_name_what_is_allowed(folders, capsys):
    real, fake = folders / "real", folders / "fake"
    assert "protocol is 'fvd', but may be one of: fvdm-default" in refused(capsys, real, fake, "--protocol", "fvd")
    assert "detector is 'vgg', but may be one of: worlds, i3d" in refused(capsys, real, fake, "--detector", "vgg")
    assert "start is 'late', but may be one of: first, middle, random" in refused(capsys, real, fake, "--start", "late")
    assert "resamples is 0, but an interval needs at least 10" in refused(capsys, real, fake, "--resamples", 0)
    assert "get" not in PROTOCOLS and "i3d_torchscript.pt from https://" in refused(capsys, real, fake, "--protocol", "styleganv")
    assert "frames are 64x64, but the protocol does not resize: they must be 256x256" in refused(capsys, real, fake, "--protocol", "styleganv", "--detector", "worlds")


class Sees(torch.nn.Module):
    "In the place of StyleGAN-V's file: it too takes bytes and resizes for itself."
    def forward(self, x, rescale: bool = False, resize: bool = False, return_features: bool = False):
        y = torch.nn.functional.adaptive_avg_pool3d(x.float() / 255., [4, 5, 5])
        return torch.cat([y.flatten(1), y.flatten(1).square()[:, :100]], 1) if rescale and resize and return_features else x[:, 0, 0, 0].float()


def test_torchscript_only_by_name_and_hash(folders, tmp_path, capsys):
    file = tmp_path / "i3d_torchscript.pt"
    torch.jit.script(Sees()).save(str(file))
    base = [folders / "real", folders / "fake", "--resolution", 64, "--shrink", "ledoit-wolf", "--no-stills", "--resamples", 10, "--protocol", "styleganv", "--weights", file]
    assert "is none of the published files" in refused(capsys, *base)
    assert f"has SHA-256 {sha256(file)}, but {'0' * 64} was asked for" in refused(capsys, *base, "--sha256", "0" * 64)
    assert "is not a state dict of I3D" in refused(capsys, *base, "--sha256", sha256(file), "--detector", "i3d")     # a program is not run where weights are asked for
    main([str(a) for a in (*base, "--sha256", sha256(file), "--json", tmp_path / "r.json")])
    record = Result.from_json((tmp_path / "r.json").read_text())
    assert record.name == "FVD[i3d, ledoit-wolf]" and record.protocol.sha256 == sha256(file) and record.protocol.detector == "i3d-torchscript"


class Trap:
    "A pickle that leaves a mark when it is opened."
    def __init__(self, mark): self.mark = mark
    def __reduce__(self): return open, (str(self.mark), "w")


def test_a_pickle_is_not_run(tmp_path):
    torch.save({"logits.conv3d.bias": Trap(tmp_path / "mark")}, tmp_path / "i3d_pretrained_400.pt")
    with pytest.raises(ValueError, match="none of the published"): load_detector("i3d", tmp_path / "i3d_pretrained_400.pt")
    with pytest.raises(ValueError, match="is not a state dict"): load_detector("i3d", tmp_path / "i3d_pretrained_400.pt", digest=sha256(tmp_path / "i3d_pretrained_400.pt"))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("name, eps", [("i3d_pretrained_400.pt", 1e-5), ("rgb_imagenet.pt", 1e-3)])
def test_state_dicts_go_with_their_code(tmp_path, name, eps):
    "Each file has the eps of the code that it was published with, and its own way to 224x224."
    torch.manual_seed(0)
    net = I3D(eps=eps).eval()
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm3d): m.running_var.uniform_(1e-4, 1e-2)
    torch.save(net.state_dict(), tmp_path / name)
    detector = load_detector("i3d", tmp_path / name, digest=sha256(tmp_path / name))
    video = torch.from_numpy(clip("figures", 0, frames=9, size=256))[None]
    pixels = video[..., 16:240, 16:240] if name == "rgb_imagenet.pt" else torch.nn.functional.interpolate(video[0].float(), (224, 224), mode="bilinear")[None]
    with torch.no_grad(): assert torch.allclose(detector(video), net(pixels), rtol=1e-4, atol=1e-5)


def test_statistics_of_two_processes_merge(tmp_path):
    code = "import sys, torch; from fvdm.metrics import *; i = int(sys.argv[1]); x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0)); save_statistics({'moving': Statistics(x[100 * i:100 * i + 100], keep=True)}, sys.argv[2], Protocol(), {})"
    code = code.replace("from fvdm.metrics import *", "from fvdm.metrics import Protocol, Statistics, save_statistics")
    for i in (0, 1): subprocess.run([sys.executable, "-c", code, str(i), tmp_path / f"{i}.safetensors"], check=True)
    from fvdm.metrics import load_statistics
    one, two = (load_statistics(tmp_path / f"{i}.safetensors", Protocol())[0]["moving"] for i in (0, 1))
    both, x = one.merge(two), torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    assert both.count == 200 and torch.allclose(both.scatter / 200, torch.cov(x.double().T, correction=0), atol=1e-12) and both.features.equal(x)
    with pytest.raises(ValueError, match="another protocol: stride_real is 1 and 3"): load_statistics(tmp_path / "0.safetensors", replace(Protocol(), stride_real=3))


def test_named_protocols_hold_the_facts():
    "What docs and papers disagree on, line by line."
    p = load_protocol("latte-sky")
    assert (p.stride_real, p.stride_fake, p.clips, p.frames, p.resolution, p.store_fake, p.ddof) == (3, 1, 2048, 16, 256, "mp4+jpeg75", 0)
    assert load_protocol("styleganv").stride_real == 1 and load_protocol("styleganv").videos == "first" and load_protocol("latte-taichi-97.09").stride_real == 6
    assert load_protocol("fvdm").store_fake == "jpeg75" and load_protocol("videogpt").ddof == 1 and load_protocol("cd-fvd").resize == "bilinear-antialias-truncated"
    assert len({p.hash for p in PROTOCOLS.values()}) == len(set(PROTOCOLS.values()))


def test_the_shipped_detector_is_what_its_card_says():
    card = json.loads((DETECTOR_FOLDER / "card.json").read_text())
    assert (DETECTOR_FOLDER / "model.safetensors").stat().st_size < 3e6
    assert {"data", "steps", "seed", "seconds", "device", "commit", "held_out"} <= set(card) and "+changes" not in card["commit"]
    features = torch.cat([worlds_detector()(torch.from_numpy(clip(w, i, 102))[None]) for w in ("faces", "sky", "actions", "figures") for i in range(12)])
    assert features.shape[1] == card["features"] and .3 < features.square().mean() < 3          # white, about


def test_frechet_distance_takes_rows_as_they_come():
    "The name that other tools call: (n, d) and (m, d), any order, any dtype."
    a, b = torch.randn(90, 5), torch.randn(80, 5)
    assert frechet_distance(a.half(), b.half()) == pytest.approx(frechet_distance(a.half().double(), b.half().double()))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a)) == pytest.approx(frechet_distance(a.numpy(), b[torch.randperm(80)].numpy()))
    assert isinstance(frechet_distance(a, b), float) and Statistics(a).mean.dtype == torch.float64
