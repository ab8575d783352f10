"""The files that examples name, and the moving picture of the README, made from the worlds and the shipped networks.

python scripts/make_examples.py        examples/*, docs/fvdm.gif
"""

from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from fvdm.media import save_video
from fvdm.tasks import Pipeline
from fvdm.vtv import hold, uniform
from fvdm.worlds import clip

ROOT = Path(__file__).resolve().parent.parent
SEED = 1  # of the worlds: held-out clips
FAST = dict(progress=False)
EDGE, PLAN, FRAMES = 176, 60, 64  # pixels of a panel and of a plan, frames of the picture


def held_out(world: str, number: int) -> torch.Tensor:  # (16, 3, 64, 64) uint8
    "A clip that no network was trained on."
    return torch.from_numpy(clip(world, number, SEED, 16, 64))


def write_examples(folder: Path) -> None:
    "A drawn face, two frames between which to interpolate, a clip to go on with."
    folder.mkdir(exist_ok=True)
    face, film = held_out("faces", 11), held_out("faces", 12)
    for name, frame in {"face": face[0], "first": film[0], "last": film[-1]}.items():
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(folder / f"{name}.png")
    save_video(held_out("faces", 14), folder / "clip.webp", 10)


def panels() -> list[tuple[str, np.ndarray, torch.Tensor]]:  # title, plan, frames (n, 3, 64, 64)
    "Four tasks of one network: each its plan and its video."
    pipe, u = Pipeline.from_pretrained("faces"), uniform(24, 16)
    face, film = held_out("faces", 11), held_out("faces", 12)
    made = {
        "generate": (u, pipe.generate(seed=3, **FAST)),
        "animate a picture": (hold(u, 0), pipe.animate(face[0], seed=3, **FAST)),
        "interpolate": (hold(u, [0, -1]), pipe.interpolate(film[[0, -1]], seed=3, **FAST)),
        "128 frames, by blocks of 8": (hold(u, range(8)), pipe.generate(frames=128, seed=3, **FAST)),
    }
    return [(title, np.asarray(plan), video.frames[0]) for title, (plan, video) in made.items()]


def compose(title: str, plan: np.ndarray, frame: torch.Tensor) -> Image.Image:
    "One panel of one frame: title, plan as a heat map, picture."
    panel = Image.new("RGB", (EDGE, EDGE + PLAN + 20), "white")
    ImageDraw.Draw(panel).text((2, 1), title, fill="black", font=ImageFont.load_default(13))
    colours = (matplotlib.colormaps["viridis"](plan / 1000)[..., :3] * 255).astype(np.uint8)
    panel.paste(Image.fromarray(colours).resize((EDGE, PLAN - 6), Image.Resampling.NEAREST), (0, 18))
    picture = Image.fromarray(frame.permute(1, 2, 0).numpy())
    panel.paste(picture.resize((EDGE, EDGE), Image.Resampling.BICUBIC), (0, PLAN + 18))
    return panel


def write_moving_picture(file: Path) -> None:
    "All panels side by side; short clips go round, the long one is seen once."
    made, pictures = panels(), []
    for i in range(FRAMES):
        row = Image.new("RGB", (len(made) * (EDGE + 8) - 8, EDGE + PLAN + 20), "white")
        for k, (title, plan, frames) in enumerate(made):
            at = i % 16 if len(frames) == 16 else i * len(frames) // FRAMES
            row.paste(compose(title, plan, frames[at]), (k * (EDGE + 8), 0))
        pictures.append(row.quantize(96, dither=Image.Dither.NONE))
    file.parent.mkdir(exist_ok=True)
    pictures[0].save(file, save_all=True, append_images=pictures[1:], duration=100, loop=0, optimize=True)


if __name__ == "__main__":
    write_examples(ROOT / "examples")
    write_moving_picture(ROOT / "docs/fvdm.gif")
    for made in [*sorted((ROOT / "examples").iterdir()), ROOT / "docs/fvdm.gif"]:
        print(f"{made.relative_to(ROOT)}: {made.stat().st_size / 1e3:.0f} kB")
