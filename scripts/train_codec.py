"""Train the codec that ships with the package: a small AutoencoderTiny (8x down, 4 channels) on procedural images.

Three quarters of every batch are frames of the four worlds, the rest are "dead leaves" (occluding shapes of power-law sizes and any colours), whose
edges and textures resemble photographs', so that real video is coded too. Nothing is downloaded. Killed and started again, it goes on.

    python scripts/train_codec.py                       # from scratch; about half an hour on two idle cores
    python scripts/train_codec.py --init tiny           # goes on from the codec that ships
"""
import argparse, datetime, json, math, os, subprocess, time
from pathlib import Path

import numpy as np, torch, torch.nn.functional as F
from tqdm.auto import tqdm

from fvdm.codecs import CODEC_FOLDER, import_diffusers, load_codec
from fvdm.worlds import WORLDS, clip, ellipse, grid, paint, colour

ARCHITECTURE = dict(latent_channels=4, encoder_block_out_channels=(32,) * 4, decoder_block_out_channels=(32,) * 4,
                    num_encoder_blocks=(0, 2, 3, 3), num_decoder_blocks=(3, 3, 2, 0))

TURNS = ("figures", "actions", "faces", "figures", "actions", "sky")


def dead_leaves(rng: np.random.Generator, size: int = 96, shapes: int = 70) -> np.ndarray:
    "One image, (3, size, size) float32 in 0..1: shapes that hide each other, shaded and grained, sizes from large to small."
    y, x = grid(size)
    img = np.empty((1, 3, size, size), np.float32)
    img[:] = colour(rng.uniform(), rng.uniform(0, .8), rng.uniform(.1, 1))[:, None, None]
    muted = rng.uniform(0, 1)
    for radius in np.sort(1 / rng.uniform(1 / .9, 1 / .04, shapes))[::-1]:
        a, stretch, (cx, cy) = rng.uniform(0, np.pi), rng.uniform(.4, 2.5), rng.uniform(-1.1, 1.1, 2)
        rows, cols = (slice(*np.clip(((c + np.array([-1, 1]) * radius * 2.6 + 1) / 2 * size).astype(int), 0, size)) for c in (cy, cx))
        u, v = np.cos(a) * (x[..., cols] - cx) + np.sin(a) * (y[:, rows] - cy), np.cos(a) * (y[:, rows] - cy) - np.sin(a) * (x[..., cols] - cx)
        rx, ry = radius * np.sqrt(stretch), radius / np.sqrt(stretch)
        if rng.uniform() < .5: mask = ellipse(u, v, 0, 0, rx, ry, 2 / size)
        else: mask = np.clip((rx - np.abs(u)) * size / 2 + .5, 0, 1) * np.clip((ry - np.abs(v)) * size / 2 + .5, 0, 1)
        tone = colour(rng.uniform(), muted * rng.uniform(0, .9), rng.uniform(.05, 1))
        shade = 1 + rng.uniform(-.4, .4) * u / rx + rng.uniform(0, .15) * np.sin(rng.uniform(4, 40) * v)
        paint(img[..., rows, cols], mask.astype(np.float32), np.float32(tone[:, None, None] * shade[:, None]))
    return np.clip(img[0] + rng.normal(0, rng.uniform(0, .03), img[0].shape), 0, 1).astype(np.float32)


def batch_of(rng: np.random.Generator, leaves: np.ndarray, batch: int, size: int = 64) -> torch.Tensor:
    "(batch, 3, size, size) in -1..1: three quarters worlds, the hard ones twice as often, one quarter crops of dead leaves; flipped either way."
    images = [clip(TURNS[i % len(TURNS)], int(rng.integers(2**31)), seed=1, frames=1, size=size)[0] / np.float32(255) for i in range(batch * 3 // 4)]
    for i in rng.integers(len(leaves), size=batch - len(images)):
        top, left = rng.integers(leaves.shape[-1] - size + 1, size=2)
        images.append(leaves[i, :, top:top + size, left:left + size][rng.permutation(3)] / np.float32(255))
    return torch.from_numpy(np.stack([i[..., ::rng.choice((-1, 1))] for i in images]) * 2 - 1)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--steps", type=int, default=4500)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--init", help="a codec to start from ('tiny' or a folder); default: from scratch")
    p.add_argument("--noise", type=float, default=.03, help="noise added to the latents in training, so that nearby latents decode alike")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--work", type=Path, default=Path("runs/codec"), help="where the unfinished state is kept")
    p.add_argument("--out", type=Path, default=CODEC_FOLDER)
    args = p.parse_args()

    rng = np.random.default_rng(args.seed)
    leaves = np.stack([(dead_leaves(rng) * 255).astype(np.uint8) for _ in tqdm(range(2000), desc="dead leaves")])
    torch.manual_seed(args.seed)
    init = load_codec(args.init) if args.init else None
    net = init.autoencoder.train().requires_grad_(True) if init else import_diffusers().AutoencoderTiny(**ARCHITECTURE).to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW(net.parameters(), args.lr, weight_decay=0.)
    def lr(step): return args.lr * min(1, (step + 1) / 300) * (1 + math.cos(math.pi * step / args.steps)) / 2   # warm up, then a cosine down to 0
    args.work.mkdir(parents=True, exist_ok=True)
    state, first, seconds = args.work / "state.pt", 0, 0.
    if state.exists():
        s = torch.load(state, weights_only=True)
        net.load_state_dict(s["net"]); opt.load_state_dict(s["opt"])
        first, seconds = s["step"], s["seconds"]

    started = time.time() - seconds
    for step in (bar := tqdm(range(first, args.steps), initial=first, total=args.steps, desc="codec", mininterval=5)):
        draw = np.random.default_rng([args.seed, step])
        x = batch_of(draw, leaves, args.batch).to(memory_format=torch.channels_last)
        z = net.encoder(x)
        y = net.decoder(z + args.noise * min(1, step / 1000) * torch.randn(z.shape, generator=torch.Generator().manual_seed(step)))
        edges = sum((d(y) - d(x)).abs().mean() for d in (lambda a: a.diff(dim=-1), lambda a: a.diff(dim=-2)))
        mse = (y - x).square().mean((1, 2, 3))
        loss = .1 * mse.log().mean() + .1 * edges + 1e-4 * z.square().mean()      # PSNR, image by image; edges keep it sharp
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.)
        for group in opt.param_groups: group["lr"] = lr(step)
        opt.step(); opt.zero_grad()
        if step % 50 == 0: bar.set_postfix(psnr=f"{-10 * (mse / 4).log10().mean().item():.2f} dB", z=f"{z.std():.2f}")
        if (step + 1) % 500 == 0 or step + 1 == args.steps:
            torch.save(dict(net=net.state_dict(), opt=opt.state_dict(), step=step + 1, seconds=time.time() - started), f"{state}.part")
            os.replace(f"{state}.part", state)

    net.eval().requires_grad_(False)
    held_out = {w: np.stack([clip(w, i, seed=2, frames=1)[0] for i in range(256)]) for w in WORLDS}
    held_out["dead leaves"] = np.stack([(dead_leaves(np.random.default_rng([3, i]), size=64) * 255).astype(np.uint8) for i in range(256)])
    psnr, latents = {}, []
    for name, images in held_out.items():
        x = torch.from_numpy(images) / 127.5 - 1
        z = net.encoder(x)
        psnr[name] = round((-10 * (F.mse_loss(net.decoder(z).clamp(-1, 1), x, reduction="none").mean((1, 2, 3)) / 4).log10()).mean().item(), 2)
        if name in WORLDS: latents.append(z)
    mean, std = (m(torch.cat(latents), (0, 2, 3)) for m in (torch.mean, torch.std))
    net.save_pretrained(args.out)
    config = json.loads((args.out / "config.json").read_text())
    config.pop("block_out_channels", None)   # diffusers writes it and warns when it reads it
    (args.out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    card = dict(latents_mean=[round(m, 4) for m in mean.tolist()], latents_std=[round(s, 4) for s in std.tolist()], psnr_held_out_db=psnr,
                data="three quarters worlds, one quarter dead leaves, 64x64", init=json.loads((init.folder / "card.json").read_text()) | {"name": init.name} if init else None, steps=args.steps, batch=args.batch, seed=args.seed, seconds=round(time.time() - started),
                device="CPU, 2 threads" if torch.get_num_threads() == 2 else f"CPU, {torch.get_num_threads()} threads",
                torch=torch.__version__, commit=git, date=datetime.date.today().isoformat())
    (args.out / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    print(json.dumps(card, indent=1))


if __name__ == "__main__":
    main()
