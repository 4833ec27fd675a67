"""Back up the database: dump it, encrypt the dump with age, delete old backups.

backup.pub has the public keys whose private keys decrypt a backup. The server has no private key.
"""

# ruff: noqa: S603, S607 - the commands are constants and settings

import os
# {% if cookiecutter.database == "mysql" %}
import shutil
# {% endif %}
# {% if cookiecutter.database == "sqlite" %}
import sqlite3
# {% endif %}
import subprocess
import sys
# {% if cookiecutter.database == "sqlite" %}
import tempfile
# {% endif %}
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast
# {% if cookiecutter.__pooled %}
from urllib.parse import unquote, urlsplit
# {% endif %}

KEYS = Path("/etc/{{ cookiecutter.project_slug }}/backup.pub")
FOLDER = Path("/var/backups/{{ cookiecutter.project_slug }}")
FORMAT = "%Y-%m-%dT%H%M%SZ"
# Kept: the newest backup of each of so many days, and of so many weeks.
DAYS = 7
WEEKS = 5

# Past a pooler, as for migrations.
url = os.environ.get("DATABASE_MIGRATION_URL") or os.environ["DATABASE_URL"]
ca_file = os.environ.get("DATABASE_CA_FILE", "")


def main() -> None:
    """Write an encrypted backup, then delete the old ones."""
    backup = FOLDER / f"{datetime.now(UTC):{FORMAT}}.{EXTENSION}.age"
    partial = backup.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            encrypt = subprocess.Popen(["age", "-R", KEYS], stdin=subprocess.PIPE, stdout=file)
            with cast(IO[bytes], encrypt.stdin) as pipe:
                dump(pipe.fileno())
            if encrypt.wait():
                sys.exit(f"age failed: does {KEYS} have public keys?")
        partial.rename(backup)
    finally:
        partial.unlink(missing_ok=True)
    for old in old_backups(sorted(FOLDER.glob("*.age"))):
        old.unlink()


def old_backups(backups: list[Path]) -> list[Path]:
    """Return the backups to delete, of a list in the order of time."""
    days, weeks = {}, {}
    for backup in backups:
        time = datetime.strptime(backup.name.partition(".")[0], FORMAT).replace(tzinfo=UTC)
        days[time.date()] = weeks[time.isocalendar()[:2]] = backup
    kept = {*list(days.values())[-DAYS:], *list(weeks.values())[-WEEKS:]}
    return [backup for backup in backups if backup not in kept]


# {% if cookiecutter.database == "postgresql" %}
EXTENSION = "dump"


def dump(output: int) -> None:
    """Write a dump for pg_restore. The password is no argument, since those are public."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    variables = {"PGPASSWORD": unquote(password)}
    if ca_file:
        variables.update(PGSSLMODE="verify-full", PGSSLROOTCERT=ca_file)
    public = parts._replace(netloc=f"{name}@{host}").geturl()
    command = ["pg_dump", "--format=custom", "--no-password", f"--dbname={public}"]
    subprocess.run(command, check=True, stdout=output, env={**os.environ, **variables})


# {% endif %}
# {% if cookiecutter.database == "mysql" %}
EXTENSION = "sql"


def dump(output: int) -> None:
    """Write SQL statements. The password is no argument, since those are public."""
    parts = urlsplit(url)
    program = shutil.which("mariadb-dump") or "mysqldump"
    command = [
        program,
        f"--host={parts.hostname}",
        f"--port={parts.port or 3306}",
        f"--user={unquote(parts.username or '')}",
        "--single-transaction",
        "--no-tablespaces",
    ]
    if ca_file:
        command.append(f"--ssl-ca={ca_file}")
    variables = {"MYSQL_PWD": unquote(parts.password or "")}
    command.append(parts.path.strip("/"))
    subprocess.run(command, check=True, stdout=output, env={**os.environ, **variables})


# {% endif %}
# {% if cookiecutter.database == "mongodb" %}
EXTENSION = "archive"


def dump(output: int) -> None:
    """Write an archive for mongorestore. The password is no argument, since those are public."""
    command = ["mongodump", "--quiet", "--archive", "--config=/dev/stdin"]
    subprocess.run(command, check=True, stdout=output, input=f"uri: {url}\n".encode())


# {% endif %}
# {% if cookiecutter.database == "sqlite" %}
EXTENSION = "sqlite3"


def dump(output: int) -> None:
    """Write a consistent copy of the file, without blocking the application."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.sqlite3"
        connection = sqlite3.connect(f"file:{url.removeprefix('sqlite:///')}?mode=ro", uri=True)
        connection.execute("VACUUM INTO ?", [str(copy)])
        connection.close()
        with copy.open("rb") as file, os.fdopen(os.dup(output), "wb") as pipe:
            while chunk := file.read(1 << 20):
                pipe.write(chunk)


# {% endif %}
if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.cmd[0]} failed with status {error.returncode}")
