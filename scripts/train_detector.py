"""Train the `worlds` detector that ships with the package: a small 3-D convolutional network that reads, from 16 frames, the factors that made a clip.

Every batch holds clips of the four worlds, drawn anew, at intervals of 1 to 3 frames. One linear layer a world reads the factors from 64 features:
identity (colours, sizes, kinds), position, speed, direction, phase, action. The layers that read are thrown away; the features, with 13 fixed ones
that measure change (`energies`), whitened over clips of the four worlds, are the detector. Nothing is downloaded. Killed and started again, it goes on.

    python scripts/train_detector.py             # about 35 minutes on one idle core
"""
import argparse, json, math, os, time
from pathlib import Path

import numpy as np, torch, torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from tqdm.auto import tqdm

from fvdm.data import provenance
from fvdm.metrics import DETECTOR_FOLDER, WorldsNet, energies
from fvdm.worlds import ACTIONS, SHAPES, SKY_HOURS, SKY_NUMBERS, SKY_WAVES, WORLDS, actions_motion, clip, faces_motion, factors, figures_pose

TRAIN, HELD_OUT, FRAMES = 101, 102, 16       # streams of clips that no data set here draws from
WIND = np.linalg.pinv(np.stack([np.broadcast_to(k, (2 * SKY_WAVES, SKY_WAVES)).ravel() for k in SKY_NUMBERS[SKY_WAVES][1::-1]], 1))   # fits how fast the waves turn
FIGURES = ("head", "pelvis", "near hand", "far hand", "near knee", "far knee")


def flat(*parts) -> np.ndarray: return np.concatenate([np.ravel(p) for p in parts]).astype(np.float32)


def moving(tracks: list) -> dict[str, np.ndarray]:
    "Position, speed, direction and phase of what moves, from its tracks (k, frames)."
    p = np.stack([np.ravel(t) for t in tracks]).astype(np.float32)
    step = np.diff(p)
    return dict(position=p.mean(1), speed=np.abs(step).mean(1), direction=flat(*(s.mean(1) for s in np.array_split(step, 4, axis=1))),
                phase=flat(p[:, ::5] - p.mean(1, keepdims=True)))


def read_faces(f: dict, t: np.ndarray) -> dict:
    m = faces_motion(f, t)
    return moving([f["centre"][0] + m["sway"], f["centre"][1] + m["nod"], m["tilt"], m["turn"], m["lid"], m["talk"]]) | dict(
        identity=flat(f["skin"], f["hair"], f["eyes"], f["shirt"], f["wall"], f["radii"], f["hair_length"], f["smile"]))


def read_sky(f: dict, t: np.ndarray) -> dict:
    wind = WIND @ f["clouds"]["turns"].ravel() * f["period"] * (t.ravel()[1] - t.ravel()[0])
    return dict(identity=flat(f["light"], f["cover"], f["veil_opacity"], f["softness"], f["relief"], f["brightness"], f["haze"], f["gradient"], f["ridge"]["height"], f["ridge"]["colour"]),
                position=flat(f["sun"], f["horizon"]), speed=flat(np.hypot(*wind)), direction=wind / np.hypot(*wind),
                hour=tuple(SKY_HOURS).index(f["hour"]), ridge=("none", "hills", "trees", "roofs").index(f["ridge"]["kind"]))


def read_actions(f: dict, t: np.ndarray) -> dict:
    m = actions_motion(f, t)
    return moving([m["x"], m["y"], m["angle"] - m["angle"][:1], m["wide"], m["tall"]]) | dict(
        identity=flat(f["colours"], f["size"], f["floor"], f["horizon"], f["floor_colours"], f["wall"]), action=f["label"],
        shape=SHAPES.index((f["corners"], f["notch"])), support=("floor", "air", "string").index(f["support"]))


def read_figures(f: dict, t: np.ndarray) -> dict:
    p = figures_pose(f, t)
    return moving([track for joint in FIGURES for track in p[joint]]) | dict(
        identity=flat(*(f[k + "_colour"] for k in ("skin", "hair", "jacket", "trousers", "high", "low", "ground")), f["height"], f["build"]),
        facing=int(f["facing"] > 0), place=int(f["outdoors"]))


READ = dict(faces=read_faces, sky=read_sky, actions=read_actions, figures=read_figures)
KINDS = dict(sky=dict(hour=len(SKY_HOURS), ridge=4), actions=dict(action=len(ACTIONS), shape=len(SHAPES), support=3), figures=dict(facing=2, place=2), faces={})


def interval(i: int) -> int: return 1 + i % 3   # of clip i


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
        if k in KINDS[world]: out[k] = F.cross_entropy(y, v) / math.log(KINDS[world][k])
        else: out[k] = F.mse_loss(y, (v.float() - scale[f"{world}.{k}"][0]) / scale[f"{world}.{k}"][1])
    return out


@torch.no_grad()
def held_out(net: WorldsNet, heads: nn.ModuleDict, scale: dict, clips: int) -> tuple[dict, torch.Tensor]:
    "Accuracy of each factor (share explained, or share right), and the features of all clips."
    table, features = {}, []
    for world in READ:
        f, wanted = [], []
        for i in range(0, clips, 32):
            video, w = draw(world, HELD_OUT, range(i, i + 32))
            f.append(net.read(video)); features.append(torch.cat([f[-1], energies(video)], 1)); wanted.append(w)
        f, wanted = torch.cat(f), {k: torch.cat([w[k] for w in wanted]) for k in wanted[0]}
        off = errors(world, f, wanted, heads, scale)
        table[world] = {k: round((heads[f"{world}_{k}"](f).argmax(1) == v).float().mean().item() if k in KINDS[world] else 1 - off[k].item(), 3) for k, v in wanted.items()}
    return table, torch.cat(features)


def whiten(net: WorldsNet, features: torch.Tensor) -> None:
    "Set the last layer so that these features get zero mean and unit covariance (along their principal axes)."
    x = features.double()
    values, axes = torch.linalg.eigh(torch.cov(x.T, correction=0))
    turn = (axes / values.sqrt()).T
    net.white.weight.data, net.white.bias.data = turn.float(), -(turn @ x.mean(0)).float()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--steps", type=int, default=3200)
    p.add_argument("--batch", type=int, default=32, help="clips a step, a quarter of each world")
    p.add_argument("--lr", type=float, default=1.5e-3)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--held-out", type=int, default=384, help="clips a world that measure the reading, and whiten the features")
    p.add_argument("--work", type=Path, default=Path("runs/detector"), help="where the unfinished state is kept")
    p.add_argument("--out", type=Path, default=DETECTOR_FOLDER)
    args = p.parse_args()

    torch.manual_seed(args.seed)
    made_by, scale = provenance(), scales(2000)
    sizes = {w: {k.split(".")[1]: v.shape[1] for k, v in scale.items() if k.startswith(w)} | KINDS[w] for w in READ}
    net = WorldsNet().to(memory_format=torch.channels_last_3d).train()
    heads = nn.ModuleDict({f"{w}_{k}": nn.Linear(net.learned, n) for w in READ for k, n in sizes[w].items()})
    both = nn.ModuleDict(dict(body=net.body, head=net.head, heads=heads))
    opt = torch.optim.AdamW(both.parameters(), args.lr, weight_decay=.01)
    def lr(step): return args.lr * min(1, (step + 1) / 100) * (1 + math.cos(math.pi * step / args.steps)) / 2   # warm up, then a cosine down to 0
    args.work.mkdir(parents=True, exist_ok=True)
    state, first, seconds = args.work / "state.pt", 0, 0.
    if state.exists():
        s = torch.load(state, weights_only=True)
        both.load_state_dict(s["both"]); opt.load_state_dict(s["opt"])
        first, seconds = s["step"], s["seconds"]

    started, each = time.time() - seconds, args.batch // len(READ)
    for step in (bar := tqdm(range(first, args.steps), initial=first, total=args.steps, desc="detector", mininterval=5)):
        drawn = {w: draw(w, TRAIN, range(step * each, (step + 1) * each)) for w in READ}
        features = net.read(torch.cat([video for video, _ in drawn.values()])).split(each)
        off = {w: errors(w, f, drawn[w][1], heads, scale) for w, f in zip(READ, features)}
        loss = sum(sum(e.values()) for e in off.values()) / len(READ)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(both.parameters(), 1.)
        for group in opt.param_groups: group["lr"] = lr(step)
        opt.step(); opt.zero_grad()
        if step % 20 == 0: bar.set_postfix_str(f"loss {loss:.3f}; " + ", ".join(f"{w} {sum(e.values()) / len(e):.2f}" for w, e in off.items()))
        if (step + 1) % 100 == 0 or step + 1 == args.steps:
            torch.save(dict(both=both.state_dict(), opt=opt.state_dict(), step=step + 1, seconds=time.time() - started), f"{state}.part")
            os.replace(f"{state}.part", state)

    net.eval()
    seconds = round(time.time() - started)
    table, features = held_out(net, heads, scale, args.held_out)
    whiten(net, features)
    args.out.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() if v.is_floating_point() and not k.startswith("white") else v.contiguous() for k, v in net.state_dict().items()}, args.out / "model.safetensors")
    card = dict(data=f"the worlds {', '.join(WORLDS)}, stream {TRAIN}, {FRAMES} frames of 64x64 at intervals 1 to 3, each clip seen once", clips=args.steps * args.batch, steps=args.steps, batch=args.batch, seed=args.seed, seconds=seconds,
                parameters=sum(q.numel() for q in net.parameters()), features=net.features, whitened=f"zero mean and unit covariance over {args.held_out} clips a world of stream {HELD_OUT}",
                held_out={"what": f"{args.held_out} clips a world of stream {HELD_OUT}: share of the variance explained (identity, position, speed, direction, phase), or share right (the others)", **table}, **made_by)
    (args.out / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    print(json.dumps(card, indent=1))


if __name__ == "__main__":
    main()
