#!/usr/bin/env bash
# From a fresh checkout to a trained model, its numbers and its pictures, without a download of
# data and without a GPU:
#   bash tools/quickstart.sh [KEY=VALUE ...]
# The arguments override entries of the config. For example:
#   bash tools/quickstart.sh train_cfg.max_iters=100
# What an earlier run left (environment, rendered rooms, finished training) is used again.
#
# Environment: CONFIG and WORK_DIR choose another config and folder; see setup_env.sh for PYTHON,
# MMDENSE_VENV, MMDENSE_CACHE and MMDENSE_TORCH.
set -euo pipefail
MMD_STEPS=7
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/setup_env.sh"
cd "$MMD_ROOT"
CONFIG="${CONFIG:-configs/polymax/polymax_convnext-atto_1xb8-quickstart_rooms-96x128.py}"
WORK_DIR="${WORK_DIR:-work_dirs/quickstart}"
[ -f "$CONFIG" ] || mmd_fail "$CONFIG: no such config file."
options=()
for option in "$@"; do
    case "$option" in
    -h | --help)
        awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
        exit 0
        ;;
    *=*) options+=("$option") ;;
    *) mmd_fail "'$option' is no KEY=VALUE, for example train_cfg.max_iters=100." ;;
    esac
done
overrides=()
[ ${#options[@]} -eq 0 ] || overrides=(--cfg-options "${options[@]}")

mmd_step 'Python environment'
mmd_make_venv
mmd_step 'torch'
mmd_install_torch
mmd_step 'mmdense and the OpenMMLab stack'
mmd_install_package onedl

# A training belongs to one config with one set of options; another one starts afresh.
fingerprint="$CONFIG $("$MMD_PY" - "$CONFIG" ${options[@]+"${options[@]}"} <<'PY'
import hashlib, sys
from mmengine.config import Config
text = Config.fromfile(sys.argv[1]).pretty_text + ' '.join(sys.argv[2:])
print(hashlib.sha256(text.encode()).hexdigest()[:16])
PY
)"
if [ -d "$WORK_DIR" ] && [ "$(cat "$WORK_DIR/.trained_with" 2>/dev/null)" != "$fingerprint" ]; then
    kept="$WORK_DIR.$(date +%Y%m%d_%H%M%S)"
    mv "$WORK_DIR" "$kept"
    mmd_note "an earlier training with other settings is kept in $kept"
fi
mkdir -p "$WORK_DIR"
printf '%s\n' "$fingerprint" >"$WORK_DIR/.trained_with"

mmd_step "training $CONFIG"
if [ -e "$WORK_DIR/.finished" ] && [ -f "$(cat "$WORK_DIR/last_checkpoint" 2>/dev/null)" ]; then
    mmd_note "finished before: $(cat "$WORK_DIR/last_checkpoint")"
else
    "$MMD_PY" tools/train.py "$CONFIG" --work-dir "$WORK_DIR" --resume auto \
        ${overrides[@]+"${overrides[@]}"}
    touch "$WORK_DIR/.finished"
fi

mmd_step 'testing the checkpoint'
results="$WORK_DIR/test_results.json"
"$MMD_PY" tools/test.py "$CONFIG" "$(cat "$WORK_DIR/last_checkpoint")" --work-dir "$WORK_DIR" \
    --out "$results" --show-dir "$WORK_DIR/test_pictures" ${overrides[@]+"${overrides[@]}"}

mmd_step 'the best predictor that does not look at the picture'
constant="$WORK_DIR/constant.json"
if [ ! -f "$constant" ]; then
    "$MMD_PY" tools/analysis_tools/constant_baseline.py "$CONFIG" --split test --out "$constant" \
        ${overrides[@]+"${overrides[@]}"}
fi

mmd_step 'results'
"$MMD_PY" tools/analysis_tools/quickstart_report.py "$WORK_DIR"
printf '\nDone in %d s.\n' "$((SECONDS - MMD_T0))"
