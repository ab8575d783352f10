#!/usr/bin/env bash
# A newcomer's first hour, timed: from a clone to an own idea, in a fresh virtual environment and a folder of its own.
#
#   scripts/newcomer.sh                  pip's usual index (on Linux: torch for CUDA)
#   TORCH_INDEX=https://download.pytorch.org/whl/cpu scripts/newcomer.sh
#
# Any error ends it. The measure: under 15 minutes on two plain cores, installing included.
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
began=$SECONDS

step() {
  local name=$1 from=$SECONDS
  shift
  "$@" >"$place/log" 2>&1 || { cat "$place/log"; echo "$name failed"; exit 1; }
  printf '%4d s  %s\n' $((SECONDS - from)) "$name"
}

install() {
  git clone -q "$repository" fvdm
  "${PYTHON:-python3}" -m venv venv
  if [ -n "${TORCH_INDEX:-}" ]; then venv/bin/pip install -q torch torchvision --index-url "$TORCH_INDEX"; fi
  venv/bin/pip install -q -c fvdm/constraints.txt -e "fvdm[notebooks]"
}

# the notebook holds an own plan and thirty seconds of training
quickstart() { (cd fvdm/nbs && ../../venv/bin/papermill quickstart.ipynb "$place/quickstart.ipynb" -k python3); }

animate() { venv/bin/fvdm animate fvdm/examples/face.png -o mine.webp; }

own_plan() {
  venv/bin/python - <<'PYTHON'
import torch

from fvdm.media import Video
from fvdm.samplers import begin, sample
from fvdm.tasks import Pipeline
from fvdm.vtv import delay, uniform

pipe, plan = Pipeline.from_pretrained("sky"), delay(uniform(10, 16), range(16))  # one frame after another
z = sample(pipe.net, begin(plan, (1, 16, 4, 8, 8), generator=torch.Generator().manual_seed(3)), plan)
Video(pipe.codec.decode(z), z).save("plan.webp")
PYTHON
}

two_sets() {
  venv/bin/fvdm worlds export faces real --clips 96 --frames 16 --size 64
  venv/bin/fvdm generate --network faces --n 96 --shards 1 --files .webp -o fake
  venv/bin/fvdm fvd real fake --json distance.json
}

train() { venv/bin/fvdm train --preset smoke --steps 10000 --budget 30 --out runs/mine; }

cd "$place"
step "install into a fresh environment" install
step "animate a drawing" animate
step "the quickstart, executed" quickstart
step "a plan of one's own" own_plan
step "two sets of videos, measured" two_sets
step "thirty seconds of training" train
ls -l mine.webp plan.webp distance.json runs/mine/model.safetensors >/dev/null
printf '%4d s  in all\n' $((SECONDS - began))
