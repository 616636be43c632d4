#!/usr/bin/env bash
# Lint, types and the whole test suite, with the compiled ops of mmcv:
#   bash tools/run_tests.sh [arguments of pytest]
# The first run compiles the ops (about 6 minutes on 2 cores) and keeps the wheel; see setup_env.sh
# for PYTHON, MMDENSE_VENV, MMDENSE_CACHE, MMDENSE_TORCH and MAX_JOBS.
# For example, the fast tests of one folder:
#   bash tools/run_tests.sh -m "not slow" tests/utils
set -euo pipefail
case "${1:-}" in
-h | --help)
    awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
    exit 0
    ;;
esac
MMD_STEPS=8
. "$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/setup_env.sh"
cd "$MMD_ROOT"

mmd_step 'Python environment'
mmd_make_venv
mmd_step 'torch'
mmd_install_torch
mmd_step 'mmdense, the OpenMMLab stack and the test tools'
mmd_install_package onedl,tests
mmd_install_detection
mmd_step 'compiled ops of mmcv'
mmd_install_ops || true # said why; the tests marked `ops` skip themselves

# Every check runs, so that one run shows all that is wrong.
failed=''
mmd_step 'ruff check'
"$MMD_PY" -m ruff check . || failed="$failed ruff-check"
mmd_step 'ruff format --check'
"$MMD_PY" -m ruff format --check . || failed="$failed ruff-format"
mmd_step 'mypy'
"$MMD_PY" -m mypy || failed="$failed mypy"
mmd_step 'pytest'
# The tensors of the tests are tiny: threads only wait for each other there.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
"$MMD_PY" -m pytest "$@" || failed="$failed pytest"

printf '\n%d s in all. ' "$((SECONDS - MMD_T0))"
if [ -n "$failed" ]; then
    echo "Failed:$failed"
    exit 1
fi
echo 'Everything passed.'
