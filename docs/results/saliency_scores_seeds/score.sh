#!/usr/bin/env bash
# The scores of docs/saliency_scores.md's four seeds a side, and a picture of the first two: from the root of a checkout,
# its environment active, after `train.sh 1 2 3 4`. Started again, it goes on.
set -euo pipefail
export OMP_NUM_THREADS=1
results=docs/results/saliency_scores_seeds
# The demo's own checkpoint is not among them: its seed was chosen.
softpool=(demo_runs/seeds/softpool_{1,2,3,4}.ckpt)
maxpool=(demo_runs/seeds/maxpool_{1,2,3,4}.ckpt)
common=(--ckpt_path "${softpool[@]}" --compare "${maxpool[@]}" --data.root data/demo --num_steps 8 --randomization whole
  --batch_size 72)

python tools/score_saliency.py "${common[@]}" --layer layer1 --output $results/layer1
python tools/score_saliency.py "${common[@]}" --layer layer4 --crop 72 --output $results/layer4_whole_frame
python tools/draw_saliency_figure.py --softpool "${softpool[0]}" --original "${maxpool[0]}" \
  --videos "data/demo/val/moving right" --max_videos 1 --output $results/figure.png --overwrite
