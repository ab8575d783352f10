"""Train the codec that ships with the package: a small AutoencoderTiny (8x down, 4 channels) on procedural images.

Three quarters of every batch are frames of the four worlds, the rest are "dead leaves" (occluding shapes of power-law
sizes and any colours), whose edges and textures resemble photographs', so that real video is coded too. Nothing is
downloaded. Killed and started again, it goes on.

    python scripts/train_codec.py                       # from scratch; about half an hour on two idle cores
    python scripts/train_codec.py --init tiny           # goes on from the codec that ships
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from resumable import Schedule, train
from torch import Tensor, nn
from tqdm.auto import tqdm

from fvdm.codecs import CODEC_FOLDER, import_diffusers, load_codec
from fvdm.files import provenance
from fvdm.worlds import WORLDS, clip, colour, ellipse, grid, paint

ARCHITECTURE = dict(
    latent_channels=4,
    encoder_block_out_channels=(32,) * 4,
    decoder_block_out_channels=(32,) * 4,
    num_encoder_blocks=(0, 2, 3, 3),
    num_decoder_blocks=(3, 3, 2, 0),
)

TURNS = ("figures", "actions", "faces", "figures", "actions", "sky")  # the hard worlds twice as often


@dataclass
class Settings:
    steps: int = 4500
    batch: int = 16  # images a step
    lr: float = 2e-3  # the highest learning rate
    init: str | None = None  # a codec to start from ("tiny" or a folder); None: from scratch
    noise: float = 0.03  # noise added to the latents in training, so that nearby latents decode alike
    seed: int = 0
    work: Path = Path("runs/codec")  # where the unfinished state is kept
    out: Path = CODEC_FOLDER


def leaf(rng: np.random.Generator, img: np.ndarray, radius: float, muted: float) -> None:
    "Paint one shape: an ellipse or a rectangle, stretched and turned, shaded and grained."
    size = img.shape[-1]
    y, x = grid(size)
    angle, stretch, (cx, cy) = rng.uniform(0, np.pi), rng.uniform(0.4, 2.5), rng.uniform(-1.1, 1.1, 2)

    def reach(c):
        return slice(*np.clip(((c + np.array([-1, 1]) * radius * 2.6 + 1) / 2 * size).astype(int), 0, size))

    rows, cols = reach(cy), reach(cx)
    dx, dy = x[..., cols] - cx, y[:, rows] - cy
    u, v = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
    rx, ry = radius * np.sqrt(stretch), radius / np.sqrt(stretch)
    if rng.uniform() < 0.5:
        mask = ellipse(u, v, 0, 0, rx, ry, 2 / size)
    else:
        mask = np.clip((rx - np.abs(u)) * size / 2 + 0.5, 0, 1) * np.clip((ry - np.abs(v)) * size / 2 + 0.5, 0, 1)
    tone = colour(rng.uniform(), muted * rng.uniform(0, 0.9), rng.uniform(0.05, 1))
    shade = 1 + rng.uniform(-0.4, 0.4) * u / rx + rng.uniform(0, 0.15) * np.sin(rng.uniform(4, 40) * v)
    paint(img[..., rows, cols], mask.astype(np.float32), np.float32(tone[:, None, None] * shade[:, None]))


def dead_leaves(rng: np.random.Generator, size: int = 96, shapes: int = 70) -> np.ndarray:
    "One image, (3, size, size) uint8: shapes that hide each other, sizes from large to small, and grain over all."
    img = np.empty((1, 3, size, size), np.float32)
    img[:] = colour(rng.uniform(), rng.uniform(0, 0.8), rng.uniform(0.1, 1))[:, None, None]
    muted = rng.uniform(0, 1)
    for radius in np.sort(1 / rng.uniform(1 / 0.9, 1 / 0.04, shapes))[::-1]:
        leaf(rng, img, radius, muted)
    grained = np.clip(img[0] + rng.normal(0, rng.uniform(0, 0.03), img[0].shape), 0, 1).astype(np.float32)
    return (grained * 255).astype(np.uint8)


def draw_batch(rng: np.random.Generator, leaves: np.ndarray, batch: int, size: int = 64) -> Tensor:
    "(batch, 3, size, size) in -1..1: three quarters worlds, one quarter crops of dead leaves; flipped either way."
    images = []
    for i in range(batch * 3 // 4):
        frame = clip(TURNS[i % len(TURNS)], int(rng.integers(2**31)), seed=1, frames=1, size=size)[0]
        images.append(frame / np.float32(255))
    for i in rng.integers(len(leaves), size=batch - len(images)):
        top, left = rng.integers(leaves.shape[-1] - size + 1, size=2)
        images.append(leaves[i, :, top : top + size, left : left + size][rng.permutation(3)] / np.float32(255))
    flipped = [image[..., :: rng.choice((-1, 1))] for image in images]
    return torch.from_numpy(np.stack(flipped) * 2 - 1)


def edge_error(pred: Tensor, target: Tensor) -> Tensor:
    "Mean absolute difference of the steps from pixel to pixel, along both axes."
    return sum((pred.diff(dim=dim) - target.diff(dim=dim)).abs().mean() for dim in (-1, -2))


@torch.no_grad()
def held_out_quality(net: nn.Module) -> tuple[dict[str, float], Tensor]:
    "PSNR in dB on held-out images of each kind, and the worlds' latents."
    images = {world: np.stack([clip(world, i, seed=2, frames=1)[0] for i in range(256)]) for world in WORLDS}
    images["dead leaves"] = np.stack([dead_leaves(np.random.default_rng([3, i]), size=64) for i in range(256)])
    psnr, latents = {}, []
    for name, target in images.items():
        x = torch.from_numpy(target) / 127.5 - 1
        z = net.encoder(x)
        mse = F.mse_loss(net.decoder(z).clamp(-1, 1), x, reduction="none").mean((1, 2, 3))
        psnr[name] = round((-10 * (mse / 4).log10()).mean().item(), 2)
        if name in WORLDS:
            latents.append(z)
    return psnr, torch.cat(latents)


def save_codec(net: nn.Module, out: Path, card: dict) -> None:
    "Write the folder that `load_codec` opens."
    net.save_pretrained(out)
    config = json.loads((out / "config.json").read_text())
    config.pop("block_out_channels", None)  # diffusers writes it and warns when it reads it
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")


def main(o: Settings) -> None:
    rng = np.random.default_rng(o.seed)
    leaves = np.stack([dead_leaves(rng) for _ in tqdm(range(2000), desc="dead leaves")])
    torch.manual_seed(o.seed)
    init = load_codec(o.init) if o.init else None
    if init:
        net = init.autoencoder.train().requires_grad_(True)
    else:
        net = import_diffusers().AutoencoderTiny(**ARCHITECTURE).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), o.lr, weight_decay=0.0)

    def losses(step):
        draw = np.random.default_rng([o.seed, step])
        x = draw_batch(draw, leaves, o.batch).to(memory_format=torch.channels_last)
        z = net.encoder(x)
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(step))
        y = net.decoder(z + o.noise * min(1, step / 1000) * noise)
        edges = edge_error(y, x)
        mse = (y - x).square().mean((1, 2, 3))
        loss = 0.1 * mse.log().mean() + 0.1 * edges + 1e-4 * z.square().mean()  # PSNR of each image; sharp edges

        def report():
            return f"psnr={-10 * (mse / 4).log10().mean().item():.2f} dB, z={z.std():.2f}"

        return loss, report

    schedule = Schedule(o.steps, o.lr, warmup=300, report_every=50, save_every=500)
    started = train(net, optimizer, losses, schedule, o.work / "state.pt", "codec")

    psnr, latents = held_out_quality(net.eval().requires_grad_(False))
    card = dict(
        latents_mean=[round(m, 4) for m in latents.mean((0, 2, 3)).tolist()],
        latents_std=[round(s, 4) for s in latents.std((0, 2, 3)).tolist()],
        psnr_held_out_db=psnr,
        data="three quarters worlds, one quarter dead leaves, 64x64",
        init=json.loads((init.folder / "card.json").read_text()) | {"name": init.name} if init else None,
        steps=o.steps,
        batch=o.batch,
        seed=o.seed,
        seconds=round(time.time() - started),
        **provenance("cpu"),
    )
    save_codec(net, o.out, card)
    print(json.dumps(card, indent=1))


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
