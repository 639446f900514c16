#!/usr/bin/env python3
"""A ClickHouse server out of the chdb-core wheel, for demonstrations and tests.

The wheel's extension module is the whole of clickhouse-local, which can open ClickHouse's own HTTP listener
by a statement. This launcher writes the configuration, loads that module alone, opens the listener and serves
until SIGTERM. The password comes from CLICKHOUSE_PASSWORD, so that no process list shows it.

    clickhouse.py --engine <wheel>/chdb --data <directory> --port <port> --user <name>

With --binary in place of --engine it writes the configuration of a real server, and becomes that server.
"""
import argparse
import http.client
import importlib.util
import os
import pathlib
import signal
import sys
import threading
import uuid
import xml.etree.ElementTree as xml

HOST = "127.0.0.1"
SHUTDOWN_SECONDS_MAX = 20

# clickhouse-local leaves when its statements are done: this one is never done, and is killed to stop.
KEEPALIVE_NAME = "millrace-keepalive"
KEEPALIVE = (f"SELECT sleepEachRow(1) AS `{KEEPALIVE_NAME}` FROM system.numbers "
             "SETTINGS max_block_size = 1, log_queries = 0 FORMAT Null")


def element(parent, path, text=None):
    """Adds nested elements, `a/b/c`, below parent; returns the innermost."""
    for name in path.split("/"):
        parent = xml.SubElement(parent, name)
    parent.text = text
    return parent


def common_config(directory, port):
    root = xml.Element("clickhouse")
    element(root, "listen_host", HOST)
    element(root, "http_port", str(port))
    element(root, "users_config", "users.xml")
    logger = element(root, "logger")
    for name, value in (("level", "warning"), ("log", str(directory / "server.log")), ("console", "0"),
                        ("size", "64M"), ("count", "2")):
        element(logger, name, value)
    for table in ("query_log", "part_log"):
        log = element(root, table)
        element(log, "database", "system")
        element(log, "table", table)
        element(log, "flush_interval_milliseconds", "1000")
    return root


def binary_config(directory, port):
    root = common_config(directory, port)
    for name, place in (("path", "store"), ("tmp_path", "tmp"), ("user_files_path", "user_files"),
                        ("format_schema_path", "format_schemas")):
        element(root, name, f"{directory / place}/")
    element(root, "default_profile", "default")
    element(root, "default_database", "default")
    return root


def wheel_config(directory, port):
    root = common_config(directory, port)
    # clickhouse-local would put an overlay database over `default`: an ordinary one is attached instead.
    element(root, "default_database", "")
    element(root, "database", "default")
    element(root, "display_name", "millrace")
    element(root, "shutdown_wait_unfinished", "1")
    element(root, "log-level", "warning")
    return root


def add_user(users, name, password, network, **extra):
    entry = element(users, name)
    element(entry, "password", password)
    element(entry, "networks/ip", network)
    element(entry, "profile", "default")
    element(entry, "quota", "default")
    for key, value in extra.items():
        element(entry, key, value)
    return entry


def binary_users(user, password):
    root = xml.Element("clickhouse")
    element(root, "profiles/default")
    element(root, "quotas/default")
    add_user(element(root, "users"), user, password, "::/0", access_management="1")
    return root


def wheel_users(user, password, settings, granted):
    root = xml.Element("clickhouse")
    profiles = element(root, "profiles")
    profile = element(profiles, "default")
    # A server has these two off; clickhouse-local turns them on.
    element(profile, "implicit_select", "0")
    element(profile, "allow_introspection_functions", "0")
    element(root, "quotas/default")
    users = element(root, "users")
    # What is set for the user mustn't hold for clickhouse-local's own session.
    given = element(profiles, "given")
    for setting in ["implicit_select=0", "allow_introspection_functions=0", *settings]:
        element(given, *setting.split("=", 1))
    entry = add_user(users, user, password, "::/0")
    entry.find("profile").text = "given"
    if granted:
        grants = element(entry, "grants")
        for grant in granted:
            element(grants, "query", f"GRANT {grant}")
    # clickhouse-local's own session is `default` without a password: it may do only what this launcher needs.
    grants = element(add_user(users, "default", "", HOST), "grants")
    for grant in ("GRANT SYSTEM LISTEN ON *.*", "GRANT SELECT ON system.numbers"):
        element(grants, "query", grant)
    return root


def write_private(path, root):
    """Written whole or not at all, and readable by its owner only: it holds a password."""
    temporary = path.with_suffix(".new")
    temporary.unlink(missing_ok=True)
    temporary.touch(mode=0o600)
    temporary.write_bytes(xml.tostring(root))
    temporary.replace(path)


def prepare_wheel(arguments):
    metadata = arguments.data / "store" / "metadata"
    metadata.mkdir(parents=True, exist_ok=True)
    for database in ("system", "default"):
        statement = metadata / f"{database}.sql"
        if not statement.exists():
            statement.write_text(f"ATTACH DATABASE _ UUID '{uuid.uuid4()}'\nENGINE = Atomic\n")
    write_private(arguments.data / "config.xml", wheel_config(arguments.data, arguments.port))
    write_private(arguments.data / "users.xml", wheel_users(arguments.user, arguments.password, arguments.set, arguments.grant))


def become_binary(arguments):
    arguments.data.mkdir(parents=True, exist_ok=True)
    config = arguments.data / "config.xml"
    write_private(config, binary_config(arguments.data, arguments.port))
    write_private(arguments.data / "users.xml", binary_users(arguments.user, arguments.password))
    os.chdir(arguments.data)
    os.execv(arguments.binary, [str(arguments.binary), "server", f"--config-file={config}"])


def load_engine(package):
    """The extension module without its package, which would start an engine of its own on import."""
    library = next(iter(sorted(package.glob("_chdb*.so"))), None)
    if library is None:
        sys.exit(f"no engine in {package}: remove that directory and run again")
    spec = importlib.util.spec_from_file_location("_chdb", library)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def end_keepalive(arguments):
    """Lets clickhouse-local leave by itself, so that it closes its tables."""
    connection = http.client.HTTPConnection(HOST, arguments.port, timeout=SHUTDOWN_SECONDS_MAX)
    connection.request(
        "POST", "/", f"KILL QUERY WHERE query LIKE 'SELECT sleepEachRow(1) AS `{KEEPALIVE_NAME}`%' ASYNC",
        {"X-ClickHouse-User": arguments.user, "X-ClickHouse-Key": arguments.password})
    connection.getresponse().read()
    connection.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--engine", type=pathlib.Path, help="the package directory of the wheel")
    source.add_argument("--binary", type=pathlib.Path, help="a real clickhouse")
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--user", required=True)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the user's profile (with --engine)")
    parser.add_argument("--grant", action="append", default=[], metavar="RIGHTS",
                        help="what the user may do, `SELECT ON shop.*`; without any it may do all (with --engine)")
    arguments = parser.parse_args()
    arguments.data = arguments.data.absolute()
    arguments.password = os.environ.get("CLICKHOUSE_PASSWORD", "")
    if arguments.binary:
        become_binary(arguments)
    if arguments.user == "default":
        parser.error("'default' is clickhouse-local's own user here: name another one")

    prepare_wheel(arguments)
    engine = load_engine(arguments.engine.absolute())
    os.chdir(arguments.data)  # where clickhouse-local looks for config.xml

    stopping = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)  # before the engine's threads, which inherit it
    failure = []

    def serve():
        try:
            result = engine.query(f"SYSTEM START LISTEN HTTP; {KEEPALIVE}", "TabSeparated", path=str(arguments.data / "store"))
            failure.append(result.error_message() if result.has_error() else "")
        except Exception as error:  # noqa: BLE001: the engine raises RuntimeError, and more; all end the server
            failure.append(str(error))
        os.kill(os.getpid(), signal.SIGTERM)

    serving = threading.Thread(target=serve, daemon=True)
    serving.start()
    signal.sigwait(stopping)
    if failure:
        print("stopped:", failure[0] or "the engine ended", file=sys.stderr, flush=True)
        os._exit(1)
    try:
        end_keepalive(arguments)
        serving.join(SHUTDOWN_SECONDS_MAX)
    except OSError as error:
        print("stopping without the engine's consent:", error, file=sys.stderr, flush=True)
    os._exit(0)  # what it acknowledged is on disk, also if it did not end by itself


if __name__ == "__main__":
    main()
