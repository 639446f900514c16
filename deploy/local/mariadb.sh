# shellcheck shell=bash disable=SC2154
# MariaDB, for the test that it is refused: unpacked into the cache, and no part of the stack.

fetched_mariadb() {
  [[ -d $cache/mariadb ]]
}

fill_mariadb() {
  (
    # As the user that apt reads with may not write here, it says so and goes on.
    cd "$1" && apt-get download mariadb-server-core liburing2 &&
      for package in *.deb; do dpkg-deb -x "$package" . || exit 1; done && rm -- *.deb
  )
}

fetch_mariadb() {
  have apt-get || fail "MariaDB is fetched by apt-get" "do without: one test then says that it is skipped"
  cached mariadb "MariaDB (7 MB)" fill_mariadb
}
