# Shared functions of the tests in Python: source this file with `what` set to their folder under tests/.
#
# Where something is missing the tests say so and pass, unless CI or GRADUS_REQUIRE_<WHAT> is set.

missing() {
    local required="GRADUS_REQUIRE_${what^^}"
    echo "$what: $*"
    if [ -n "${CI:-}${!required:-}" ]; then exit 1; fi
    echo "$what: skipped"
    exit 0
}

# Makes target/$what, a virtual environment with the packages of the folder's requirements.txt. An environment made from
# another requirements.txt is made again.
make_venv() {
    local venv="target/$what" requirements="tests/$what/requirements.txt"
    command -v python3 >/dev/null || missing "no Python 3"
    if cmp -s "$requirements" "$venv/requirements.txt"; then return; fi
    rm -rf "$venv"
    python3 -m venv "$venv" || missing "python3 has no venv (Debian: apt-get install python3-venv)"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" ||
        missing "$requirements cannot be installed from PyPI"
    cp "$requirements" "$venv/requirements.txt"
}
