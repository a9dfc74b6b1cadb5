# Installs what a fresh Debian or Ubuntu lacks for building and testing; sourced by tests/run and testnet/up.

# Packages by apt, with sudo only when that is needed.
install_packages() {
    local why=$1; shift
    echo "Installing $* ($why)"
    if ! command -v apt-get >/dev/null; then
        echo "This is no Debian or Ubuntu: please install $* yourself, then run this again." >&2
        exit 1
    fi
    local root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    "${root[@]}" apt-get update -q
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

need_compilers() {
    if ! command -v cargo >/dev/null && [ -f "$HOME/.cargo/env" ]; then . "$HOME/.cargo/env"; fi
    if ! command -v cargo >/dev/null; then
        echo "Rust is missing: install it from https://rustup.rs, then run this again." >&2
        exit 1
    fi
    local missing=()
    command -v clang >/dev/null || missing+=(clang)
    ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/*/libclang*.so* >/dev/null 2>&1 || missing+=(libclang-dev)
    command -v cmake >/dev/null || missing+=(cmake)
    command -v c++ >/dev/null || missing+=(g++)
    command -v make >/dev/null || missing+=(make)
    if [ ${#missing[@]} -gt 0 ]; then
        install_packages "RocksDB and Lua are C and C++, and RocksDB's bindings are made with libclang" "${missing[@]}"
    fi
}

# Node.js 20 or newer with npm, for the tests against JavaScript implementations.
need_node() {
    local major=0
    if command -v node >/dev/null; then major=$(node -p 'process.versions.node.split(".")[0]'); fi
    command -v npm >/dev/null || install_packages "tests against JavaScript implementations" nodejs npm
    [ "$major" -ge 20 ] && return
    local folder="${AO_CI_CACHE:-$HOME/.cache/ao-node-ci}/node"
    if [ ! -x "$folder/node_modules/node/bin/node" ]; then
        echo "Installing Node.js 22 from the npm package \"node\" into $folder (the installed one is older than 20)"
        mkdir -p "$folder"
        npm install --prefix "$folder" --no-audit --no-fund --loglevel=error node@22
    fi
    export PATH="$folder/node_modules/node/bin:$PATH"
}

# A browser without a screen, for the test of aoconnect's browser build.
need_chromium() {
    [ -n "${CHROMIUM:-}" ] && return
    command -v chromium >/dev/null || install_packages "tests with aoconnect in a page" chromium
    CHROMIUM=$(command -v chromium)
    export CHROMIUM
}
