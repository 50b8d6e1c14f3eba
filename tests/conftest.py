"""What every test shares: its databases and servers, how many examples Hypothesis tries, its step types."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import django
import hypothesis
import pytest
from django.conf import settings
from django.db import connections
from django.test import TransactionTestCase

from django_workflow import process, registry, step
from django_workflow.engine import rounds, sharing
from tests.servers.postgres import PostgresServer, find_owner, postgres_server
from tests.servers.private_server import own_folder
from tests.servers.redis_server import RedisServer
from tests.servers.redis_server import redis_server as serve_redis
from tests.support import databases
from tests.support.missing import skip_where_missing
from tests.support.processes import SETTINGS, Processes

# No deadline: the machines that run this are busy, and a slow example is no failure.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=50)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

DATABASE_FIXTURES = {"db", "transactional_db", "live_server", "django_db_setup"}


def pytest_configure(config: pytest.Config) -> None:
    """Let Ctrl-C interrupt: a shell that starts a process in the background has it ignore the signal."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config: pytest.Config) -> str:
    return f"workflow: Django {django.__version__} on {settings.VENDOR}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts processes, and what is the same on every database because it asks none."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if "processes" in fixtures:
            item.add_marker(pytest.mark.processes)
        if item.get_closest_marker("django_db") is None and not fixtures & DATABASE_FIXTURES:
            item.add_marker(pytest.mark.one_database)


def pytest_collection_finish() -> None:
    """Let the garbage collector look no more at thousands of tests, which are never garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer | None]:
    """The PostgreSQL that has the databases, which tests may stop and start; None with another database."""
    if settings.VENDOR != "postgres":
        yield None
    elif given := os.environ.get("WORKFLOW_TEST_PGHOST"):
        yield PostgresServer(Path(given))
    else:
        folder = Path(settings.DATABASES["default"]["HOST"])
        with ExitStack() as stack:
            with skip_where_missing():
                stack.enter_context(own_folder(find_owner("postgres"), at=folder))
                server = stack.enter_context(postgres_server(folder, is_durable=False))
            yield server
            connections.close_all()


@pytest.fixture(scope="session")
def django_db_setup(
    postgres: PostgresServer | None, django_test_environment: None, django_db_blocker: Any
) -> Iterator[None]:
    """Make the databases, where pytest-django would migrate each of them."""
    with django_db_blocker.unblock():
        databases.make_databases()
    yield
    with django_db_blocker.unblock():
        connections.close_all()


def _empty_databases(case: Any) -> None:
    databases.empty(case._databases_names(include_mirrors=False))


TransactionTestCase._fixture_teardown = _empty_databases


@pytest.fixture(autouse=True)
def new_process() -> None:
    """Let each test begin as a new process, which remembers nothing."""
    process.forget()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """The server on the socket of the settings' queues."""
    with skip_where_missing(), serve_redis(settings.REDIS_SOCKET) as server:
        yield server


@pytest.fixture
def empty_redis(redis_server: RedisServer) -> None:
    """Start Redis where the test before left it down, and empty it."""
    redis_server.start()
    redis_server.resume()
    redis_server.flush()


@pytest.fixture
def queued(settings: Any) -> None:
    """Let this process ring for its runs, as a web process does, instead of running them."""
    settings.DJANGO_WORKFLOW = dict(SETTINGS)


@pytest.fixture
def processes(transactional_db: None, empty_redis: None, queued: None, tmp_path: Path) -> Iterator[Processes]:
    """What starts workers and clocks; they are gone before the tables are emptied."""
    with Processes(tmp_path) as running:
        yield running


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no busy machine end a round early or call a handler slow."""
    monkeypatch.setattr(sharing, "FAST", 30.0)
    monkeypatch.setattr(rounds, "LONGEST", 30.0)
    monkeypatch.setattr(rounds, "LONGEST_ON_SQLITE", 30.0)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """``step``; what it registers is forgotten after the test."""
    monkeypatch.setattr(registry, "_handlers", dict(registry._handlers))
    monkeypatch.setattr(registry, "_aliases", dict(registry._aliases))
    return step


@pytest.fixture
def unregister(register: Callable[..., Any]) -> Callable[[str], object]:
    """Return what forgets a step type until the end of the test, or until the test registers it again."""
    return registry._handlers.pop
