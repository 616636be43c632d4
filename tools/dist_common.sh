# Shared by dist_train.sh and dist_test.sh. Sourced, never run.

DIST_TOOLS="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

# An interpreter from $PYTHON, the active environment, or the one that quickstart.sh made.
dist_python() {
    if [ -n "${PYTHON:-}" ]; then
        echo "$PYTHON"
    elif [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$DIST_TOOLS/../.venv/bin/python" ]; then
        echo "$DIST_TOOLS/../.venv/bin/python"
    else
        echo python
    fi
}

dist_run() { # $1: processes per machine; the rest: the script and its arguments
    local python nodes="${NNODES:-1}" rendezvous=(--standalone)
    case "$1" in
    '' | *[!0-9]* | 0)
        echo "error: the number of processes is '$1'; give a whole number from 1 on." >&2
        exit 2
        ;;
    esac
    python="$(dist_python)"
    if [ "$nodes" -gt 1 ] || [ -n "${PORT:-}" ]; then
        rendezvous=(--nnodes "$nodes" --node-rank "${NODE_RANK:-0}"
            --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${PORT:-29500}")
    fi # else: one machine, and torchrun picks a free port
    # The processes share the cores; torch alone would give each process all of them.
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
    export PYTHONPATH="$DIST_TOOLS/..${PYTHONPATH:+:$PYTHONPATH}"
    local count="$1"
    shift
    exec "$python" -m mmdense.engine.torchrun "${rendezvous[@]}" --nproc-per-node "$count" "$@"
}
