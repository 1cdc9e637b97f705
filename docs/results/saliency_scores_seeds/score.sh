#!/usr/bin/env bash
# The scores of docs/saliency_scores.md's pair, `score.sh 1 2 3 4` after `train.sh 1 2 3 4`. Started again, it goes on.
set -euo pipefail
export OMP_NUM_THREADS=1
results=docs/results/saliency_scores_seeds
softpool=() maxpool=()
for seed in "$@"; do
  softpool+=("demo_runs/seeds/softpool_$seed.ckpt")
  maxpool+=("demo_runs/seeds/maxpool_$seed.ckpt")
done
score() {
  python tools/score_saliency.py --ckpt_path "${softpool[@]}" --compare "${maxpool[@]}" --data.root data/demo \
    --num_steps 8 --randomization whole --batch_size 54 "$@"
}
score --layer layer1 --output $results/layer1
score --layer layer4 --crop 72 --output $results/layer4_whole_frame
score --layer layer4 --output $results/layer4
