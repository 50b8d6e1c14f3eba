"""``manage.py workflow_clock``: the loop that goes on with what waits and with what a crash left behind."""

from __future__ import annotations

import logging
import signal
import threading
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, close_old_connections, connections

from ...conf import get_settings
from ...durations import parse_duration
from ...engine.tick import clock_aliases, is_migrated, tick

logger = logging.getLogger("django_workflow")

STOPPING = (signal.SIGTERM, signal.SIGINT)


class Command(BaseCommand):
    """Ticks until it is told to stop; the step under way is finished first. Any number of clocks may run."""

    help = "Go on with runs that wait: timers, retries, deadlines, and steps whose worker died."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare how often to tick."""
        parser.add_argument(
            "--once", action="store_true", help="One tick, for cron. Exits 1 if a database fails."
        )
        parser.add_argument(
            "--interval",
            type=_interval,
            default=1.0,
            metavar="S",
            help="Seconds from tick to tick (default: 1).",
        )

    def handle(self, **options: Any) -> None:
        """Tick once, or until SIGTERM or SIGINT."""
        self.stop = threading.Event()
        self.migrated: set[str] = set()
        with _stop_on_signals(self.stop):
            if options["once"]:
                if not self.tick(seconds=None):
                    raise CommandError("The tick was not complete: a database failed.")
                return
            if options["verbosity"] > 0:
                self.stdout.write(
                    f"The clock ticks every {options['interval']:g} s. Stop it with Ctrl-C or SIGTERM."
                )
                self.stdout.flush()
            while not self.stop.is_set():
                self.tick(seconds=get_settings().SLICE.total_seconds())
                self.stop.wait(options["interval"])

    def tick(self, *, seconds: float | None) -> bool:
        """Tick every alias for at most ``seconds`` each; return whether none of them failed."""
        close_old_connections()
        # Not all(): one database that is down must not stop the others.
        done = [self._tick_alias(alias, seconds) for alias in clock_aliases()]
        close_old_connections()
        return all(done)

    def _tick_alias(self, alias: str, seconds: float | None) -> bool:
        try:
            if alias not in self.migrated and not is_migrated(alias):
                return True
            self.migrated.add(alias)
            tick(alias, is_stopping=self.stop.is_set, seconds=seconds)
        except Error as error:
            logger.error("The clock could not tick database %r, and tries again: %s", alias, error)
            connections[alias].close()
            return False
        return True


@contextmanager
def _stop_on_signals(stop: threading.Event) -> Iterator[None]:
    def stop_soon(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            # A second Ctrl-C: the step under way is given back instead of finished.
            raise SystemExit(130)
        stop.set()

    # Python takes signals in its main thread only.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.signal(each, stop_soon) for each in STOPPING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _interval(text: str) -> float:
    try:
        seconds = parse_duration(text).total_seconds()
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error
    if not 0 < seconds <= 3600:
        raise ArgumentTypeError(f"{text} is not between 0 and an hour")
    return seconds
