#!/usr/bin/env bash
# The tests of projects/ against mmdense as people install it: built as a wheel, laid out in a folder of
# its own, away from the checkout.
#   bash tools/misc/test_projects_installed.sh [arguments of pytest]
#   bash tools/misc/test_projects_installed.sh -m "not slow"
# PYTHON (default: python) needs the dependencies of mmdense, pytest, pip and setuptools; nothing is installed into
# it, and nothing is downloaded.
set -euo pipefail
case "${1:-}" in
-h | --help)
    cat <<'HELP'
Run the tests of projects/ against mmdense built as a wheel and laid out away from the checkout.
Arguments go to pytest. PYTHON (default: python) is the interpreter.

For example: bash tools/misc/test_projects_installed.sh -m "not slow"
HELP
    exit 0
    ;;
esac
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
PYTHON="$(command -v "${PYTHON:-python}")"
WORK="$(mktemp -d)"
trap 'rm -rf "$WORK"' EXIT

# A copy, because a build leaves folders behind in the tree that it reads.
mkdir -p "$WORK/source" "$WORK/wheel" "$WORK/site" "$WORK/away/tests"
for name in setup.py setup.cfg pyproject.toml MANIFEST.in model-index.yml README.md LICENSE NOTICE CHANGELOG.md \
    requirements configs tools; do
    cp -r "$ROOT/$name" "$WORK/source/"
done
(cd "$ROOT" && tar --exclude=.mim --exclude=__pycache__ -cf - mmdense) | tar -xf - -C "$WORK/source"

echo 'Building the wheel.'
unset PYTHONPATH
cd "$WORK"
"$PYTHON" -m pip wheel -q --no-deps --no-build-isolation --no-index --disable-pip-version-check -w wheel ./source
rm -rf source
"$PYTHON" -m pip install -q --no-deps --no-index --disable-pip-version-check --root-user-action=ignore \
    --target site wheel/mmdense-*.whl

# What a project has at hand: itself and its tests, but no mmdense/, configs/ or tools/ beside it.
cp -r "$ROOT/projects" away/
cp -r "$ROOT/tests/projects" "$ROOT/tests/conftest.py" away/tests/
cp "$ROOT/pytest.ini" away/
cd away
export PYTHONPATH="$WORK/site" OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
"$PYTHON" - "$WORK/site" <<'PY'
import importlib.metadata
import os
import sys

import mmdense

found, wanted = (os.path.realpath(path) for path in (mmdense.__file__, sys.argv[1]))
if not found.startswith(wanted + os.sep):
    sys.exit(f'mmdense comes from {found}, not from the wheel in {wanted}')
version = importlib.metadata.version('mmdense')
print(f'Testing projects against mmdense {version} from its wheel.', flush=True)
PY
"$PYTHON" -m pytest -p no:cacheprovider tests/projects "$@"
