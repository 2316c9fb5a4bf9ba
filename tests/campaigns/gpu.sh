#!/usr/bin/env bash
# Checks that need a GPU, each in one call of under 8 minutes, on a machine that may have no internet:
#
#   tests/campaigns/gpu.sh check [FOLDER]     kernels and engine against their references, the demo's errors in both precisions
#   tests/campaigns/gpu.sh measure [FOLDER]   every side of the benchmark, what matters most first
#
# FOLDER (build/gpu) gets results.jsonl (an object a step), a JSON file per benchmark for docs/benchmarks, and log.txt. Each step has its time, and what it
# found is written when it ends, so that one that hangs costs its own results and no others.
#
# PYTHON names the interpreter (.venv/bin/python). To try it where there is no GPU, at small sizes:
#   DEVICE=cpu MODEL=given MINUTES=0.2 COPIES=2 TRITON_INTERPRET=1 tests/campaigns/gpu.sh measure
set -uo pipefail
cd "$(dirname "$0")/../.."
what=${1:-} folder=${2:-build/gpu} python=${PYTHON:-.venv/bin/python}
device=${DEVICE:-cuda} model=${MODEL:-reference} minutes=${MINUTES:-360} copies=${COPIES:-20}
mkdir -p "$folder"
failed=0

step() { # SECONDS COMMAND…
  echo "== ${*:2}" | tee -a "$folder/log.txt"
  timeout "$1" "${@:2}" 2> >(tee -a "$folder/log.txt" >&2) | tee -a "$folder/log.txt" | grep '^{' >> "$folder/results.jsonl"
  local status=${PIPESTATUS[0]}
  echo "== status $status after ${SECONDS} s in all" | tee -a "$folder/log.txt"
  [ "$status" = 0 ] || failed=1
}

benchmark() { # SECONDS NAME MINUTES SIDES KEYS…
  step "$1" "$python" -m jobs.benchmark configs/demo.yaml "benchmark.model=$model" "model.device=$device" \
    "benchmark.minutes=$3" "benchmark.sides=$4" "benchmark.copies=$copies" unit.target_minutes=auto \
    "benchmark.write=$folder/$2.json" "${@:5}"
}

check() {
  step 300 "$python" -m pytest -q -W default tests/test_kernels.py tests/test_gpu_engine.py
  for precision in float32 bfloat16; do # the object at the end says how many characters are wrong
    step 75 "$python" -m jobs.transcribe configs/demo.yaml "model.device=$device" "model.precision=$precision" \
      "output.uri=$folder/demo-$precision"
  done
}

measure() {
  benchmark 200 gpu_kernels "$minutes" '[kernels, "fused, bfloat16"]'
  benchmark 100 gpu_pipeline "$minutes" '["the whole pipeline", "the whole pipeline, FLAC"]' benchmark.repeats=1
  # Those that take longer have a sixth of the audio. A GPU has the larger batch of transcribe(), a CPU the smaller.
  local batch=$([ "$device" = cuda ] && echo 128 || echo 16)
  benchmark 170 gpu_engine "$(awk "BEGIN {print $minutes / 6}")" "[\"NeMo transcribe(), batch 4\", \"NeMo transcribe(), batch $batch\",
    \"NeMo forward, sorted, autocast\", \"fused, bfloat16\", \"fused, float32\"]" benchmark.repeats=2
}

case $what in
  check | measure) "$what" ;;
  *) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
exit $failed
