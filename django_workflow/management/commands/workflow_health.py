"""``manage.py workflow_health``: what monitoring asks, and a person in the night."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, no_translations

from ...engine.health import DatabaseFacts, Health, examine
from ...engine.tick import clock_aliases


class Command(BaseCommand):
    """Shows who listens, who ticks and what waits; its exit code says whether something is wrong."""

    help = "Show workers, clocks and what waits. Exits 0 when all is well, 1 when something is wrong."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the form of the answer."""
        parser.add_argument("--json", action="store_true", help="Print what was seen as JSON.")

    @no_translations
    def handle(self, **options: Any) -> None:
        """Look, and show."""
        health = examine(clock_aliases())
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(health), indent=2, default=_encode))
        else:
            for line in _describe(health):
                self.stdout.write(line)
            for problem in health.problems:
                self.stderr.write(problem)
        if health.problems:
            sys.exit(1)


def _as_json(health: Health) -> dict[str, Any]:
    return {"ok": not health.problems, **asdict(health)}


def _encode(value: object) -> object:
    return int(value.total_seconds()) if isinstance(value, timedelta) else str(value)


def _describe(health: Health) -> Iterator[str]:
    if health.is_inline:
        yield "Steps run inline: no queue is configured."
    for queue in health.queues:
        if not queue.error:
            listening = ", ".join(queue.workers) or "nobody"
            yield f"Queue {queue.name}: {_count(queue.jobs, 'job')}; listening: {listening}."
    for facts in health.databases:
        if not facts.error:
            yield from _describe_database(facts)
    if not health.problems:
        yield "All is well."


def _describe_database(facts: DatabaseFacts) -> Iterator[str]:
    yield f"Database {facts.alias}: clocks: {', '.join(facts.clocks) or 'none'}."
    for each in facts.ready:
        queue = f" for queue {each.queue}" if each.queue else ""
        yield f"  {_count(each.count, 'step')} ready{queue}, the oldest for {each.oldest}."
    if facts.expired is not None:
        count = _count(facts.expired.count, "step")
        yield f"  {count} of dead workers to be taken up, the oldest for {facts.expired.oldest}."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
