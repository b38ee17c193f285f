#!/bin/sh
# Check and measure the models on a GPU machine that reaches no network. It has not run on a GPU yet:
# what is proved is benchmarks/gpu.py with --device cpu, and that the wheels can be had and installed.
#
#   benchmarks/gpu.sh wheels     here, online: what that machine lacks, into .whl/ (ignored by git), 60 MB at most
#   benchmarks/gpu.sh [option …] there, offline: install .whl/ into a folder of its own, run benchmarks/gpu.py
#   benchmarks/gpu.sh --help     this text
#
# That machine has x86-64 Linux, Python 3.12, torch for CUDA, torchvision, timm, onnx, onnxruntime, OpenCV,
# scikit-image, huggingface_hub and safetensors; PYTHON names its interpreter. The options are those of gpu.py.
# The hand networks are taken along where `streamapp models fetch mfd-palm mfd-landmark` has put them before.
#
# Without onnxruntime-gpu on that machine (250 MB, too much to carry) NudeNet and MFD run on its CPU, and a line
# says so. Where streamapp is installed with CUDA, as in its image, run `python benchmarks/gpu.py` itself instead.
set -eu
cd "$(dirname "$0")/.."

case "${1:-}" in -h | --help)
    sed -n '/^set -eu/q; 2,$s/^# \{0,1\}//p' benchmarks/gpu.sh
    exit
    ;;
esac

MAX_BYTES=60000000
# What streamapp.models imports and that machine does not have; in the versions installed here.
PACKAGES="ai-edge-litert annotated-types backports.strenum ftfy msgspec nudenet open_clip_torch pydantic
pydantic_core python-dotenv typing_extensions typing-inspection wcwidth"

if [ -z "${PYTHON:-}" ]; then
    PYTHON=python3
    [ ! -x .venv/bin/python ] || PYTHON=.venv/bin/python
fi

pinned() {
    # shellcheck disable=SC2086  # a list of words
    "$PYTHON" -c 'import sys; from importlib.metadata import version
for name in sys.argv[1:]: print(f"{name}=={version(name)}")' $PACKAGES
}

take_hand_networks() {
    mkdir -p .whl/mfd
    "$PYTHON" -m streamapp models where | while IFS="$(printf '\t')" read -r name path; do
        case "$name" in mfd-*) [ ! -f "$path" ] || cp "$path" .whl/mfd/ ;; esac
    done
    [ -n "$(ls .whl/mfd)" ] || echo "The hand networks are not here: MFD will be left out there." >&2
}

wheels() {
    rm -rf .whl
    mkdir .whl
    # pip matches the number in manylinux_2_N exactly.
    platforms=$(for n in 17 24 26 27 28 31 34 35; do printf -- '--platform manylinux_2_%s_x86_64 ' "$n"; done)
    pins=$(pinned)
    # shellcheck disable=SC2086  # lists of words
    "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
        --python-version "${GPU_PYTHON:-3.12}" --implementation cp $platforms \
        --platform manylinux2014_x86_64 --platform manylinux1_x86_64 --dest .whl $pins
    take_hand_networks
    bytes=$(find .whl -type f -exec cat {} + | wc -c)
    echo "$(find .whl -name '*.whl' | wc -l) wheels and the files beside them in .whl: $bytes bytes of at most $MAX_BYTES"
    [ "$bytes" -le "$MAX_BYTES" ]
}

if [ "${1:-}" = wheels ]; then
    wheels
    exit
fi
ls .whl/*.whl >/dev/null 2>&1 || { echo "There is no .whl/: run benchmarks/gpu.sh wheels online first." >&2; exit 1; }
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
trap 'exit 1' HUP INT TERM
"$PYTHON" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --no-cache-dir \
    --target "$site" .whl/*.whl
# Before torch and the hub's client are imported: no spinning threads, no look beyond this machine.
export OMP_WAIT_POLICY=PASSIVE HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
PYTHONPATH="$site:$PWD" "$PYTHON" benchmarks/gpu.py "$@"
