# Shared by quickstart.sh and run_tests.sh: makes `.venv` and fills it. Sourced, never run.
#
# Environment, all optional:
#   PYTHON         interpreter to make the environment with (default: the first suitable one)
#   MMDENSE_VENV   where the environment lives (default: <repository>/.venv)
#   MMDENSE_CACHE  where compiled wheels are kept (default: ~/.cache/mmdense)
#   MMDENSE_TORCH  what to give to `pip install` for torch (default: -r requirements/torch.txt)
#   MAX_JOBS       parallel compilers for the ops of mmcv (default: number of cores)

MMD_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
MMD_VENV="${MMDENSE_VENV:-$MMD_ROOT/.venv}"
case "$MMD_VENV" in /*) ;; *) MMD_VENV="$PWD/$MMD_VENV" ;; esac
MMD_CACHE="${MMDENSE_CACHE:-$HOME/.cache/mmdense}"
MMD_PY="$MMD_VENV/bin/python"
MMD_MMCV_VERSION=2.3.6 # the release whose ops the tests ran with
MMD_T0=$SECONDS
MMD_STEP=0
MMD_STEPS=${MMD_STEPS:-0}
# Quiet defaults that a user's own setting overrides.
export PIP_DISABLE_PIP_VERSION_CHECK="${PIP_DISABLE_PIP_VERSION_CHECK:-1}"
export PYTHONUNBUFFERED=1

mmd_step() { # numbered headline with the seconds since the start
    MMD_STEP=$((MMD_STEP + 1))
    printf '\n[%d/%d, %d s] %s\n' "$MMD_STEP" "$MMD_STEPS" "$((SECONDS - MMD_T0))" "$*"
}

mmd_note() { printf '    %s\n' "$*"; }

mmd_fail() {
    printf '\nerror: %s\n' "$*" >&2
    exit 1
}

mmd_pip() { "$MMD_PY" -m pip "$@"; }

# Prints why an interpreter cannot be used; prints nothing where it can.
mmd_python_problem() {
    "$1" - 2>&1 <<'PY' || echo 'does not start'
import sys
if sys.version_info < (3, 10):
    print('is Python %d.%d; mmdense needs 3.10 or newer' % sys.version_info[:2])
else:
    try:
        import ensurepip, venv
    except ImportError as error:
        print('lacks the module %s (on Debian and Ubuntu: apt install python%d.%d-venv)'
              % (error.name, *sys.version_info[:2]))
PY
}

# Sets MMD_BASE_PYTHON to the first interpreter that can make the environment.
mmd_find_python() {
    local candidate problem tried=''
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10 python}; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        problem="$(mmd_python_problem "$candidate" | tail -n 1)"
        if [ -z "$problem" ]; then
            MMD_BASE_PYTHON="$(command -v "$candidate")"
            return
        fi
        tried="$tried
    $candidate $problem"
    done
    mmd_fail "no suitable Python found${PYTHON:+ under PYTHON=$PYTHON}.${tried:-
    (no python3 on PATH)}
Install Python 3.10 or newer with its venv module, or name one: PYTHON=/path/to/python3 $0"
}

# Makes .venv, or keeps the one that is there and works.
mmd_make_venv() {
    if "$MMD_PY" -c 'import pip, sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
        mmd_note "keeping $MMD_VENV ($("$MMD_PY" --version 2>&1))"
        return
    fi
    mmd_find_python
    if [ -e "$MMD_VENV" ] && [ ! -e "$MMD_VENV/pyvenv.cfg" ]; then
        mmd_fail "$MMD_VENV exists and is no Python environment. Move it away, or set MMDENSE_VENV."
    fi
    local options=(--clear)
    # A torch of the system (container images bring one made for their GPU) is used, not doubled.
    if "$MMD_BASE_PYTHON" -c 'import sys; assert sys.prefix == sys.base_prefix; import torch' \
        >/dev/null 2>&1; then
        options+=(--system-site-packages)
        mmd_note "sharing the torch of $MMD_BASE_PYTHON"
    fi
    mmd_note "making $MMD_VENV with $MMD_BASE_PYTHON"
    "$MMD_BASE_PYTHON" -m venv "${options[@]}" "$MMD_VENV" ||
        mmd_fail "$MMD_BASE_PYTHON could not make $MMD_VENV (see above)."
}

mmd_torch_version() {
    "$MMD_PY" -c 'import torch; print(torch.__version__)' 2>/dev/null
}

mmd_install_torch() {
    local version
    if version="$(mmd_torch_version)"; then
        mmd_note "torch $version is there"
        return
    fi
    # shellcheck disable=SC2086  # MMDENSE_TORCH may hold several words
    mmd_pip install ${MMDENSE_TORCH:--r "$MMD_ROOT/requirements/torch.txt"} ||
        mmd_fail "torch could not be installed (see above). Install one into $MMD_VENV yourself,
or say which one to take: MMDENSE_TORCH='torch==...' $0"
    mmd_torch_version >/dev/null || mmd_fail "torch is installed in $MMD_VENV but does not import:
    $MMD_PY -c 'import torch'"
}

# Installs this checkout with extras ($1, such as `onedl,tests`), unless an equal installation is
# already there. The stamp is written last, so an interrupted installation is done again.
mmd_install_package() {
    local extras="$1" stamp sum
    stamp="$MMD_VENV/.mmdense-$extras"
    sum="$(cd "$MMD_ROOT" && cat setup.py setup.cfg requirements/*.txt | cksum) $MMD_ROOT"
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$sum" ] &&
        (cd / && "$MMD_PY" -c 'import mmdense, mmengine, mmcv, mmseg') >/dev/null 2>&1; then
        mmd_note "mmdense[$extras] is there"
        return
    fi
    mmd_pip install -e "$MMD_ROOT[$extras]" ||
        mmd_fail "mmdense[$extras] could not be installed into $MMD_VENV (see above)."
    printf '%s\n' "$sum" >"$stamp"
}

# Installs mmdet for the tests of foreign parts, without what only its data sets need.
mmd_install_detection() {
    local wanted
    wanted="$(sed -n 's/^\(onedl-mmdetection[^ #]*\).*/\1/p' \
        "$MMD_ROOT/requirements/onedl-detection.txt")"
    if "$MMD_PY" -m pip show --quiet onedl-mmdetection >/dev/null 2>&1; then
        mmd_note 'onedl-mmdetection is there'
    else
        mmd_pip install --no-deps "$wanted" || mmd_fail "$wanted could not be installed (see above)."
    fi
}

mmd_have_ops() {
    (cd / && "$MMD_PY" -c 'import mmcv.ops') >/dev/null 2>&1
}

# Prints the folder of the compiled wheel. pip's own cache does not tell torch versions apart.
mmd_ops_folder() {
    "$MMD_PY" -c 'import sys, torch
print("%s-cp%d%d" % (torch.__version__, *sys.version_info[:2]))' |
        sed "s|^|$MMD_CACHE/wheels/|"
}

# Compiles the ops of mmcv once and keeps the wheel. The wheel is moved into place when it is
# complete, so an interrupted build leaves nothing that a later run would take.
mmd_build_ops() { # $1: folder of the wheel
    local work rc=0
    work="$1/.build-$$"
    rm -rf "$1"/.build-*
    mkdir -p "$work"
    mmd_note "compiling the ops of mmcv: about 6 minutes on 2 cores, once per torch version"
    mmd_note "log: $1/build.log"
    # setuptools below 81 still has pkg_resources, which torch's extension builder imports.
    mmd_pip install --quiet ninja psutil wheel packaging 'setuptools>=80,<81' || return 1
    MAX_JOBS="${MAX_JOBS:-$(getconf _NPROCESSORS_ONLN)}" mmd_pip wheel --verbose --no-cache-dir \
        --no-binary onedl-mmcv --no-build-isolation --no-deps --wheel-dir "$work" \
        "onedl-mmcv==$MMD_MMCV_VERSION" >"$1/build.log" 2>&1 &
    local build=$! last=$SECONDS
    trap 'kill "$build" 2>/dev/null' EXIT
    while kill -0 "$build" 2>/dev/null; do
        sleep 1
        if [ $((SECONDS - last)) -ge 20 ]; then
            last=$SECONDS
            # ninja counts its jobs as [12/96]; the last count tells how far it is.
            mmd_note "$((SECONDS - MMD_T0)) s: compiled$(grep -oE '\[[0-9]+/[0-9]+\]' \
                "$1/build.log" | tail -n 1 | sed 's/^/ /')"
        fi
    done
    wait "$build" || rc=$?
    trap - EXIT
    if [ "$rc" -eq 0 ]; then
        mv "$work"/*.whl "$1/" || rc=1
    else
        tail -n 15 "$1/build.log" >&2
    fi
    rm -rf "$work"
    return "$rc"
}

# Installs mmcv with compiled ops. Returns 1, having said why, where they cannot be had; the tests
# that need them are skipped then.
mmd_install_ops() {
    if mmd_have_ops; then
        mmd_note 'the compiled ops of mmcv are there'
        return 0
    fi
    local folder wheel
    folder="$(mmd_ops_folder)"
    mkdir -p "$folder"
    wheel="$folder/onedl_mmcv-$MMD_MMCV_VERSION"
    if ! compgen -G "$wheel-*.whl" >/dev/null; then
        if ! command -v "${CXX:-c++}" >/dev/null 2>&1 && ! command -v g++ >/dev/null 2>&1; then
            mmd_note 'no C++ compiler: the tests of compiled ops are skipped'
            mmd_note '(on Debian and Ubuntu: apt install g++)'
            return 1
        fi
        (
            # One builder at a time; whoever waited finds the wheel and builds nothing.
            if command -v flock >/dev/null 2>&1; then
                exec 9>"$folder/.lock"
                flock -n 9 || { mmd_note 'another build is running: waiting for it' && flock 9; }
            fi
            compgen -G "$wheel-*.whl" >/dev/null || mmd_build_ops "$folder"
        ) || {
            mmd_note "the ops of mmcv did not compile (log: $folder/build.log): their tests are skipped"
            return 1
        }
    fi
    mmd_note "installing $(compgen -G "$wheel-*.whl" | tail -n 1)"
    mmd_pip install --quiet --force-reinstall --no-deps "$(compgen -G "$wheel-*.whl" | tail -n 1)" ||
        return 1
    mmd_have_ops || {
        mmd_note "the compiled ops do not load: $MMD_PY -c 'import mmcv.ops'"
        return 1
    }
}
