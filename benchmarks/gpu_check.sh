#!/usr/bin/env bash
# Everything about SoftPool that only a GPU can show, in one call and at most nine minutes: builds the CUDA kernels (or
# takes those that are there), runs the operator's tests on the GPU, compute-sanitizer, the benchmarks, and prints one
# table last.
#
# usage: benchmarks/gpu_check.sh [--prebuilt] [--results FOLDER] [--python PYTHON]
#
# Results go into FOLDER (default: benchmarks/results): softpool_<gpu>.json, training_step_<gpu>.json, fused_<gpu>.json,
# train_<gpu>.json and gpu_check_<gpu>.json, logs into FOLDER/gpu_check_logs; those of an earlier check of the same GPU
# are replaced. Nothing is downloaded: Python needs torch, pytest, pytest-xdist, hypothesis, ninja, setuptools and tqdm.
# The training loop's stages, train_data and train, need all of the package's own dependencies; without Lightning they
# are left out.
# Exits with 1 if a stage failed; a target that is missed is a result, and the table says so.
set -uo pipefail
cd "$(dirname "$0")/.."

python=python3
results=benchmarks/results
prebuilt=
while (($#)); do
  case $1 in
    --prebuilt) prebuilt=yes; shift ;;
    --results | --python)
      (($# > 1)) || { echo "error: $1 needs a value" >&2; exit 2; }
      [[ $1 == --results ]] && results=$2 || python=$2
      shift 2 ;;
    *) echo "error: $1? usage: $0 [--prebuilt] [--results FOLDER] [--python PYTHON]" >&2; exit 2 ;;
  esac
done
command -v "$python" >/dev/null || { echo "error: there is no Python '$python'" >&2; exit 2; }
gpu=$("$python" -c 'import re, torch
if not torch.cuda.is_available():
    raise SystemExit(f"error: torch {torch.__version__} sees no GPU here")
print(re.sub(r"[^a-z0-9]+", "_", torch.cuda.get_device_name().lower()).strip("_").removeprefix("nvidia_"))') || exit 2

logs=$results/gpu_check_logs
rm -rf "$logs"
mkdir -p "$logs"
stages=$logs/stages.tsv
start=$SECONDS
limit=520 # seconds for all stages; the table takes the rest of nine minutes
export VIDEOSOFT_REQUIRE_CUDA=1 PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} OMP_NUM_THREADS=4
# What one process of the benchmark has compiled another finds.
export TORCHINDUCTOR_CACHE_DIR=$PWD/$logs/inductor TORCHINDUCTOR_FX_GRAPH_CACHE=1

# stage NAME SECONDS COMMAND...: with a limit of its own, never beyond the limit of all. Its output goes into a log.
stage() {
  local name=$1 seconds=$2 began=$SECONDS status=0
  shift 2
  local left=$((limit - (SECONDS - start)))
  if ((left < 5)); then
    printf '%s\t%s\t%s\n' "$name" "out of time" 0 >>"$stages"
    return
  fi
  timeout --kill-after=5 $((seconds < left ? seconds : left)) "$@" >"$logs/$name.log" 2>&1 || status=$?
  printf '%s\t%s\t%s\n' "$name" "$status" $((SECONDS - began)) >>"$stages"
  echo "$name: exit status $status after $((SECONDS - began)) s" >&2
}

if [[ -z $prebuilt ]]; then
  # Only the kernels of this GPU; as many compilers as there are processors.
  capability=$("$python" -c 'import torch; print("%d.%d" % torch.cuda.get_device_capability())')
  TORCH_CUDA_ARCH_LIST=$capability MAX_JOBS=$(nproc) stage build 180 "$python" setup.py build_ext --inplace
fi
# Compiles what the benchmark will need, several at a time, while the tests run.
warm=()
for pooling in 3d_2 3d_1x3x3 3d_3; do
  for layout in contiguous channels_last; do
    "$python" benchmarks/bench_softpool.py --device cuda --rounds 1 --without softmax_compiled --seconds 150 --force \
      --only "$pooling/$layout" --output "$logs/warm_${pooling}_$layout.json" >"$logs/warm_${pooling}_$layout.log" 2>&1 &
    warm+=($!)
  done
done
stage tests 200 "$python" -m pytest -q --override-ini=addopts=--strict-markers --numprocesses=6 -m "not slow_gpu" \
  -k "cuda or gpu" tests/ops --junitxml="$logs/tests.xml"
wait "${warm[@]}"
stage large_tensors 60 "$python" -m pytest -q --override-ini=addopts=--strict-markers -p no:xdist -m slow_gpu tests/ops \
  --junitxml="$logs/large_tensors.xml"
# Every family of kernels, every dtype, both layouts, on small inputs.
for tool in memcheck racecheck initcheck; do
  stage $tool 60 compute-sanitizer --tool $tool --error-exitcode 9 --target-processes all \
    "$python" -m pytest -q --override-ini=addopts=--strict-markers -p no:xdist -k same_bits tests/ops/test_softpool_gpu.py
done
stage training_step 60 "$python" benchmarks/bench_training_step.py --force --output "$results/training_step_$gpu.json"
stage fused 45 "$python" benchmarks/bench_fused.py --force --seconds 35 --output "$results/fused_$gpu.json"
if "$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("lightning") is None)'; then
  stage train_data 40 "$python" datasets/demo/prepare.py --output "$logs/demo" --num_train 256 --num_val 16 --num_workers 8
  stage train 170 "$python" benchmarks/bench_train.py --device cuda --root "$logs/demo" --rounds 3 --seconds 110 --force \
    --output "$results/train_$gpu.json"
  rm -rf "$logs/demo"
else
  echo "train: left out, Python has no Lightning" >&2
fi
stage benchmark 300 "$python" benchmarks/bench_softpool.py --device cuda --without softmax_compiled --force \
  --seconds $((limit - (SECONDS - start) - 30)) --output "$results/softpool_$gpu.json"
exec "$python" benchmarks/summarize_gpu_check.py --gpu "$gpu" --results "$results"
