"""``manage.py prune_runs``: delete the final runs that are older than ``KEEP``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from ...conf import get_settings
from ...durations import format_duration
from ...engine.create import write_alias
from ...engine.prune import Pruned, count_prunable, prune_runs
from ...models import Workflow
from ..run_options import read_age

INTERRUPTED = 130


class Command(BaseCommand):
    """Deletes old final runs with their steps; each batch is committed by itself."""

    help = "Delete final runs that are old, with their steps. Exits 0 done, 2 bad usage, 130 interrupted."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what is old."""
        parser.add_argument(
            "--older-than",
            type=read_age,
            metavar="AGE",
            help="Finished so long ago, such as 90d (default: KEEP).",
        )
        parser.add_argument("--workflow", metavar="NAME", help="Only the runs of this workflow.")
        parser.add_argument("--dry-run", action="store_true", help="Only count what would be deleted.")
        parser.add_argument("--database", choices=tuple(connections), help="Where the runs live.")

    def handle(self, **options: Any) -> None:
        """Prune. What is deleted when it is interrupted stays deleted."""
        using, workflow, age = write_alias(options["database"]), options["workflow"], _find_age(options)
        if workflow is not None and not Workflow.objects.using(using).filter(name=workflow).exists():
            raise CommandError(f"There is no workflow {workflow!r} on database {using!r}.", returncode=2)
        before = f"older than {format_duration(age)}"
        if options["dry_run"]:
            self.stdout.write(f"{_describe(count_prunable(age, workflow=workflow, using=using))} {before}.")
            return
        self.so_far = 0
        try:
            pruned = prune_runs(age, workflow=workflow, using=using, tell=self._tell)
        except KeyboardInterrupt:
            self.stderr.write(f"Interrupted. {self.so_far:,} runs are deleted; call it again for the others.")
            raise SystemExit(INTERRUPTED) from None
        self.stdout.write(f"Deleted {_describe(pruned)} {before}.")

    def _tell(self, count: int) -> None:
        self.so_far = count
        if self.stderr.isatty():
            self.stderr.write(f"{count:,} runs", style_func=str, ending="\r")
            self.stderr.flush()


def _find_age(options: dict[str, Any]) -> timedelta:
    given: timedelta | None = options["older_than"]
    age = get_settings().KEEP if given is None else given
    if age is None:
        text = "DJANGO_WORKFLOW['KEEP'] is None: runs are kept for ever. Say --older-than to delete some."
        raise CommandError(text, returncode=2)
    return age


def _describe(pruned: Pruned) -> str:
    also = [
        f"{count:,} {what}"
        for count, what in (
            (pruned.events, "events without a run"),
            (pruned.bulk_actions, "finished bulk actions"),
        )
        if count
    ]
    return ", ".join([f"{pruned.runs:,} run{'' if pruned.runs == 1 else 's'}", *also])
