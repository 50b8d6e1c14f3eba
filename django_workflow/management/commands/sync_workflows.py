"""``manage.py sync_workflows``: from shipped files to rows, as after ``migrate``."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from ...engine.create import write_alias
from ...engine.sync import CHANGES, Synced, Verdict, give_back, preview, sync
from ...exceptions import OwnershipError, WorkflowNotFound


class Command(BaseCommand):
    """Writes what files own and publishes it; tells what became of each workflow, one line each."""

    help = "Publish the workflow files that installed apps ship in their workflows/ folders."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare what to do beside the plain sync."""
        parser.add_argument(
            "--check",
            action="store_true",
            help="Write nothing; show the differences, exit 1 if there are any.",
        )
        parser.add_argument("--prune", action="store_true", help="Switch off workflows whose file is gone.")
        parser.add_argument(
            "--take-back", metavar="NAME", help="Give a workflow that staff own back to its file first."
        )
        parser.add_argument("--database", choices=tuple(connections), help="Where to sync to.")

    def handle(self, **options: Any) -> None:
        """Sync, or show what a sync would do. Exits 1 for a refused file, and for differences of --check."""
        using = write_alias(options["database"])
        if options["check"] and options["take_back"]:
            raise CommandError("--check writes nothing; leave out --take-back.", returncode=2)
        if options["take_back"]:
            _take_back(options["take_back"], using)
        synced = (preview if options["check"] else sync)(using, prune=options["prune"])
        for each in synced:
            self.stdout.write(_line(each, is_preview=options["check"]))
        if not synced:
            self.stdout.write("No installed app ships a workflow file.")
        _judge(synced, is_preview=options["check"])


def _take_back(name: str, using: str) -> None:
    try:
        give_back(name, using)
    except (WorkflowNotFound, OwnershipError) as error:
        raise CommandError(str(error), returncode=2) from error


def _line(each: Synced, *, is_preview: bool) -> str:
    verdict = f"would be {each.verdict}" if is_preview and each.verdict in CHANGES else str(each.verdict)
    if each.verdict == Verdict.GONE:
        verdict = f"its file {each.source} is gone; --prune switches it off"
    if is_preview and each.verdict != Verdict.REFUSED and "\n" in each.note:
        return f"{each.name}: {verdict}\n{each.note}"
    if each.verdict == Verdict.REFUSED and each.name != each.source:
        verdict = f"{verdict}, {each.source}"
    return f"{each.name}: {verdict}" + (f" ({each.note})" if each.note else "")


def _judge(synced: list[Synced], *, is_preview: bool) -> None:
    refused = [each for each in synced if each.verdict == Verdict.REFUSED]
    if refused:
        raise CommandError(f"{len(refused)} of the files cannot be synced.")
    if is_preview and any(each.verdict in CHANGES for each in synced):
        raise CommandError("The database differs from the files; sync_workflows would change it.")
