"""A PgBouncer in front of the test server, where it is installed (Debian: ``pgbouncer``)."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from tests.support.waiting import wait_for
from trading_bot_schema import embedded

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")


@contextmanager
def pgbouncer(url: str, mode: str, **settings: object) -> Iterator[str]:
    """Start a PgBouncer in front of the server of a URL, and yield the URL of the pooler.

    Every client connects as the user of ``url``. ``settings`` are those of ``pgbouncer.ini``.
    """
    assert PROGRAM is not None
    target = make_url(url)
    server = {
        "host": target.host or target.query["host"],
        "port": target.port or target.query.get("port"),
        "user": target.username,
        "password": target.password,
    }
    # Like PostgreSQL, it refuses to run as root; its account needs access to the server's socket.
    account = embedded._account()
    directory = Path(tempfile.mkdtemp(prefix="pgbouncer-", dir="/tmp"))
    options = {
        "listen_addr": "",
        "listen_port": 6432,
        "unix_socket_dir": directory,
        "auth_type": "any",
        "pool_mode": mode,
        **settings,
    }
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(
        "[databases]\n* ="
        + "".join(f" {name}='{value}'" for name, value in server.items() if value)
        + "\n[pgbouncer]\n"
        + "".join(f"{name} = {value}\n" for name, value in options.items())
    )
    if account:
        for path in (directory, configuration):
            shutil.chown(path, account, account)
    process = subprocess.Popen(
        [PROGRAM, configuration],
        user=account,
        group=account,
        extra_groups=[] if account else None,
        stdin=subprocess.DEVNULL,
    )
    pooler = target._replace(host=None, port=None, password=None).set(
        query={"host": str(directory), "port": str(options["listen_port"])}
    )
    try:
        wait_for(lambda: process.poll() is not None or _answers(pooler.render_as_string()))
        assert process.poll() is None, "it does not start"
        yield pooler.render_as_string()
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=10).close()
    except psycopg.OperationalError as error:
        return "No such file" not in str(error) and "Connection refused" not in str(error)
    return True
