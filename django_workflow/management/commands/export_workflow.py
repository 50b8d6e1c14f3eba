"""``manage.py export_workflow``: a workflow as the text of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from ...definition.text import Format
from ...engine.create import write_alias
from ...engine.sync import export_text
from ...models import Workflow


class Command(BaseCommand):
    """Writes the published definition as YAML or JSON that sync reads back to an equal definition."""

    help = "Write a workflow's published definition as the text of a file for <app>/workflows/."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the workflow, the format and the place."""
        parser.add_argument("name", help="The workflow's name.")
        parser.add_argument(
            "--format", choices=("yaml", "json"), help="Default: json for --output FILE.json, else yaml."
        )
        parser.add_argument("--output", metavar="FILE", type=Path, help="Default: the standard output.")
        parser.add_argument("--database", choices=tuple(connections), help="Where the workflow lives.")

    def handle(self, **options: Any) -> None:
        """Write the text. Exits 2 where there is no such workflow."""
        using, name, output = write_alias(options["database"]), options["name"], options["output"]
        workflow = Workflow.objects.using(using).select_related("published").filter(name=name).first()
        if workflow is None:
            known = ", ".join(Workflow.objects.using(using).values_list("name", flat=True)[:20]) or "none"
            text = f"There is no workflow {name!r} on database {using!r}; there are: {known}"
            raise CommandError(text, returncode=2)
        by_name: Format = "json" if output is not None and output.suffix == ".json" else "yaml"
        text = export_text(workflow, format=options["format"] or by_name)
        if output is None:
            self.stdout.write(text, ending="")
        else:
            _save(output, text)


def _save(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error}") from error
