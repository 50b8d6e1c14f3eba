"""``trigger_workflow --dry-run``: its options, its files, and what it writes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ..api import RunLike, dry_run
from ..exceptions import WorkflowError
from .dry_run_report import describe_dry_end, describe_dry_run

STDIN = "-"


def show_dry_run(command: BaseCommand, options: dict[str, Any], values: Any, using: str) -> None:
    """Write where a run would go. Exits 1 when it would fail or cannot be known, 2 for bad usage."""
    outputs, like = _read_outputs(options["outputs"]), _read_like(options)
    try:
        found = dry_run(options["name"], values, outputs=outputs, like=like, using=using)
    except (WorkflowError, ValueError) as error:
        raise CommandError(" ".join(str(error).split()), returncode=2) from error
    text = describe_dry_end(found)
    if options["json"]:
        command.stdout.write(json.dumps(found.as_json(), indent=2, ensure_ascii=False))
    else:
        for line in describe_dry_run(found):
            command.stdout.write(line)
    if found.status != "done":
        raise CommandError(text)
    (command.stderr if options["json"] else command.stdout).write(text)


def read_object(text: str, what: str, example: str) -> Any:
    """Return the JSON object in ``text``. Exits 2 where there is none."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"The {what} is no JSON: {error}", returncode=2) from error
    if not isinstance(values, dict):
        raise CommandError(f"The {what} is no JSON object, such as {example}.", returncode=2)
    return values


def read_text(where: str, what: str) -> str:
    """Return the text of the file ``where``, or of stdin. Exits 2 where it cannot be read."""
    try:
        return sys.stdin.read() if where == STDIN else Path(where).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"The {what} cannot be read: {error}", returncode=2) from error


def add_dry_arguments(parser: CommandParser) -> None:
    """Declare the options of a dry run."""
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="Start nothing: show where a run would go. Exits 0 done, 1 failed or stopped, 2 bad usage.",
    )
    parser.add_argument(
        "--outputs",
        metavar="FILE",
        help="With --dry-run: a JSON file of the outputs to take, by step; of for_each a list of them.",
    )
    parser.add_argument(
        "--like",
        metavar="RUN",
        help="With --dry-run: the id or key of a run whose outputs, and input, are taken.",
    )


def refuse_mixture(options: dict[str, Any]) -> None:
    """Exit 2 for options that a dry run does not have, or that only a dry run has."""
    names = ("key", "wait") if options["dry_run"] else ("outputs", "like")
    found = [f"--{name}" for name in names if options[name]]
    if found:
        why = "not with" if options["dry_run"] else "only with"
        raise CommandError(f"{found[0]} works {why} --dry-run.", returncode=2)


def _read_outputs(file: str | None) -> Any:
    if file is None:
        return None
    return read_object(read_text(file, "outputs file"), "outputs file", '{"charge": {"id": "ch_1"}}')


def _read_like(options: dict[str, Any]) -> RunLike | None:
    """Return the run to be like, by its id, else by its key."""
    like: str | None = options["like"]
    if like is None:
        return None
    try:
        return UUID(like)
    except ValueError:
        return options["name"], like
