"""Triggering: insert the runs, and let them be driven after the commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from ..models import Run, Source, Workflow
from .hand_over import hand_over
from .insert_runs import Origin, insert_run, insert_runs
from .orders import Order, find_workflow, make_order, write_alias

__all__ = ["Order", "create_run", "create_runs", "find_workflow", "make_order", "write_alias"]


def create_run(
    workflow: Workflow,
    order: Order,
    *,
    using: str,
    source: Source = Source.CODE,
    user: AbstractBaseUser | None = None,
) -> Run:
    """Insert one run, or return the run that has the key already (``was_created`` False).

    Drives it after the commit.
    """
    run, rows = insert_run(workflow, order, Origin(source=source, user_id=_key_of(user)), using=using)
    if run.was_created and not run.is_final:
        hand_over([run], rows, using=using)
    return run


def create_runs(
    workflow: Workflow, orders: Sequence[Order], *, using: str, user: AbstractBaseUser | None = None
) -> list[Run]:
    """Insert many runs in one transaction, in key order, and return them in the order given."""
    origin = Origin(user_id=_key_of(user))
    runs, rows = insert_runs(workflow, orders, [origin] * len(orders), using=using)
    live = [run for run in dict.fromkeys(runs) if run.was_created and not run.is_final]
    hand_over(live, rows, using=using)
    return runs


def _key_of(user: AbstractBaseUser | None) -> Any:
    return None if user is None else user.pk
