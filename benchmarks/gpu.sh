#!/usr/bin/env bash
# Everything that a GPU has to show, in less than ten minutes, what matters most first: golden files, which kernels the
# time goes to, the model, FLUX.1-Fill-Dev beside it.
# Needs torch, diffusers, safetensors, pillow, numpy and scipy; neither a network nor Ray.
# Usage, from the root of the repository: benchmarks/gpu.sh [FOLDER FOR THE FIGURES]
set -uo pipefail
cd "$(dirname "$0")/.." || exit
out=${1:-benchmarks}
mkdir -p "$out"
python=${PYTHON:-python3}

worst=0  # what one step finds wrong does not keep the others from measuring
measure() {
    echo "== $(date -u +%T) $*"
    "$python" "$@" || worst=1
}
measure benchmarks/golden.py --device cuda
measure benchmarks/profile_model.py --device cuda --batch-size 16 > "$out/profile-gpu.txt"
grep -E 'GB/s' "$out/profile-gpu.txt"
measure -m jobs.bench model --device cuda --output "$out/model-gpu.json"
measure -m jobs.bench model --device cuda --quick --versus flux --output "$out/flux-gpu.json"
exit $worst
