"""Train the `worlds` detector that ships with the package: a small 3-D convolutional network that reads, from 16
frames, the factors that made a clip.

Every batch holds clips of the four worlds, drawn anew, at intervals of 1 to 3 frames. Linear layers, one for each
factor, read them from 64 features: identity (colours, sizes, kinds), position, speed, direction, phase, action. These
layers are thrown away; the features, with 13 fixed ones that measure change (`energies`), whitened over clips of the
four worlds, are the detector. Nothing is downloaded. Killed and started again, it goes on.

    python scripts/train_detector.py             # about 35 minutes on one idle core
"""

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from resumable import Schedule, train
from torch import nn

from fvdm.files import provenance, save_tensors
from fvdm.metrics import DETECTOR_FOLDER, WorldsNet, energies
from fvdm.worlds import (
    ACTIONS,
    SHAPES,
    SKY_HOURS,
    SKY_NUMBERS,
    SKY_WAVES,
    WORLDS,
    actions_motion,
    clip,
    faces_motion,
    factors,
    figures_pose,
)
from fvdm.worlds.actions import SUPPORTS
from fvdm.worlds.sky import RIDGES

TRAIN, HELD_OUT, FRAMES = 101, 102, 16  # streams of clips that no data set here draws from
WAVES = [np.broadcast_to(k, (2 * SKY_WAVES, SKY_WAVES)).ravel() for k in SKY_NUMBERS[SKY_WAVES][1::-1]]
WIND = np.linalg.pinv(np.stack(WAVES, 1))  # fits how fast the waves turn
FIGURES = ("head", "pelvis", "near hand", "far hand", "near knee", "far knee")


@dataclass
class Settings:
    steps: int = 3200
    batch: int = 32  # clips a step, a quarter of each world
    lr: float = 1.5e-3  # the highest learning rate
    seed: int = 0
    held_out: int = 384  # clips a world that measure the reading, and whiten the features
    work: Path = Path("runs/detector")  # where the unfinished state is kept
    out: Path = DETECTOR_FOLDER


def flat(*parts) -> np.ndarray:
    return np.concatenate([np.ravel(p) for p in parts]).astype(np.float32)


def moving(tracks: list) -> dict[str, np.ndarray]:
    "Position, speed, direction and phase of what moves, from its tracks (k, frames)."
    p = np.stack([np.ravel(t) for t in tracks]).astype(np.float32)
    step = np.diff(p)
    return dict(
        position=p.mean(1),
        speed=np.abs(step).mean(1),
        direction=flat(*(s.mean(1) for s in np.array_split(step, 4, axis=1))),
        phase=flat(p[:, ::5] - p.mean(1, keepdims=True)),
    )


def read_faces(f: dict, t: np.ndarray) -> dict:
    m = faces_motion(f, t)
    tracks = [f["centre"][0] + m["sway"], f["centre"][1] + m["nod"], m["tilt"], m["turn"], m["lid"], m["talk"]]
    looks = ("skin", "hair", "eyes", "shirt", "wall", "radii", "hair_length", "smile")
    return moving(tracks) | dict(identity=flat(*(f[k] for k in looks)))


def read_sky(f: dict, t: np.ndarray) -> dict:
    wind = WIND @ f["clouds"]["turns"].ravel() * f["period"] * (t.ravel()[1] - t.ravel()[0])
    looks = ("light", "cover", "veil_opacity", "softness", "relief", "brightness", "haze", "gradient")
    return dict(
        identity=flat(*(f[k] for k in looks), f["ridge"]["height"], f["ridge"]["colour"]),
        position=flat(f["sun"], f["horizon"]),
        speed=flat(np.hypot(*wind)),
        direction=wind / np.hypot(*wind),
        hour=tuple(SKY_HOURS).index(f["hour"]),
        ridge=RIDGES.index(f["ridge"]["kind"]),
    )


def read_actions(f: dict, t: np.ndarray) -> dict:
    m = actions_motion(f, t)
    return moving([m["x"], m["y"], m["angle"] - m["angle"][:1], m["wide"], m["tall"]]) | dict(
        identity=flat(f["colours"], f["size"], f["floor"], f["horizon"], f["floor_colours"], f["wall"]),
        action=f["label"],
        shape=SHAPES.index((f["corners"], f["notch"])),
        support=SUPPORTS.index(f["support"]),
    )


def read_figures(f: dict, t: np.ndarray) -> dict:
    p = figures_pose(f, t)
    colours = [f[k + "_colour"] for k in ("skin", "hair", "jacket", "trousers", "high", "low", "ground")]
    return moving([track for joint in FIGURES for track in p[joint]]) | dict(
        identity=flat(*colours, f["height"], f["build"]),
        facing=int(f["facing"] > 0),
        place=int(f["outdoors"]),
    )


READ = dict(faces=read_faces, sky=read_sky, actions=read_actions, figures=read_figures)
KINDS = dict(
    sky=dict(hour=len(SKY_HOURS), ridge=len(RIDGES)),
    actions=dict(action=len(ACTIONS), shape=len(SHAPES), support=len(SUPPORTS)),
    figures=dict(facing=2, place=2),
    faces={},
)


def interval(i: int) -> int:
    return 1 + i % 3  # of clip i


def reading(world: str, stream: int, i: int) -> dict:
    "What is to be read from clip i: factor -> numbers, or a class."
    return READ[world](factors(world, i, stream), interval(i) * np.arange(FRAMES, dtype=np.float32)[:, None, None])


def draw(world: str, stream: int, indices) -> tuple[torch.Tensor, dict]:
    "Clips (B, N, 3, H, W) uint8 and what is to be read from each."
    rows = [reading(world, stream, i) for i in indices]
    video = torch.from_numpy(np.stack([clip(world, i, stream, FRAMES, 64, interval(i)) for i in indices]))
    return video, {k: torch.tensor(np.array([r[k] for r in rows])) for k in rows[0]}


def scales(clips: int) -> dict:
    "Mean and standard deviation of every number that is read, (2, k) a group."
    out = {}
    for world in READ:
        rows = [reading(world, TRAIN, i) for i in range(clips)]
        for k in sorted(set(rows[0]) - set(KINDS[world])):
            v = torch.from_numpy(np.array([r[k] for r in rows])).float()
            out[f"{world}.{k}"] = torch.stack([v.mean(0), v.std(0).clamp(min=1e-4)])
    return out


def errors(world: str, features: torch.Tensor, wanted: dict, heads: nn.ModuleDict, scale: dict) -> dict:
    "Of each factor: the mean squared error in standard deviations, or the cross-entropy over that of guessing."
    out = {}
    for k, v in wanted.items():
        y = heads[f"{world}_{k}"](features)
        if k in KINDS[world]:
            out[k] = F.cross_entropy(y, v) / math.log(KINDS[world][k])
        else:
            out[k] = F.mse_loss(y, (v.float() - scale[f"{world}.{k}"][0]) / scale[f"{world}.{k}"][1])
    return out


@torch.no_grad()
def held_out_clips(net: WorldsNet, world: str, clips: int) -> tuple[torch.Tensor, torch.Tensor, dict]:
    "Learned features and all features of held-out clips of a world, and what is to be read from them."
    learned, features, wanted = [], [], []
    for i in range(0, clips, 32):
        video, w = draw(world, HELD_OUT, range(i, i + 32))
        learned.append(net.read(video))
        features.append(torch.cat([learned[-1], energies(video)], 1))
        wanted.append(w)
    return torch.cat(learned), torch.cat(features), {k: torch.cat([w[k] for w in wanted]) for k in wanted[0]}


@torch.no_grad()
def held_out_accuracy(net: WorldsNet, heads: nn.ModuleDict, scale: dict, clips: int) -> tuple[dict, torch.Tensor]:
    "How well each factor is read (share of the variance explained, or share right), and the features of all clips."
    table, features = {}, []
    for world in READ:
        learned, all_features, wanted = held_out_clips(net, world, clips)
        features.append(all_features)
        off, table[world] = errors(world, learned, wanted, heads, scale), {}
        for k, v in wanted.items():
            if k in KINDS[world]:
                share = (heads[f"{world}_{k}"](learned).argmax(1) == v).float().mean().item()
            else:
                share = 1 - off[k].item()
            table[world][k] = round(share, 3)
    return table, torch.cat(features)


def whiten(net: WorldsNet, features: torch.Tensor) -> None:
    "Set the last layer so that these features get zero mean and unit covariance (along their principal axes)."
    x = features.double()
    values, axes = torch.linalg.eigh(torch.cov(x.T, correction=0))
    turn = (axes / values.sqrt()).T
    net.white.weight.data, net.white.bias.data = turn.float(), -(turn @ x.mean(0)).float()


def save_detector(net: WorldsNet, out: Path, card: dict) -> None:
    "Write the folder that `worlds_detector` opens: half precision, but for the layer that whitens."
    weights = net.state_dict()
    halved = {k: v.half() if v.is_floating_point() and not k.startswith("white") else v for k, v in weights.items()}
    save_tensors(halved, out / "model.safetensors")
    (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")


def main(o: Settings) -> None:
    torch.manual_seed(o.seed)
    made_by, scale = provenance(), scales(2000)
    sizes = {w: {k.split(".")[1]: v.shape[1] for k, v in scale.items() if k.startswith(w)} | KINDS[w] for w in READ}
    net = WorldsNet().to(memory_format=torch.channels_last_3d).train()
    heads = nn.ModuleDict({f"{w}_{k}": nn.Linear(net.learned, n) for w in READ for k, n in sizes[w].items()})
    both = nn.ModuleDict(dict(body=net.body, head=net.head, heads=heads))
    optimizer = torch.optim.AdamW(both.parameters(), o.lr, weight_decay=0.01)
    each = o.batch // len(READ)

    def losses(step):
        drawn = {w: draw(w, TRAIN, range(step * each, (step + 1) * each)) for w in READ}
        features = net.read(torch.cat([video for video, _ in drawn.values()])).split(each)
        off = {w: errors(w, f, drawn[w][1], heads, scale) for w, f in zip(READ, features, strict=True)}
        loss = sum(sum(e.values()) for e in off.values()) / len(READ)

        def report():
            means = ", ".join(f"{w} {sum(e.values()) / len(e):.2f}" for w, e in off.items())
            return f"loss {loss:.3f}; {means}"

        return loss, report

    schedule = Schedule(o.steps, o.lr, warmup=100, report_every=20, save_every=100)
    started = train(both, optimizer, losses, schedule, o.work / "state.pt", "detector")

    net.eval()
    seconds = round(time.time() - started)
    table, features = held_out_accuracy(net, heads, scale, o.held_out)
    whiten(net, features)
    measured = f"{o.held_out} clips a world of stream {HELD_OUT}"
    what = "share of the variance explained (identity, position, speed, direction, phase), or share right (the others)"
    clips = f"the worlds {', '.join(WORLDS)}, stream {TRAIN}, {FRAMES} frames of 64x64 at intervals 1 to 3"
    card = dict(
        data=f"{clips}, each clip seen once",
        clips=o.steps * o.batch,
        steps=o.steps,
        batch=o.batch,
        seed=o.seed,
        seconds=seconds,
        parameters=sum(q.numel() for q in net.parameters()),
        features=net.features,
        whitened=f"zero mean and unit covariance over {measured}",
        held_out={"what": f"{measured}: {what}", **table},
        **made_by,
    )
    save_detector(net, o.out, card)
    print(json.dumps(card, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
