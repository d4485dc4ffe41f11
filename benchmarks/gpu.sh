#!/usr/bin/env bash
# Measure all that a GPU has to show in some eight minutes, what matters most first: golden files, whole windows
# per second, every kernel by itself, the plain model, FLUX.1-Fill-dev. Each figure is written as it comes.
# Needs torch, safetensors, pillow, numpy and scipy; FLUX needs diffusers, too, and is left out without it.
# Usage, from the root of the repository: benchmarks/gpu.sh [FOLDER FOR THE FIGURES]
# DEVICE=cpu SMALL=--small benchmarks/gpu.sh /tmp/figures tries the script where there is no GPU.
set -uo pipefail
cd "$(dirname "$0")/.." || exit
out=${1:-benchmarks}
device=${DEVICE:-cuda}
small=${SMALL:-}
mkdir -p "$out"
export PYTHONUNBUFFERED=1

worst=0  # what one step finds wrong does not keep the others from measuring
measure() {  # SECONDS AT MOST, FILE, COMMAND …
    local limit=$1 file=$out/$2
    shift 2
    echo "== $(date -u +%T) $*"
    timeout "$limit" "${PYTHON:-python3}" "$@" 2> >(tee -a "$out/log-gpu.txt" >&2) | tee -a "$file" || worst=1
}
halves="bf16 fp16"
[ "$device" = cpu ] && halves=bf16
measure 80 golden-gpu.txt benchmarks/golden.py --device "$device" ${small:+--tiny}
for precision in $halves; do
    measure 60 pictures-gpu.jsonl benchmarks/pictures.py --device "$device" --precision "$precision" --batch-sizes 16 1 $small
done
measure 40 pictures-gpu.jsonl benchmarks/pictures.py --device "$device" --precision "${halves##* }" --batch-sizes 32 $small
measure 40 pictures-gpu.jsonl benchmarks/pictures.py --device "$device" --precision "${halves##* }" --sampler dpm++ --steps 10 $small
if [ -z "$small" ]; then
    for precision in $halves; do
        measure 60 "profile-$precision-gpu.txt" benchmarks/profile_model.py --device "$device" --precision "$precision" --batch-size 16
    done
fi
measure 60 pictures-gpu.jsonl benchmarks/pictures.py --device "$device" --precision fp32 --batches 1 --plain $small
if [ "$device" = cuda ] && "${PYTHON:-python3}" -c 'import diffusers' 2>/dev/null; then
    measure 120 flux-gpu.txt benchmarks/flux.py
fi
exit $worst
