#!/usr/bin/env bash
# The whole way once, on data made on the spot: make clips, train, evaluate, look. `make demo` calls it.
# usage: tools/demo.sh DATA_FOLDER RUNS_FOLDER
set -euo pipefail
data=$1
runs=$2
version=$(date +%Y%m%d-%H%M%S)
run="$runs/r3d50_softpool_demo/$version"
SECONDS=0
# One thread computes, the other core decodes: on tensors this small, threads that wait for each other cost more than
# they bring, and on a busy machine many times more.
export OMP_NUM_THREADS=1

python datasets/demo/prepare.py --output "$data"
data_ready=$SECONDS
lightning fit --config r3d50_softpool_demo.yaml --data.root "$data" --run.output "$runs" --run.version "$version"
trained=$SECONDS
checkpoint="$run/checkpoints/last.ckpt"
python tools/evaluate_kinetics.py --ckpt_path "$checkpoint" --data.root "$data" --views 3x1 --output "$run/evaluation"
evaluated=$SECONDS
mapfile -t videos < <(find "$data/val" -name '*.mp4' | sort | awk 'NR % 32 == 1' | head -n 8)
python tools/export_saliency.py --ckpt_path "$checkpoint" --videos "${videos[@]}" --output "$run/saliency"
total=$SECONDS

python - "$run" "$data_ready" "$((trained - data_ready))" "$((evaluated - trained))" "$((total - evaluated))" <<'PYTHON'
import json
import os
import platform
import sys
from pathlib import Path

import torch

import videosoft

run, *seconds = sys.argv[1:]
cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "")
metrics = json.loads(Path(run, "evaluation", "metrics.json").read_text())
record = {
    "format_version": 1,
    "command": "make demo",
    "seconds": dict(zip(("data", "training", "evaluation", "saliency"), map(int, seconds), strict=True)),
    "top1": metrics["top1"],
    "top1_confidence_interval_95": metrics["top1_confidence_interval_95"],
    "num_videos": metrics["num_videos"],
    "device": {"cpu": cpu or platform.machine(), "cores": len(os.sched_getaffinity(0))},
    "versions": {
        "videosoft": videosoft.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    },
}
Path(run, "demo.json").write_text(json.dumps(record, indent=2) + "\n")
PYTHON

cat <<EOF

The demo took $total seconds. Its results:
  checkpoint      $checkpoint
  time, accuracy  $run/demo.json
  metrics         $run/evaluation/metrics.json
  predictions     $run/evaluation/predictions.parquet
  overlay video   $(find "$run/saliency" -name '*_overlay.mp4' | sort | head -n 1)
  contact sheet   $(find "$run/saliency" -name '*_sheet.png' | sort | head -n 1)
  all tubes       $run/saliency/
EOF
