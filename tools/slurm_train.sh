#!/usr/bin/env bash
# Train under Slurm:
#   [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] \
#       bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
# For example:
#   bash tools/slurm_train.sh gpu my_job \
#       configs/demt/demt_hrnet18_8xb1-40k_nyud-425x560.py --amp
set -euo pipefail
case "${1:-}" in
-h | --help)
    awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
    exit 0
    ;;
esac
if [ $# -lt 3 ]; then
    echo "usage: bash $0 PARTITION JOB_NAME CONFIG [arguments of tools/train.py]" >&2
    exit 2
fi
if ! command -v srun >/dev/null 2>&1; then
    echo "error: srun is not on PATH; without Slurm use tools/dist_train.sh." >&2
    exit 1
fi
partition="$1" job="$2"
shift 2
tools="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
gpus="${GPUS:-8}"
per_node="${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}"
export PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}"
# shellcheck disable=SC2086  # SRUN_ARGS may hold several options
exec srun --partition="$partition" --job-name="$job" --gres="gpu:$per_node" --ntasks="$gpus" \
    --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} "${PYTHON:-python}" -u "$tools/train.py" "$@" --launcher slurm
