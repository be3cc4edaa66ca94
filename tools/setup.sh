#!/usr/bin/env bash
# Sets up everything Plumbline needs inside this checkout. Safe to run at any time: finished steps
# are recognised by a stamp that holds the lock file they were made from, an interrupted step is
# taken up again. Outside the checkout only ~/.solcx (the compiler) and ~/.brownie (Brownie's list
# of networks) are written.
#
#   PYTHON=/path/to/python3.11 tools/setup.sh     chooses the interpreter
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
solc_version=0.8.37
cache=build/.cache
mkdir -p build

say() { printf 'setup: %s\n' "$*" >&2; }

# One setup at a time in one checkout.
if command -v flock >/dev/null; then
  exec 9>build/.setup.lock
  flock 9
fi

# ------------------------------------------------------------------ what is needed from outside

python_tested='import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))'
python_fits='import sys; sys.exit(not sys.version_info >= (3, 10))'
node_fits='process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)'

find_python() {
  local name fits
  local names=(python3 python3.12 python3.11 python3.10 python3.13 python)
  [ -z "${PYTHON:-}" ] || names=("$PYTHON")
  for fits in "$python_tested" "$python_fits"; do
    for name in "${names[@]}"; do
      if "$name" -c "$fits" >/dev/null 2>&1; then
        "$name" -c 'import sys; print(sys.executable)'
        return
      fi
    done
  done
}

check_machine() {
  local missing=() python found
  python=$(find_python)
  if [ -z "$python" ]; then
    found=$(python3 --version 2>/dev/null || true)
    missing+=("Python >= 3.10 (found: ${found:-none})")
  elif ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
    missing+=("Python's venv module (Debian, Ubuntu: apt install python3-venv)")
  fi
  if ! command -v node >/dev/null || ! node -e "$node_fits"; then
    found=$(node --version 2>/dev/null || true)
    missing+=("Node.js >= 20 (found: ${found:-none})")
  fi
  command -v npm >/dev/null || missing+=("npm (it comes with Node.js)")
  if [ ${#missing[@]} -gt 0 ]; then
    say "this machine lacks:"
    printf '  - %s\n' "${missing[@]}" >&2
    exit 1
  fi
  interpreter=$python
}

# ----------------------------------------------------------------------------------- the steps

venv_home=.venv/.plumbline-home          # path of the checkout: a moved venv must be made anew
python_stamp=.venv/.plumbline-requirements.lock
project_stamp=.venv/.plumbline-pyproject.toml
slither_stamp=.venv/slither/.plumbline-slither.lock
node_stamp=node_modules/.plumbline-package-lock.json
solc_home=$HOME/.solcx
solc_target=$solc_home/solc-v$solc_version
solc_files=$solc_home/plumbline-solc-v$solc_version
networks=$HOME/.brownie/network-config.yaml

venv_done() {
  [ -x .venv/bin/python ] && [ "$(cat $venv_home 2>/dev/null)" = "$root" ]
}
python_done() { venv_done && cmp -s requirements.lock $python_stamp; }
project_done() { cmp -s pyproject.toml $project_stamp && [ -x .venv/bin/plumbline ]; }
slither_done() { cmp -s tools/slither.lock $slither_stamp && [ -x .venv/slither/bin/slither ]; }
node_done() { cmp -s package-lock.json $node_stamp; }
is_elf() { [ "$(head -c 4 "$1" 2>/dev/null | tr -d '\0')" = $'\x7fELF' ]; }
solc_done() {
  [ -x "$solc_target" ] || return 1
  is_elf "$solc_target" && return 0
  cmp -s tools/solc "$solc_target" \
    && cmp -s tools/solc-launcher.cjs "$solc_files/solc-launcher.cjs" \
    && cmp -s node_modules/solc/soljson.js "$solc_files/soljson.js" \
    && [ -s "$solc_files/version.txt" ]
}
shims_done() {
  [ -x .venv/bin/anvil ] && [ -x .venv/bin/ganache ] && [ -x .venv/bin/forge ] \
    && [ -x .venv/bin/cast ] && [ -f .venv/.plumbline-path ]
}
networks_done() {
  grep -qE 'id: anvil$' "$networks" 2>/dev/null && grep -qE 'id: ganache$' "$networks"
}

make_venv() {
  say "creating .venv with $("$interpreter" --version 2>&1)"
  rm -rf .venv
  "$interpreter" -m venv .venv
  printf '%s\n' "$root" > $venv_home
}

install_python() {
  say "installing the Python packages of requirements.lock"
  local pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir)
  # uv needs seconds where pip needs minutes; without it pip does the same work.
  if "${pip[@]}" --require-hashes --only-binary :all: -r tools/uv.lock \
    && UV_CACHE_DIR=$cache/uv .venv/bin/uv pip install --quiet --no-config --compile-bytecode \
      --link-mode copy --python .venv/bin/python --require-hashes -r requirements.lock; then
    :
  else
    say "uv did not work here; using pip"
    "${pip[@]}" --require-hashes -r requirements.lock
  fi
  cp requirements.lock $python_stamp
}

install_project() {
  say "installing the plumbline command"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --no-index \
    --no-deps --no-build-isolation --editable .
  cp pyproject.toml $project_stamp
}

# Below .venv, so that it is remade and removed with it; only tools/lint_contracts.py uses it.
install_slither() {
  say "installing Slither in .venv/slither"
  local lock=tools/slither.lock venv=.venv/slither
  rm -rf $venv
  if .venv/bin/python -m venv --without-pip $venv \
    && UV_CACHE_DIR=$cache/uv .venv/bin/uv pip install --quiet --no-config --compile-bytecode \
      --link-mode copy --python $venv/bin/python --require-hashes -r $lock; then
    :
  else
    say "uv did not work here; using pip"
    .venv/bin/python -m venv --clear $venv
    $venv/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir \
      --require-hashes -r $lock
  fi
  cp $lock $slither_stamp
}

install_node() {
  say "installing the Node packages of package-lock.json"
  npm_config_cache=$root/$cache/npm npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
  cp package-lock.json $node_stamp
}

# Native programs on the PATH of the venv, without the Node wrappers of their npm packages.
install_shims() {
  local os arch tool native
  os=$(uname -s | tr '[:upper:]' '[:lower:]')
  case $(uname -m) in arm64 | aarch64) arch=arm64 ;; *) arch=amd64 ;; esac
  for tool in anvil forge cast; do
    native=node_modules/@foundry-rs/$tool-$os-$arch/bin/$tool
    [ -x "$native" ] || native=node_modules/.bin/$tool
    ln -sfn "../../$native" .venv/bin/$tool
  done
  ln -sfn ../../node_modules/.bin/ganache .venv/bin/ganache
  ln -sfn ../../node_modules/.bin/ganache .venv/bin/ganache-cli
  # Brownie looks its nodes up on the PATH; this makes .venv/bin/brownie work without `activate`.
  local site
  site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  cat > "$site/plumbline_path.pth" <<'PTH'
import os, sys; b = os.path.join(sys.prefix, "bin"); p = os.environ.get("PATH", os.defpath); os.environ["PATH"] = p if b in p.split(os.pathsep) else b + os.pathsep + p
PTH
  : > .venv/.plumbline-path
}

install_solc() {
  say "installing the solc $solc_version launcher in ~/.solcx"
  mkdir -p "$solc_files"
  local file temporary
  for file in node_modules/solc/soljson.js tools/solc-launcher.cjs; do
    temporary=$(mktemp "$solc_files/.new.XXXXXX")
    cp "$file" "$temporary"
    chmod 644 "$temporary"
    mv -f "$temporary" "$solc_files/$(basename "$file")"
  done
  rm -f "$solc_files/version.txt"
  node "$solc_files/solc-launcher.cjs" --version | sed -n 's/^Version: //p' \
    > "$solc_files/.version.new"
  mv -f "$solc_files/.version.new" "$solc_files/version.txt"
  temporary=$(mktemp "$solc_home/.new.XXXXXX")
  cp tools/solc "$temporary"
  chmod 755 "$temporary"
  mv -f "$temporary" "$solc_target"
}

install_networks() {
  say "adding the networks anvil and ganache to Brownie's list"
  local add=(.venv/bin/brownie networks add development)
  .venv/bin/python -c 'import brownie' >/dev/null   # writes Brownie's own list if there is none
  grep -qE 'id: anvil$' "$networks" \
    || "${add[@]}" anvil name=Anvil cmd=anvil host=http://127.0.0.1 port=8745 >/dev/null
  grep -qE 'id: ganache$' "$networks" \
    || "${add[@]}" ganache name="Ganache 7" cmd="ganache --logging.quiet true" \
      host=http://127.0.0.1 port=8747 accounts=10 gas_limit=60000000 evm_version=shanghai >/dev/null
}

worked=no
step() { # step <done-test> <action>...
  local test=$1
  shift
  if ! "$test"; then
    [ $worked = yes ] || check_machine
    worked=yes
    "$@"
  fi
}

step venv_done make_venv
step python_done install_python
step project_done install_project
step slither_done install_slither
step node_done install_node
step shims_done install_shims
step solc_done install_solc
step networks_done install_networks
if [ $worked = yes ]; then
  rm -rf $cache
  say "done"
fi
