#!/usr/bin/env bash
# Proves that the local stack does what its README says, with data of its own and on ports of its own.
# Run by hand or in CI: deploy/local/test.sh
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
stack=$here/stack
work=$(mktemp -d "${TMPDIR:-/tmp}/millrace stack test.XXXXXX")
passed=0 failed=0

# Nothing of the caller's own servers may slip in.
unset MYSQL_HOST MYSQL_PORT MYSQL_USER MYSQL_PASSWORD KAFKA_BROKERS SCHEMA_REGISTRY_URL
unset CLICKHOUSE_URL CLICKHOUSE_USER CLICKHOUSE_PASSWORD
export MILLRACE_STACK_DIR=$work/stack

cleanup() {
  "$stack" down >/dev/null 2>&1
  [[ -z ${listener:-} ]] || kill "$listener" 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# Counts a check, and shows what it saw if it failed.
check() {
  local what=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
    printf 'ok      %s\n' "$what"
  else
    failed=$((failed + 1))
    printf 'FAILED  %s\n' "$what"
    sed 's/^/        /' "$work/out" "$work/err" 2>/dev/null
  fi
}

# Runs the stack, keeping what it prints, its exit code, and the time it took.
run() {
  local begin=${EPOCHREALTIME/./}
  code=0
  "$@" >"$work/out" 2>"$work/err" </dev/null || code=$?
  took_ms=$(((${EPOCHREALTIME/./} - begin) / 1000))
}

# The ports come from below the range that the system gives to outgoing connections.
free_ports() {
  python3 - "$1" <<'PYTHON'
import random, socket, sys
found = set()
while len(found) < int(sys.argv[1]):
    port = random.randrange(20000, 32000)
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
            found.add(port)
        except OSError:
            pass
print(*found)
PYTHON
}

succeeded() { ((code == 0)); }
one_error_line() {
  ((code == 1)) && [[ $(wc -l <"$work/err") == 1 ]] && grep -qE '^error: .+; .+' "$work/err" && grep -qE "$1" "$work/err"
}
port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
nothing_listens() {
  local at
  for at in "${ports[@]}"; do
    if [[ $at != "${1:-}" ]] && port_open "$at"; then return 1; fi
  done
}
nothing_noted() { ! compgen -G "$MILLRACE_STACK_DIR/run/*.pid" >/dev/null && [[ ! -e $MILLRACE_STACK_DIR/env ]]; }
pids() { cut -d ' ' -f 1 "$MILLRACE_STACK_DIR"/run/*.pid | paste -sd ' '; }
process_gone() { [[ ! -e /proc/$1 ]] || grep -q '^State:.[ZX]' "/proc/$1/status" 2>/dev/null; }

# Logs in to each server with what env says, through clients that others wrote; keeps and finds a row, a message and a
# schema when asked to.
clients() {
  (
    set -a
    # shellcheck source=/dev/null
    . "$MILLRACE_STACK_DIR/env"
    timeout 60 "$python" "$here/test_clients.py" "$1"
  ) >"$work/out" 2>"$work/err"
}

read -ra ports <<<"$(free_ports 5)"
export MILLRACE_MYSQL_PORT=${ports[0]} MILLRACE_KAFKA_PORT=${ports[1]} MILLRACE_KAFKA_CONTROLLER_PORT=${ports[2]}
export MILLRACE_REGISTRY_PORT=${ports[3]} MILLRACE_CLICKHOUSE_PORT=${ports[4]}

run "$stack" python-tests
check "python-tests prints a Python that exists, and nothing else" succeeded
python=$(<"$work/out")
check "that Python has the clients" "$python" -c 'import confluent_kafka, fastavro, requests, pymysql'

run "$stack" down
check "down without anything running is harmless" succeeded
run "$stack" status
check "status tells that nothing answers" test "$code" = 1

# A port in use.
exec {listening}< <(exec python3 -c '
import socket, sys, time
s = socket.create_server(("127.0.0.1", int(sys.argv[1]))); print("listening", flush=True)
while True: time.sleep(3600)' "${ports[3]}")
listener=$!
read -r -t 10 _ <&"$listening"
run "$stack" up
check "a port in use is one line" one_error_line "port ${ports[3]} .*in use"
check "… and nothing runs" nothing_listens "${ports[3]}"
check "… and nothing is noted" nothing_noted
kill "$listener"
listener=

# Not a port, and one port for two.
MILLRACE_KAFKA_PORT=kafka run "$stack" up
check "a port that is no number is one line" one_error_line "not a number"
MILLRACE_KAFKA_PORT=${ports[0]} run "$stack" up
check "one port for two servers is one line" one_error_line "set for two"

# A machine without Java, and one where it is too old.
mkdir "$work/bin"
for directory in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
  for tool in "$directory"/*; do
    case ${tool##*/} in java | mvn | apt-get) ;; *) ln -sf "$tool" "$work/bin/" ;; esac
  done
done
ln -sf "$(python3 -c 'import sys; print(sys.executable)')" "$work/bin/python3"
JAVA_HOME='' PATH=$work/bin run "$stack" up
check "no Java is one line" one_error_line "missing: .*Java >= "
check "… and nothing is noted" nothing_noted
printf '#!/bin/sh\necho "openjdk version \\"11.0.2\\" 2019-01-15" >&2\n' >"$work/bin/java"
chmod +x "$work/bin/java"
JAVA_HOME='' PATH=$work/bin run "$stack" up
check "a Java that is too old is one line" one_error_line "is version 11"
ln -sf "$(command -v apt-get || command -v true)" "$work/bin/apt-get"
JAVA_HOME='' MILLRACE_INSTALL=no PATH=$work/bin run "$stack" up
check "who may not install gets the line to run" one_error_line "run: sudo apt-get install -y .*default-jre-headless"

# A cache that can't be made, and an own server that isn't there.
touch "$work/file"
MILLRACE_CACHE=$work/file/cache run "$stack" up
check "a cache that cannot be written is one line" one_error_line "cannot write to the cache"
MILLRACE_STACK_DIR=$work/file/stack run "$stack" up
check "a state directory that cannot be written is one line" one_error_line "cannot write to"
MYSQL_HOST=127.0.0.1 MYSQL_PORT=${ports[0]} KAFKA_BROKERS=127.0.0.1:1 run "$stack" up
check "an own Kafka that does not answer is one line" one_error_line "kafka at 127.0.0.1:1 does not answer"
check "… and nothing runs" nothing_listens

# A server that ends while it starts takes the others down with it.
mkdir -p "$MILLRACE_STACK_DIR/kafka/data"
run "$stack" up
check "a server that ends while it starts is one line" one_error_line "kafka ended while it started"
check "… with its log" grep -q "; log: $MILLRACE_STACK_DIR/log/kafka.log" "$work/err"
check "… and nothing runs" nothing_listens
check "… and nothing is noted" nothing_noted
rm -r "$MILLRACE_STACK_DIR/kafka/data"

# Up.
run "$stack" up
check "up ($took_ms ms)" succeeded
before=$(pids)
check "env has the nine variables" test "$(grep -cE '^(MYSQL_(HOST|PORT|USER|PASSWORD)|KAFKA_BROKERS|SCHEMA_REGISTRY_URL|CLICKHOUSE_(URL|USER|PASSWORD))=' "$MILLRACE_STACK_DIR/env")" = 9
check "env is for its owner only" test "$(stat -c %a "$MILLRACE_STACK_DIR/env")" = 600
check "each server answers other people's clients" clients write
run "$stack" status
check "status tells that all answer" succeeded
run "$stack" up
check "up again succeeds" succeeded
check "… within 2 s ($took_ms ms)" test "$took_ms" -lt 2000
check "… and restarts nothing" test "$(pids)" = "$before"
(
  set -a
  # shellcheck source=/dev/null
  . "$MILLRACE_STACK_DIR/env"
  "$stack" up
) >"$work/out" 2>"$work/err" </dev/null
check "env in the environment does not make the servers foreign" test "$(grep -c yours "$work/out")" = 0
run env MILLRACE_MYSQL_PORT=1 "$stack" up
check "another port for a running server is one line" one_error_line "mysql already runs on port"

# A second stack that uses the first one's servers starts nothing.
(
  set -a
  # shellcheck source=/dev/null
  . "$MILLRACE_STACK_DIR/env"
  env MILLRACE_STACK_DIR="$work/second" "$stack" up
) >"$work/out" 2>"$work/err" </dev/null
check "own servers are only checked" test "$(grep -c yours "$work/out")" = 4
check "… and written down" diff "$MILLRACE_STACK_DIR/env" "$work/second/env"
check "… and none is started" test "$(find "$work/second/run" -name '*.pid' | wc -l)" = 0

# One server dies: up brings back that one alone.
kill -KILL "$(cut -d ' ' -f 1 "$MILLRACE_STACK_DIR/run/clickhouse.pid")"
run "$stack" up
check "up after kill -9 of one server" succeeded
check "… restarts that one alone" test "$(comm -12 <(tr ' ' '\n' <<<"$before" | sort) <(pids | tr ' ' '\n' | sort) | wc -l)" = 3

# A pid file of an earlier process with the same number must not end a stranger.
cp "$MILLRACE_STACK_DIR/run/registry.pid" "$work/registry.pid"
sleep 600 &
stranger=$!
printf '%s 1@none %s\n' "$stranger" "${ports[3]}" >"$MILLRACE_STACK_DIR/run/registry.pid"
run "$stack" down
check "down" succeeded
check "… spares a stranger with a noted number" kill -0 "$stranger"
kill "$stranger"
cp "$work/registry.pid" "$MILLRACE_STACK_DIR/run/registry.pid"
run "$stack" down
check "down again is harmless" succeeded
check "… nothing runs" nothing_listens
check "… nothing is noted" nothing_noted
for pid in $before; do
  check "… process $pid is gone" process_gone "$pid"
done

# Data outlives a restart.
run "$stack" up
check "up from data that is there ($took_ms ms)" succeeded
check "what was written is still there" clients read
run "$stack" down
check "down" succeeded


printf '%s passed, %s failed\n' "$passed" "$failed"
((failed == 0))
