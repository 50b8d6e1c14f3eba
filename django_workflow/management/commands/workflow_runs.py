"""``manage.py workflow_runs``: the operator's verbs, for runs by their ids or for all that fit filters."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.models import AbstractBaseUser
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from ...engine.bulk import Rehearsal, advance, count_failed, filters_for, rehearse_bulk, start_bulk
from ...engine.bulk_verbs import BULK_VERBS, BulkVerb
from ...engine.create import write_alias
from ...engine.run_filters import RunFilters, select_runs
from ...exceptions import WorkflowError
from ...models import BulkAction, Run
from ...models.row import count_up_to
from ..run_options import add_arguments_of_verbs, add_filters, arguments_of, filters_of, find_user, read_ids
from ..run_report import moment

LIST, FOLLOW = "list", "follow"
# So many runs are counted beside those that are listed.
MOST_COUNTED = 10_000
INTERRUPTED = 130
# In seconds: between two looks at a bulk action that another process goes on with, or that has to wait,
PAUSE = 0.3
# and between two lines that say how far it is.
TELL_EVERY = 1.0


class Command(BaseCommand):
    """Does a verb to runs: at once where they are named, else by a bulk action that survives this process."""

    help = (
        "Show, cancel, retry … runs: those whose ids stand right behind the verb, or all that fit filters. "
        "Exits 0 all done, 1 some refused, 2 bad usage, 130 interrupted."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the verb, the runs, and what is said about it."""
        verbs = (LIST, *BULK_VERBS, FOLLOW)
        parser.add_argument("verb", choices=verbs, metavar="VERB", help=f"One of {', '.join(verbs)}.")
        parser.add_argument(
            "runs", nargs="*", metavar="RUN", help="The ids of runs; behind follow that of a bulk action."
        )
        add_filters(parser)
        add_arguments_of_verbs(parser)
        parser.add_argument("--note", default="", help="Why; kept with each run.")
        parser.add_argument("--by", metavar="USERNAME", help="Who; needs the permission.")
        parser.add_argument(
            "--dry-run", action="store_true", help="Only try it out and count the runs, or show those named."
        )
        parser.add_argument("--yes", action="store_true", help="Do not ask before many runs are changed.")
        parser.add_argument("--limit", type=int, default=50, help="list: at most so many (default: 50).")
        parser.add_argument("--json", action="store_true", help="The result as JSON.")
        parser.add_argument("--database", choices=tuple(connections), help="Where the runs live.")

    def handle(self, **options: Any) -> None:
        """Do the verb. A bulk action goes on by workers or clocks when this process is interrupted."""
        self.using = write_alias(options["database"])
        self.as_json: bool = options["json"]
        name, ids = options["verb"], read_ids(options["runs"])
        filters = filters_of(options, self.using)
        verb = BULK_VERBS.get(name)
        if ids and (options["all"] or replace(filters, step="") != RunFilters()):
            raise CommandError("Name runs, or give filters: not both.", returncode=2)
        if name == FOLLOW:
            self._follow(_find_bulk(ids, self.using))
        elif verb is None or (ids and options["dry_run"]):
            self._list(ids, filters, options["limit"])
        elif ids:
            self._do_each(name, verb, ids, options)
        else:
            self._do_all(name, verb, filters, options)

    def _list(self, ids: Sequence[UUID], filters: RunFilters, limit: int) -> None:
        runs = Run.objects.using(self.using).filter(pk__in=ids) if ids else select_runs(self.using, filters)
        # Beginning with the newest of the old ones, and not with the newest of all.
        runs = runs.order_by("-created_at" if filters.created_before else "-pk")
        found = list(runs.select_related("workflow")[: max(limit, 1)])
        if self.as_json:
            self._write_json([_run_as_json(run) for run in found])
            return
        for run in found:
            self.stdout.write(_describe(run))
        if (more := count_up_to(runs, len(found) + MOST_COUNTED) - len(found)) > 0:
            shown = f"{more:,}" if more <= MOST_COUNTED else f"more than {MOST_COUNTED:,}"
            self.stderr.write(f"… and {shown} more: --limit shows more.", style_func=str)

    def _do_each(self, name: str, verb: BulkVerb, ids: Sequence[UUID], options: dict[str, Any]) -> None:
        arguments = arguments_of(name, verb, options)
        by = find_user(options["by"], verb.permission)
        results = [self._do_one(verb, run_id, by, options["note"], arguments) for run_id in ids]
        refused = [result for result in results if result["refused"]]
        if self.as_json:
            self._write_json(results)
        for result in () if self.as_json else results:
            text = result["refused"] or f"{verb.done}: {result['status']}"
            (self.stderr if result["refused"] else self.stdout).write(f"{result['run']} {text}")
        if refused:
            raise SystemExit(1)

    def _do_one(
        self, verb: BulkVerb, run_id: UUID, by: AbstractBaseUser | None, note: str, arguments: dict[str, Any]
    ) -> dict[str, Any]:
        result = {"run": str(run_id), "status": "", "refused": ""}
        run = Run.objects.using(self.using).select_related("workflow").filter(pk=run_id).first()
        if run is None:
            return {**result, "refused": f"does not exist on database {self.using!r}."}
        try:
            verb.do(run, self.using, by, note, arguments)
        except (WorkflowError, ValueError) as error:
            return {**result, "status": run.status, "refused": f"refused: {' '.join(str(error).split())}"}
        run.refresh_from_db(using=self.using)
        return {**result, "status": run.status}

    def _do_all(self, name: str, verb: BulkVerb, filters: RunFilters, options: dict[str, Any]) -> None:
        if filters.is_empty and not options["all"]:
            text = f"Name runs or give filters; {name} --all is for all runs that can be {verb.done}."
            raise CommandError(text, returncode=2)
        if verb.one_by_one:
            raise CommandError(f"{name} is for runs that you name.", returncode=2)
        arguments = arguments_of(name, verb, options)
        by = find_user(options["by"], verb.permission)
        if options["dry_run"]:
            self._rehearse(name, rehearse_bulk(name, filters, by=by, arguments=arguments, using=self.using))
            return
        count = select_runs(self.using, filters_for(name, filters, arguments)).count()
        runs = _count_runs(count)
        if count and not options["yes"] and sys.stdin.isatty():
            self._ask(f"{name.capitalize()} {runs}? [y/N] ")
        bulk = start_bulk(name, filters, by=by, note=options["note"], arguments=arguments, using=self.using)
        self._follow(bulk)

    def _rehearse(self, name: str, found: Rehearsal) -> None:
        if self.as_json:
            self._write_json({"verb": name, "dry_run": True, **asdict(found)})
            return
        refused = f", refused {found.refused:,}" if found.refused else ""
        more = found.total - found.tried
        untried = f"; {more:,} more were not tried" if more else ""
        self.stdout.write(f"Would {name} {_count_runs(found.tried - found.refused)}{refused}{untried}.")
        self._tell_refusals(found.refusals)

    def _tell_refusals(self, refusals: Mapping[str, str]) -> None:
        for run_id, reason in refusals.items():
            self.stderr.write(f"{run_id} refused: {' '.join(reason.split())}")

    def _ask(self, question: str) -> None:
        if input(question).strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was done.", returncode=1)

    def _follow(self, bulk: BulkAction) -> None:
        """Go on with a bulk action, beside whoever else does, until it is finished."""
        told_at = time.monotonic()
        try:
            while bulk.finished_at is None:
                has_paused = not advance(self.using, bulk.pk, seconds=TELL_EVERY)
                bulk.refresh_from_db(using=self.using)
                if has_paused and bulk.finished_at is None:
                    time.sleep(PAUSE)
                if self.stderr.isatty() and time.monotonic() - told_at >= TELL_EVERY:
                    told_at = time.monotonic()
                    self.stderr.write(_progress(bulk), style_func=str, ending="\r")
                    self.stderr.flush()
        except KeyboardInterrupt:
            text = (
                "Interrupted. Workers and clocks go on with it: manage.py workflow_runs {} {} shows how far."
            )
            self.stderr.write(text.format(FOLLOW, bulk.pk))
            raise SystemExit(INTERRUPTED) from None
        self._show_end(bulk)

    def _show_end(self, bulk: BulkAction) -> None:
        failed = count_failed(self.using, bulk)
        if self.as_json:
            counts = {name: getattr(bulk, name) for name in ("total", "done", "refused", "refusals")}
            self._write_json({"bulk": str(bulk.pk), "verb": bulk.verb, **counts, "failed": failed})
        else:
            self.stdout.write(f"{_progress(bulk)}{f'; {failed:,} of these failed' if failed else ''}.")
            self._tell_refusals(bulk.refusals)
        if bulk.refused:
            raise SystemExit(1)

    def _write_json(self, data: Any) -> None:
        self.stdout.write(json.dumps(data, indent=2, ensure_ascii=False))


def _count_runs(count: int) -> str:
    return f"{count:,} run{'' if count == 1 else 's'}"


def _find_bulk(ids: Sequence[UUID], using: str) -> BulkAction:
    if len(ids) != 1:
        raise CommandError(f"{FOLLOW} needs the id of one bulk action.", returncode=2)
    bulk = BulkAction.objects.using(using).filter(pk=ids[0]).first()
    if bulk is None:
        raise CommandError(f"There is no bulk action {ids[0]} on database {using!r}.", returncode=2)
    return bulk


def _progress(bulk: BulkAction) -> str:
    # Runs that did not fit any more when their turn came count neither way.
    refused = f", refused {bulk.refused:,}" if bulk.refused else ""
    verb = BULK_VERBS.get(bulk.verb)
    return f"{(verb.done if verb else bulk.verb).capitalize()} {bulk.done:,} of {bulk.total:,}{refused}"


def _describe(run: Run) -> str:
    parts = (str(run.pk), moment(run.created_at), f"{run.status:<9}", run.workflow.name, run.step)
    error = f": {' '.join(run.error.split())[:100]}" if run.error else ""
    return f"{'  '.join(part for part in parts if part)}{error}"


def _run_as_json(run: Run) -> dict[str, Any]:
    names = ("status", "step", "key", "error_type", "error")
    times = {name: _iso(getattr(run, name)) for name in ("created_at", "started_at", "finished_at")}
    own = {name: getattr(run, name) for name in names}
    return {"id": str(run.pk), "workflow": run.workflow.name, **own, **times}


def _iso(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()
