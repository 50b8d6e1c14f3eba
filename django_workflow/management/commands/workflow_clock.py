"""``manage.py workflow_clock``: the loop that goes on with what waits and with what a crash left behind."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from argparse import SUPPRESS, ArgumentTypeError
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error, close_old_connections, connections

from ...conf import get_settings
from ...durations import parse_duration
from ...engine.clocks import leave
from ...engine.recover import recover_worker
from ...engine.tick import clock_aliases, is_migrated, tick

logger = logging.getLogger("django_workflow")

STOPPING = (signal.SIGTERM, signal.SIGINT)
# What a worker tells the clock beside it: "died" and a name. The end of its lines is the end of the worker.
DIED = "died "
STOP = ""


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
        # For django_workflow.worker.Worker alone.
        parser.add_argument("--beside-worker", action="store_true", help=SUPPRESS)

    def handle(self, **options: Any) -> None:
        """Tick once, or until SIGTERM or SIGINT."""
        # A SimpleQueue, unlike an Event, may be used by the handler of a signal that interrupts it.
        self.mail: SimpleQueue[str] = SimpleQueue()
        self.is_stopping = self.was_signalled = False
        self.migrated: set[str] = set()
        if options["beside_worker"]:
            threading.Thread(target=self._listen, name="workflow-clock-stdin", daemon=True).start()
        with _calling_on_signals(self._stop_soon):
            try:
                self._tick_once() if options["once"] else self._tick_on(options)
            except KeyboardInterrupt:
                raise SystemExit(130) from None
            finally:
                self._leave()

    def _tick_once(self) -> None:
        if not self.tick(seconds=None, pause=self._read_mail):
            raise CommandError("The tick was not complete: a database failed.")

    def _tick_on(self, options: dict[str, Any]) -> None:
        if options["verbosity"] > 0:
            self.stdout.write(
                f"The clock ticks every {options['interval']:g} s. Stop it with Ctrl-C or SIGTERM."
            )
            self.stdout.flush()
        self._read_mail(0)
        while not self.is_stopping:
            self.tick(seconds=get_settings().SLICE.total_seconds())
            self._read_mail(options["interval"])

    def tick(self, *, seconds: float | None, pause: Callable[[float], bool] | None = None) -> bool:
        """Tick every alias for at most ``seconds`` each; return whether none of them failed."""

        def tick_alias(alias: str) -> None:
            tick(alias, is_stopping=lambda: self.is_stopping, seconds=seconds, pause=pause)

        return self._for_each_alias(tick_alias)

    def _for_each_alias(self, act: Callable[[str], object]) -> bool:
        close_old_connections()
        # Not all(): one database that is down must not stop the others.
        done = [self._is_done(act, alias) for alias in clock_aliases()]
        close_old_connections()
        return all(done)

    def _is_done(self, act: Callable[[str], object], alias: str) -> bool:
        try:
            if alias in self.migrated or is_migrated(alias):
                self.migrated.add(alias)
                act(alias)
        except Error as error:
            logger.error("The clock could not tick database %r, and tries again: %s", alias, error)
            with suppress(Error):
                connections[alias].close()
            return False
        except Exception:
            logger.exception("The clock goes on with the other databases, and tries %r again.", alias)
            return False
        return True

    def _listen(self) -> None:
        """Read what the worker says, in a thread of its own."""
        # A file of its own: at its end Python could not close sys.stdin, which this thread would hold.
        with open(sys.stdin.fileno(), closefd=False) as lines:
            for line in lines:
                self.mail.put(line.strip())
        self.mail.put(STOP)

    def _read_mail(self, seconds: float) -> bool:
        """Do what comes in the next ``seconds``; return whether to stop."""
        until = time.monotonic() + seconds
        while not self.is_stopping:
            try:
                line = self.mail.get(timeout=max(until - time.monotonic(), 0))
            except Empty:
                break
            if line.startswith(DIED):
                self._for_each_alias(partial(recover_worker, name=line.removeprefix(DIED)))
            self.is_stopping = self.is_stopping or line == STOP
        return self.is_stopping

    def _stop_soon(self, number: int, frame: FrameType | None) -> None:
        if self.was_signalled:
            # A second Ctrl-C: the step under way is given back instead of finished.
            raise KeyboardInterrupt
        self.was_signalled = self.is_stopping = True
        self.mail.put(STOP)

    def _leave(self) -> None:
        for alias in self.migrated:
            with suppress(Error):
                leave(alias)
        close_old_connections()


@contextmanager
def _calling_on_signals(stop_soon: Callable[[int, FrameType | None], None]) -> Iterator[None]:
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
