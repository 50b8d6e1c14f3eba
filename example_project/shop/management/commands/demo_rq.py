"""``manage.py demo_rq``: orders, two workers and a clock; one worker is killed in the middle of a step."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path
from secrets import token_urlsafe
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Count, Sum
from django.test import Client
from django.urls import reverse

from django_workflow.models import Run, StepRun

from ....processes import Processes
from ... import gateway
from ...models import Order, Product
from ...watching import Watch
from .prepare import SHELF

NO_REDIS = "Call `make demo-rq`, which starts a private Redis, or name the socket of one by EXAMPLE_REDIS."
# Nobody wants to watch a lease of a minute expire.
VARIABLES = {"EXAMPLE_LEASE": "5s", "EXAMPLE_GATEWAY_SECONDS": "1"}
BASKET = ("Notebook", "Teapot", "Notebook", "Notebook", "Teapot", "Notebook")
# All in seconds.
START_SECONDS = 60
PLAY_SECONDS = 90
LOOK_EVERY = 0.05


class Command(BaseCommand):
    """Shows that a killed worker costs seconds: no step is lost, and none is recorded twice."""

    help = "Take orders with two RQ workers and a clock, kill -9 one worker, and count what was recorded."

    def handle(self, *args: Any, **options: Any) -> None:
        """Play, and exit with 1 when a promise was not kept."""
        if not settings.REDIS:
            raise CommandError(NO_REDIS)
        signal.signal(signal.SIGTERM, _leave)
        # Data of its own, made anew, so that everything in it can be counted.
        shutil.rmtree(settings.VAR)
        Path(settings.VAR).mkdir()
        call_command("prepare", verbosity=0)
        try:
            with Processes(Path(settings.VAR) / "processes.log", VARIABLES) as processes:
                self.play(processes)
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        self.sum_up()

    def play(self, processes: Processes) -> None:
        """Start everything, take orders, kill, and watch until every run is over."""
        self.title("Two workers and a clock start, with SQLite and a private Redis")
        started = [
            processes.start("worker 1", "rqworker", "workflows"),
            processes.start("worker 2", "rqworker", "workflows"),
            processes.start("the clock", "workflow_clock", "--interval", "0.5"),
        ]
        for process in started:
            self.stdout.write(f"  {process.name:<9}  process {process.pid}: {process.command}")
        _wait_until(_all_listen, START_SECONDS, "The workers did not start", processes.log)
        self.title(f"A customer signs up and orders {len(BASKET)} times")
        watch = Watch(processes, self.tell)
        self.order()
        _wait_until(watch.look, PLAY_SECONDS, "Not every run ended", processes.log)

    def order(self) -> None:
        """Fill the sign-up form in, press Buy and pay, as a browser does.

        Each payment is told of before the shop has begun to charge: the event is kept until its step waits.
        """
        client, password = Client(SERVER_NAME="127.0.0.1"), token_urlsafe()
        account = {"username": "customer", "email": "customer@example.com"}
        client.post(reverse("sign_up"), {**account, "password1": password, "password2": password})
        began = time.monotonic()
        for name in BASKET:
            client.post(reverse("buy", args=[Product.objects.get(name=name).pk]), {"quantity": "1"})
            message = gateway.sign(f"order-{Order.objects.latest('pk').pk}", "paid")
            client.post(reverse("payment"), {"message": message})
        if Order.objects.count() < len(BASKET):
            raise CommandError("The shop took no orders.")
        each = (time.monotonic() - began) / len(BASKET)
        self.tell(f"  An order and its payment took the shop {each * 1000:.0f} ms: its steps run elsewhere.")

    def sum_up(self) -> None:
        """Count in the rows, and say what is wrong."""
        self.title("What the rows say")
        facts = _count()
        for name, (found, expected) in facts.items():
            mark = "" if found == expected else f"  WRONG: {expected} expected"
            self.stdout.write(f"  {name:<24} {found:>3}{mark}")
        self.stdout.write("")
        self.stdout.write(f"The processes' log is {settings.VAR / 'processes.log'}; to see the runs:")
        self.stdout.write(f"  EXAMPLE_VAR={settings.VAR} make serve")
        if any(found != expected for found, expected in facts.values()):
            raise CommandError("A promise was not kept.")

    def tell(self, text: str) -> None:
        """Print a line as it happens."""
        self.stdout.write(text.rstrip())
        self.stdout.flush()

    def title(self, text: str) -> None:
        """Begin a scene."""
        self.tell("")
        self.tell(self.style.MIGRATE_HEADING(text))


def _all_listen() -> bool:
    """Ask ``workflow_health``, as monitoring does, whether workers and clock are there; and nothing to do."""
    answer = StringIO()
    with suppress(SystemExit):
        call_command("workflow_health", json=True, stdout=answer)
    facts = json.loads(answer.getvalue())
    is_complete = all(len(queue["workers"]) == 2 for queue in facts["queues"])
    return is_complete and facts["ok"] and not Run.objects.active().exists()


def _wait_until(is_true: Callable[[], bool], seconds: float, problem: str, log: Path) -> None:
    until = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > until:
            raise CommandError(
                f"{problem} within {seconds:g} s; the processes' log {log}:\n{log.read_text()}"
            )
        time.sleep(LOOK_EVERY)


def _count() -> dict[str, tuple[int, int]]:
    """Return what was found, and what it should be."""
    runs, done = Run.objects.all(), StepRun.objects.filter(status="done")
    again = done.values("run", "step", "visit", "index").annotate(times=Count("pk")).filter(times__gt=1)
    recorded = done.values("run", "step", "visit", "index").distinct().count()
    taken = sum(
        run.output_of("reserve")["reserved"] for run in runs.filter(workflow__name="order-fulfilment")
    )
    crashes = StepRun.objects.aggregate(total=Sum("crashes"))["total"]
    paid = Order.objects.exclude(charge="").values("charge").distinct().count()
    return {
        "runs done": (runs.filter(status="done").count(), runs.count()),
        "steps done": (done.count(), recorded),
        "recorded twice": (again.count(), 0),
        "crashes counted": (crashes, 1),
        "cards charged": (len(list(Path(settings.GATEWAY_FOLDER).iterdir())), paid),
        "pieces off the shelf": (_missing_pieces(), taken),
    }


def _missing_pieces() -> int:
    left = sum(Product.objects.values_list("stock", flat=True))
    return sum(stock for _price, stock in SHELF.values()) - left


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
