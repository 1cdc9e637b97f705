#!/usr/bin/env bash
# The whole of tests/ops on the CUDA kernels compiled for the host, without a GPU. `make rehearse`.
# usage: tests/cuda_rehearsal/rehearse.sh [PYTHON] [--sanitize]   (default: python3; needs g++)
#
# The kernels take the place of the CPU's in a copy of the package: the installed library stays as it is. They are built
# twice; the second time 32-bit indices end early and shared memory is scarce, so that the kernels with 64-bit indices
# and those for windows that are too large run as well. With --sanitize every read and write out of bounds ends the run,
# as does a vector that is not aligned; that takes some minutes.
set -euo pipefail
python=$(command -v "${1:-python3}") || { echo "error: there is no Python '${1:-python3}'" >&2; exit 2; }
# Made absolute but not resolved: the link in a virtual environment is what makes it one.
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
cd "$(dirname "$0")/../.."

sanitize=()
libraries=()
preload=()
if [[ ${2:-} == --sanitize ]]; then
  sanitize=(-fsanitize=address,undefined -fno-sanitize-recover=all)
  libraries=(libasan.so libubsan.so libstdc++.so)
fi
for name in "${libraries[@]}"; do
  file=$(g++ -print-file-name="$name") || { echo "error: there is no g++" >&2; exit 2; }
  if [[ $file != /* || ! -e $file ]]; then
    echo "error: g++ has no $name: install the sanitizer libraries of this g++ (Debian: libgcc-<version>-dev)" >&2
    exit 2
  fi
  preload+=("$(realpath "$file")")
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git ls-files -z --cached --others --exclude-standard -- \
  csrc videosoft configs tests/ops tests/cuda_rehearsal tests/conftest.py pyproject.toml |
  xargs -0 cp --parents --target-directory "$folder"
cp tests/cuda_rehearsal/rehearsed_kernels.py "$folder"
cd "$folder"

mapfile -t include < <("$python" -c 'from torch.utils.cpp_extension import include_paths as p; print(*p(), sep="\n")')
mapfile -t library < <("$python" -c 'from torch.utils.cpp_extension import library_paths as p; print(*p(), sep="\n")')
flags=(-std=c++20 -O1 -g1 -fPIC "${sanitize[@]}"
  -DVIDEOSOFT_REHEARSAL -DVIDEOSOFT_DISPATCH_KEY=CPU -DTORCH_TARGET_VERSION=0x020a000000000000
  -Itests/cuda_rehearsal "${include[@]/#/-isystem}")

# build [FLAG...]
build() {
  rm -rf objects
  mkdir objects
  printf '%s\n' csrc/softpool.cpp csrc/cuda/softpool_cuda.cpp csrc/cuda/*.cu |
    xargs -P 2 -I '{}' sh -c 'source=$1; shift; exec g++ -x c++ -c "$source" -o "objects/$(basename "$source").o" "$@"' \
      sh '{}' "${flags[@]}" "$@"
  g++ -shared "${sanitize[@]}" objects/*.o -o videosoft/ops/_softpool.so "${library[@]/#/-L}" \
    -lc10 -ltorch -ltorch_cpu
}

# No search for leaks: Python and torch keep what they allocate until the process ends.
export ASAN_OPTIONS=detect_leaks=0
export UBSAN_OPTIONS=print_stacktrace=1
export PYTHONPATH=$folder
export OMP_NUM_THREADS=1

# rehearse TEST...
rehearse() {
  # Not PyTorch's compilers: their processes may outlive the test run, which is then killed, and the log with it.
  LD_PRELOAD=${preload[*]} "$python" -m pytest -p rehearsed_kernels --numprocesses=2 \
    -k "not torch_compile and not opcheck and not onnx" "${@/#/tests/ops/test_softpool_}"
}

build
VIDEOSOFT_REHEARSAL_LOG=$folder/kernels.log rehearse \
  values.py vectors.py extremes.py rows.py gradients.py random_shapes.py transforms.py relu.py
build -DVIDEOSOFT_LARGEST_INDEX=30000 -DVIDEOSOFT_SHARED_BYTES=4096
VIDEOSOFT_REHEARSAL_LOG=$folder/kernels_wide.log rehearse values.py vectors.py random_shapes.py relu.py
"$python" rehearsed_kernels.py kernels.log kernels_wide.log
