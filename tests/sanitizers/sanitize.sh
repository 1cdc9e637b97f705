#!/usr/bin/env bash
# The whole of tests/ops on CPU kernels built with AddressSanitizer and UndefinedBehaviorSanitizer. `make sanitize`.
# usage: tests/sanitizers/sanitize.sh [PYTHON]   (default: python3; needs g++ with its sanitizer libraries)
#
# Package, kernels and tests are copied to a temporary folder: the installed library stays as it is.
set -euo pipefail
python=$(command -v "${1:-python3}") || { echo "error: there is no Python '${1:-python3}'" >&2; exit 2; }
# Made absolute but not resolved: the link in a virtual environment is what makes it one.
python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python")
cd "$(dirname "$0")/../.."

# A sanitizer's library must be in the process before all else; g++ prints the bare name of a file that it lacks.
preload=()
for name in libasan.so libubsan.so libstdc++.so; do
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
  csrc videosoft configs tests/ops tests/conftest.py setup.py pyproject.toml README.md LICENSE |
  xargs -0 cp --parents --target-directory "$folder"
cp tests/sanitizers/sanitized_library.py "$folder"
cd "$folder"

# CXXFLAGS come after the flags of setup.py, so that -O1 -g replaces -O3 -g0.
sanitize="-fsanitize=address,undefined -fno-sanitize-recover=all"
VIDEOSOFT_NO_CUDA=1 VIDEOSOFT_CXXFLAGS="-O1 -g -fno-omit-frame-pointer $sanitize" LDFLAGS="$sanitize" CXX=g++ \
  "$python" setup.py build_ext --inplace

# No search for leaks: Python and torch keep what they allocate until the process ends.
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1
export LD_PRELOAD=${preload[*]}
export PYTHONPATH=$folder
export OMP_NUM_THREADS=1
"$python" -m sanitized_library
"$python" -m pytest -p sanitized_library --numprocesses=2 tests/ops
