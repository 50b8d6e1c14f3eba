"""``manage.py trigger_workflow``: start a run, and with ``--wait`` follow it to its end, or only try it."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.db import connections, transaction

from ...conf import get_settings
from ...engine.create import create_run, find_workflow, make_order, write_alias
from ...engine.health import find_absent
from ...exceptions import WorkflowError
from ...models import Run, Source
from ...status import RunStatus
from ..dry_runs import STDIN, add_dry_arguments, read_object, read_text, refuse_mixture, show_dry_run
from ..following import Follower
from ..run_report import describe_end, run_as_json

INTERRUPTED = 130


class Command(BaseCommand):
    """Starts a run, and ends with the exit code that says how the run stands."""

    help = "Start a run of a workflow. Exits 0 done, 1 failed or cancelled, 2 bad usage, 130 interrupted."
    # A class's attribute, so that a test may bring its own.
    follower = Follower

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the workflow, its input, and what to show."""
        parser.add_argument("name", help="The workflow's name.")
        parser.add_argument("--input", metavar="JSON", help="The input, a JSON object.")
        # As a positional, "-" would only be found right behind the name. As an option it is never the value
        # of --input-file, which may therefore go without one.
        parser.add_argument(
            "--input-file",
            metavar="FILE",
            nargs="?",
            const=STDIN,
            help="A file that holds the input; - is stdin.",
        )
        parser.add_argument(STDIN, dest="stdin", action="store_true", help="Read the input from stdin.")
        parser.add_argument(
            "--key", help="One run per workflow and key: a second trigger finds the first run."
        )
        parser.add_argument(
            "--wait", action="store_true", help="Show each step as it happens, until the run is over."
        )
        parser.add_argument(
            "--json", action="store_true", help="Print the run as JSON at the end; steps go to stderr."
        )
        parser.add_argument("--database", choices=tuple(connections), help="Where the workflow lives.")
        add_dry_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Trigger, follow and show the run; with ``--dry-run`` show where it would go."""
        refuse_mixture(options)
        values = _read_input(options)
        using = write_alias(options["database"])
        if options["dry_run"]:
            show_dry_run(self, options, values, using)
            return
        run: Run | None = None
        try:
            with self.follower(self._progress(options)) as follower:
                # Its own transaction: the run is known here before its first step begins, after the commit.
                with transaction.atomic(using=using):
                    run = follower.run = _trigger(options, values, using)
                run.refresh_from_db(using=using)
                if options["wait"]:
                    self._tell_absent(run, using)
                    follower.follow(run, using)
        except KeyboardInterrupt:
            self.stderr.write(_tell_interrupted(run))
            sys.exit(INTERRUPTED)
        self._show(run, options)

    def _progress(self, options: dict[str, Any]) -> OutputWrapper | None:
        if not options["wait"]:
            return None
        return self.stderr if options["json"] else self.stdout

    def _tell_absent(self, run: Run, using: str) -> None:
        """Say who is missing of those that this run needs, where it is not driven from here."""
        if get_settings().QUEUE is not None and not run.is_final:
            queues = run.step_runs.live().order_by("queue").values_list("queue", flat=True).distinct()
            for text in find_absent(using, queues):
                self.stderr.write(text)

    def _show(self, run: Run, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(run_as_json(run), indent=2, ensure_ascii=False))
        is_bad = run.status in (RunStatus.FAILED, RunStatus.CANCELLED)
        earlier = "" if run.was_created else f"The key {run.key!r} found an earlier run: "
        text = f"{earlier}{describe_end(run)}"
        if is_bad:
            raise CommandError(text)
        (self.stderr if options["json"] else self.stdout).write(text)
        if not run.is_final:
            self.stderr.write(f"It is not over yet: {_who_continues()} continues it.")


def _who_continues() -> str:
    return "manage.py workflow_clock" if get_settings().QUEUE is None else "a worker"


def _tell_interrupted(run: Run | None) -> str:
    if run is None:
        return "Interrupted before the run began; nothing was started."
    return (
        f"Interrupted. Run {run.pk} goes on: {_who_continues()} continues it, "
        f"manage.py show_run {run.pk} shows it."
    )


def _trigger(options: dict[str, Any], values: Any, using: str) -> Run:
    try:
        workflow = find_workflow(options["name"], using)
        order = make_order(workflow, values, key=options["key"], using=using)
        return create_run(workflow, order, using=using, source=Source.COMMAND)
    except (WorkflowError, ValueError) as error:
        raise CommandError(" ".join(str(error).split()), returncode=2) from error


def _read_input(options: dict[str, Any]) -> Any:
    """Return the JSON object that was given, in whichever way; None where none was."""
    file, text = options["input_file"], options["input"]
    where = STDIN if options["stdin"] else file
    if (text is not None and where is not None) or (options["stdin"] and file not in (None, STDIN)):
        raise CommandError("Give the input once: by --input, --input-file or -.", returncode=2)
    if where is not None:
        text = read_text(where, "input")
    return None if text is None else read_object(text, "input", '{"order": 1}')
