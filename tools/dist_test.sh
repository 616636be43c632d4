#!/usr/bin/env bash
# Test on several GPUs (nccl) or, where there is none, in several CPU processes (gloo):
#   bash tools/dist_test.sh CONFIG CHECKPOINT N [arguments of tools/test.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment of each.
# For example:
#   bash tools/dist_test.sh configs/baselines/mtl_r18-thin_1xb8-600_rooms-96x128.py \
#       work_dirs/mtl_r18-thin_1xb8-600_rooms-96x128/iter_600.pth 2
set -euo pipefail
case "${1:-}" in
-h | --help)
    awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"
    exit 0
    ;;
esac
if [ $# -lt 3 ]; then
    echo "usage: bash $0 CONFIG CHECKPOINT N [arguments of tools/test.py]" >&2
    exit 2
fi
. "$(dirname "${BASH_SOURCE[0]}")/dist_common.sh"
config="$1" checkpoint="$2" processes="$3"
shift 3
dist_run "$processes" "$DIST_TOOLS/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
