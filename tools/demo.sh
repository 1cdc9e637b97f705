#!/usr/bin/env bash
# The whole way once, on data made on the spot: make clips, train, evaluate, look. `make demo` calls it.
# usage: tools/demo.sh DATA_FOLDER RUNS_FOLDER
set -euo pipefail
data=$1
runs=$2
version=$(date +%Y%m%d-%H%M%S)
run="$runs/r3d50_softpool_demo/$version"
started=$SECONDS
# One thread computes, the other core decodes: on tensors this small, threads that wait for each other cost more than
# they bring, and on a busy machine many times more.
export OMP_NUM_THREADS=1

python datasets/demo/prepare.py --output "$data"
lightning fit --config r3d50_softpool_demo.yaml --data.root "$data" --run.output "$runs" --run.version "$version"
checkpoint="$run/checkpoints/last.ckpt"
python tools/evaluate_kinetics.py --ckpt_path "$checkpoint" --data.root "$data" --views 3x1 --output "$run/evaluation"
mapfile -t videos < <(find "$data/val" -name '*.mp4' | sort | awk 'NR % 32 == 1' | head -n 8)
python tools/export_saliency.py --ckpt_path "$checkpoint" --videos "${videos[@]}" --output "$run/saliency"

cat <<EOF

The demo took $((SECONDS - started)) seconds. Its results:
  checkpoint      $checkpoint
  metrics         $run/evaluation/metrics.json
  predictions     $run/evaluation/predictions.parquet
  overlay video   $(find "$run/saliency" -name '*_overlay.mp4' | sort | head -n 1)
  contact sheet   $(find "$run/saliency" -name '*_sheet.png' | sort | head -n 1)
  all tubes       $run/saliency/
EOF
