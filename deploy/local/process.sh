# shellcheck shell=bash disable=SC2154,SC2034
# Processes: started detached, known by number and start time, stopped only if they are still the same.

stop_seconds_max=60

# What tells a process from a later one with the same number; fails if it has ended.
identity() {
  local stat fields boot
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  read -ra fields <<<"${stat##*) }"
  [[ ${fields[0]} != [ZX] ]] || return 1
  read -r boot </proc/sys/kernel/random/boot_id
  printf '%s@%s' "${fields[19]:-unknown}" "$boot"
}

running_pid() {
  local pid
  read -r pid _ <"$state/run/$1.pid" && printf '%s' "$pid"
}

running_port() {
  local at
  read -r _ _ at <"$state/run/$1.pid" && printf '%s' "$at"
}

# Whether the process that we started for this server is still there.
running() {
  local pid known now
  [[ -s $state/run/$1.pid ]] && read -r pid known _ <"$state/run/$1.pid" &&
    now=$(identity "$pid") && [[ $now == "$known" ]]
}

# Whether something listens on a port of this machine.
port_taken() {
  (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Says which port is taken before anything is started: a server's own message would come late and in its log.
check_ports() {
  local server
  for server in "$@"; do
    ! port_taken "${port[$server]}" ||
      fail "port ${port[$server]} for $server is in use" \
        "end what listens there, set $(port_variable "$server") to a free port, or ${address_variable[$server]} to use that server"
    [[ $server != kafka ]] || ! port_taken "$controller_port" ||
      fail "port $controller_port for kafka's controller is in use" \
        "end what listens there or set MILLRACE_KAFKA_CONTROLLER_PORT to a free port"
  done
}

# Starts a server in a session of its own, its output in its log, and notes who it is.
spawn() {
  local server=$1 log=$state/log/$1.log limit pid known cancelled=
  shift
  [[ ! -e $log ]] || mv -f "$log" "$log.old"
  limit=$(ulimit -Hn)
  if [[ $limit == unlimited ]] || ((limit > 65536)); then limit=65536; fi
  # A cancellation between the start and the note would leave a process that nobody knows: it waits.
  trap 'cancelled=yes' TERM
  (
    ulimit -n "$limit"
    exec setsid "$@" 3>&- 8>&- 9>&-
  ) >"$log" 2>&1 </dev/null &
  pid=$!
  known=$(identity "$pid") || known=ended
  printf '%s %s %s\n' "$pid" "$known" "${port[$server]}" >"$state/run/$server.pid"
  trap 'exit 1' TERM
  [[ -z $cancelled ]] || exit 1
}

# Asks servers at once; one line each: "<server> ok" or "<server> <reason>".
probe() {
  python3 "$here/probe.py" "$@" || true
}

# Waits until a server gives a real answer, has ended, or is too late.
await() {
  local server=$1 code=0 reason log=$state/log/$1.log
  reason=$(python3 "$here/probe.py" --wait "$start_seconds_max" --pid "$(running_pid "$server")" "$server") || code=$?
  case $code in
    0) ;;
    2) fail "$server ended while it started: $(last_words "$log")" "find the cause in the log and run it again" "$log" ;;
    *) fail "$server does not answer after $start_seconds_max s: ${reason#"$server "}" \
      "find the cause in the log and run it again" "$log" ;;
  esac
}

# The line of a log that tells the error, shortened to fit in a message: Maven says it first, the others last.
last_words() {
  local line
  line=$({ grep -m 1 '^\[ERROR\]' "$1" || grep -iE 'error|fatal|exception|cannot|failed|no space' "$1" | tail -n 1 |
    grep . || tail -n 1 "$1"; } 2>/dev/null | tr -d ';[:cntrl:]' | cut -c 1-240)
  printf '%s' "${line:-no message}"
}

# Asks the given servers to end, waits for it, and insists on those that do not.
stop_all() {
  local server deadline stopping=()
  for server in "$@"; do
    if running "$server"; then
      kill -TERM "$(running_pid "$server")" 2>/dev/null || true
      stopping+=("$server")
    else
      rm -f "$state/run/$server.pid"
    fi
  done
  deadline=$((SECONDS + stop_seconds_max))
  for server in "${stopping[@]}"; do
    while running "$server"; do
      if ((SECONDS >= deadline)); then
        note "$server does not end after $stop_seconds_max s: killed"
        kill -KILL "$(running_pid "$server")" 2>/dev/null || true
        deadline=$((SECONDS + stop_seconds_max))
      fi
      sleep 0.05
    done
    rm -f "$state/run/$server.pid"
    note "$server stopped"
  done
}
