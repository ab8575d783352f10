"""FVD from files: folders in and a record out; bad folders and weights are named; only the right files are opened."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from fvdm.cli import main
from fvdm.data import open_dataset
from fvdm.files import sha256
from fvdm.media import write_video
from fvdm.metrics import (
    DETECTOR_FOLDER,
    I3D,
    PROTOCOLS,
    Protocol,
    Result,
    Statistics,
    frechet_distance,
    load_detector,
    load_protocol,
    load_statistics,
    measure,
    repeat,
    summarize_seeds,
    worlds_detector,
)
from fvdm.worlds import WORLDS, clip, export

CLIPS = 84  # more than the detector's 77 features
BRIEF = {"progress": False, "stills": False, "resamples": 10}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    "Videos of one world, and as many folders of frames of the same."
    root = tmp_path_factory.mktemp("videos")
    export("actions", root / "real", CLIPS, frames=20, size=64, progress=False)
    for i in range(CLIPS):
        (root / "fake" / f"{i:03}").mkdir(parents=True)
        for t, frame in enumerate(clip("actions", 900 + i, frames=16).transpose(0, 2, 3, 1)):
            Image.fromarray(frame).save(root / f"fake/{i:03}/{t:04}.png")
    return root


@pytest.fixture(scope="module")
def measured(folders):
    "The record of the two folders, and the file that keeps the real set's statistics."
    file = folders / "real.safetensors"
    protocol = load_protocol(split="none")
    return measure(folders / "real", folders / "fake", protocol, save_real=file, **BRIEF), file


@pytest.fixture
def copy(folders, tmp_path):
    "The two folders, to be damaged."
    for name in ("real", "fake"):
        shutil.copytree(folders / name, tmp_path / name)
    return tmp_path


def refused(real, fake, protocol=None, **options) -> str:
    "What `measure` says when it refuses."
    with pytest.raises(ValueError) as error:
        measure(real, fake, protocol or load_protocol(), **BRIEF | options)
    return str(error.value)


def test_two_folders_to_a_record(measured):
    record = Result.from_json(measured[0].to_json())
    assert record == measured[0]
    assert record.low <= record.value <= record.high
    assert record.protocol.sha256 == sha256(DETECTOR_FOLDER / "model.safetensors")
    assert record.protocol.split == "none"
    assert record.sets["real"]["files"] == f"{CLIPS} .avi"
    assert record.sets["fake"]["files"] == f"{CLIPS} .png"
    assert json.loads(record.to_json())["hash"] == record.protocol.hash
    assert "FVD[worlds]" in record.table() and "95%" in record.table()


def test_a_record_has_plain_keys(measured):
    data = json.loads(measured[0].to_json())
    keys = [*data, *data["others"], *data["sets"], *data["sets"]["real"], *data["protocol"], *data["provenance"]]
    assert all(k.isidentifier() for k in keys), keys
    assert data["protocol"]["root"] == "eigenvalues", "the key that kept results have"


def test_memory_and_folder_agree(folders, measured):
    clips = [torch.from_numpy(clip("actions", 900 + i, frames=16)) for i in range(CLIPS)]
    record, kept = measured
    assert measure(folders / "real", clips, load_protocol(split="none"), **BRIEF).value == record.value
    assert measure(kept, folders / "fake", load_protocol(split="none"), **BRIEF).value == record.value


def test_seeds_are_summarized(folders):
    protocol = load_protocol(start="random")
    one, two = repeat(folders / "real", folders / "fake", (1, 2), protocol, **BRIEF)
    assert one.protocol.seed == 1 and two.protocol.seed == 2 and one.value != two.value
    assert "+-" in summarize_seeds([one, two])


def test_bad_folders_are_named(copy):
    real, fake = copy / "real", copy / "fake"
    (copy / "empty").mkdir()
    assert "holds no video files" in refused(copy / "empty", fake)
    assert "must be an existing folder" in refused(real, copy / "none")
    for late in ("0013", "0014", "0015"):
        (fake / f"003/{late}.png").unlink()
    assert "1 fake videos are shorter than 16 frames: 003 with 13" in refused(real, fake)
    shutil.rmtree(fake / "003")
    video = sorted(real.rglob("*.avi"))[3]
    video.write_bytes(b"not a video")
    kept = copy / "kept.safetensors"
    with pytest.warns(UserWarning, match="skipped 1 of 84 videos"):
        record = measure(real, fake, save_real=kept, **BRIEF)
    assert record.sets["real"]["unreadable"] == 1
    assert record.sets["real"]["clips"] == CLIPS - 1 == record.sets["fake"]["clips"]
    Image.new("RGB", (32, 48)).save(fake / "005/0004.png")
    assert "005" in refused(kept, fake)


def test_too_few_clips_are_refused_with_the_rank(folders):
    real, fake = folders / "real", folders / "fake"
    few = load_protocol(clips=60)
    kept = folders / "sixty.safetensors"
    message = refused(real, fake, few, save_real=kept)
    assert "60 clips for 77 features: the covariance is singular (rank 59 of 77" in message
    assert measure(kept, fake, replace(few, shrink="ledoit-wolf"), **BRIEF).name == "FVD[worlds, ledoit-wolf]"


def test_wrong_arguments_name_what_is_allowed(folders):
    real, fake = folders / "real", folders / "fake"
    for change, says in {
        ("detector", "vgg"): "detector is 'vgg', but may be one of: worlds, i3d",
        ("start", "late"): "start is 'late', but may be one of: first, middle, random",
    }.items():
        with pytest.raises(ValueError, match=says):
            load_protocol(**dict([change]))
    assert "protocol is 'fvd', but may be one of: fvdm-default" in refused(real, fake, "fvd")
    assert "resamples is 0, but an interval needs at least 10" in refused(real, fake, resamples=0)
    assert "get" not in PROTOCOLS and "i3d_torchscript.pt from https://" in refused(real, fake, "styleganv")
    size = refused(real, fake, "styleganv", detector=worlds_detector())
    assert "frames are 64x64, but the protocol does not resize: they must be 256x256" in size


class Sees(torch.nn.Module):
    "In the place of StyleGAN-V's file: it too takes bytes and resizes for itself."

    def forward(self, x, rescale: bool = False, resize: bool = False, return_features: bool = False):
        y = torch.nn.functional.adaptive_avg_pool3d(x.float() / 255.0, [4, 5, 5])
        if rescale and resize and return_features:
            return torch.cat([y.flatten(1), y.flatten(1).square()[:, :100]], 1)
        return x[:, 0, 0, 0].float()


def test_torchscript_only_by_name_and_hash(folders, tmp_path):
    file = tmp_path / "i3d_torchscript.pt"
    torch.jit.script(Sees()).save(str(file))
    for name, digest, says in (
        ("i3d-torchscript", None, "is none of the published files"),
        ("i3d-torchscript", "0" * 64, f"has SHA-256 {sha256(file)}, but {'0' * 64} was asked for"),
        ("i3d", sha256(file), "is not a state dict of I3D"),  # a program is not run where weights are asked for
    ):
        with pytest.raises(ValueError, match=says):
            load_detector(name, file, digest=digest)
    detector = load_detector("i3d-torchscript", file, digest=sha256(file))
    protocol = load_protocol("styleganv", resolution=64, shrink="ledoit-wolf")
    record = measure(folders / "real", folders / "fake", protocol, detector, **BRIEF)
    assert record.name == "FVD[i3d, ledoit-wolf]"
    assert record.protocol.sha256 == sha256(file) and record.protocol.detector == "i3d-torchscript"


class Trap:
    "A pickle that leaves a mark when it is opened."

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


def test_a_pickle_is_not_run(tmp_path):
    file = tmp_path / "i3d_pretrained_400.pt"
    torch.save({"logits.conv3d.bias": Trap(tmp_path / "mark")}, file)
    with pytest.raises(ValueError, match="none of the published"):
        load_detector("i3d", file)
    with pytest.raises(ValueError, match="is not a state dict"):
        load_detector("i3d", file, digest=sha256(file))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("name, eps", [("i3d_pretrained_400.pt", 1e-5), ("rgb_imagenet.pt", 1e-3)])
def test_state_dicts_go_with_their_code(tmp_path, name, eps):
    "Each file has the eps of the code that it was published with, and its own way to 224x224."
    torch.manual_seed(0)
    net = I3D(eps=eps).eval()
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm3d):
            m.running_var.uniform_(1e-4, 1e-2)
    torch.save(net.state_dict(), tmp_path / name)
    detector = load_detector("i3d", tmp_path / name, digest=sha256(tmp_path / name))
    video = torch.from_numpy(clip("figures", 0, frames=9, size=256))[None]
    squeezed = torch.nn.functional.interpolate(video[0].float(), (224, 224), mode="bilinear")[None]
    pixels = video[..., 16:240, 16:240] if name == "rgb_imagenet.pt" else squeezed
    with torch.no_grad():
        assert torch.allclose(detector(video), net(pixels), rtol=1e-4, atol=1e-5)


HALF = """
import sys, torch
from fvdm.metrics import Protocol, Statistics, save_statistics
i = int(sys.argv[1])
x = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
save_statistics({"moving": Statistics(x[100 * i : 100 * i + 100], keep=True)}, sys.argv[2], Protocol(), {})
"""


def test_statistics_of_two_processes_merge(tmp_path):
    files = [tmp_path / f"{i}.safetensors" for i in (0, 1)]
    running = [subprocess.Popen([sys.executable, "-c", HALF, str(i), file]) for i, file in enumerate(files)]
    assert [process.wait() for process in running] == [0, 0]
    one, two = (load_statistics(file, Protocol())[0]["moving"] for file in files)
    both, x = one.merge(two), torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    assert both.count == 200 and both.features.equal(x)
    assert torch.allclose(both.scatter / 200, torch.cov(x.double().T, correction=0), atol=1e-12)
    with pytest.raises(ValueError, match="another protocol: stride_real is 1 and 3"):
        load_statistics(files[0], replace(Protocol(), stride_real=3))


def test_named_protocols_hold_the_facts():
    "What docs and papers disagree on, field by field."
    p = load_protocol("latte-sky")
    assert (p.stride_real, p.stride_fake, p.clips, p.frames, p.resolution) == (3, 1, 2048, 16, 256)
    assert (p.store_fake, p.ddof) == ("mp4+jpeg75", 0)
    assert load_protocol("styleganv").stride_real == 1
    assert load_protocol("styleganv").videos == "first"
    assert load_protocol("latte-taichi-97.09").stride_real == 6
    assert load_protocol("fvdm").store_fake == "jpeg75"
    assert load_protocol("videogpt").ddof == 1
    assert load_protocol("cd-fvd").resize == "bilinear-antialias-truncated"
    assert len({p.hash for p in PROTOCOLS.values()}) == len(set(PROTOCOLS.values()))


def test_hashes_of_protocols_stay():
    "Kept results name their protocol by its hash."
    assert {name: p.hash for name, p in PROTOCOLS.items()} == {
        "fvdm-default": "e99a58b8",
        "fvdm-i3d": "2ba29883",
        "styleganv": "1362bf77",
        "latte-sky": "d4b84163",
        "latte-faceforensics": "d4b84163",
        "latte-ucf101": "d4b84163",
        "latte-taichi": "d4b84163",
        "latte-taichi-97.09": "84d233d7",
        "fvdm": "6b8e3817",
        "cd-fvd": "664ef6c2",
        "videogpt": "e406c2ac",
    }
    kept = json.loads(Protocol().to_json())
    assert "root" in kept and "matrix_sqrt" not in kept
    assert Protocol.from_dict(kept) == Protocol()


def test_the_shipped_detector_is_what_its_card_says():
    card = json.loads((DETECTOR_FOLDER / "card.json").read_text())
    assert (DETECTOR_FOLDER / "model.safetensors").stat().st_size < 3e6
    assert {"data", "steps", "seed", "seconds", "device", "commit", "held_out"} <= set(card)
    assert "+changes" not in card["commit"]
    clips = [torch.from_numpy(clip(world, i, 102)) for world in WORLDS for i in range(12)]
    features = worlds_detector()(torch.stack(clips))
    assert features.shape[1] == card["features"]
    assert 0.3 < features.square().mean() < 3  # white, about


def test_frechet_distance_takes_rows_as_they_come():
    "The name that other tools call: (n, d) and (m, d), any order, any dtype."
    a, b = torch.randn(90, 5), torch.randn(80, 5)
    assert frechet_distance(a.half(), b.half()) == pytest.approx(frechet_distance(a.half().double(), b.half().double()))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(a.numpy(), b[torch.randperm(80)].numpy()))
    assert isinstance(frechet_distance(a, b), float) and Statistics(a).mean.dtype == torch.float64


FEW = load_protocol(frames=9, resolution=32, shrink="ledoit-wolf")  # six clips are enough for a distance


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    "Six real films and six generated ones, 16 frames each."
    root = tmp_path_factory.mktemp("six")
    for stream, name in enumerate(("real", "fake")):
        (root / name).mkdir()
        for i in range(6):
            write_video(clip("sky", i, stream, 16, 32), root / f"{name}/{i}.mp4", 10)
    return root


@pytest.fixture
def sides(six, tmp_path):
    "A copy of them, to be damaged."
    shutil.copytree(six, tmp_path, dirs_exist_ok=True)
    return tmp_path / "real", tmp_path / "fake"


def copied(real, fake):
    shutil.copy(real / "3.mp4", fake / "sample.mp4")


def linked(real, fake):
    (fake / "sample.mp4").symlink_to(real / "3.mp4")


def hard_linked(real, fake):
    os.link(real / "3.mp4", fake / "sample.mp4")


def folder_linked(real, fake):
    (fake / "more").symlink_to(real)


def samples_in_data(real, fake):
    shutil.copytree(fake, real / "samples")


def data_in_samples(real, fake):
    shutil.copytree(real, fake / "data")


@pytest.mark.parametrize(
    "share", [copied, linked, hard_linked, folder_linked, samples_in_data, data_in_samples], ids=lambda f: f.__name__
)
def test_sides_that_share_videos_are_refused(sides, share):
    "Samples that lie among the data make the distance too small."
    real, fake = sides
    share(real, fake)
    message = refused(real, fake, FEW)
    assert "is one of the real videos too" in message and "allow_shared" in message
    assert message.count(".mp4") == 2 and "\n" not in message  # the video and its double
    record = measure(real, fake, FEW, **BRIEF, allow_shared=True)
    assert record.sets["fake"]["shared"] == (1 if share in (copied, linked, hard_linked) else 6)


def test_a_folder_against_itself_is_refused(six):
    assert "is one of the real videos too" in refused(six / "real", six / "real", FEW)
    assert "is one of the real videos too" in refused(six, six / "fake", FEW)
    films = open_dataset("folder", six / "real", 16, size=32)
    assert "is one of the real videos too" in refused(films, six, FEW)


def test_folders_of_the_same_frames_are_refused(sides):
    real, fake = (side / "frames" for side in sides)
    for folder, first in ((real, 0), (fake, 50)):
        for i in range(6):
            (folder / f"{i}").mkdir(parents=True)
            for t, frame in enumerate(clip("sky", first + i, 0, 16, 32).transpose(0, 2, 3, 1)):
                Image.fromarray(frame).save(folder / f"{i}/{t:02}.png")
    shutil.copy(real / "0/00.png", fake / "0/00.png")  # a first frame that was given is no shared video
    assert "shared" not in measure(real, fake, FEW, **BRIEF).sets["fake"]
    shutil.copytree(real / "2", fake / "sample")
    assert "fake/frames/sample is one of the real videos too" in refused(real, fake, FEW)


def remux(source, target):
    "The same packets in another container."
    with av.open(str(source)) as film, av.open(str(target), "w") as out:
        stream = film.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in film.demux(stream):
            if packet.size:
                packet.stream = copy
                out.mux(packet)


def test_the_same_film_in_another_container_is_refused(sides):
    real, fake = sides
    kept = real.parent / "kept.safetensors"
    measure(real, fake, FEW, **BRIEF, save_real=kept)
    remux(real / "3.mp4", fake / "sample.mkv")
    for one in (real, kept):
        message = refused(one, fake, FEW)
        assert "sample.mkv is one of the real videos too" in message and "3.mp4" in message
    assert measure(real, fake, FEW, **BRIEF, allow_shared=True).sets["fake"]["shared"] == 1


def test_tensors_that_lie_on_both_sides_are_refused(six):
    data = open_dataset("folder", six / "real", 9, size=32, train=False)
    decoded = [data[i]["video"] for i in range(6)]  # the middle clips, as they are measured
    others = [torch.from_numpy(clip("sky", i, 7, 16, 32)) for i in range(6)]
    for fake in ([*others, decoded[3]], iter([*others, decoded[3]])):
        message = refused(six / "real", fake, FEW)
        assert "fake video number 6 is one of the real videos too" in message and "3.mp4" in message
    plain = measure([v.float().byte() for v in others], decoded, FEW, **BRIEF)
    assert "shared" not in plain.sets["fake"]


def test_kept_statistics_know_their_videos(sides):
    real, fake = sides
    kept = real.parent / "kept.safetensors"
    record = measure(real, fake, FEW, **BRIEF, save_real=kept)
    assert "contents" not in record.sets["real"]
    assert measure(kept, fake, FEW, **BRIEF).sets == record.sets
    (fake / "sample.mp4").symlink_to(real / "3.mp4")
    assert "fake/sample.mp4 is one of the real videos too (there 3.mp4)" in refused(kept, fake, FEW)


def test_a_record_says_what_was_measured(sides):
    "Native sizes, counts by suffix, and what was left out and why, on both sides."
    real, fake = sides
    write_video(clip("sky", 9, 0, 16, 64), real / "large.avi", 10)
    write_video(clip("sky", 9, 0, 5, 32), real / "short.mp4", 10)
    (real / "labels.txt").touch()
    write_video(np.concatenate([clip("sky", 9, 1, 16, 32)] * 3, 3), fake / "sheet.mp4", 10)
    (fake / "prompts.json").touch()
    record = measure(real, fake, FEW, **BRIEF)
    found = {role: json.loads(record.to_json())["sets"][role] for role in ("real", "fake")}
    assert found["real"]["sizes"] == "6 of 32x32; 1 of 64x64, the first large.avi"
    assert found["real"]["files"] == "6 .mp4, 1 .avi"
    assert found["real"]["left_out"] == [
        {"reason": "shorter than 9 frames", "count": 1, "names": ["short.mp4"]},
        {"reason": "other files: .txt", "count": 1, "names": []},
    ]
    assert found["fake"]["sizes"] == "6 of 32x32; 1 of 96x32, the first sheet.mp4"
    assert found["fake"]["left_out"] == [{"reason": "other files: .json", "count": 1, "names": []}]
    for words in ("1 of 96x32, the first sheet.mp4", "1 shorter than 9 frames (short.mp4)", "1 other files: .json"):
        assert words in record.table()
    assert "real video large.avi: frames are 64x64" in refused(real, fake, replace(FEW, resize="none"))


def test_which_set_has_too_few_clips(six):
    sides = six / "real", six / "fake"
    assert "real set: 6 clips for 77 features" in refused(*sides, replace(FEW, shrink="none"))
    clips = [torch.from_numpy(clip("actions", i, frames=9, size=32)) for i in range(90)]
    assert "fake set: 6 clips for 77 features" in refused(clips, six / "fake", replace(FEW, shrink="none"))
    assert "fake set: root is" in refused(six / "real", six / "none", FEW)


def test_names_that_a_terminal_cannot_hold(sides):
    "No error after all the work: the table, the record and the statistics are there."
    real, fake = sides
    odd = os.fsdecode(os.fsencode(real.parent) + b"/caf\xe9 \xc3\xa9")
    shutil.copytree(real, odd)
    os.rename(f"{odd}/0.mp4", os.fsdecode(os.fsencode(odd) + b"/z\xff.mp4"))
    write_video(clip("sky", 9, 0, 5, 32), real / "short.mp4", 10)
    os.rename(real / "short.mp4", os.fsdecode(os.fsencode(odd) + b"/short\xff.mp4"))
    words = [odd, fake, "--json", f"{odd}/record.json", "--save-real", f"{odd}/real.safetensors", "--frames", "9"]
    words += ["--resolution", "32", "--shrink", "ledoit-wolf", "--resamples", "10", "--no-stills"]
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    run = subprocess.run([sys.executable, "-m", "fvdm.metrics", *words], env=env, capture_output=True)
    assert run.returncode == 0, run.stderr
    assert b"folder caf\\udce9 " in run.stdout and b"short\\udcff.mp4" in run.stdout
    record = Result.from_json((Path(odd) / "record.json").read_text())
    assert record.sets["real"]["clips"] == 6
    assert measure(Path(odd) / "real.safetensors", fake, FEW, **BRIEF).value == pytest.approx(record.value)


def test_what_cannot_be_written_is_found_before_the_work(six, monkeypatch, capsys):
    def never(*_, **__):
        raise AssertionError("measured, although nothing can be kept")

    monkeypatch.setattr(sys.modules["fvdm.metrics.measure"], "gather", never)
    sides = [str(six / "real"), str(six / "fake")]
    taken = six / "real/0.mp4"
    for place, flags in {
        f"{taken}/record.json": ["--json"],
        f"{six}/{'n' * 300}.json": ["--json"],
        f"{six}": ["--json"],
        f"{taken}/a.safetensors": ["--save-real"],
        f"{six}/statistics.pt": ["--save-real"],
    }.items():
        assert main(["fvd", *sides, *flags, place]) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1 and place in message and flags[0][2:].replace("-", "_") in message


def stray_names(record, role="fake") -> list[str]:
    return [name for row in record.sets[role]["left_out"] for name in row["names"]]


def test_pictures_beside_videos_do_not_count(six, sides):
    "Thumbnails and a sheet of samples: the same clips and the same distance, and the record names them."
    picture = Image.fromarray(clip("sky", 0, 1, 1, 32)[0].transpose(1, 2, 0))
    for side in sides:
        for i in range(6):
            picture.save(side / f"{i}.png")
    picture.save(sides[1] / "sheet.jpg")
    with pytest.warns(UserWarning, match="left out 7 that are not of the kind of the rest"):
        record = measure(*sides, FEW, **BRIEF)
    plain = measure(six / "real", six / "fake", FEW, **BRIEF)
    assert (record.value, record.low, record.others) == (plain.value, plain.low, plain.others)
    assert record.sets["fake"]["clips"] == 6 and record.sets["fake"]["files"] == "6 .mp4"
    assert stray_names(record) == [*(f"{i}.png" for i in range(6)), "sheet.jpg"]
    assert stray_names(record, "real") == [f"{i}.png" for i in range(6)]
    assert "an image beside video files (0.png, 1.png, 2.png, ...)" in record.table()


def test_strays_among_folders_of_frames_do_not_count(six, tmp_path):
    fake = tmp_path / "fake"
    for i in range(6):
        (fake / f"{i}").mkdir(parents=True)
        for t, frame in enumerate(clip("sky", i, 1, 16, 32).transpose(0, 2, 3, 1)):
            Image.fromarray(frame).save(fake / f"{i}/{t:02}.png")
    plain = measure(six / "real", fake, FEW, **BRIEF)
    shutil.copy(fake / "0/00.png", fake / "sheet.png")
    shutil.copy(six / "fake/0.mp4", fake / "film.mp4")
    shutil.copy(six / "fake/0.mp4", fake / "1/film.mp4")
    (fake / "0/.hidden.png").touch()
    (fake / "0/0_about.txt").touch()
    with pytest.warns(UserWarning, match="left out 3"):
        record = measure(six / "real", fake, FEW, **BRIEF)
    assert record.value == plain.value
    assert record.sets["fake"]["files"] == "6 .png"
    assert sorted(stray_names(record)) == ["1/film.mp4", "film.mp4", "sheet.png"]


def test_a_long_folder_name(six, tmp_path):
    real = shutil.copytree(six / "real", tmp_path / ("n" * 255))
    record = measure(real, six / "fake", FEW, **BRIEF)
    assert record.sets["real"]["folder"] == "n" * 255
