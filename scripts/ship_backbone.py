r"""Turn a run that trained all weights of a diffusers transformer, on latents of our codec, into a folder of diffusers
that comes with the repository: bfloat16 safetensors, the scheduler, and a card that says how it was trained.

    fvdm train --backbone BEFORE --full --prompts zeros --latents LATENTS --out runs/wan_faces \
        --p 0 --steps 7000 --optimizer muon --lr 3e-3 --warmup 200 --cooldown 0.4 --precision bf16
    python scripts/ship_backbone.py runs/wan_faces wan-faces
"""

import argparse
import json
from pathlib import Path

import torch

from fvdm.codecs import import_diffusers
from fvdm.files import WEIGHTS, atomic_write, read_json
from fvdm.tasks import Pipeline

# of a configuration: paths, which say nothing elsewhere; and what encoded clips decide, which "data" names
LEFT_OUT = ("backbone", "prompts", "data_path", "clips")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run", type=Path, help="folder of the training run")
    p.add_argument("name", help="name under which it comes")
    p.add_argument("--size", type=int, default=64, help="pixels along an edge of its clips (default: 64)")
    args = p.parse_args()
    card = read_json(args.run / "config.json")
    config, path, out = card["config"], card["path"], WEIGHTS / args.name
    if card["step"] != config["steps"]:
        p.error(f"run is at step {card['step']} of {config['steps']}: it is not finished")
    if path["name"] != "flow":
        p.error(f"run was trained on the path {path['name']}, but a scheduler is written for a flow only")

    diffusers = import_diffusers()
    kind = card["network"]["_class_name"]
    model = getattr(diffusers, kind).from_pretrained(args.run / "transformer", torch_dtype=torch.bfloat16)
    model.save_pretrained(out / "transformer")
    about = read_json(out / "transformer" / "config.json")
    about.pop("_name_or_path", None)  # where it was opened, which says nothing elsewhere
    atomic_write(out / "transformer" / "config.json", json.dumps(about, indent=2) + "\n")
    diffusers.FlowMatchEulerDiscreteScheduler(shift=path["shift"]).save_pretrained(out / "scheduler")
    card["config"] = {k: v for k, v in config.items() if k not in LEFT_OUT}
    card["config"]["model"] = kind
    card["weights"] = "moving average, bfloat16"
    atomic_write(out / "card.json", json.dumps(card, indent=1) + "\n")
    ours = {"codec": "tiny", "frames": config["frames"], "size": args.size}
    atomic_write(out / "model_index.json", json.dumps({"_class_name": "WanPipeline", "fvdm": ours}, indent=1) + "\n")
    print(Pipeline.from_pretrained(args.name))


if __name__ == "__main__":
    main()
