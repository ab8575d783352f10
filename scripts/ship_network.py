"""Turn a training run's averaged weights into a network that ships with the package: float16 safetensors, its configuration, and a card.

    python -m fvdm.training --preset quick --init "" --clips 4000 --steps 10000 --lr 2e-3 --warmup 200 --cooldown 0.3 --p 0 --seed 7 --out runs/base
    python scripts/ship_network.py runs/base faces
"""
import argparse, json
from pathlib import Path

from safetensors.torch import load_file, save_file

from fvdm.experiments import provenance
from fvdm.training import WEIGHTS, load_network


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run", type=Path, help="folder of the training run")
    p.add_argument("name", help="name under which it ships")
    args = p.parse_args()
    facts, out = json.loads((args.run / "config.json").read_text()), WEIGHTS / args.name
    out.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half() for k, v in load_file(args.run / "model.safetensors").items()}, out / "model.safetensors")
    rows = (args.run / "log.csv").read_text().splitlines()
    card = facts | {"weights": "moving average, float16", "training_seconds": float(rows[-1].split(",")[-1]), **provenance()}
    (out / "config.json").write_text(json.dumps(card, indent=1) + "\n")
    print(f"{out.name}: {sum(q.numel() for q in load_network(args.name).parameters()) / 1e6:.2f}M parameters, {(out / 'model.safetensors').stat().st_size / 2**20:.1f} MiB, step {facts['step']}")


if __name__ == "__main__":
    main()
