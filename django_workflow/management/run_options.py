"""The options by which commands are told which runs are meant, and what to do with them."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.core.management.base import CommandError, CommandParser

from ..durations import parse_duration
from ..engine.bulk_verbs import BulkVerb
from ..engine.now import database_now
from ..engine.run_filters import RunFilters
from ..models import Workflow
from ..models.approvable import holds
from ..status import RunStatus


def add_filters(parser: CommandParser) -> None:
    """Declare the options that filter runs."""
    group = parser.add_argument_group("which runs, where no RUN is named")
    group.add_argument("--workflow", metavar="NAME", help="Runs of this workflow.")
    group.add_argument(
        "--status",
        action="append",
        choices=RunStatus.values,
        help="Runs in this status; may be repeated (default: those that the verb is for).",
    )
    group.add_argument(
        "--error", metavar="CLASS", help="Runs whose error is of this class, bare or dotted, such as OSError."
    )
    group.add_argument(
        "--older-than", type=read_age, metavar="AGE", help="Triggered so long ago, such as 2h."
    )
    group.add_argument("--newer-than", type=read_age, metavar="AGE", help="Triggered since then, such as 7d.")
    group.add_argument("--key", help="The run with this key.")
    group.add_argument("--step", metavar="NAME", help="Runs that are at this step, or failed at it.")
    group.add_argument("--all", action="store_true", help="All runs that the verb is for.")


def add_arguments_of_verbs(parser: CommandParser) -> None:
    """Declare the options that single verbs take."""
    group = parser.add_argument_group("what single verbs take")
    group.add_argument("--name", help="event: its name.")
    group.add_argument("--payload", type=_read_json, metavar="JSON", help="event: what it carries.")
    group.add_argument("--id", help="event: its id; the same id counts once for each run.")
    group.add_argument("--output", type=_read_json, metavar="JSON", help="skip: the output of the step.")
    group.add_argument("--data", type=_read_json, metavar="JSON", help="approve: what its form asks for.")
    group.add_argument("--from-step", metavar="NAME", help="restart: from this step, earlier outputs kept.")
    group.add_argument("--newest", action="store_true", default=None, help="restart: on the newest version.")


def read_age(text: str) -> timedelta:
    """Return an age given on the command line. Raises ``ArgumentTypeError``."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def filters_of(options: Mapping[str, Any], using: str) -> RunFilters:
    """Return the filters that are given. Raises ``CommandError`` for a workflow that there is not."""
    workflow, now = options["workflow"] or "", database_now(using)
    if workflow and not Workflow.objects.using(using).filter(name=workflow).exists():
        raise CommandError(f"There is no workflow {workflow!r} on database {using!r}.", returncode=2)
    older, newer = options["older_than"], options["newer_than"]
    return RunFilters(
        workflow=workflow,
        status=tuple(options["status"] or ()),
        error=options["error"] or "",
        step=options["step"] or "",
        key=options["key"] or "",
        created_before=None if older is None else now - older,
        created_after=None if newer is None else now - newer,
    )


def arguments_of(verb: str, found: BulkVerb, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the verb is given. Raises ``CommandError`` for what it needs, or does not take."""
    names = ("name", "payload", "id", "output", "data", "from_step", "newest")
    given = {name: options[name] for name in names if options[name] is not None}
    if "step" in found.needs and options["step"] is not None:
        given["step"] = options["step"]
    for name in found.needs:
        if name not in given:
            raise CommandError(f"{verb} needs --{name}.", returncode=2)
    for name in given:
        if name not in (*found.needs, *found.takes):
            raise CommandError(f"{verb} takes no --{name.replace('_', '-')}.", returncode=2)
    return given


def find_user(name: str | None, permission: str) -> AbstractBaseUser | None:
    """Return who does it; where ``permission`` is empty the verb itself says who may.

    Raises ``CommandError`` where there is no such user, or one who may not.
    """
    if name is None:
        return None
    users = get_user_model()
    try:
        user: AbstractBaseUser = users._default_manager.get_by_natural_key(name)
    except users.DoesNotExist:
        raise CommandError(f"There is no user {name!r}.", returncode=2) from None
    if permission and not holds(user, permission):
        raise CommandError(f"{name} may not do this: the permission {permission} is missing.", returncode=2)
    return user


def read_ids(texts: list[str]) -> list[UUID]:
    """Return the runs' ids, each once. Raises ``CommandError`` for a text that is none."""
    ids: dict[UUID, None] = {}
    for text in texts:
        try:
            ids[UUID(text)] = None
        except ValueError:
            example = f"which looks like {UUID(int=0)}"
            raise CommandError(f"{text!r} is no id, {example}.", returncode=2) from None
    return list(ids)


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArgumentTypeError(f"{text!r} is no JSON: {error}") from error
