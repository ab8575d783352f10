"""Folders as they are found: broken, odd or misleading files are read right, or counted, named and skipped."""

import json
import os
import shutil
import struct
import tempfile
from fractions import Fraction
from pathlib import Path
from unittest import mock

import av
import numpy as np
import pytest
import torch
from av.stream import Disposition
from PIL import Image

from fvdm.data import as_frames, index, index_video, open_dataset, read_frames
from fvdm.media import read_image

FRAMES = 30


def picture(i, height=48, width=64):
    "A frame that says its number by its shade, with a bright top-left corner, so that turns show."
    a = np.full((height, width, 3), 20 + 6 * i, np.uint8)
    a[: height // 4, : width // 4] = 255
    return a


def number(video):
    "The numbers of the frames (N, 3, H, W), from the shade of the middle."
    h, w = video.shape[-2:]
    shade = video[..., h // 2 : h // 2 + 4, w // 2 : w // 2 + 4].float().mean((1, 2, 3))
    return ((shade - 20) / 6).round().int().tolist()


def write(
    path,
    frames=FRAMES,
    codec="libx264",
    pix_fmt="yuv420p",
    size=(48, 64),
    times=None,
    options=None,
    container=None,
    images=None,
):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container or {}) as out:
        stream = out.add_stream(codec, rate=25, options=options or {})
        stream.height, stream.width, stream.pix_fmt, stream.gop_size, stream.bit_rate = *size, pix_fmt, 10, 8_000_000
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(frames):
            array = images[i] if images else picture(i, *size)
            frame = av.VideoFrame.from_ndarray(array, format="rgba" if images else "rgb24")
            if times:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
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
    video = index_video(path)
    assert not video.fault, video.fault
    assert number(read_frames(video, range(len(video)))) == list(range(len(video)))
    for i in (0, len(video) // 2, len(video) - 1):
        assert number(read_frames(video, [i])) == [i]
    return video


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
    size = ODD[name].get("size", (48, 64))
    video = index_video(write(tmp_path / name, **ODD[name]))
    assert not video.fault and len(video) == FRAMES
    frames = read_frames(video, range(FRAMES))
    target = torch.from_numpy(np.stack([picture(i, *size) for i in range(FRAMES)])).permute(0, 3, 1, 2)
    assert frames.shape == target.shape
    assert (frames.float() - target.float()).abs().mean() < tolerance


def test_alpha_is_dropped(tmp_path):
    images = [np.dstack([picture(i), np.full((48, 64), 90, np.uint8)]) for i in range(FRAMES)]
    path = write(tmp_path / "alpha.mov", codec="qtrle", pix_fmt="argb", images=images)
    frames = read_frames(index_video(path), range(FRAMES)).permute(0, 2, 3, 1).numpy()
    assert (frames == np.stack(images)[..., :3]).all()
    for i in range(3):
        Image.fromarray(images[i], "RGBA").save(tmp_path / f"{i}.png")
    assert number(read_frames(index_video(tmp_path), range(3))) == [0, 1, 2]


@pytest.mark.parametrize(
    "degrees, matrix",
    [
        (90, (0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)),
        (180, (-1 << 16, 0, 0, 0, -1 << 16, 0, 64 << 16, 48 << 16, 1 << 30)),
        (270, (0, -1 << 16, 0, 1 << 16, 0, 0, 0, 64 << 16, 1 << 30)),
    ],
)
def test_rotation_is_applied(degrees, matrix, tmp_path):
    path = write(tmp_path / "phone.mp4")
    turn(path, matrix)
    frames = read_frames(index_video(path), [0, 5]).permute(0, 2, 3, 1).numpy()
    target = np.rot90(picture(5), -degrees // 90)  # clockwise
    assert frames[1].shape == target.shape
    assert np.abs(frames[1].astype(float) - target).mean() < 4


def test_variable_frame_rate_by_number(tmp_path):
    times = np.cumsum([0] + [40, 20, 100, 40, 250][:5] * 6)[:FRAMES].tolist()
    video = whole(write(tmp_path / "phone.mkv", times=times))
    assert "variable frame rate" in video.note and len(video) == FRAMES


@pytest.mark.parametrize(
    "suffix, codec, container",
    [
        ("mkv", "libx264", {}),
        ("avi", "mpeg4", {}),
        ("mp4", "libx264", {"movflags": "faststart"}),
        ("ts", "libx264", {}),
        ("webm", "libvpx-vp9", {}),
    ],
)
@pytest.mark.parametrize("share", [0.45, 0.6, 0.7, 0.8, 0.93])
def test_truncated_files_end_before_the_damage(suffix, codec, container, share, tmp_path):
    "With B-frames, which are stored after frames that are shown later: what is missing may lie before what is there."
    options = {"x264-params": "bframes=3:b-adapt=0:scenecut=0"} if codec == "libx264" else {}
    noise = np.random.default_rng(0).integers(0, 255, (FRAMES, 48, 64, 4), dtype=np.uint8)
    path = write(tmp_path / f"cut.{suffix}", codec=codec, container=container, options=options, images=list(noise))
    before = read_frames(index_video(path), range(FRAMES))
    cut(path, share)
    video = index_video(path)
    n = len(video)
    assert not video.fault and 0 < n < FRAMES
    assert n > FRAMES * share * 0.6 - 5
    assert torch.equal(read_frames(video, range(n)), before[:n])  # the frames before the cut, not one of them damaged
    if n >= 4:
        assert torch.equal(read_frames(video, range(n - 4, n)), before[n - 4 : n])


BROKEN = {  # name -> (how it is made, words of the reason)
    "zero.mp4": (lambda p: p.write_bytes(b""), "cannot be opened"),
    "text.mp4": (lambda p: p.write_text("a shopping list\n" * 50), "cannot be opened"),
    "headless.mp4": (lambda p: cut(write(p), 0.3), "cannot be opened"),
    "half_a_head.mp4": (lambda p: cut(write(p), 0.8), "no frame can be decoded"),
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
    for i in range(1, 60):
        os.link(good, root / f"good/{i:03d}.mp4")
    for name, (make, _) in BROKEN.items():
        make(root / name)
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
        ds = open_dataset("faceforensics", hostile, frames=8, interval=2, size=32, max_bad=0.2)
    reasons = {str(p.relative_to(hostile)): why for p, why in ds.bad}
    expected = {name: words for name, (_, words) in BROKEN.items() if words}
    assert set(expected) <= set(reasons) and set(reasons) <= set(BROKEN), reasons
    for name, words in expected.items():
        assert words in reasons[name], (name, reasons[name])
    assert len(ds) == 60 + 2 and {p.name for p, _ in ds.short} >= {"one.mp4", "few.mp4"}
    names = {video.path.name for video in ds.videos}
    assert {"really_a_matroska.avi", "linked.mp4"} <= names
    for words in ("62 videos", "too short", "that cannot be read", "1 .txt", "hidden"):
        assert words in ds.summary()
    assert f"skipped {len(ds.bad)} of" in str(caught[0].message)
    sources = [ds[i]["source"] for i in range(len(ds))]
    assert len({s.split("@")[0] for s in sources}) == len(ds)  # every item is its own video


def test_too_many_bad_files_are_an_error(hostile):
    with pytest.raises(
        ValueError, match=r"\d+ of \d+ videos cannot be read, and at most 2% may be \(max_bad\): .*mp4: "
    ):
        open_dataset("faceforensics", hostile, frames=8, size=32, max_bad=0.02)


def test_unreadable_file(monkeypatch):
    with tempfile.TemporaryDirectory() as d:
        for i in range(12):
            write(Path(d) / f"{i}.mp4", frames=9)
        (Path(d) / "3.mp4").chmod(0)
        os.chmod(d, 0o777)
        monkeypatch.setenv("FVDM_CACHE", d + "/cache")
        child = os.fork()
        if child == 0:  # root can read everything, so as somebody else
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                with pytest.warns(UserWarning, match="3.mp4: it cannot be opened .Permission denied"):
                    found = len(open_dataset("folder", d, frames=4, size=32))
                os._exit(0 if found == 11 else 1)
            except BaseException as error:
                print(error, flush=True)
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_stream_that_begins_between_key_frames_is_no_crash(tmp_path, monkeypatch):
    # what a lenient decoder makes of it
    path = write(tmp_path / "tail.ts")
    packets = [index.Packet(pts, False, False, pts) for pts in range(3)]
    listing = index.list_packets(path)._replace(packets=packets)
    monkeypatch.setattr(index, "list_packets", lambda path: listing)
    video = index_video(path)
    assert len(video) == FRAMES and len(video.keys) == 0 and "read from its start" in video.note


def test_an_image_that_breaks_half_way_is_named(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    raw = bytearray((tmp_path / "a.png").read_bytes())
    second = raw.find(b"IDAT", raw.find(b"IDAT") + 4)
    raw[second : second + 4] = b"\x00\x01\x02\x03"  # not a chunk's name
    (tmp_path / "a.png").write_bytes(raw)
    with pytest.raises(ValueError, match="a.png: cannot be read as an image"):
        read_image(tmp_path / "a.png")


def looked_at():
    "Count the videos that are indexed within the block."
    return mock.patch.object(index, "index_video", side_effect=index_video)


def test_a_file_is_looked_at_again_when_only_its_time_changes(tmp_path):
    path = write(tmp_path / "v/a.mp4")
    with looked_at() as index_one:
        first = open_dataset("folder", tmp_path / "v", frames=4).fingerprint()
        assert open_dataset("folder", tmp_path / "v", frames=4).fingerprint() == first
        assert index_one.call_count == 1
        os.utime(path, (1, 1))
        assert open_dataset("folder", tmp_path / "v", frames=4).fingerprint() != first
        assert index_one.call_count == 2


@pytest.mark.parametrize("name, flips", [("skytimelapse", False), ("folder", False), ("taichi", True)])
def test_only_some_layouts_are_mirrored(name, flips, tmp_path):
    frames_of(tmp_path / "clip", range(50), (20, 20))
    ds = open_dataset(name, tmp_path, frames=4, size=20)
    corner_is_left = {bool(ds.item(0, epoch)["video"][0, 0, 0, 0] == 255) for epoch in range(16)}
    assert corner_is_left == ({True, False} if flips else {True})


def test_a_file_that_changes_or_goes_after_indexing_is_named(tmp_path):
    path = write(tmp_path / "a.mp4")
    video = index_video(path)
    write(path, frames=12)
    with pytest.raises(ValueError, match="a.mp4: frame 20 is damaged, or not where it was"):
        read_frames(video, [20])
    path.unlink()
    with pytest.raises(ValueError, match="a.mp4: frames 3 to 3 cannot be decoded"):
        read_frames(video, [3])


def frames_of(folder, numbers, size=(20, 20)):
    folder.mkdir(parents=True)
    for n in numbers:
        Image.fromarray(picture(n % 30, *size)).save(folder / f"clip7_{n:05d}.png")


def test_hostile_frame_folders(tmp_path):
    for i in range(12):
        frames_of(tmp_path / f"good{i}", range(3, 23))
    frames_of(tmp_path / "every_second", range(0, 40, 2))
    frames_of(tmp_path / "gap", [0, 1, 2, 3, 5, 6, 7, 8, 9, 10])
    frames_of(tmp_path / "empty", range(10))
    (tmp_path / "empty/clip7_00004.png").write_bytes(b"")
    frames_of(tmp_path / "broken", range(10))
    (tmp_path / "broken/clip7_00000.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    frames_of(tmp_path / "sizes", range(10))
    Image.new("RGB", (30, 20)).save(tmp_path / "sizes/clip7_00003.png")
    with pytest.warns(UserWarning):
        ds = open_dataset("taichi", tmp_path, frames=4, interval=2, size=16, max_bad=0.3)
    reasons = {p.name: why for p, why in ds.bad}
    assert set(reasons) == {"gap", "empty", "broken"}
    assert "clip7_00005.png comes after clip7_00003.png" in reasons["gap"]
    assert "clip7_00004.png" in reasons["empty"]
    assert "clip7_00000.png" in reasons["broken"]
    sizes = next(i for i, video in enumerate(ds.videos) if video.path.name == "sizes")
    with pytest.raises(ValueError, match="sizes: frames differ in size"):
        for epoch in range(20):
            ds.item(sizes, epoch)
    assert number(read_frames(index_video(tmp_path / "good3"), [0, 1, 19])) == [3, 4, 22]


def test_images_of_other_kinds(tmp_path):
    a = picture(7)
    Image.fromarray(a[..., 0]).save(tmp_path / "gray.png")
    Image.fromarray(a[..., 0].astype(np.uint16) * 257).save(tmp_path / "gray16.png")
    Image.fromarray(a).quantize(16).save(tmp_path / "palette.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    Image.fromarray(a).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    for name in ("gray", "gray16", "palette"):
        assert np.abs(read_image(tmp_path / f"{name}.png").astype(int) - a).mean() < 2, name
    assert np.abs(read_image(tmp_path / "turned.jpg").astype(int) - np.rot90(a, -1)).mean() < 2


def test_fifty_thousand_files(tmp_path):
    "All are looked at once; the second time none is."
    root = tmp_path / "many"
    first = root / "000"
    frames_of(first, range(20), (8, 8))
    for i in range(1, 2500):
        (root / f"{i:03d}").mkdir()
        for f in os.listdir(first):
            os.link(first / f, root / f"{i:03d}/{f}")
    assert len(open_dataset("taichi", root, frames=16, size=8)) == 2500
    with looked_at() as index_one:
        ds = open_dataset("taichi", root, frames=16, size=8)
        Image.fromarray(picture(4, 8, 8)).save(root / "new.png")
        assert len(ds) == 2500 and index_one.call_count == 0
        (root / "new.png").unlink()
        Image.fromarray(picture(20, 8, 8)).save(root / "777/clip7_00020.png")
        open_dataset("taichi", root, frames=16, size=8)
        assert [call.args[0].name for call in index_one.call_args_list] == ["777"]


def test_the_index_survives_being_interrupted(tmp_path):
    first = write(tmp_path / "v/000.mp4", frames=9)
    for i in range(1, 30):
        os.link(first, tmp_path / f"v/{i:03d}.mp4")
    looked = []

    def stops(path):
        looked.append(path)
        if len(looked) > 12:
            raise KeyboardInterrupt
        return index_video(path)

    with mock.patch.object(index, "index_video", stops), pytest.raises(KeyboardInterrupt):
        open_dataset("folder", tmp_path / "v", frames=4)
    with looked_at() as index_one:
        assert len(open_dataset("folder", tmp_path / "v", frames=4)) == 30
        assert 15 <= index_one.call_count <= 25


def test_an_index_that_cannot_be_kept_is_a_warning(tmp_path):
    write(tmp_path / "v/a.mp4")
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert len(open_dataset("folder", tmp_path / "v", frames=4, index=tmp_path / "file/index")) == 1


# What a film says of itself, and what is damage


def animation(path, frames=12, size=(48, 64), **options):
    "An animated file of whatever kind its suffix says."
    first, *others = [Image.fromarray(picture(i, *size)) for i in range(frames)]
    first.save(path, save_all=True, append_images=others, **options)
    return path


def remux(source, out, drop=(), **container):
    "Copy a video's packets, without some of them."
    with av.open(str(source)) as old, av.open(str(out), "w", options=container) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [p for p in old.demux(video=0) if p.size]
        for i, packet in enumerate(packets):
            if i not in drop:
                packet.stream = stream
                new.mux(packet)
    return out


HELD = {  # which frames are shown for long, or how all are spaced, in ms
    "first": [40 * i + 400 * (i > 0) for i in range(FRAMES)],
    "middle": [40 * i + 400 * (i > 15) for i in range(FRAMES)],
    "last but one": [40 * i + 400 * (i > FRAMES - 2) for i in range(FRAMES)],
    "three near the end": [40 * i + 120 * (i > 20) + 80 * (i > 24) + 200 * (i > 27) for i in range(FRAMES)],
}


@pytest.mark.parametrize("bframes", [0, 3])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("held", HELD)
def test_a_held_frame_is_no_damage(held, suffix, bframes, tmp_path):
    options = {"x264-params": f"bframes={bframes}:b-adapt=0:scenecut=0"}
    video = whole(write(tmp_path / f"a.{suffix}", times=HELD[held], options=options))
    assert len(video) == FRAMES and video.note == index.UNEVEN


@pytest.mark.parametrize("held", [0, 5, 10])
@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_a_held_frame_of_an_animation_is_no_damage(suffix, held, tmp_path):
    path = animation(tmp_path / f"a.{suffix}", duration=[500 if i == held else 100 for i in range(12)])
    video = index_video(path)
    assert len(video) == 12 and "cut" not in video.note
    assert number(read_frames(video, range(12))) == [*range(12)]


def test_pauses_of_a_file_that_was_cut_are_kept(tmp_path):
    times = [40 * i + 400 * (i > 5) + 200 * (i > 9) for i in range(FRAMES)]
    path = write(tmp_path / "a.mkv", times=times, options={"x264-params": "bframes=3:b-adapt=0:scenecut=0"})
    cut(path, 0.9)
    video = index_video(path)
    assert video.note == f"{index.CUT_SHORT}; {index.UNEVEN}" and len(video) >= 20
    assert number(read_frames(video, range(len(video)))) == [*range(len(video))]


@pytest.mark.parametrize(
    "suffix, codec", [("mp4", "mpeg4"), ("mkv", "mpeg4"), ("avi", "mpeg4"), ("webm", "libvpx-vp9")]
)
def test_a_packet_that_is_wholly_missing_is_noted(suffix, codec, tmp_path):
    "The file ends exactly where its last packet began: nothing is corrupt."
    path = write(tmp_path / f"a.{suffix}", codec=codec, container={"movflags": "faststart"} if suffix == "mp4" else {})
    with av.open(str(path)) as container:
        place = [p.pos for p in container.demux(video=0) if p.size][-1]
    path.write_bytes(path.read_bytes()[:place])
    video = whole(path)
    assert len(video) == FRAMES - 1 and video.note == index.CUT_SHORT


def test_a_lost_key_frame_in_the_middle_is_found_by_indexing(tmp_path):
    options = {"x264-params": "scenecut=0:bframes=2"}
    path = write(tmp_path / "a.mp4", options=options)
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size, p.is_keyframe) for p in container.demux(video=0) if p.size]
    keys = [i for i, (_, _, key) in enumerate(packets) if key]
    assert keys == [0, 10, 20]
    remux(path, tmp_path / "dropped.mkv", drop=[10])
    raw = bytearray(path.read_bytes())
    place, size, _ = packets[10]
    raw[place + 8 : place + size - 2] = bytes(size - 10)
    (tmp_path / "overwritten.mp4").write_bytes(raw)
    for name in ("dropped.mkv", "overwritten.mp4"):
        video = index_video(tmp_path / name)
        assert not video.fault and video.note == index.DAMAGED and len(video) == 10
        assert number(read_frames(video, range(10))) == [*range(10)]


def test_a_recording_that_starts_again_is_read_in_its_order(tmp_path):
    path = write(tmp_path / "a.ts", codec="mpeg2video", frames=20)
    (tmp_path / "twice.ts").write_bytes(path.read_bytes() * 2)
    video = index_video(tmp_path / "twice.ts")
    assert "read from its start" in video.note and len(video) >= 39  # a packet at the seam is broken
    found = number(read_frames(video, range(len(video))))
    assert (np.diff(found) < 0).sum() == 1


ENDINGS = {
    "webp": {"lossless": True},
    "png": {},
    "apng": {"format": "PNG"},
    "avif": {"quality": 95},
    "tiff": {},
    "tif": {},
}


@pytest.mark.parametrize("suffix", ENDINGS)
def test_the_content_says_what_is_an_animation(suffix, tmp_path):
    for i in range(3):
        animation(tmp_path / f"{i}.{suffix}", **ENDINGS[suffix])
    for name in (f"0.{suffix}", "under_another_name.mp4"):
        if name.endswith("mp4"):
            (tmp_path / f"2.{suffix}").rename(tmp_path / name)
        assert number(as_frames(str(tmp_path / name), 48)) == [*range(12)]
    Image.fromarray(picture(3)).save(tmp_path / f"one.{suffix}", **ENDINGS[suffix])
    assert as_frames(tmp_path / f"one.{suffix}", 48).shape[0] == 1
    (tmp_path / f"one.{suffix}").unlink()
    data = open_dataset("folder", tmp_path, frames=6, size=48)
    assert len(data) == 3 and {len(v) for v in data.videos} == {12}
    for item in (data.item(i, 0) for i in range(3)):
        start = int(item["source"].split("@")[1])
        assert number(item["video"]) == [*range(start, start + 6)]


def test_films_under_an_images_name(tmp_path):
    write(tmp_path / "film.mp4").rename(tmp_path / "film.png")
    animation(tmp_path / "a.gif", duration=100).rename(tmp_path / "gif.jpg")
    for name, frames in (("film.png", FRAMES), ("gif.jpg", 12)):
        assert len(as_frames(tmp_path / name, 48)) == frames
    assert sorted(len(v) for v in open_dataset("folder", tmp_path, frames=6).videos) == [12, FRAMES]


def test_the_picture_before_an_animated_png_is_none_of_its_frames(tmp_path):
    cover = Image.new("RGB", (64, 48), (0, 255, 0))
    frames = [Image.fromarray(picture(i)) for i in range(5)]
    cover.save(tmp_path / "a.png", save_all=True, default_image=True, append_images=frames)
    assert number(as_frames(tmp_path / "a.png", 48)) == [0, 1, 2, 3, 4]


def test_a_small_copy_in_a_tiff_is_none_of_its_frames(tmp_path):
    pages = [Image.fromarray(picture(i)) for i in range(3)]
    small = Image.fromarray(picture(0, 6, 8))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=[small, *pages[1:]])
    assert number(as_frames(tmp_path / "a.tif", 48)) == [0, 1, 2]


def test_a_damaged_animation_ends_before_the_damage(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (12, 48, 64, 3), dtype=np.uint8)
    first, *others = map(Image.fromarray, noise)
    first.save(tmp_path / "a.png", save_all=True, append_images=others)
    cut(tmp_path / "a.png", 0.6)
    with pytest.warns(UserWarning, match=r"source is '.*a.png': \d frames; cut short"):
        frames = as_frames(str(tmp_path / "a.png"), 48)
    assert 5 <= len(frames) < 12 and (frames[4].permute(1, 2, 0).numpy() == noise[4][:, 8:56]).all()


def test_pixels_that_are_not_square_are_made_so(tmp_path):
    h, w, aspect = 96, 120, Fraction(64, 45)
    y, x = np.mgrid[:h, :w] + 0.5
    disc = ((x - w / 2) * float(aspect)) ** 2 + (y - h / 2) ** 2 < 40**2
    with av.open(str(tmp_path / "pal.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = h, w, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for _ in range(4):
            frame = av.VideoFrame.from_ndarray(disc[..., None].repeat(3, 2).astype(np.uint8) * 255, format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    video = index_video(tmp_path / "pal.mp4")
    assert video.size == (96, 171) and video.note == "pixels of 64:45 are made square"
    ys, xs = np.nonzero(read_frames(video, [0])[0, 0].numpy() > 128)
    assert abs(np.ptp(xs) / np.ptp(ys) - 1) < 0.05
    assert open_dataset("folder", tmp_path, frames=2).record()["sizes"] == {"171x96": 1}


@pytest.mark.parametrize("corner", range(8))
def test_every_display_matrix_is_applied(corner, tmp_path):
    "The four turns, and their mirror images: a phone's own camera writes these."
    turned, mirrored = corner % 4, corner // 4
    a, b, c, d = [(1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)][turned]
    if mirrored:  # after turning
        a, c = -a, -c
    path = write(tmp_path / "phone.mp4", frames=3)
    turn(path, (a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30))
    target = np.rot90(picture(1), -turned)  # clockwise
    target = target[:, ::-1] if mirrored else target
    video = index_video(path)
    frame = read_frames(video, [1])[0].permute(1, 2, 0).numpy()
    assert frame.shape == target.shape and video.size == target.shape[:2] and not video.note
    assert np.abs(frame.astype(float) - target).mean() < 4


def test_what_cannot_be_undone_is_named(tmp_path):
    turn(write(tmp_path / "askew.mp4", frames=3), (46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30))
    assert "turned by no multiple of 90 degrees" in index_video(tmp_path / "askew.mp4").note
    options = {"x264-params": "interlaced=1:transfer=smpte2084:colorprim=bt2020:colormatrix=bt2020nc"}
    note = index_video(write(tmp_path / "tape.mp4", options=options)).note
    assert "interlaced: fields are not taken apart" in note and "transfer function PQ (HDR)" in note
    assert "transfer function PQ" in open_dataset("folder", tmp_path, frames=3).summary()


@pytest.mark.parametrize("order", [(32, 96), (96, 32)])
def test_the_largest_stream_is_the_film(order, tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        streams = [out.add_stream("mpeg4", rate=25) for _ in order]
        for stream, edge in zip(streams, order, strict=True):
            stream.width = stream.height = edge
        for i in range(9):
            for stream, edge in zip(streams, order, strict=True):
                shade = 20 + 6 * i if edge == 96 else 0
                frame = np.full((edge, edge, 3), shade, np.uint8)
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        for stream in streams:
            out.mux(stream.encode())
    video = index_video(tmp_path / "a.mp4")
    assert video.note == "the largest film of 2 video streams (96x96)"
    frames = read_frames(video, range(9))
    assert frames.shape[-1] == 96 and number(frames) == [*range(9)]


def with_cover(path, sound_only):
    "A film, or a sound, with a cover picture that is larger than it."
    with av.open(str(path), "w") as out:
        cover = out.add_stream("mjpeg", rate=25)
        cover.height, cover.width, cover.pix_fmt, cover.disposition = 480, 640, "yuvj420p", Disposition.attached_pic
        film = out.add_stream("aac", rate=44100) if sound_only else out.add_stream("mpeg4", rate=25)
        if not sound_only:
            film.height, film.width, film.bit_rate = 48, 64, 8_000_000
        out.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((480, 640, 3), np.uint8), format="rgb24")))
        for i in range(9):
            frame = av.VideoFrame.from_ndarray(picture(i), format="rgb24")
            if sound_only:
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 44100, 1024 * i
            out.mux(film.encode(frame))
        out.mux([*film.encode(), *cover.encode()])


def test_a_cover_picture_is_no_film(tmp_path):
    with_cover(tmp_path / "film.mp4", sound_only=False)
    video = index_video(tmp_path / "film.mp4")
    assert video.size == (48, 64) and video.note == "the largest film of 2 video streams (64x48)"
    assert len(read_frames(video, range(9))) == 9
    with_cover(tmp_path / "song.mp4", sound_only=True)
    assert index_video(tmp_path / "song.mp4").fault == "it has no video stream, only a picture"


NAMES = [
    "2024-05-01T12:30:00.mp4",
    "~x.mp4",
    "~",
    "-y.mp4",
    "http:a.mp4",
    "concat:a|b.mp4",
    "%03d.mp4",
    "a?b#c.mp4",
    "[1]*.mp4",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_only_a_name(name, tmp_path, monkeypatch):
    write(tmp_path / "a.mp4", frames=9)
    animation(tmp_path / "a.webp", frames=9, lossless=True)
    monkeypatch.chdir(tmp_path)
    for source in ("a.mp4", "a.webp"):
        os.rename(source, name)
        assert number(as_frames(name, 48)) == [*range(9)]
        os.mkdir(name + ":1")
        os.rename(name, f"{name}:1/{name}" if name.endswith("mp4") else f"{name}:1/a.mp4")
        data = open_dataset("folder", f"{name}:1", frames=9)
        assert len(data) == 1 and data[0]["video"].shape[0] == 9
        os.remove(data.videos[0].path)
        os.rmdir(name + ":1")


def test_a_playlist_opens_nothing_else(tmp_path):
    write(tmp_path / "secret.ts")
    (tmp_path / "a.mp4").write_text(f"#EXTM3U\n#EXTINF:9,\nfile:{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "b.mp4").write_text("ffconcat version 1.0\nfile http://localhost/x.ts\n")
    assert index_video(tmp_path / "a.mp4").fault and index_video(tmp_path / "b.mp4").fault


# What belongs to a data set


def test_thumbnails_beside_videos_are_left_out_and_named(tmp_path):
    for i in range(5):
        write(tmp_path / f"v/{i:04d}.mp4", frames=9)
        Image.fromarray(picture(i)).save(tmp_path / f"v/{i:04d}.png")
        Image.fromarray(picture(i)).save(tmp_path / f"v/{i:04d}_small.jpg")
    animation(tmp_path / "v/0000.gif")
    (tmp_path / "v/thumbnails").mkdir()
    for i in range(5):
        Image.fromarray(picture(i)).save(tmp_path / f"v/thumbnails/{i:04d}.png")
    with pytest.warns(UserWarning, match="left out 12 that are not of the kind of the rest: 0000.gif: a video of that"):
        data = open_dataset("folder", tmp_path / "v", frames=4)
    assert [v.path.name for v in data.videos] == [f"{i:04d}.mp4" for i in range(5)]
    assert "12 left out: " in data.summary()
    record = data.record()
    assert record["files"] == {".mp4": 5} and record["left_out"]["count"] == 12
    assert "thumbnails: a folder of 5 images among video files" in record["left_out"]["first"]
    assert json.loads(json.dumps(record)) == record


def test_a_sheet_or_a_preview_beside_folders_of_frames_is_left_out(tmp_path):
    for i in range(4):
        frames_of(tmp_path / f"{i}", range(9))
    Image.fromarray(picture(0, 100, 200)).save(tmp_path / "sheet.png")
    write(tmp_path / "preview.mp4")
    write(tmp_path / "2/preview.mp4")
    for name in ("folder", "taichi"):
        with pytest.warns(UserWarning, match="left out"):
            data = open_dataset(name, tmp_path, frames=4, size=20)
        assert [v.path.name for v in data.videos] == ["0", "1", "2", "3"]
        assert "sheet.png" in data.summary()
    assert open_dataset("taichi", tmp_path, frames=4, size=20).others == {".mp4": 2}


def test_a_cover_is_no_frame(tmp_path):
    frames_of(tmp_path / "a", range(12))
    for name in ("cover.png", "folder.jpg", "poster_1.png", "000000.jpg"):
        Image.new("RGB", (20, 20), (0, 255, 0)).save(tmp_path / "a" / name)
    video = index_video(tmp_path / "a")
    assert number(read_frames(video, range(12))) == [*range(12)]
    assert video.note == "4 other images left out, the first is 000000.jpg"
    with pytest.warns(UserWarning, match="source is .*: 12 frames; 4 other images left out"):
        assert len(as_frames(tmp_path / "a", 20)) == 12
    frames_of(tmp_path / "stereo", range(4))
    for i in range(4):
        Image.new("RGB", (20, 20)).save(tmp_path / f"stereo/right_{i}.png")
    assert "not numbered evenly" in index_video(tmp_path / "stereo").fault  # neither half is more than the other


TREES = {  # folders of the videos -> classes, splits
    "classes": (["Archery", "Biking"], ["Archery", "Biking"], {}),
    "wrapped": (["UCF-101/Archery", "UCF-101/Biking"], ["Archery", "Biking"], {}),
    "wrapped twice": (["data/UCF-101/Archery", "data/UCF-101/Biking"], ["Archery", "Biking"], {}),
    "splits": (["train/Archery", "train/Biking", "val/Archery"], ["Archery", "Biking"], {"train": 2, "val": 1}),
    "wrapped splits": (["UCF/train/Archery", "UCF/test/Biking"], ["Archery", "Biking"], {"train": 1, "test": 1}),
    "one split": (["training_set/Archery", "training_set/Biking"], ["Archery", "Biking"], {"training_set": 2}),
    "groups": (["Archery/g01", "Archery/g02", "Biking/g01"], ["Archery", "Biking"], {}),
    "one class": (["Archery"], ["Archery"], {}),
}


@pytest.mark.parametrize("tree", TREES)
def test_classes_are_found_out(tree, tmp_path):
    folders, classes, splits = TREES[tree]
    write(tmp_path / "a.avi", codec="mpeg4", frames=9)
    for i, folder in enumerate(folders):
        (tmp_path / "set" / folder).mkdir(parents=True)
        os.link(tmp_path / "a.avi", tmp_path / f"set/{folder}/v{i}.avi")
    data = open_dataset("ucf101", tmp_path / "set", frames=4)
    assert data.classes == classes and data.splits == splits and len(data) == len(folders)
    labels = {item["source"].split("@")[0]: classes[item["label"]] for item in (data[i] for i in range(len(data)))}
    assert labels == {f"{folder}/v{i}.avi": next(c for c in classes if c in folder) for i, folder in enumerate(folders)}
    counts = ", ".join(f"{c} {sum(c in f for f in folders)}" for c in classes)
    assert f"classes: {counts}" in data.summary()
    for name, count in splits.items():
        chosen = open_dataset("ucf101", tmp_path / "set", frames=4, split=name)
        assert len(chosen) == count and chosen.classes == classes and chosen.rule["split"] == name
    with pytest.raises(ValueError, match=f"split is 'dev', but .* found: {', '.join(sorted(splits)) or 'none'}"):
        open_dataset("ucf101", tmp_path / "set", split="dev")


def test_official_split_files(tmp_path):
    original = write(tmp_path / "original/a.avi", codec="mpeg4", frames=9)
    tmp_path = tmp_path / "ucf"
    names = [f"{c}/v_{c}_g0{g}_c01.avi" for c in ("Archery", "HandstandPushups") for g in (1, 2, 3)]
    for name in names:
        path = tmp_path / "UCF-101" / name.replace("v_Handstand", "v_HandStand")  # as in the original
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(original, path)
    lists = tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Archery\n2 HandstandPushups\n")
    (lists / "trainlist01.txt").write_text("".join(f"{n} {1 + n.startswith('H')}\r\n" for n in names if "g01" not in n))
    (lists / "testlist01.txt").write_text("\n".join(n for n in names if "g01" in n))
    for root in (tmp_path / "UCF-101", tmp_path):  # beside the videos, and above both
        train = open_dataset("ucf101", root, frames=4, split="trainlist01")
        assert len(train) == 4 and [train[i]["label"] for i in range(4)] == [0, 0, 1, 1]
        assert len(open_dataset("ucf101", root, frames=4, split="testlist01.txt")) == 2
        assert (
            "split: all videos (there are: testlist01, trainlist01)" in open_dataset("ucf101", root, frames=4).summary()
        )
    shutil.copy(lists / "testlist01.txt", tmp_path / "mine.txt")
    assert len(open_dataset("ucf101", tmp_path / "UCF-101", frames=4, split=str(tmp_path / "mine.txt"))) == 2
    (tmp_path / "mine.txt").write_text("Juggling/v_1.avi 3\n")
    with pytest.raises(ValueError, match="but none of its 1 videos is below"):
        open_dataset("ucf101", tmp_path / "UCF-101", frames=4, split=str(tmp_path / "mine.txt"))


def test_a_record_says_what_was_measured(tmp_path):
    for i in range(4):
        write(tmp_path / f"{i}.mp4", frames=9, size=(48, 256) if i == 2 else (48, 64))
    write(tmp_path / "short.mkv", frames=2)
    (tmp_path / "broken.avi").write_bytes(b"no video")
    (tmp_path / "notes.txt").write_text("")
    with pytest.warns(UserWarning, match="skipped 1 of 6"):
        data = open_dataset("folder", tmp_path, frames=4, max_bad=0.5)
    record = data.record()
    assert record["videos"] == 4 and record["frames"] == 36 and record["other_files"] == {".txt": 1}
    assert record["sizes"] == {"64x48": 3, "256x48": 1} and record["files"] == {".mp4": 4}
    assert record["too_short"] == {"count": 1, "first": ["short.mkv: 2 frames"]}
    assert record["unreadable"]["first"][0].startswith("broken.avi: it cannot be opened")
    assert "frames of several sizes: 3 64x48, 1 256x48" in data.summary()


def test_an_index_of_an_older_version_is_made_again(tmp_path):
    write(tmp_path / "v/a.mp4")
    open_dataset("folder", tmp_path / "v", frames=4, index=tmp_path / "index")
    with mock.patch.object(index, "INDEX_VERSION", "1"):
        known = index.load_index(tmp_path / "index", tmp_path / "v")
        assert known == {}
        index.save_index(tmp_path / "index", tmp_path / "v", known)
    with looked_at() as index_one:
        data = open_dataset("folder", tmp_path / "v", frames=4, index=tmp_path / "index")
        assert len(data) == 1 and index_one.call_count == 1 and data.videos[0].size == (48, 64)


def test_a_user_without_a_home_has_a_place_for_indexes(monkeypatch):
    for name in ("FVDM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", mock.Mock(side_effect=RuntimeError("Could not determine home directory.")))
    assert index.cache_home().is_relative_to(tempfile.gettempdir())


def mutated(raw, rng):
    "A file with a piece missing, overwritten or cut off."
    raw = bytearray(raw)
    start, kind = int(rng.integers(len(raw))), rng.integers(4)
    if kind == 0:
        del raw[start:]
    elif kind == 1:
        del raw[start : start + int(rng.integers(1, 400))]
    elif kind == 2:
        raw[start : start + 60] = bytes(60)
    else:
        for place in rng.integers(len(raw), size=12):
            raw[place] = rng.integers(256)
    return raw


def test_damaged_files_are_read_or_refused(tmp_path):
    "Of 5,000 such files found by a longer run, none ends in another error, or takes 5 seconds."
    kinds = {"a.mp4": {}, "a.ts": {}, "a.mkv": {}, "a.avi": dict(codec="mpeg4"), "a.mpg": dict(codec="mpeg1video")}
    files = [write(tmp_path / name, **how) for name, how in kinds.items()]
    files += [animation(tmp_path / f"a.{suffix}") for suffix in ("gif", "webp", "png", "avif", "tiff")]
    whole_files = {path: path.read_bytes() for path in files}
    rng = np.random.default_rng(0)
    counts = {"refused": 0, "read": 0}
    for _ in range(12):
        for path, raw in whole_files.items():
            path.write_bytes(mutated(raw, rng))
            video = index_video(path)
            assert bool(video.fault) == (len(video) == 0), video
            try:
                counts["read"] += len(video) > 0 and len(read_frames(video, range(len(video)))) > 0
            except ValueError:
                counts["refused"] += 1
    assert counts["read"] > 20


def test_a_stream_that_appears_on_the_way(tmp_path):
    "PyAV ends such a file by an IndexError."
    path = write(tmp_path / "a.mp4")

    def stumbles(container, stream):
        yield from (p for p in container.demux(stream) if p.size)
        raise IndexError("list index out of range")

    with av.open(str(path)) as container:
        fake = mock.Mock(demux=lambda stream: stumbles(container, stream))
        packets = list(index.read_packets(fake, container.streams.video[0]))
    assert len(packets) == FRAMES + 1 and packets[-1].size == 0


@pytest.mark.parametrize("suffix, ending", [("mp4", ""), ("ts", ".dat"), ("webp", ""), ("gif", ".bin"), ("mpg", "")])
def test_films_without_a_known_ending_are_a_data_set(suffix, ending, tmp_path):
    "But beside files that have one they are others, and named: half of a download is no film."
    make = animation if suffix in ("gif", "webp") else write
    codec = {"codec": "mpeg1video"} if suffix == "mpg" else {}
    for i in range(2):
        make(tmp_path / f"v/{i}.{suffix}" if make is write else tmp_path / f"{i}.{suffix}", frames=12, **codec)
        (tmp_path / "v").mkdir(exist_ok=True)
        next(tmp_path.glob(f"**/{i}.{suffix}")).rename(tmp_path / f"v/{i}{ending}")
    (tmp_path / "v/notes").write_text("hello")
    data = open_dataset("folder", tmp_path / "v", frames=6, size=48)
    assert [len(v) for v in data.videos] == [12, 12] and data.others == {"no suffix": 1}
    write(tmp_path / "v/a.3gp", codec="mpeg4")
    data = open_dataset("folder", tmp_path / "v", frames=6)
    assert [v.path.name for v in data.videos] == ["a.3gp"] and data.others.total() == 3


def test_what_goes_with_a_clip_of_frames_is_no_clip(tmp_path):
    for i in range(3):
        frames_of(tmp_path / f"v/{i}", range(16))
        frames_of(tmp_path / f"v/{i}/masks", range(16))
        frames_of(tmp_path / f"v/{i}/thumbs", range(4))
    with pytest.warns(UserWarning, match="left out 6 .*0/masks: a folder of 16 images inside a folder of frames"):
        data = open_dataset("folder", tmp_path / "v", frames=16, size=16)
    assert [v.path.name for v in data.videos] == ["0", "1", "2"] and not data.short


def test_moving_previews_named_after_videos_are_left_out(tmp_path):
    for i in range(3):
        write(tmp_path / f"v/{i:04d}.mp4")
        animation(tmp_path / f"v/{i:04d}_preview.webp")
    write(tmp_path / "v/0000_b.mp4")  # of the same suffix: a part of a film, perhaps
    with pytest.warns(UserWarning, match="0000_preview.webp: a video of that name is there already"):
        data = open_dataset("folder", tmp_path / "v", frames=6)
    assert [v.path.name for v in data.videos] == ["0000.mp4", "0000_b.mp4", "0001.mp4", "0002.mp4"]


@pytest.mark.parametrize(
    "tree", ["k400_{split}/{name}/v.mp4", "{name}/{split}/v.mp4", "data/{split}-clips/{name}/v.mp4"]
)
def test_splits_are_no_classes(tree, tmp_path):
    for split in ("train", "val"):
        for name in ("jump", "run"):
            write(tmp_path / "v" / tree.format(split=split, name=name), frames=4)
    data = open_dataset("ucf101", tmp_path / "v", frames=4)
    assert data.classes == ["jump", "run"] and sorted(data.splits.values()) == [2, 2]
    val = next(name for name in data.splits if "val" in name)
    chosen = open_dataset("ucf101", tmp_path / "v", frames=4, split=val)
    assert len(chosen) == 2 and all("val" in str(v.path) for v in chosen.videos)


@pytest.mark.parametrize("where", ["v/splits", "v/annotations", "split_files"])
def test_split_files_where_people_keep_them(where, tmp_path):
    for name in ("jump", "run"):
        write(tmp_path / f"v/{name}/v_{name}_g01_c01.mp4", frames=4)
    (tmp_path / where).mkdir()
    (tmp_path / where / "classInd.txt").write_text("1 jump\n2 run\n")
    (tmp_path / where / "testlist01.txt").write_text('"run/v_run_g01_c01.avi",2\r\n')
    data = open_dataset("ucf101", tmp_path / "v", frames=4, split="testlist01")
    assert [v.path.name for v in data.videos] == ["v_run_g01_c01.mp4"] and data.classes == ["jump", "run"]


def test_a_checkpoint_below_a_name_that_is_no_utf8_is_read(tmp_path):
    from fvdm.files import read_tensors, save_tensors
    from fvdm.training import checkpoints

    folder = tmp_path / os.fsdecode(b"caf\xe9")
    save_tensors({"w": torch.ones(2)}, folder / "ema.safetensors")
    facts = {"sha256": {"ema.safetensors": checkpoints.sha256(folder / "ema.safetensors")}}
    (folder / "state.json").write_text(json.dumps(facts))
    _, tensors = checkpoints.read_checkpoint(folder)
    assert tensors["ema"].keys() == read_tensors(folder / "ema.safetensors").keys() == {"w"}
