# shellcheck shell=bash disable=SC2154,SC2034
# What has to be on the machine: packages of the system, and downloads into the cache, each whole or not at all.

cache_free_mib_min=2048
state_free_mib_min=1024

have() {
  command -v "$1" >/dev/null 2>&1
}

# The java that will be used.
java_command() {
  if [[ -n ${JAVA_HOME:-} && -x $JAVA_HOME/bin/java ]]; then
    printf '%s' "$JAVA_HOME/bin/java"
  else
    printf 'java'
  fi
}

# Whether there is a Java that is new enough.
java_suits() {
  local version
  have "$(java_command)" || return 1
  version=$(java_major)
  ((version >= JAVA_MAJOR_MIN))
}

# Prints the major version of the java that will be used: 8 calls itself 1.8, which counts as 1.
java_major() {
  local version
  version=$("$(java_command)" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
  printf '%s' "${version:-0}"
}

# Says which Java is wanted, and which one is in the way.
java_wanted() {
  printf 'Java >= %s' "$JAVA_MAJOR_MIN"
  if have "$(java_command)"; then printf ' (%s is version %s)' "$(command -v "$(java_command)")" "$(java_major)"; fi
}

python_suits() {
  have python3 && python3 -c 'import sys; sys.exit(sys.version_info < (3, 9))' >/dev/null 2>&1
}

# Every command needs it, to ask the servers.
need_python() {
  python_suits || fail "Python >= 3.9 is missing" "install python3"
}

# Whether the dynamic loader would find a library: the name may carry Debian's t64.
library_there() {
  compgen -G "/usr/lib/*/$1*" >/dev/null || compgen -G "/usr/lib64/$1*" >/dev/null || compgen -G "/lib/*/$1*" >/dev/null
}

# Prints what the given servers and tools still need, one "package<TAB>what it is" a line.
missing_packages() {
  local server maven='' java='' venv=''
  python_suits || printf 'python3\tPython >= 3.9\n'
  for server in "$@"; do
    if [[ $server == valgrind ]]; then
      have valgrind || printf 'valgrind\tvalgrind\n'
      continue
    fi
    case $server in
      kafka | registry | connect) java=yes ;;
      mysql)
        if ! mysql_is_new; then
          library_there libaio.so.1 || printf '%s\tlibaio\n' "$(libaio_package)"
          library_there libnuma.so.1 || printf 'libnuma1\tlibnuma\n'
        elif ! fetched_mysql; then
          have debootstrap || printf 'debootstrap\tdebootstrap\n'
          [[ -r /usr/share/keyrings/debian-archive-keyring.gpg ]] || printf 'debian-archive-keyring\tthe keys of Debian\n'
        fi
        ;;
    esac
    if ! "fetched_$server"; then
      if [[ $server == clickhouse ]]; then
        venv=yes
      elif [[ $server != mariadb ]] && { [[ $server != mysql ]] || ! mysql_is_new; }; then
        maven=yes java=yes
      fi
    fi
  done
  if [[ -n $java ]] && ! java_suits; then printf 'default-jre-headless\t%s\n' "$(java_wanted)"; fi
  if [[ -n $maven ]] && ! have mvn; then printf 'maven\tMaven (mvn)\n'; fi
  if [[ -n $venv ]] && ! python3 -c 'import venv, ensurepip' >/dev/null 2>&1; then
    printf 'python3-venv\tPython module venv\n'
  fi
  # The Rust build compiles librdkafka and links OpenSSL and zlib.
  have g++ || printf 'g++\ta C++ compiler (g++)\n'
  have make || printf 'make\tmake\n'
  have cmake || printf 'cmake\tCMake\n'
  if ! have pkg-config; then
    printf 'pkg-config\tpkg-config\nlibssl-dev\tOpenSSL headers\nzlib1g-dev\tzlib headers\n'
  else
    pkg-config --exists openssl || printf 'libssl-dev\tOpenSSL headers\n'
    pkg-config --exists zlib || printf 'zlib1g-dev\tzlib headers\n'
  fi
}

libaio_package() {
  if apt-cache show libaio1t64 >/dev/null 2>&1; then printf 'libaio1t64'; else printf 'libaio1'; fi
}

# Installs what is missing if we may, and says the one line to run if not.
install_packages() {
  local missing packages what log=$state/log/packages.log
  missing=$(missing_packages "$@")
  [[ -n $missing ]] || return 0
  if have apt-get && ((EUID == 0)) && [[ ${MILLRACE_INSTALL:-yes} != no ]]; then
    note "installing:" "$(cut -f 1 <<<"$missing" | paste -sd ' ')"
    apt-get update >"$log" 2>&1 || note "apt-get update failed, going on with the lists there are"
    missing=$(missing_packages "$@") # the lists may have renamed a package
    # shellcheck disable=SC2046
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(cut -f 1 <<<"$missing") \
      >>"$log" 2>&1 </dev/null || fail "installing packages failed: $(last_words "$log")" "correct it and run it again" "$log"
    hash -r
    missing=$(missing_packages "$@")
    [[ -n $missing ]] || return 0
  fi
  packages=$(cut -f 1 <<<"$missing" | paste -sd ' ')
  what=$(cut -f 2 <<<"$missing" | paste -sd , | sed 's/,/, /g')
  if have apt-get; then
    fail "missing: $what" "run: sudo apt-get install -y $packages"
  else
    fail "missing: $what" "install them with your system's package manager"
  fi
}

# Says early that the disk is too full, instead of half a download or a broken database later.
need_space() {
  local directory=$1 mib_min=$2 variable=$3 mib
  mib=$(df -Pm "$directory" 2>/dev/null | awk 'NR == 2 { print $4 }')
  [[ -z $mib ]] || ((mib >= mib_min)) ||
    fail "only $mib MiB are free at $directory, $mib_min are needed" "make room or set $variable to another disk"
}

# Fills a directory of the cache by a function, which gets a temporary directory: an interrupted download heals by
# running again.
cached() {
  local name=$1 what=$2 fill=$3 log
  [[ ! -d $cache/$name ]] || return 0
  log=$state/log/download-$name.log
  { mkdir -p "$cache" && exec 8>"$cache/$name.lock"; } 2>/dev/null ||
    fail "cannot write to the cache $cache" "make it writable or set MILLRACE_CACHE to another directory"
  flock -w 1800 8 || fail "another download of $what does not end" "end it and run it again"
  if [[ ! -d $cache/$name ]]; then
    need_space "$cache" "$cache_free_mib_min" MILLRACE_CACHE
    note "downloading $what"
    { rm -rf "$cache/$name.partial" && mkdir "$cache/$name.partial" &&
      "$fill" "$cache/$name.partial" && mv -T "$cache/$name.partial" "$cache/$name"; } >"$log" 2>&1 || {
      rm -rf "$cache/$name.partial"
      fail "downloading $what failed: $(last_words "$log")" "check the network and run it again" "$log"
    }
  fi
  exec 8>&-
}

# Copies what a profile of pom.xml names; one call at a time, because Maven's own cache has no lock.
maven() {
  local profile=$1 to=$2
  flock -w 1800 "$cache/maven.lock" mvn -q -B -C -f "$here/pom.xml" -P "$profile" \
    -Dkafka.version="$KAFKA_VERSION" -Dlog4j.version="$LOG4J_VERSION" \
    -Dregistry.version="$REGISTRY_VERSION" -Dmysql-jar.version="$MYSQL_JAR_VERSION" \
    -Dconnect.version="$CONNECT_VERSION" -Dlog4j-connect.version="$LOG4J_CONNECT_VERSION" -Ddebezium.version="$DEBEZIUM_VERSION" \
    -DincludeScope=runtime -DoutputDirectory="$to" dependency:copy-dependencies </dev/null
}

# shellcheck disable=SC2329 # called by cached
fill_python_tests() {
  python3 -m venv "$1" &&
    "$1/bin/python" -m pip install --disable-pip-version-check --no-cache-dir -r "$here/requirements-tests.txt"
}

# The test clients, in a virtual environment that is made again when the requirements or the Python change.
python_tests() {
  local key
  exec 3>&2 # standard output is for the path alone
  open_state
  need_python
  cache_free_mib_min=256
  python3 -c 'import venv, ensurepip' >/dev/null 2>&1 ||
    fail "the Python module venv is missing" "run: sudo apt-get install -y python3-venv"
  key=$({ cat "$here/requirements-tests.txt" && python3 -c 'import sys; print(sys.version, sys.prefix)'; } | cksum | cut -d ' ' -f 1)
  cached "python-tests-$key" "the test clients (20 MB)" fill_python_tests
  printf '%s\n' "$cache/python-tests-$key/bin/python"
}
