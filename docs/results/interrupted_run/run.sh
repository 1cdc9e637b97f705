#!/usr/bin/env bash
# The run of docs/interrupted_run.md: from the root of a checkout, its environment active, the videos at data/ucf101_mini.
set -uo pipefail
name=$1; config=$2; way=$3   # example_softpool r3d50_softpool_ucf101_mini.yaml interrupted, or ... whole
export OMP_NUM_THREADS=1
fit=(lightning fit --config "$config" --data.crop 80 --data.short_side 92 --trainer.max_epochs 10
  --trainer.check_val_every_n_epoch 1 --model.schedule.warmup_epochs 3 --run.checkpoint_every 10
  --run.name "$name" --run.wandb offline --run.tensorboard true)

wait_for_rows() { until [ "$(wc -l < "runs/$name/$1/metrics.csv" 2>/dev/null || echo 0)" -gt "$2" ]; do sleep 1; done; }

if [ "$way" = interrupted ]; then
  "${fit[@]}" & pid=$!
  wait_for_rows version_0 12; sleep 20; kill -9 $pid; wait $pid; echo "killed, exit code $?"
  "${fit[@]}" --ckpt_path last & pid=$!
  wait_for_rows version_1 14; sleep 15; kill -TERM $pid; wait $pid; echo "SIGTERM, exit code $?"
  "${fit[@]}" --ckpt_path last; echo "exit code $?"
else
  "${fit[@]}"
fi
last=$(ls -d "runs/$name"/version_* | sort -V | tail -1)
python tools/evaluate_kinetics.py --ckpt_path "$last/checkpoints/last.ckpt" --data.root data/ucf101_mini --views 10x3 \
  --output "$last/test_10x3"
