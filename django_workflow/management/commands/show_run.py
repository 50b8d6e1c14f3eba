"""``manage.py show_run``: a run and what became of each of its steps."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from ...engine.create import write_alias
from ...models import Run
from ..run_report import describe_run, run_as_json


class Command(BaseCommand):
    """Shows one run, found by its id or by its workflow and key."""

    help = "Show a run: its status, and each attempt of each step."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the run, given in one of two ways, and the form of the answer."""
        parser.add_argument("run", nargs="?", metavar="ID", help="The run's id.")
        parser.add_argument(
            "--workflow", metavar="NAME", help="Together with --key: find the run by its key."
        )
        parser.add_argument("--key", help="The key that the run was triggered with.")
        parser.add_argument("--json", action="store_true", help="One JSON object, values uncut.")
        parser.add_argument("--database", choices=tuple(connections), help="Where the run lives.")

    def handle(self, **options: Any) -> None:
        """Show the run. Exits 2 where there is none."""
        run = _find(options)
        if options["json"]:
            self.stdout.write(json.dumps(run_as_json(run), indent=2, ensure_ascii=False))
        else:
            for line in describe_run(run):
                self.stdout.write(line)


def _find(options: dict[str, Any]) -> Run:
    runs = Run.objects.using(write_alias(options["database"])).select_related("workflow", "version")
    run_id, workflow, key = options["run"], options["workflow"], options["key"]
    by_key = workflow is not None and key is not None
    if (run_id is None) != by_key or (workflow is None) != (key is None):
        raise CommandError("Give a run's id, or --workflow and --key.", returncode=2)
    found = runs.filter(workflow__name=workflow, key=key) if by_key else runs.filter(pk=_read_id(run_id))
    run = found.first()
    if run is None:
        named = f"of {workflow!r} with the key {key!r}" if by_key else f"with the id {run_id}"
        raise CommandError(f"There is no run {named} on database {runs.db!r}.", returncode=2)
    return run


def _read_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise CommandError(
            f"{text!r} is no run's id, which looks like {UUID(int=0)}.", returncode=2
        ) from error
