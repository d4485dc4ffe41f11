#!/usr/bin/env bash
# Everything that a GPU has to show, in less than ten minutes: golden files, the model, FLUX.1-Fill-Dev beside it, and
# which kernels a step's time goes to.
# Needs torch, diffusers, safetensors, pillow, numpy and scipy; neither a network nor Ray.
# Usage, from the root of the repository: benchmarks/gpu.sh [FOLDER FOR THE FIGURES]
set -uo pipefail
cd "$(dirname "$0")/.." || exit
out=${1:-benchmarks}
mkdir -p "$out"
python=${PYTHON:-python3}

worst=0  # what one step finds wrong does not keep the others from measuring
"$python" benchmarks/golden.py --device cuda || worst=1
"$python" -m jobs.bench model --device cuda --output "$out/model-gpu.json" || worst=1
"$python" -m jobs.bench model --device cuda --quick --versus flux --output "$out/flux-gpu.json" || worst=1
"$python" benchmarks/profile_model.py --device cuda --batch-size 16 > "$out/profile-gpu.txt" || worst=1
exit $worst
