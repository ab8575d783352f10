"""Arguments of any kind to the functions and commands that users call: a result, or one line that names the argument.

Values of wrong types, not finite, huge, negative, empty, of any letters, tensors of wrong shapes and dtypes.
FVDM_DRAWS=10000 for a long attack.
"""

import contextlib
import io
import os
import re
import signal
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fvdm import (
    cli,
    codecs,
    data,
    dit,
    media,
    metrics,
    networks,
    objective,
    samplers,
    tasks,
    training,
    viz,
    vtv,
    worlds,
)
from fvdm.metrics import frames as metrics_frames
from fvdm.sde import Schedule

DRAWS = int(os.environ.get("FVDM_DRAWS", 200))  # in all
SECONDS = 60  # for one call

INTERNAL = re.compile(
    r"must match the size of tensor|scalar type|has no attribute|not supported between|unsupported operand|"
    r"object is not|cannot be interpreted|setting an array|broadcast|index out of|list index|argument 'input'|"
    r"invalid literal|takes \d+ positional|can't convert|could not convert|dimension out of range|not iterable|"
    r"Expected |expected |mat1|einops|overflow|embedded null|codec can't|allocate|Errno|\x1b",
    re.I,
)
OURS = ("paths are expected",)

ALIASES = {  # argument -> what else errors call it
    "name": ("network", "protocol", "codec", "preset"),
    "features_a": ("features",),
    "features_b": ("features",),
    "max_bad": ("cannot be read",),
    "path": ("cannot be read as an image",),
    "codec": ("name",),
    "latents": ("folder",),
    "sha256": ("weights",),
    "out": ("notebook",),
    "preset": ("notebook",),
    "set": ("notebook",),
    "split": ("is not a list of videos",),
}

numbers = st.sampled_from(
    [-1, 0, 1, 2, 3, 7, -(10**9), 10**9, 2**31, 2**63, 10**30, 10**400, 0.0, 0.5, -0.5, 1.5, 1e-300, 1e300, 1e308]
    + [float("nan"), float("inf"), -float("inf"), True, False, np.int64(2), np.float32(0.5), np.float64("nan")]
)
texts = st.one_of(
    st.text(max_size=8).filter(lambda s: "/" not in s),
    st.sampled_from(
        ["", " ", "~", "~/x", "-", "--", "-x", "a:b", "http://x", "nan", "inf", "1e9", "0x10", "None", "é", "\0"]
    )
    | st.sampled_from(["a\nb", "a" * 300, "\udce9", "../", ".", "/", "/dev/null", "x/y/z", "C:\\x", "faces", "tiny"]),
)
dtypes = (torch.float32, torch.float16, torch.float64, torch.uint8, torch.int64, torch.bool, torch.complex64)
shapes = (
    (),
    (0,),
    (1,),
    (3,),
    (2, 3),
    (1, 4),
    (2, 4, 3, 8, 8),
    (4, 3, 8, 8),
    (3, 8, 8),
    (0, 3, 8, 8),
    (1, 1, 1, 1, 1, 1),
)
tensors = st.builds(
    lambda shape, dtype, fill: torch.full(shape, fill).to(dtype),
    st.sampled_from(shapes),
    st.sampled_from(dtypes),
    st.sampled_from([0.0, 1.0, -1.0, 300.0, float("nan"), float("inf")]),
)
arrays = st.sampled_from(
    [np.zeros(3), np.array(["a"]), np.array([None]), np.zeros((2, 0)), np.array(["2020"], "M8[D]")]
)
odd = st.sampled_from(
    [None, b"x", object(), {}, {"a": 1}, [], [1, 2], (), [None], ["x"], int, lambda: 1, range(3), {1}]
)
anything = st.one_of(numbers, texts, texts.map(Path), tensors, arrays, odd)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    "A folder with a tiny network, videos and pictures, which is also the working folder."
    root = tmp_path_factory.mktemp("any")
    net = dit.create_model("cpu-nano/4", in_channels=4, input_size=8, num_frames=4, num_classes=3)
    networks.save_network(net, root / "net", {"codec": "tiny", "classes": ["a", "b", "c"]})
    for side, stream in (("real", 0), ("fake", 1)):
        (root / side / "film").mkdir(parents=True)
        for i in range(6):
            media.write_video(worlds.clip("sky", i, stream, 12, 32), root / side / f"film/{i}.mp4", 10)
    media.write_video(worlds.clip("faces", 0, 0, 12, 32), root / "clip.mp4", 10)
    picture = torch.from_numpy(worlds.clip("faces", 0, 0, 1, 32))
    media.save_video(picture, root / "a.png")
    media.save_video(picture.flip(-1), root / "b.png")
    before = Path.cwd()
    os.chdir(root)
    os.environ |= {"FVDM_CACHE": str(root / "cache"), "HF_HUB_OFFLINE": "1"}
    yield root
    os.chdir(before)


def functions() -> dict:
    "Name -> function, and arguments with which it works."
    frames = torch.from_numpy(worlds.clip("faces", 1, 0, 4, 32))
    net = dit.create_model("cpu-nano/4", in_channels=4, input_size=8, num_frames=4, num_classes=3).eval()
    z, tau, plan = torch.randn(1, 4, 4, 8, 8), torch.tensor([[1, 500, 0, 1000]]), vtv.uniform(2, 4)
    pipe = tasks.Pipeline(net, codecs.load_codec(), {"classes": ["a", "b", "c"]}, "cpu")
    few = dict(steps=2, progress=False)
    verb = few | dict(
        solver="ddim", timestep_spacing="linear", eta=0.0, label=1, cfg=1.0, history=1.0, history_noise=None, seed=0
    )
    verb |= dict(context_noise=0, stagger=0, method="vector", n_resample=1, n=1, blend=0.0)
    features = torch.randn(20, 3)
    identity, tiny = codecs.Identity(), codecs.load_codec()
    return {
        "ptss": (vtv.ptss, dict(batch=2, frames=4, p=0.2, T=1000, per="sample")),
        "ramp": (vtv.ramp, dict(steps=5, T=1000)),
        "uniform": (vtv.uniform, dict(steps=5, frames=4, T=1000)),
        "hold": (vtv.hold, dict(plan=plan, frames=[0])),
        "delay": (vtv.delay, dict(plan=plan, waits=[0, 1, 2, 3])),
        "start_at": (vtv.start_at, dict(plan=plan, level=500)),
        "progressive": (vtv.progressive, dict(steps=5, frames=4, slope=0.1, T=1000)),
        "rolling": (vtv.rolling, dict(steps=6, frames=4, held=1, chunk=1, T=1000)),
        "retrace": (vtv.retrace, dict(plan=plan, jump_length=1, n_resample=2)),
        "check_plan": (vtv.check_plan, dict(plan=plan, frames=4, T=1000, rises=False)),
        "frame_mask": (vtv.frame_mask, dict(frames=[1], N=4)),
        "Schedule": (Schedule, dict(T=1000, beta_min=0.1, beta_max=20.0)),
        "create_model": (
            dit.create_model,
            dict(model="cpu-nano/4", in_channels=4, input_size=8, num_frames=4, num_classes=3, learn_sigma=True),
        ),
        "VideoDiT": (
            dit.VideoDiT,
            dict(input_size=8, patch_size=4, in_channels=4, hidden_size=16, depth=2, num_heads=2, num_frames=4),
        ),
        "forward": (lambda x, t, y: net(x, t, y), dict(x=z, t=torch.tensor([5]), y=torch.tensor([1]))),
        "load_reference": (lambda state_dict: net.load_reference(state_dict), dict(state_dict=net.state_dict())),
        "losses": (
            objective.losses,
            dict(net=net, x0=z, tau=tau, noise=None, y=None, path=None, generator=None, weighting="eps"),
        ),
        "sample": (
            samplers.sample,
            dict(net=net, x=z, plan=plan, solver="ddim", y=None, cfg=1.0, history=1.0, history_noise=None, up=None),
        ),
        "load_codec": (codecs.load_codec, dict(name="identity", device="cpu", posterior="mode", chunk=None)),
        "encode": (lambda video: tiny.encode(video), dict(video=frames)),
        "decode": (lambda latents: tiny.decode(latents), dict(latents=z)),
        "identity": (lambda video: identity.decode(identity.encode(video)), dict(video=frames)),
        "read_image": (media.read_image, dict(path="a.png")),
        "center_crop_resize": (media.center_crop_resize, dict(video=frames, size=16)),
        "save_video": (media.save_video, dict(frames=frames, path="out.webp", fps=10.0, scale=1)),
        "load_network": (networks.load_network, dict(name="net")),
        "read_checkpoint": (networks.read_checkpoint, dict(file="net/model.safetensors")),
        "open_dataset": (
            data.open_dataset,
            dict(
                name="folder", root="real", frames=4, interval=1, size=16, seed=0, train=True, short="skip", max_bad=0.1
            )
            | dict(split=None, index=None),
        ),
        "index_video": (data.index_video, dict(path=Path("clip.mp4"))),
        "as_frames": (data.as_frames, dict(source="clip.mp4", size=16, most=2)),
        "reflect": (data.reflect, dict(numbers=np.arange(9), length=4)),
        "read_frames": (data.read_frames, dict(video=data.index_video(Path("clip.mp4")), numbers=[0, 3], size=16)),
        "frechet_distance": (
            metrics.frechet_distance,
            dict(features_a=features, features_b=features + 1, ddof=0),
        ),
        "load_protocol": (metrics.load_protocol, dict(name="fvdm-default", clips=4, frames=9, seed=0, resolution=32)),
        "measure": (
            metrics.measure,
            dict(
                real="real",
                fake="fake",
                protocol=metrics.load_protocol(frames=9, resolution=32, shrink="ledoit-wolf"),
                resamples=10,
                batch=4,
                endless=False,
                stills=False,
            ),
        ),
        "psnr": (metrics_frames.psnr, dict(pred=frames, target=frames)),
        "ssim": (metrics_frames.ssim, dict(pred=frames, target=frames)),
        "preset": (
            training.preset,
            dict(
                name="smoke", dataset="faces", p=0.2, steps=2, batch=2, lr=1e-3, warmup=0, cooldown=0.0, size=32, seed=0
            )
            | dict(ema=0.9, clip_grad=1.0, labels=False, init=None, accumulate=1, precision="fp32", per="sample"),
        ),
        "clip": (worlds.clip, dict(world="sky", index=0, seed=0, frames=2, size=16, interval=1)),
        "factors": (worlds.factors, dict(world="sky", index=0, seed=0)),
        "export": (worlds.export, dict(world="faces", out="made", clips=1, frames=2, size=16, seed=0, progress=False)),
        "strip": (viz.strip, dict(videos=frames[None])),
        "Sampling": (tasks.sampling, verb),
        "generate": (pipe.generate, verb | dict(frames=4, overlap=2, chunk=None)),
        "animate": (pipe.animate, verb | dict(image="a.png")),
        "interpolate": (pipe.interpolate, verb | dict(images=["a.png", "b.png"], frame_indices=None)),
        "complete": (pipe.complete, verb | dict(images=["a.png"], frame_indices=[1], fps=None)),
        "transition": (pipe.transition, verb | dict(before="clip.mp4", after="clip.mp4", context_frames=1)),
        "edit": (pipe.edit, verb | dict(video="clip.mp4", strength=0.5)),
        "extend": (pipe.extend, verb | dict(video="a.png", frames=6, overlap=1, chunk=None)),
        "stream": (lambda **k: next(pipe.stream(**k)), verb | dict(video=None, overlap=2, chunk=None)),
        "from_pretrained": (
            tasks.Pipeline.from_pretrained,
            dict(name="net", codec=None, device="cpu", compile=False),
        ),
    }


NAMES = [  # of `functions`, which are made once the tests run
    *("ptss", "ramp", "uniform", "hold", "delay", "start_at", "progressive", "rolling", "retrace", "check_plan"),
    *("frame_mask", "Schedule", "create_model", "VideoDiT", "forward", "load_reference", "losses", "sample"),
    *("load_codec", "encode", "decode", "identity", "read_image", "center_crop_resize", "save_video", "load_network"),
    *("read_checkpoint", "open_dataset", "index_video", "as_frames", "reflect", "read_frames", "frechet_distance"),
    *("load_protocol", "measure", "psnr", "ssim", "preset", "clip", "factors", "export", "strip", "Sampling"),
    *("generate", "animate", "interpolate", "complete", "transition", "edit", "extend", "stream", "from_pretrained"),
]


@contextlib.contextmanager
def limited():
    "No output, no warnings, no more than SECONDS."

    def stop(*_):
        raise AssertionError(f"it took longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def check_message(message: str, names: list[str]) -> None:
    "It is one short line, not in the words of a library, and names one of the arguments."
    assert message and "\n" not in message and len(message) < 2000, f"not one line: {message[:300]!r}"
    assert not INTERNAL.search(message.replace("expected one of", "")), f"in a library's words: {message!r}"
    words = message.replace("-", "_")
    names = [*names, *(alias for name in names for alias in ALIASES.get(name, ()))]
    assert any(name in words for name in names), f"names none of {names}: {message!r}"


def try_call(function, arguments: dict, changed: list[str]) -> str:
    "What came of a call: 'result' or 'refused'. Anything else is an AssertionError."
    try:
        with limited():
            function(**arguments)
    except (ValueError, TypeError) as error:
        check_message(str(error), changed)
        return "refused"
    return "result"


@pytest.fixture(scope="module")
def made(place):
    found = functions()
    assert sorted(found) == sorted(NAMES)
    return found


def fresh(value):
    "Arguments that a call may change."
    return value.clone() if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("name", NAMES)
def test_functions(name, made, place):
    function, good = made[name]
    with limited():
        function(**{k: fresh(v) for k, v in good.items()})
    outcomes = Counter()
    draws = max(4, DRAWS * 3 // 4 // len(NAMES))

    @settings(
        max_examples=draws, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.data())
    def attack(draw):
        changed = draw.draw(st.lists(st.sampled_from(sorted(set(good) - {"net"})), min_size=1, max_size=2, unique=True))
        values = {k: draw.draw(anything) for k in changed}
        outcomes[try_call(function, {k: fresh(v) for k, v in good.items()} | values, changed)] += 1

    attack()
    print(name, dict(outcomes))


COMMANDS = {  # words with which a command works; flags that are not drawn, because they change what it is
    "train": ("--preset smoke --dry-run true", {"dry_run", "preset"}),
    "data": ("index folder real --frames 4 --size 16", {"out"}),
    "worlds": ("export faces made --clips 1 --frames 2 --size 16", set()),
    "fvd": ("real fake --show true", {"show", "weights"}),
    "run": ("table1 --preset smoke --list true", {"list", "weights", "fresh", "datasets"}),
    "report": ("nothing", set()),
    "bench": ("cpu-nano/4 --budget 0", {"budget", "published", "models"}),
    "generate": ("--steps 1 --network net --device cpu -o out.webp", {"compile"}),
    "animate": ("a.png --steps 1 --network net --device cpu -o out.webp", {"compile"}),
    "interpolate": ("a.png b.png --steps 1 --network net --device cpu -o out.webp", {"compile"}),
    "complete": ("a.png --frame-indices 1 --steps 1 --network net --device cpu -o out.webp", {"compile"}),
    "transition": (
        "clip.mp4 clip.mp4 --context-frames 1 --steps 1 --network net --device cpu -o out.webp",
        {"compile"},
    ),
    "edit": ("clip.mp4 --steps 1 --network net --device cpu -o out.webp", {"compile"}),
    "extend": ("a.png --overlap 1 --frames 5 --steps 1 --network net --device cpu -o out.webp", {"compile"}),
    "stream": ("--frames 4 --overlap 2 --steps 1 --network net --device cpu -o out.webp", {"compile"}),
}
USABLE = {name: sorted(cli.flags(cli.COMMANDS[name]) - kept) for name, (_, kept) in COMMANDS.items()}


def try_command(words: list[str], changed: list[str]) -> str:
    "What came of a command: 'result' or 'refused'."
    said = io.StringIO()
    with limited(), contextlib.redirect_stderr(said):
        try:
            code = cli.main(words)
        except SystemExit as stop:
            code = stop.code
    if not code:
        return "result"
    errors = [line for line in said.getvalue().splitlines() if "error: " in line]
    assert len(errors) == 1, f"{words}: {said.getvalue()[-500:]!r}"
    message = errors[0].partition("error: ")[2]
    assert not INTERNAL.search(message), f"{words}: in a library's words: {message!r}"
    plain = message.replace("-", "_").lower()
    changed = [*changed, *(alias for name in changed for alias in ALIASES.get(name, ()))]
    assert any(name in plain for name in (*changed, "argument", "option", "arguments")), (
        f"{words}: names none: {message!r}"
    )
    return "refused"


@pytest.mark.parametrize("name", COMMANDS)
def test_commands(name, place):
    base = COMMANDS[name][0].split()
    outcomes = Counter()
    words = st.one_of(numbers.filter(lambda v: not isinstance(v, int) or abs(v) < 10**40).map(str), texts)
    draws = max(3, DRAWS // 4 // len(COMMANDS))

    @settings(
        max_examples=draws, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.data())
    def attack(draw):
        flags = draw.draw(st.lists(st.sampled_from(USABLE[name]), min_size=1, max_size=2, unique=True))
        more = []
        for flag in flags:
            value, joined = draw.draw(words), draw.draw(st.booleans())
            dashed = "--" + flag.replace("_", "-")
            more += [f"{dashed}={value}"] if joined else [dashed, value]
        outcomes[try_command([name, *base, *more], flags)] += 1

    attack()
    print(name, dict(outcomes))
