#!/usr/bin/env bash
# The networks of docs/saliency_scores.md's pair, `train.sh 1 2 3 4` for four seeds a side: from the root of a checkout,
# its environment active. Started again, it goes on with what is missing.
set -euo pipefail
export OMP_NUM_THREADS=1
python datasets/demo/prepare.py --output data/demo
for seed in "$@"; do
  for pool in softpool maxpool; do
    run=demo_runs/r3d50_${pool}_demo/seed_$seed
    weights=demo_runs/seeds/${pool}_$seed.ckpt
    [ -e "$weights" ] && continue
    rm -rf "$run"
    lightning fit --config r3d50_${pool}_demo.yaml --seed_everything "$seed" --run.version "seed_$seed" --run.wandb off
    python tools/export_weights.py --ckpt_path "$run/checkpoints/last.ckpt" --output "$weights"
  done
done
