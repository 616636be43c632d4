#!/usr/bin/env bash
# Train on several GPUs (nccl) or, where there is none, in several CPU processes (gloo):
#   bash tools/dist_train.sh CONFIG N [arguments of tools/train.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment of each.
# For example:
#   bash tools/dist_train.sh configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py 2
set -euo pipefail
case "${1:-}" in
-h | --help)
    awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
    exit 0
    ;;
esac
if [ $# -lt 2 ]; then
    echo "usage: bash $0 CONFIG N [arguments of tools/train.py]" >&2
    exit 2
fi
. "$(dirname "${BASH_SOURCE[0]}")/dist_common.sh"
config="$1" processes="$2"
shift 2
dist_run "$processes" "$DIST_TOOLS/train.py" "$config" --launcher pytorch "$@"
