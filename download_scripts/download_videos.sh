#!/usr/bin/env bash
# Downloads the videos that VIDEO_IDS lists; --help shows all environment variables.
set -euo pipefail

root="$(CDPATH="" cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)"
python="$root/.venv/bin/python"
[[ -x "$python" ]] || python=python3

# Safe path: a folder named "pipeline" in the caller's folder must not be taken for ours.
export PYTHONSAFEPATH=1 PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m pipeline.download "$@"
