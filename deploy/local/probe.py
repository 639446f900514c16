#!/usr/bin/env python3
"""Asks the stack's servers for a real answer, at the addresses and with the credentials of the environment.

    probe.py [--wait SECONDS] [--pid PID] mysql|kafka|registry|clickhouse ...

Prints one line per server, "<server> ok" or "<server> <reason>"; exit code 0 if all answer, 1 if one does
not, 2 if the process given by --pid ended meanwhile. Standard library only, so that it runs before
anything is installed.
"""
import argparse
import base64
import concurrent.futures
import hashlib
import os
import socket
import ssl
import struct
import sys
import time
import urllib.error
import urllib.request

ANSWER_TIMEOUT_SECONDS = 5
RETRY_INTERVAL_SECONDS = 0.1

CLIENT_LONG_PASSWORD, CLIENT_PROTOCOL_41, CLIENT_SSL = 0x1, 0x200, 0x800
CLIENT_SECURE_CONNECTION, CLIENT_PLUGIN_AUTH = 0x8000, 0x80000


class Unready(Exception):
    """The server is there but does not give the answer asked for; the text says why."""


def read_exactly(connection, length):
    data = b""
    while len(data) < length:
        chunk = connection.recv(length - len(data))
        if not chunk:
            raise Unready("the connection was closed")
        data += chunk
    return data


def address(name):
    host, separator, port = name.strip().rpartition(":")
    if not separator or not port.isdigit():
        raise Unready(f"'{name}' is not host:port")
    return host.strip("[]"), int(port)


def read_mysql_packet(connection):
    header = read_exactly(connection, 4)
    body = read_exactly(connection, int.from_bytes(header[:3], "little"))
    if body[:1] == b"\xff":
        raise Unready(body[9:].decode("utf-8", "replace") if body[3:4] == b"#" else body[3:].decode("utf-8", "replace"))
    return header[3], body


def write_mysql_packet(connection, sequence, body):
    connection.sendall(len(body).to_bytes(3, "little") + bytes([sequence]) + body)


def scramble(plugin, password, nonce):
    """The proof of the password that each plugin expects; None for a plugin not known here."""
    if not password:
        return b""
    if plugin == b"mysql_native_password":
        inner = hashlib.sha1(password).digest()
        outer = hashlib.sha1(nonce + hashlib.sha1(inner).digest()).digest()
    elif plugin == b"caching_sha2_password":
        inner = hashlib.sha256(password).digest()
        outer = hashlib.sha256(hashlib.sha256(inner).digest() + nonce).digest()
    else:
        return None
    return bytes(a ^ b for a, b in zip(inner, outer))


def login_mysql(connection, user, password):
    sequence, greeting = read_mysql_packet(connection)
    rest = greeting[greeting.index(b"\0", 1) + 1:]
    offered = int.from_bytes(rest[13:15] + rest[18:20], "little")
    nonce = rest[4:12] + rest[31:43]
    plugin = rest[31 + max(13, rest[20] - 8):].rstrip(b"\0") or b"mysql_native_password"

    flags = CLIENT_LONG_PASSWORD | CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION | CLIENT_PLUGIN_AUTH
    encrypted = bool(offered & CLIENT_SSL)
    flags |= CLIENT_SSL if encrypted else 0
    head = struct.pack("<IIB23x", flags, 1 << 24, 45)
    if encrypted:
        # Only whether it answers is asked here, and a test server signs its own certificate: nothing to verify.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        write_mysql_packet(connection, sequence + 1, head)
        connection = context.wrap_socket(connection)
        sequence += 1
    proof = scramble(plugin, password, nonce) or b""
    body = head + user + b"\0" + bytes([len(proof)]) + proof + plugin + b"\0"
    write_mysql_packet(connection, sequence + 1, body)

    while True:
        sequence, reply = read_mysql_packet(connection)
        if reply[:1] == b"\0":
            return
        if reply[:1] == b"\xfe":
            plugin, _, nonce = reply[1:].partition(b"\0")
            proof = scramble(plugin, password, nonce.rstrip(b"\0"))
            if proof is None:
                return  # a server of one's own with another plugin: it answers, which is all that is asked
            write_mysql_packet(connection, sequence + 1, proof)
        elif reply == b"\x01\x04":
            if not encrypted:
                return  # would need RSA; the server knows the user and answers
            write_mysql_packet(connection, sequence + 1, password + b"\0")


def probe_mysql(env):
    host, port = env["MYSQL_HOST"], int(env["MYSQL_PORT"])
    with socket.create_connection((host, port), ANSWER_TIMEOUT_SECONDS) as connection:
        login_mysql(connection, env["MYSQL_USER"].encode(), env["MYSQL_PASSWORD"].encode())


def probe_kafka(env):
    failure = None
    for name in env["KAFKA_BROKERS"].split(","):
        try:
            with socket.create_connection(address(name), ANSWER_TIMEOUT_SECONDS) as connection:
                # Metadata, version 1, of no topic: the answer lists the brokers that are in service.
                client = b"millrace-probe"
                request = struct.pack(">hhih", 3, 1, 7, len(client)) + client + struct.pack(">i", 0)
                connection.sendall(struct.pack(">i", len(request)) + request)
                size = struct.unpack(">i", read_exactly(connection, 4))[0]
                if not 12 <= size <= 1 << 20:
                    raise Unready("the answer is not Kafka's (a listener with TLS or SASL?)")
                correlation, brokers = struct.unpack(">ii", read_exactly(connection, size)[:8])
                if correlation != 7:
                    raise Unready("the answer is not Kafka's")
                if brokers < 1:
                    raise Unready("no broker is in service yet")
                return
        except (OSError, Unready) as error:
            failure = error
    raise failure or Unready("KAFKA_BROKERS is empty")


def get(url, headers, body=None):
    request = urllib.request.Request(url, data=body, headers=headers)
    # Without the proxies of the environment: these are one's own servers.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_TIMEOUT_SECONDS) as response:
            return response.read(1 << 20)
    except urllib.error.HTTPError as error:
        text = error.read(300).decode("utf-8", "replace").split("\n")[0]
        raise Unready(f"HTTP {error.code} {text}".strip()) from error


def probe_registry(env):
    base, headers = env["SCHEMA_REGISTRY_URL"].rstrip("/"), {}
    scheme, _, rest = base.partition("://")
    if "@" in rest.split("/")[0]:
        credentials, _, rest = rest.partition("@")
        base = f"{scheme}://{rest}"
        headers["Authorization"] = "Basic " + base64.b64encode(credentials.encode()).decode()
    answer = get(base + "/subjects", headers)
    if not answer.lstrip().startswith(b"["):
        raise Unready("GET /subjects gives no list: is this the base URL of a Confluent-compatible registry?")


def probe_clickhouse(env):
    headers = {"X-ClickHouse-User": env["CLICKHOUSE_USER"], "X-ClickHouse-Key": env["CLICKHOUSE_PASSWORD"]}
    if get(env["CLICKHOUSE_URL"].rstrip("/") + "/", headers, b"SELECT 1").strip() != b"1":
        raise Unready("SELECT 1 does not give 1")


PROBES = {"mysql": probe_mysql, "kafka": probe_kafka, "registry": probe_registry, "clickhouse": probe_clickhouse}


def failure_of(server):
    """None if the server answers, else the reason in one line."""
    try:
        PROBES[server](os.environ)
        return None
    except urllib.error.URLError as error:
        return " ".join(str(error.reason).split())
    except KeyError as error:
        return f"{error.args[0]} is not set"
    except (OSError, Unready, ValueError, struct.error, IndexError) as error:
        return " ".join(str(error).split()) or type(error).__name__


def ended(pid):
    """Whether the process is gone: a zombie answers no more either."""
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as stat:
            return stat.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wait", type=float, default=0, metavar="SECONDS")
    parser.add_argument("--pid", type=int)
    parser.add_argument("servers", nargs="+", choices=sorted(PROBES))
    arguments = parser.parse_args()
    deadline = time.monotonic() + arguments.wait
    with concurrent.futures.ThreadPoolExecutor(len(arguments.servers)) as pool:
        while True:
            reasons = list(pool.map(failure_of, arguments.servers))
            if not any(reasons):
                code = 0
                break
            if arguments.pid and ended(arguments.pid):
                code = 2
                break
            if time.monotonic() >= deadline:
                code = 1
                break
            time.sleep(RETRY_INTERVAL_SECONDS)
    for server, reason in zip(arguments.servers, reasons):
        print(server, reason or "ok")
    sys.exit(code)


if __name__ == "__main__":
    main()
