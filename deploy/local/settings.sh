# shellcheck shell=bash disable=SC2154,SC2034
# Where things are: directories, ports, addresses, credentials, and the one form of an error.

servers=(mysql kafka registry clickhouse)
state=${MILLRACE_STACK_DIR:-$root/.stack}
[[ $state == /* ]] || state=$PWD/$state
cache=${MILLRACE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/millrace}
[[ $cache == /* ]] || cache=$PWD/$cache
start_seconds_max=90
exec 3>&1

declare -A port=(
  [mysql]=${MILLRACE_MYSQL_PORT:-13306}
  [kafka]=${MILLRACE_KAFKA_PORT:-19092}
  [registry]=${MILLRACE_REGISTRY_PORT:-18081}
  [clickhouse]=${MILLRACE_CLICKHOUSE_PORT:-18123}
)
controller_port=${MILLRACE_KAFKA_CONTROLLER_PORT:-19093}
declare -A address_variable=(
  [mysql]=MYSQL_HOST [kafka]=KAFKA_BROKERS [registry]=SCHEMA_REGISTRY_URL [clickhouse]=CLICKHOUSE_URL
)
declare -A is_given=()

# The one form of an error: what is wrong, what to do, and where to read more. Servers start side by side and may
# fail together: the first one speaks.
fail() {
  if [[ ${BASHPID} != "$$" ]] && ! (set -o noclobber && : >"$state/run/failed") 2>/dev/null; then
    exit 1
  fi
  printf 'error: %s; %s%s\n' "$1" "$2" "${3:+; log: $3}" >&2
  exit 1
}

# Tells of progress: on standard output, or where descriptor 3 was pointed.
note() {
  printf '%s\n' "$*" >&3
}

# The variable that sets a server's port.
port_variable() {
  printf 'MILLRACE_%s_PORT' "${1^^}"
}

log_of() {
  if given "$1"; then return 0; fi
  printf '%s' "$state/log/$1.log"
}

# Makes the directory of data, logs and pids, and keeps other calls out until this one ends.
open_state() {
  [[ $state$cache != *[,:\;\$\\\"]* ]] ||
    fail "'$state' or '$cache' has one of , : ; \$ \\ \" in it" \
      "set MILLRACE_STACK_DIR and MILLRACE_CACHE to directories that have not"
  { mkdir -p "$state/log" "$state/run" && exec 9>"$state/lock"; } 2>/dev/null ||
    fail "cannot write to $state" "make it writable or set MILLRACE_STACK_DIR to another directory"
  flock -w 900 9 || fail "another 'deploy/local/stack' works on $state since 15 minutes" "wait for it or end it"
}

# A server is the user's own when its address is set beforehand, except if that is just the address where ours runs or
# would run: .stack/env may have been read into the environment.
given() {
  [[ -n ${is_given[$1]:-} ]]
}

mark_given() {
  local server=$1 theirs=$2 ours=$3
  is_given[$server]=
  [[ -n $theirs ]] || return 0
  if [[ $theirs != "$ours" ]] || { ! running "$server" && port_taken "${port[$server]}"; }; then
    is_given[$server]=yes
  fi
}

# Decides for each server whether it is ours, and exports the nine variables that clients read.
resolve_addresses() {
  local server other
  for server in "${!port[@]}" controller; do
    [[ $server == controller ]] && other=$controller_port || other=${port[$server]}
    [[ $other =~ ^[1-9][0-9]{0,4}$ && $other -lt 65536 ]] ||
      fail "the port '$other' is not a number from 1 to 65535" "set the port variable of $server to one that is"
  done
  other=$(printf '%s\n' "${port[@]}" "$controller_port" | sort | uniq -d | head -n 1)
  [[ -z $other ]] || fail "port $other is set for two servers" "give each MILLRACE_*_PORT its own"

  mark_given mysql "${MYSQL_HOST:+$MYSQL_HOST:${MYSQL_PORT:-3306}}" "127.0.0.1:${port[mysql]}"
  mark_given kafka "${KAFKA_BROKERS:-}" "127.0.0.1:${port[kafka]}"
  mark_given registry "${SCHEMA_REGISTRY_URL:-}" "http://127.0.0.1:${port[registry]}/apis/ccompat/v7"
  mark_given clickhouse "${CLICKHOUSE_URL:-}" "http://127.0.0.1:${port[clickhouse]}"

  if given mysql; then
    : "${MYSQL_PORT:=3306}" "${MYSQL_USER:=root}" "${MYSQL_PASSWORD=millrace}"
  else
    MYSQL_HOST=127.0.0.1 MYSQL_PORT=${port[mysql]} MYSQL_USER=root MYSQL_PASSWORD=millrace
  fi
  given kafka || KAFKA_BROKERS=127.0.0.1:${port[kafka]}
  given registry || SCHEMA_REGISTRY_URL=http://127.0.0.1:${port[registry]}/apis/ccompat/v7
  if given clickhouse; then
    : "${CLICKHOUSE_USER:=millrace}" "${CLICKHOUSE_PASSWORD=millrace}"
  else
    CLICKHOUSE_URL=http://127.0.0.1:${port[clickhouse]} CLICKHOUSE_USER=millrace CLICKHOUSE_PASSWORD=millrace
  fi
  export MYSQL_HOST MYSQL_PORT MYSQL_USER MYSQL_PASSWORD KAFKA_BROKERS SCHEMA_REGISTRY_URL
  export CLICKHOUSE_URL CLICKHOUSE_USER CLICKHOUSE_PASSWORD
}

# A server's address for people; a password inside a URL is not shown.
address() {
  case $1 in
    mysql) printf '%s:%s' "$MYSQL_HOST" "$MYSQL_PORT" ;;
    kafka) printf '%s' "$KAFKA_BROKERS" ;;
    registry) printf '%s' "$SCHEMA_REGISTRY_URL" | sed 's|//[^/@]*@|//|' ;;
    clickhouse) printf '%s' "$CLICKHOUSE_URL" | sed 's|//[^/@]*@|//|' ;;
  esac
}

# Quotes a value for any shell; plain ones stay plain, so that make can read them too.
quoted() {
  if [[ $1 =~ ^[A-Za-z0-9_.,:/@%+=-]*$ ]]; then
    printf '%s' "$1"
  else
    printf "'%s'" "${1//\'/\'\\\'\'}"
  fi
}

# Writes the addresses and credentials, whole or not at all, for their owner only.
write_env() {
  local name
  (
    umask 077
    for name in MYSQL_HOST MYSQL_PORT MYSQL_USER MYSQL_PASSWORD KAFKA_BROKERS SCHEMA_REGISTRY_URL \
      CLICKHOUSE_URL CLICKHOUSE_USER CLICKHOUSE_PASSWORD; do
      printf '%s=%s\n' "$name" "$(quoted "${!name}")"
    done >"$state/env.new" && mv -f "$state/env.new" "$state/env"
  ) 2>/dev/null || fail "cannot write $state/env" "make room or make it writable"
}
