r"""Turn a training run's averaged weights into a network that ships with the package: bfloat16 safetensors, its
configuration, and a card with its measured distances.

    python -m fvdm.training --preset quick --dataset sky --init "" --model cpu-micro/2 --clips 4000 --steps 10000 \
        --optimizer muon --lr 3e-3 --warmup 200 --cooldown 0.4 --seed 7 --out runs/fvdm_sky
    python scripts/ship_network.py runs/fvdm_sky sky
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from fvdm.data import open_dataset
from fvdm.experiments import SCHEDULES, Measurement, Run, distances, draw_clips, load_tools, prepare
from fvdm.files import atomic_write
from fvdm.networks import WEIGHTS, load_network, save_network
from fvdm.tasks import Pipeline
from fvdm.tasks.familiar import familiar_limits, familiarity
from fvdm.training import Config

SAMPLERS = ("DDIM-50", "UniPC-10, log-SNR")


def card_row(found: dict) -> dict[str, float]:
    "What `distances` found, as a card has it: a value and half of its 95% interval."
    row = {}
    for label, distance in found["distances"].items():
        row |= {label: distance["value"], f"{label} ±": distance["half_width"]}
    return row | {"precision": found["precision"], "recall": found["recall"]}


def measure(name: str, config: Config, clips: int) -> dict:
    "Distances of generated clips to held-out ones, and of two sets of real ones: as many on each side."
    tools = load_tools()
    run = Run("shipped", config, Measurement(1, clips, clips, 50), network=name, **tools.names)
    prepared = prepare(run, tools, Path("cache"))
    rows = {"real against real": prepared.real_vs_real}
    for sampler in SAMPLERS:
        solver, steps, spacing = SCHEDULES[sampler]
        z = draw_clips(load_network(name), clips, steps, 0, solver, spacing, progress=sampler)
        rows[sampler] = card_row(distances(z, prepared))
    rounded = {row: {k: round(v, 3) for k, v in found.items()} for row, found in rows.items()}
    return {"clips": clips, "seed": 0, **tools.names, **rounded}


def limits(name: str, config: Config) -> dict:
    "What `fvdm.tasks.familiar` calls unfamiliar, by the first frames of 200 held-out clips."
    held_out = open_dataset(config.dataset, config.data_path, config.frames, config.interval, config.size, train=False)
    frames = torch.stack([torch.as_tensor(held_out[i]["video"])[0] for i in range(200)])
    pipe = Pipeline.from_pretrained(name)
    parts = [familiarity(pipe.net, pipe.codec, part, pipe.path) for part in frames.split(16)]
    return familiar_limits({key: torch.cat([part[key] for part in parts]) for key in parts[0]})


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run", type=Path, help="folder of the training run")
    p.add_argument("name", help="name under which it ships")
    p.add_argument("--clips", type=int, default=256, help="clips on each side of the distance (default: 256)")
    p.add_argument("--note", help="what the configuration does not say, for the card")
    args = p.parse_args()
    metadata = json.loads((args.run / "config.json").read_text())
    config, out = Config(**metadata["config"]), WEIGHTS / args.name
    if metadata["step"] != config.steps:
        p.error(f"run is at step {metadata['step']} of {config.steps}: it is not finished")

    card = dict(metadata)
    card["weights"] = "moving average, bfloat16"
    if args.note:
        card["note"] = args.note
    weights = {k: v.bfloat16() for k, v in load_file(args.run / "model.safetensors").items()}
    save_network(load_network(args.run), out, card, weights)
    card["distance"] = measure(args.name, config, args.clips)
    card["familiar"] = limits(args.name, config)
    atomic_write(out / "config.json", json.dumps(card, indent=1) + "\n")
    size = (out / "model.safetensors").stat().st_size / 2**20
    print(f"{args.name}: {size:.1f} MiB, step {metadata['step']}; {json.dumps(card['distance'], indent=1)}")


if __name__ == "__main__":
    main()
