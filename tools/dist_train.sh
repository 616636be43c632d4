#!/usr/bin/env bash
# Train on several GPUs (nccl) or, where there is none, in several CPU processes (gloo):
#   bash tools/dist_train.sh CONFIG N [arguments of tools/train.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT in the environment of each.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: bash $0 CONFIG N [arguments of tools/train.py]" >&2
    exit 2
fi
. "$(dirname "${BASH_SOURCE[0]}")/dist_common.sh"
config="$1" processes="$2"
shift 2
dist_run "$processes" "$DIST_TOOLS/train.py" "$config" --launcher pytorch "$@"
