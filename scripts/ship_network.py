"""Turn a training run's averaged weights into a network that ships with the package: bfloat16 safetensors, its configuration, and a card with its measured distances.

    python -m fvdm.training --preset quick --dataset sky --init "" --model cpu-micro/2 --clips 4000 --steps 10000 --optimizer muon --lr 3e-3 --warmup 200 --cooldown 0.4 --seed 7 --out runs/fvdm_sky
    python scripts/ship_network.py runs/fvdm_sky sky
"""
import argparse, json
from pathlib import Path

from safetensors.torch import load_file, save_file

from fvdm.experiments import SCHEDULES, Cell, Evaluation, distances, generate, load_tools, prepare
from fvdm.training import WEIGHTS, Config, checkpoints, load_network

SAMPLERS = ("DDIM-50", "UniPC-10, log-SNR")


def measured(name: str, config: Config, clips: int) -> dict:
    "Distances of generated clips to held-out ones, with half of their 95% interval, and of two sets of real ones: as many on each side."
    tools = load_tools()
    bench = prepare(Cell("shipped", config, Evaluation(1, clips, clips, 50), network=name, **tools.names), tools, Path("cache"))
    def distance(sampler):
        solver, steps, *spacing = SCHEDULES[sampler]
        return distances(generate(load_network(name), clips, steps, bench.latents.shape, 0, solver, *spacing, progress=sampler), bench)
    rows = {"real against real": bench.floors} | {sampler: distance(sampler) for sampler in SAMPLERS}
    return {"clips": clips, "seed": 0, **tools.names, **{row: {k: round(v, 3) for k, v in found.items()} for row, found in rows.items()}}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run", type=Path, help="folder of the training run")
    p.add_argument("name", help="name under which it ships")
    p.add_argument("--clips", type=int, default=256, help="clips on each side of the distance (default: 256)")
    p.add_argument("--note", help="what the configuration does not say, for the card")
    args = p.parse_args()
    facts, out = json.loads((checkpoints(args.run)[-1] / "state.json").read_text()), WEIGHTS / args.name
    config = Config(**facts["config"])
    if facts["step"] != config.steps: p.error(f"run is at step {facts['step']} of {config.steps}: it is not finished")
    out.mkdir(parents=True, exist_ok=True)
    save_file({k: v.bfloat16() for k, v in load_file(args.run / "model.safetensors").items()}, out / "model.safetensors")
    card = {k: v for k, v in facts.items() if k not in ("sha256", "skipped")} | {"weights": "moving average, bfloat16"} | ({"note": args.note} if args.note else {})
    (out / "config.json").write_text(json.dumps(card, indent=1) + "\n")
    card["distance"] = measured(args.name, config, args.clips)
    (out / "config.json").write_text(json.dumps(card, indent=1) + "\n")
    print(f"{args.name}: {(out / 'model.safetensors').stat().st_size / 2**20:.1f} MiB, step {facts['step']}; {json.dumps(card['distance'], indent=1)}")


if __name__ == "__main__":
    main()
