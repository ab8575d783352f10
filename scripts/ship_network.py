"""Turn a training run's averaged weights into a network that ships with the package: bfloat16 safetensors, its configuration, and a card with its measured distance.

    python -m fvdm.training --preset quick --dataset faces --init faces-scalar --clips 4000 --steps 20000 --lr 2e-3 --warmup 200 --cooldown 0.3 --p 0.2 --seed 7 --out runs/fvdm_faces
    python scripts/ship_network.py runs/fvdm_faces faces
"""
import argparse, json
from pathlib import Path

from safetensors.torch import load_file, save_file

from fvdm.codecs import load_codec
from fvdm.experiments import generate
from fvdm.metrics import bootstrap_sd, codec_features, frechet_distance
from fvdm.training import WEIGHTS, Config, checkpoints, encode_dataset, load_network


def distances(net, config: Config, clips: int) -> dict:
    "FD[codec] of generated clips to held-out ones, and of two sets of real ones: as many on each side."
    codec = load_codec()
    held_out = encode_dataset(config, codec, train=False, clips=2 * clips).take(range(2 * clips))
    features = codec_features(generate(net, clips, 50, tuple(held_out.shape[1:]), 0, progress="DDIM-50"))
    real, other = codec_features(held_out[:clips]), codec_features(held_out[clips:])
    return {"FD[codec]": round(frechet_distance(features, real), 3), "sd": round(bootstrap_sd(features, real), 3), "real against real": round(frechet_distance(other, real), 3), "clips": clips, "sampler": "DDIM-50, seed 0"}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run", type=Path, help="folder of the training run")
    p.add_argument("name", help="name under which it ships")
    p.add_argument("--clips", type=int, default=256, help="clips on each side of the distance (default: 256)")
    args = p.parse_args()
    facts, out = json.loads((checkpoints(args.run)[-1] / "state.json").read_text()), WEIGHTS / args.name
    config = Config(**facts["config"])
    if facts["step"] != config.steps: p.error(f"run is at step {facts['step']} of {config.steps}: it is not finished")
    out.mkdir(parents=True, exist_ok=True)
    save_file({k: v.bfloat16() for k, v in load_file(args.run / "model.safetensors").items()}, out / "model.safetensors")
    card = {k: v for k, v in facts.items() if k not in ("sha256", "skipped")} | {"weights": "moving average, bfloat16"}
    (out / "config.json").write_text(json.dumps(card, indent=1) + "\n")
    net = load_network(args.name)
    card["distance"] = distances(net, config, args.clips)
    (out / "config.json").write_text(json.dumps(card, indent=1) + "\n")
    print(f"{out.name}: {sum(q.numel() for q in net.parameters()) / 1e6:.2f}M parameters, {(out / 'model.safetensors').stat().st_size / 2**20:.1f} MiB, step {facts['step']}; {card['distance']}")


if __name__ == "__main__":
    main()
