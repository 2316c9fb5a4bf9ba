#!/usr/bin/env bash
# All that wants a GPU, in one call of under 8 minutes, on a machine that may have no internet: the kernels and the
# engine against their references, then every side of the benchmark, what matters most first. Each step has its time, and
# what it found is written when it ends, so that a step that hangs costs its own results and no others.
#
#   tests/gpu.sh [FOLDER]     FOLDER (build/gpu): benchmarks.md, results.jsonl (one object a step), log.txt
#
# PYTHON names the interpreter (.venv/bin/python). To try the script where there is no GPU, at small sizes:
#   DEVICE=cpu MODEL=given MINUTES=0.2 COPIES=2 TRITON_INTERPRET=1 tests/gpu.sh
set -uo pipefail
cd "$(dirname "$0")/.."
folder=${1:-build/gpu} python=${PYTHON:-.venv/bin/python}
device=${DEVICE:-cuda} model=${MODEL:-reference} minutes=${MINUTES:-360} copies=${COPIES:-20}
many=$([ "$device" = cuda ] && echo 128 || echo 16)
mkdir -p "$folder"
failed=0

step() { # SECONDS COMMAND…
  echo "== ${*:2}" | tee -a "$folder/log.txt"
  timeout "$1" "${@:2}" 2> >(tee -a "$folder/log.txt" >&2) | tee -a "$folder/log.txt" | grep '^{' >> "$folder/results.jsonl"
  local status=${PIPESTATUS[0]}
  echo "== status $status after ${SECONDS} s in all" | tee -a "$folder/log.txt"
  [ "$status" = 0 ] || failed=1
}

benchmark() { # SECONDS KEYS…
  step "$1" "$python" -m jobs.benchmark configs/demo.yaml "benchmark.model=$model" "model.device=$device" \
    "benchmark.minutes=$minutes" "benchmark.copies=$copies" unit.target_minutes=auto \
    "benchmark.write=$folder/benchmarks.md" "${@:2}"
}

benchmark 130 'benchmark.sides=[kernels, "fused, bfloat16", "fused, float32"]'
step 90 "$python" -m pytest -q -x tests/test_kernels.py tests/test_gpu_engine.py
for precision in float32 bfloat16; do # the last line of each says how many characters are wrong
  step 40 "$python" -m jobs.transcribe configs/demo.yaml "model.device=$device" "model.precision=$precision" \
    "output.uri=$folder/demo-$precision"
done
benchmark 90 benchmark.repeats=1 'benchmark.sides=["the whole pipeline", "the whole pipeline, FLAC"]'
benchmark 90 benchmark.repeats=2 "benchmark.minutes=$(awk "BEGIN {print $minutes / 6}")" "benchmark.sides=[\"NeMo transcribe(), batch 4\", \"NeMo transcribe(), batch $many\", \"NeMo forward, sorted, autocast\"]"
exit $failed
