#!/usr/bin/env bash
# All that needs a GPU, on a machine that may have no internet, as steps in the order of their worth:
#
#   tests/campaigns/gpu.sh [STEP…]
#
#   machine    (15 s)    what machine it is, and whether it is fit
#   engine     (90 s)    the fused engine in bfloat16, and each of its kernels
#   pipeline   (200 s)   the whole job, from FLAC and from WAV
#   nemo       (300 s)   NeMo as shipped in two batch sizes, NeMo tuned, and the fused engine in float32
#   demo       (60 s)    the demo's job in both precisions: the object at its end says how many characters are wrong
#   tests      (300 s)   kernels and engine against their references; each shape of model is compiled anew
#
# Without a STEP: all of them; times are those of 16 cores, with some 60 s more at first for the model and its kernels,
# which are made before the first measurement, not beside one. Each command has its time, and what it found is written
# when it ends, so that one that hangs costs its own results and no others.
#
# FOLDER (build/gpu) gets results.jsonl (an object a side), a JSON file per benchmark for docs/benchmarks, and log.txt.
# PYTHON names the interpreter (.venv/bin/python, else python3). BUNDLE (.gpu/site.tar.xz, by gpu_bundle.sh) is unpacked
# for it if it is there. Ray has STORE_GB (20) of objects, and MEMORY_GB and CPUS if given, else what it finds. To try it
# where there is no GPU, at small sizes:
#   DEVICE=cpu MODEL=given MINUTES=1 COPIES=2 STORE_GB=1 tests/campaigns/gpu.sh
set -uo pipefail
cd "$(dirname "$0")/../.."
folder=${FOLDER:-build/gpu} bundle=${BUNDLE:-.gpu/site.tar.xz}
device=${DEVICE:-cuda} model=${MODEL:-reference} minutes=${MINUTES:-120} copies=${COPIES:-100}
[ -n "${PYTHON:-}" ] || { [ -x .venv/bin/python ] && PYTHON=.venv/bin/python || PYTHON=python3; }
mkdir -p "$folder" && folder=$(cd "$folder" && pwd)
export NUMBA_CACHE_DIR=${NUMBA_CACHE_DIR:-$PWD/build/numba} RAY_ENABLE_UV_RUN_RUNTIME_ENV=0
failed=0 prepared='' cluster=''
trap '[ -z "$cluster$prepared" ] || { kill $cluster $prepared; wait; } 2> /dev/null' EXIT

log() { echo "$@" | tee -a "$folder/log.txt"; }

step() { # SECONDS COMMAND…
  log "== ${*:2}"
  timeout -k 10 "$1" "${@:2}" 2> >(tee -a "$folder/log.txt" >&2) | tee -a "$folder/log.txt" | tee >(grep --line-buffered -E '^\{"(side|kernels|decoding|run_id)"' >> "$folder/results.jsonl")
  local status=${PIPESTATUS[0]}
  log "== status $status after ${SECONDS} s in all"
  [ "$status" = 0 ] || failed=1
}

benchmark() { # SECONDS NAME MINUTES SIDE KEYS…
  step "$1" "$PYTHON" -m jobs.benchmark configs/demo.yaml "benchmark.model=$model" "model.device=$device" "benchmark.minutes=$3" "benchmark.sides=[\"$4\"]" \
    "benchmark.copies=$copies" unit.target_minutes=auto "benchmark.write=$folder/gpu_$2.json" "${@:5}"
}

part() { awk "BEGIN {print $minutes / $1}"; }

machine() {
  nvidia-smi --query-gpu=name,driver_version,memory.total,memory.used,clocks.max.sm,power.limit --format=csv 2>&1
  lscpu | grep -E '^(Model name|CPU\(s\)|Thread|Core|Socket|Virtualization|Hypervisor|L3)' # hyperthreads decode at six tenths of a core
  lscpu | grep -oE 'avx512_bf16|avx512_vnni|amx_bf16|amx_int8' | sort | uniq | tr '\n' ' '
  echo "; CPUs of this process: $(nproc)"
  free -g | head -2
  df -h /dev/shm /tmp .
  local touch file # the first writes touch memory that the machine may not have had yet; Ray's objects lie there
  file=$(mktemp -p /dev/shm)
  for touch in first again; do
    dd if=/dev/zero of="$file" bs=1M count=1000 conv=notrunc 2>&1 | tail -n 1 | sed "s/^/\/dev\/shm, $touch: /"
  done
  rm -f "$file"
  cc --version 2>&1 | head -n 1 # Triton's launchers are compiled with it
  "$PYTHON" - <<END
import importlib.metadata as packages, importlib.util, sys
import torch
print("Python", sys.version.split()[0], "CUDA", torch.version.cuda, "is there" if torch.cuda.is_available() else "IS NOT THERE")
needed = "torch triton numpy numba pyarrow fsspec soundfile soxr ray nemo_toolkit pydantic rapidfuzz pytest pytest-xdist".split()
print(*(f"{name} {packages.version(name)};" for name in needed if importlib.util.find_spec(name.split("_")[0].replace("pytest-", ""))))
missing = [name for name in "triton numba pyarrow soundfile soxr ray nemo pydantic rapidfuzz tenacity" .split() if not importlib.util.find_spec(name)]
print("MISSING:" if missing else "nothing is missing", *missing)
END
}

prepare() { # What the measurements need and is not of their time: the model's file, the engine's kernels and weights
  exec timeout 150 "$PYTHON" -m jobs.benchmark configs/demo.yaml "benchmark.model=$model" "model.device=$device" benchmark.minutes=0.1 benchmark.repeats=1 \
    'benchmark.sides=["fused, bfloat16", "fused, float32"]' > "$folder/prepared.txt" 2>&1
}

prepared() { # waits for it, so that a measurement has the machine alone
  [ -n "$prepared" ] || return 0
  wait "$prepared" || log "not prepared: $(tail -n 3 "$folder/prepared.txt")"
  prepared=''
  log "== prepared after ${SECONDS} s in all"
}

start_ray() { # one Ray for all jobs that follow, with an object store of a stated size, and no other one is touched
  [ -z "${RAY_ADDRESS:-}" ] || return 0
  local port=$((20000 + RANDOM % 10000))
  export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
  RAY_AUTH_TOKEN=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  "$PYTHON" -m ray.scripts.scripts start --head --block --port=$port --include-dashboard=false --disable-usage-stats \
    --object-store-memory=$((${STORE_GB:-20} * 1000000000)) ${MEMORY_GB:+--memory=${MEMORY_GB}000000000} ${CPUS:+--num-cpus=$CPUS} > "$folder/ray.txt" 2>&1 &
  cluster=$! RAY_ADDRESS=127.0.0.1:$port
  export RAY_ADDRESS
  local tries
  for tries in $(seq 90); do grep -q 'runtime started' "$folder/ray.txt" && return || sleep 1; done
  log "Ray has not started: $(tail -n 3 "$folder/ray.txt")"
}

tests() {
  local jobs
  jobs=$("$PYTHON" -c 'import xdist, os; print("-n", min(8, len(os.sched_getaffinity(0))))' 2> /dev/null)
  # shellcheck disable=SC2086
  step 400 "$PYTHON" -m pytest -v --tb=short -W default $jobs tests/test_kernels.py tests/test_gpu_engine.py
}

engine() {
  prepared
  benchmark 110 engine "$minutes" 'fused, bfloat16'
  [ "$device" = cpu ] && [ "${TRITON_INTERPRET:-}" != 1 ] || benchmark 90 kernels "$(part 6)" kernels
}

pipeline() {
  prepared
  start_ray
  benchmark 240 pipeline_flac "$minutes" 'the whole pipeline, FLAC' benchmark.repeats=1
  benchmark 240 pipeline_wav "$minutes" 'the whole pipeline' benchmark.repeats=1
}

nemo() { # these take longer, and have less of the audio; a GPU has the larger batch of transcribe(), a CPU the smaller
  prepared
  benchmark 150 nemo_small "$(part 12)" 'NeMo transcribe(), batch 4' benchmark.repeats=1
  benchmark 150 nemo_large "$(part 6)" "NeMo transcribe(), batch $([ "$device" = cuda ] && echo 128 || echo 16)" benchmark.repeats=1
  benchmark 150 nemo_tuned "$(part 6)" 'NeMo forward, sorted, autocast' benchmark.repeats=1
  benchmark 90 float32 "$(part 12)" 'fused, float32' benchmark.repeats=1
}

demo() {
  prepared
  start_ray
  local precision without_av=()
  "$PYTHON" -c 'import av' 2> /dev/null || without_av=('input.include=["*.wav", "*.flac", "*-000.tar"]')
  for precision in float32 bfloat16; do
    step 75 "$PYTHON" -m jobs.transcribe configs/demo.yaml "model.device=$device" "model.precision=$precision" "output.uri=$folder/demo-$precision" \
      "${without_av[@]}"
  done
}

steps=("$@")
[ $# != 0 ] || steps=(machine engine pipeline nemo demo tests)
for each in "${steps[@]}"; do
  case $each in
    machine | tests | engine | pipeline | nemo | demo) ;;
    *) sed -n '2,23s/^# \{0,1\}//p' "$0"; exit 2 ;;
  esac
done
if [ -f "$bundle" ]; then
  mkdir -p build/site && xz -dc -T0 "$bundle" | tar xf - -C build/site
  export PYTHONPATH=$PWD/build/site${PYTHONPATH:+:$PYTHONPATH}
fi
# Made while the first steps run: the model's file and all that is compiled.
case " ${steps[*]} " in *" engine "* | *" pipeline "* | *" nemo "*) prepare & prepared=$! ;; esac
for each in "${steps[@]}"; do
  if [ "$each" = machine ]; then machine 2>&1 | tee -a "$folder/log.txt"; else "$each"; fi
done
exit $failed
