"""The databases that every test of the store runs on: SQLite, and a real PostgreSQL server where one can be had."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres_server import PostgresProblem, PostgresServer

from ghostdesk.kernel.errors import ConfigError
from ghostdesk.store.postgres import PostgresStore
from ghostdesk.store.sql import SqlStore
from ghostdesk.store.sqlite import SqliteStore, open_store

OpenStore = Callable[[], SqlStore]
OpenWith = Callable[..., SqlStore]
KINDS = ("sqlite", "postgres")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    try:
        server = PostgresServer()
    except PostgresProblem as problem:
        pytest.skip(str(problem))
    yield server
    server.end()


def opener(kind: str, request: pytest.FixtureRequest, folder: Path) -> OpenStore:
    """Opens one and the same new database, as often as it is asked."""
    if kind == "sqlite":
        return lambda: open_store(folder / "state.db", now_s=0.0)
    address = request.getfixturevalue("postgres").new_database()
    try:
        PostgresStore(address).close()
    except ConfigError as error:
        pytest.skip(str(error))
    return lambda: PostgresStore(address)


@pytest.fixture(params=KINDS)
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """The same database, opened once more."""
    return opener(request.param, request, tmp_path)


@pytest.fixture(params=KINDS)
def open_with(request: pytest.FixtureRequest, tmp_path: Path) -> OpenWith:
    """One new database, opened with the options of the store's class, such as `steps` and `as_it_is`."""
    if request.param == "sqlite":
        return lambda **options: SqliteStore(tmp_path / "state.db", **options)
    address = request.getfixturevalue("postgres").new_database()
    return lambda **options: PostgresStore(address, **options)


@pytest.fixture
def store(open_again: OpenStore) -> Iterator[SqlStore]:
    opened = open_again()
    yield opened
    opened.close()


@pytest.fixture(scope="session", params=KINDS)
def shared_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStore]:
    """For Hypothesis: one database for all examples, each with ids of its own."""
    opened = opener(request.param, request, tmp_path_factory.mktemp("shared"))()
    yield opened
    opened.close()


@pytest.fixture
def bytes_of(request: pytest.FixtureRequest) -> Callable[[SqlStore], bytes]:
    """All that stands in the database's files; for PostgreSQL the tables', not the write-ahead log's."""

    def read(store: SqlStore) -> bytes:
        if isinstance(store, SqliteStore):
            return b"".join(path.read_bytes() for path in sorted(store.path.parent.glob("state.db*")))
        with store._reading() as connection:
            connection.exec_driver_sql("SET statement_timeout = 0")
            connection.exec_driver_sql("CHECKPOINT")
        data = request.getfixturevalue("postgres").folder / "data" / "base"
        return b"".join(path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file())

    return read
