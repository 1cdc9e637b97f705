#!/usr/bin/env bash
# The networks of docs/saliency_scores.md's pair: from the root of a checkout, its environment active. Started again, it
# goes on with what is missing.
set -euo pipefail
export OMP_NUM_THREADS=1
python datasets/demo/prepare.py --output data/demo
for seed in 1 2 3 4; do
  for pool in softpool maxpool; do
    run=demo_runs/r3d50_${pool}_demo/seed_$seed
    [ -e "$run/evaluation/metrics.json" ] && continue
    rm -rf "$run"
    lightning fit --config r3d50_${pool}_demo.yaml --seed_everything $seed --run.version seed_$seed --run.wandb off
    python tools/evaluate_kinetics.py --ckpt_path "$run/checkpoints/last.ckpt" --data.root data/demo --views 1x1 \
      --output "$run/evaluation"
  done
done
