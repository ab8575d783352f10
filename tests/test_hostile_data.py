"""Folders as they are found: every kind of broken, odd or misleading file is read right, or counted, named with its reason and skipped."""
import os, struct, tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

av = pytest.importorskip("av")
from fvdm import data
from fvdm.data import index_unit, open_dataset, read_frames

FRAMES = 30


def picture(i, height=48, width=64):
    "A frame that says its number by its shade, with a bright top-left corner, so that turns show."
    a = np.full((height, width, 3), 20 + 6 * i, np.uint8)
    a[: height // 4, : width // 4] = 255
    return a


def number(video):
    "The numbers of the frames (N, 3, H, W), from the shade of the middle."
    h, w = video.shape[-2:]
    return ((video[..., h // 2 : h // 2 + 4, w // 2 : w // 2 + 4].float().mean((1, 2, 3)) - 20) / 6).round().int().tolist()


def write(path, frames=FRAMES, codec="libx264", pix_fmt="yuv420p", size=(48, 64), times=None, options=None, container=None, images=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container or {}) as out:
        stream = out.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width, stream.pix_fmt, stream.gop_size, stream.bit_rate = *size, pix_fmt, 10, 8_000_000
        if times: stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(images[i] if images else picture(i, *size), format="rgba" if images else "rgb24")
            if times: frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def write_sound(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=44100)
        for i in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, 1024 * i
            out.mux(stream.encode(frame))
        out.mux(stream.encode())


def turn(path, matrix):
    "Write a display matrix into the track header of an mp4, as a phone does that was held upright."
    raw = bytearray(path.read_bytes())
    at = raw.find(b"tkhd") + 4 + 4 + 20 + 8 + 8
    raw[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(raw)


def cut(path, share):
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])


def whole(path):
    "All frames of a file, in order, and again one by one."
    unit = index_unit(path)
    assert not unit.fault, unit.fault
    got = number(read_frames(unit, range(len(unit))))
    assert got == list(range(len(unit)))
    for i in (0, len(unit) // 2, len(unit) - 1): assert number(read_frames(unit, [i])) == [i]
    return unit


ODD = {  # name -> how it is made
    "odd_size.mp4": dict(size=(50, 70)),
    "odd_edges.mkv": dict(codec="ffv1", pix_fmt="bgr0", size=(49, 67)),
    "gray.mkv": dict(codec="ffv1", pix_fmt="gray"),
    "ten_bit.mp4": dict(pix_fmt="yuv420p10le", options={"crf": "4"}),
    "ten_bit.mkv": dict(codec="ffv1", pix_fmt="yuv422p10le"),
    "full_colour.mkv": dict(codec="ffv1", pix_fmt="yuv444p"),
    "old.avi": dict(codec="mpeg4"),
    "motion.avi": dict(codec="mjpeg", pix_fmt="yuvj420p"),
    "gif.gif": dict(codec="gif", pix_fmt="rgb8", options={}),
    "tall.mp4": dict(size=(128, 32)),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_videos_are_read_right(name, tmp_path):
    tolerance = {"gif.gif": 20}.get(name, 4)
    path = write(tmp_path / name, **ODD[name])
    unit = index_unit(path)
    assert not unit.fault and len(unit) == FRAMES
    video = read_frames(unit, range(FRAMES))
    truth = torch.stack([torch.from_numpy(picture(i, *ODD[name].get("size", (48, 64)))) for i in range(FRAMES)]).permute(0, 3, 1, 2)
    assert video.shape == truth.shape and (video.float() - truth.float()).abs().mean() < tolerance


def test_alpha_is_dropped(tmp_path):
    images = [np.dstack([picture(i), np.full((48, 64), 90, np.uint8)]) for i in range(FRAMES)]
    assert (read_frames(index_unit(write(tmp_path / "alpha.mov", codec="qtrle", pix_fmt="argb", images=images)), range(FRAMES)).permute(0, 2, 3, 1).numpy() == np.stack(images)[..., :3]).all()
    for i in range(3): Image.fromarray(images[i], "RGBA").save(tmp_path / f"{i}.png")
    assert number(read_frames(index_unit(tmp_path), range(3))) == [0, 1, 2]


@pytest.mark.parametrize("degrees, matrix", [(90, (0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)), (180, (-1 << 16, 0, 0, 0, -1 << 16, 0, 64 << 16, 48 << 16, 1 << 30)), (270, (0, -1 << 16, 0, 1 << 16, 0, 0, 0, 64 << 16, 1 << 30))])
def test_rotation_is_applied(degrees, matrix, tmp_path):
    path = write(tmp_path / "phone.mp4")
    turn(path, matrix)
    video = read_frames(index_unit(path), [0, 5])
    truth = np.rot90(picture(5), -degrees // 90)   # clockwise
    assert video.shape[-2:] == truth.shape[:2] and (video[1].permute(1, 2, 0).float() - torch.from_numpy(truth.copy()).float()).abs().mean() < 4


def test_variable_frame_rate_by_number(tmp_path):
    times = np.cumsum([0] + [40, 20, 100, 40, 250][: 5] * 6)[:FRAMES].tolist()
    unit = whole(write(tmp_path / "phone.mkv", times=times))
    assert "variable frame rate" in unit.note and len(unit) == FRAMES


@pytest.mark.parametrize("suffix, codec, container", [("mkv", "libx264", {}), ("avi", "mpeg4", {}), ("mp4", "libx264", {"movflags": "faststart"}), ("ts", "libx264", {}), ("webm", "libvpx-vp9", {})])
@pytest.mark.parametrize("share", [.45, .6, .7, .8, .93])
def test_truncated_files_end_before_the_damage(suffix, codec, container, share, tmp_path):
    "With B-frames, which are stored after frames that are shown later: what is missing may lie before what is there."
    options = {"x264-params": "bframes=3:b-adapt=0:scenecut=0"} if codec == "libx264" else {}
    noise = np.random.default_rng(0).integers(0, 255, (FRAMES, 48, 64, 4), dtype=np.uint8)
    path = write(tmp_path / f"cut.{suffix}", codec=codec, container=container, options=options, images=list(noise))
    before = read_frames(index_unit(path), range(FRAMES))
    cut(path, share)
    unit = index_unit(path)
    assert not unit.fault and 0 < len(unit) < FRAMES
    assert len(unit) > FRAMES * share * .6 - 5
    assert torch.equal(read_frames(unit, range(len(unit))), before[: len(unit)])           # the frames before the cut, not one of them damaged
    if len(unit) >= 4: assert torch.equal(read_frames(unit, range(len(unit) - 4, len(unit))), before[len(unit) - 4 : len(unit)])


BROKEN = {  # name -> (how it is made, words of the reason)
    "zero.mp4": (lambda p: p.write_bytes(b""), "cannot be opened"),
    "text.mp4": (lambda p: p.write_text("a shopping list\n" * 50), "cannot be opened"),
    "headless.mp4": (lambda p: cut(write(p), .3), "cannot be opened"),
    "half_a_head.mp4": (lambda p: cut(write(p), .8), "no frame can be decoded"),
    "sound.mp4": (write_sound, "no video stream"),
    "picture.avi": (lambda p: Image.new("RGB", (8, 8)).save(p, "TIFF"), ""),
    "dangling.mp4": (lambda p: p.symlink_to(p.parent / "nowhere.mp4"), "cannot be read"),
    "pipe.mp4": (lambda p: os.mkfifo(p), "not a regular file"),
    "noise.mkv": (lambda p: p.write_bytes(np.random.default_rng(0).bytes(50_000)), "cannot be opened"),
}


@pytest.fixture
def hostile(tmp_path):
    "Forty good videos, every kind of bad one, and things that are no videos."
    root = tmp_path / "found"
    good = write(root / "good/000.mp4")
    for i in range(1, 60): os.link(good, root / f"good/{i:03d}.mp4")
    for name, (make, _) in BROKEN.items(): make(root / name)
    write(root / "good/one.mp4", frames=1)
    write(root / "good/few.mp4", frames=7)
    write(root / "matroska.mkv").rename(root / "really_a_matroska.avi")
    (root / "notes.txt").write_text("hello")
    (root / "._good.mp4").write_bytes(b"resource fork")
    (root / "deep/er").mkdir(parents=True)
    (root / "deep/er/loop").symlink_to(root, target_is_directory=True)
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere/linked.mp4")
    (root / "elsewhere").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    return root


def test_hostile_folder(hostile):
    with pytest.warns(UserWarning, match="cannot be read") as caught:
        ds = open_dataset("faceforensics", hostile, frames=8, interval=2, size=32, max_bad=.2)
    reasons = {str(p.relative_to(hostile)): why for p, why in ds.bad}
    expected = {name: words for name, (_, words) in BROKEN.items() if words}
    assert set(expected) <= set(reasons) and set(reasons) <= set(BROKEN), reasons
    for name, words in expected.items(): assert words in reasons[name], (name, reasons[name])
    assert len(ds) == 60 + 2 and {p.name for p, _ in ds.short} >= {"one.mp4", "few.mp4"}
    assert any("really_a_matroska" in str(u.path) for u in ds.videos) and any("linked" in str(u.path) for u in ds.videos)
    text = ds.summary()
    assert all(words in text for words in ("62 videos", "too short", "that cannot be read", "1 .txt", "hidden")) and f"skipped {len(ds.bad)} of" in str(caught[0].message)
    sources = [ds[i]["source"] for i in range(len(ds))]
    assert len({s.split("@")[0] for s in sources}) == len(ds)                                  # every item is its own video


def test_too_many_bad_files_are_an_error(hostile):
    with pytest.raises(ValueError, match=r"\d+ of \d+ videos cannot be read, and at most 2% may be: .*mp4: "):
        open_dataset("faceforensics", hostile, frames=8, size=32, max_bad=.02)


def test_unreadable_file(monkeypatch):
    with tempfile.TemporaryDirectory() as d:
        for i in range(12): write(Path(d) / f"{i}.mp4", frames=9)
        (Path(d) / "3.mp4").chmod(0)
        os.chmod(d, 0o777)
        monkeypatch.setenv("FVDM_CACHE", d + "/cache")
        child = os.fork()
        if child == 0:                                                                         # root can read everything, so as somebody else
            try:
                if os.geteuid() == 0: os.setuid(65534)
                with pytest.warns(UserWarning, match="3.mp4: it cannot be opened .Permission denied"): found = len(open_dataset("folder", d, frames=4, size=32))
                os._exit(0 if found == 11 else 1)
            except BaseException as error: print(error, flush=True); os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_stream_that_begins_between_key_frames_is_no_crash(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "_decoded", lambda frames, most=None: ([0, 1, 2][:most], False))   # what a lenient decoder makes of it

    class Packet: is_keyframe, is_corrupt, is_discard, size = False, False, False, 1

    class Container:
        streams = type("Streams", (), {"video": [0]})()
        def demux(self, stream):
            for pts in range(3): packet = Packet(); packet.pts = pts; yield packet
        def __enter__(self): return self
        def __exit__(self, *error): pass

    monkeypatch.setattr(av, "open", lambda *a: Container())
    unit = index_unit(tmp_path / "tail.ts")
    assert len(unit) == 3 and len(unit.keys) == 0 and "read from its start" in unit.note


def test_an_image_that_breaks_half_way_is_named(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    raw = bytearray((tmp_path / "a.png").read_bytes())
    second = raw.find(b"IDAT", raw.find(b"IDAT") + 4)
    raw[second : second + 4] = b"\x00\x01\x02\x03"                                              # not a chunk's name
    (tmp_path / "a.png").write_bytes(raw)
    with pytest.raises(ValueError, match="a.png: cannot be read as an image"): data.read_image(tmp_path / "a.png")


def test_a_file_is_looked_at_again_when_only_its_time_changes(tmp_path, monkeypatch):
    path, looked, original = write(tmp_path / "v/a.mp4"), [], data.index_unit
    monkeypatch.setattr(data, "index_unit", lambda path: looked.append(path) or original(path))
    first = open_dataset("folder", tmp_path / "v", frames=4).fingerprint()
    assert open_dataset("folder", tmp_path / "v", frames=4).fingerprint() == first and len(looked) == 1
    os.utime(path, (1, 1))
    assert open_dataset("folder", tmp_path / "v", frames=4).fingerprint() != first and len(looked) == 2


@pytest.mark.parametrize("name, flips", [("skytimelapse", False), ("folder", False), ("taichi", True)])
def test_only_some_layouts_are_mirrored(name, flips, tmp_path):
    frames_of(tmp_path / "clip", range(50), (20, 20))
    ds = open_dataset(name, tmp_path, frames=4, size=20)
    assert {bool(ds.item(0, epoch)["video"][0, 0, 0, 0] == 255) for epoch in range(16)} == ({True, False} if flips else {True})   # the bright corner is on the left


def test_a_file_that_changes_or_goes_after_indexing_is_named(tmp_path):
    path = write(tmp_path / "a.mp4")
    unit = index_unit(path)
    write(path, frames=12)
    with pytest.raises(ValueError, match="a.mp4: frame 20 is damaged, or not where it was"): read_frames(unit, [20])
    path.unlink()
    with pytest.raises(ValueError, match="a.mp4: frames 3 to 3 cannot be decoded"): read_frames(unit, [3])


def frames_of(folder, numbers, size=(20, 20)):
    folder.mkdir(parents=True)
    for n in numbers: Image.fromarray(picture(n % 30, *size)).save(folder / f"clip7_{n:05d}.png")


def test_hostile_frame_folders(tmp_path):
    for i in range(12): frames_of(tmp_path / f"good{i}", range(3, 23))
    frames_of(tmp_path / "every_second", range(0, 40, 2))
    frames_of(tmp_path / "gap", [0, 1, 2, 3, 5, 6, 7, 8, 9, 10])
    frames_of(tmp_path / "empty", range(10))
    (tmp_path / "empty/clip7_00004.png").write_bytes(b"")
    frames_of(tmp_path / "broken", range(10))
    (tmp_path / "broken/clip7_00000.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    frames_of(tmp_path / "sizes", range(10))
    Image.new("RGB", (30, 20)).save(tmp_path / "sizes/clip7_00003.png")
    with pytest.warns(UserWarning): ds = open_dataset("taichi", tmp_path, frames=4, interval=2, size=16, max_bad=.3)
    reasons = {p.name: why for p, why in ds.bad}
    assert set(reasons) == {"gap", "empty", "broken"} and "clip7_00005.png comes after clip7_00003.png" in reasons["gap"] and "clip7_00004.png" in reasons["empty"] and "clip7_00000.png" in reasons["broken"]
    sizes = next(i for i, u in enumerate(ds.videos) if u.path.name == "sizes")
    with pytest.raises(ValueError, match="sizes: frames differ in size"): [ds.item(sizes, e) for e in range(20)]
    assert number(read_frames(index_unit(tmp_path / "good3"), [0, 1, 19])) == [3, 4, 22]


def test_images_of_other_kinds(tmp_path):
    a = picture(7)
    Image.fromarray(a[..., 0]).save(tmp_path / "gray.png")
    Image.fromarray(a[..., 0].astype(np.uint16) * 257).save(tmp_path / "gray16.png")
    Image.fromarray(a).quantize(16).save(tmp_path / "palette.png")
    exif = Image.Exif()
    exif[0x0112] = 6                                                                           # turn clockwise to see it upright
    Image.fromarray(a).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    for name in ("gray", "gray16", "palette"): assert np.abs(data.read_image(tmp_path / f"{name}.png").astype(int) - a).mean() < 2, name
    assert np.abs(data.read_image(tmp_path / "turned.jpg").astype(int) - np.rot90(a, -1)).mean() < 2


def test_fifty_thousand_files(tmp_path):
    "All are looked at once; the second time none is."
    root = tmp_path / "many"
    first = root / "000"
    frames_of(first, range(20), (8, 8))
    for i in range(1, 2500):
        (root / f"{i:03d}").mkdir()
        for f in os.listdir(first): os.link(first / f, root / f"{i:03d}/{f}")
    assert len(open_dataset("taichi", root, frames=16, size=8)) == 2500
    looked, original = [], data.index_unit
    try:
        data.index_unit = lambda path: looked.append(path) or original(path)
        ds = open_dataset("taichi", root, frames=16, size=8)
        Image.fromarray(picture(4, 8, 8)).save(root / "new.png")
        assert len(ds) == 2500 and not looked
        (root / "new.png").unlink()
        Image.fromarray(picture(20, 8, 8)).save(root / "777/clip7_00020.png")
        open_dataset("taichi", root, frames=16, size=8)
        assert [p.name for p in looked] == ["777"]
    finally: data.index_unit = original


def test_the_index_survives_being_interrupted(tmp_path, monkeypatch):
    first = write(tmp_path / "v/000.mp4", frames=9)
    for i in range(1, 30): os.link(first, tmp_path / f"v/{i:03d}.mp4")
    looked, original = [], data.index_unit

    def stops(path):
        looked.append(path)
        if len(looked) > 12: raise KeyboardInterrupt
        return original(path)

    monkeypatch.setattr(data, "index_unit", stops)
    with pytest.raises(KeyboardInterrupt): open_dataset("folder", tmp_path / "v", frames=4)
    looked.clear()
    monkeypatch.setattr(data, "index_unit", lambda path: looked.append(path) or original(path))
    assert len(open_dataset("folder", tmp_path / "v", frames=4)) == 30 and 15 <= len(looked) <= 25


def test_an_index_that_cannot_be_kept_is_a_warning(tmp_path):
    write(tmp_path / "v/a.mp4")
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="cannot be kept"): assert len(open_dataset("folder", tmp_path / "v", frames=4, index=tmp_path / "file/index")) == 1
