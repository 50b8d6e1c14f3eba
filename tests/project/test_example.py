"""The example project: its own tests pass, and the demo shows what it promises, again and again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.private_server import own_folder
from tests.servers.redis_server import redis_server
from tests.support.missing import skip_where_missing

ROOT = Path(__file__).parent.parent.parent

# In one group, so that the demo is run once for all of them.
pytestmark = [pytest.mark.one_database, pytest.mark.xdist_group("example")]


def run_manage(folder: Path, *arguments: str, code: int = 0, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "manage.py", *arguments],
        cwd=ROOT,
        env={**environment, "EXAMPLE_VAR": str(folder), "PYTHONIOENCODING": "utf-8", **variables},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def redis_socket() -> Iterator[Path]:
    """Return the socket of a Redis of its own."""
    with (
        skip_where_missing(),
        own_folder(None) as folder,
        redis_server(folder / "redis.sock") as server,
    ):
        yield server.socket


def test_its_own_tests_pass(tmp_path: Path) -> None:
    assert re.search(r"Ran \d\d tests", run_manage(tmp_path, "test", "example_project"))


def test_its_migrations_and_checks_are_in_order(tmp_path: Path) -> None:
    assert "No changes" in run_manage(tmp_path, "makemigrations", "--check", "--dry-run")
    assert "no issues" in run_manage(tmp_path, "check")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """What the demo prints at its first time, and at its second with the same database."""
    folder = tmp_path_factory.mktemp("demo")
    return run_manage(folder, "demo"), run_manage(folder, "demo")


def test_the_demo_shows_every_step_and_where_things_are(demo: tuple[str, str]) -> None:
    first, second = demo
    for shown in demo:
        assert re.search(r"✓ greet .* ms  .*\"sent\": 1", shown)
        assert re.search(r"✗ charge .* no answer from the payment provider\n  … charge is tried again", shown)
        assert re.search(r"… paid waits for an event; .*\n  ✓ paid", shown)
        assert re.search(
            r"… approve waits for a person: .*\n    http\S+\n  ✓ approve .*\"by\": \[\"manager\"", shown
        )
        assert re.search(r"✓ tell\[0\] .*\"customer-\d@.*\n  ✓ tell\[1\] .*\"friend@", shown)
        assert re.search(r"✗ reserve .* 0 pieces of Lamp .*\n  ✓ charge:undo", shown)
        assert "order-fulfilment is failed: 0 pieces of Lamp are left, and 1 are ordered" in shown
        assert shown.count("\n    ✓ deliver") == 2
        assert re.findall(r"\(it is (\w+)\)", shown) == ["fulfilled", "fulfilled", "refunded"]
    mail = Path(re.findall(r"mail +(\S+)", first.partition("Where things are")[2])[0])
    assert b"customer-1@example.com" in mail.read_bytes()
    assert re.search(r"contact +http://127.0.0.1:8000/admin/shop/contact/\d+/change/", first)
    assert (
        len(re.findall(r"run +http://127.0.0.1:8000/admin/django_workflow/run/[-0-9a-f]+/change/", first))
        == 5
    )
    assert "customer-2 signs up" in second
    assert first.endswith("make serve opens these pages (user demo, password demo).\n")


def test_the_readme_shows_what_the_demo_prints(demo: tuple[str, str]) -> None:
    page = (ROOT / "README.md").read_text()
    shown = re.search(r"```text\n(2 desks.*?)```", page, re.DOTALL)
    assert shown is not None
    figures = r"\d+ ms|\d\.\d s|ch_[0-9a-f]+"
    # As in every block of the page: alone in a line it stands for any lines, else for the rest of its line.
    parts = re.split(rf"(^…\n|…$|{figures})", re.sub(" +", " ", shown[1]), flags=re.MULTILINE)
    texts, gaps = map(re.escape, parts[::2]), ["(?s:.*)" if gap == "…\n" else ".*" for gap in parts[1::2]]
    pattern = "".join(f"{text}{gap}" for text, gap in zip(texts, [*gaps, ""], strict=True))
    assert re.search(pattern, re.sub(" +", " ", demo[0]))


@pytest.mark.processes
@pytest.mark.sqlite_too
def test_the_demo_with_workers_kills_one_and_loses_nothing(tmp_path: Path, redis_socket: Path) -> None:
    shown = run_manage(tmp_path, "demo_rq", EXAMPLE_REDIS=str(redis_socket))
    (order, worker) = re.findall(r"kill -9 +(order \d) +☠ charge +(worker \d) dies", shown)[0]
    other = "worker 1" if worker == "worker 2" else "worker 2"
    assert re.search(rf"the clock {order} +↻ charge +its lease has expired, \d\.\d s after the kill", shown)
    assert re.search(rf"{other} +{order} +✓ charge +taken up again, \d+\.\d s after the kill", shown)
    assert shown.count("✓ tell") == 6
    facts = dict(re.findall(r"^  ([a-z ]+?) +(\d+)$", shown, re.MULTILINE))
    assert facts == {
        "runs done": "9",
        "steps done": "54",
        "recorded twice": "0",
        "crashes counted": "1",
        "cards charged": "6",
        "pieces off the shelf": "6",
    }


def test_the_demo_with_workers_says_what_it_needs(tmp_path: Path) -> None:
    assert "make demo-rq" in run_manage(tmp_path, "demo_rq", code=1)
