"""Which of the steps that wait for an approval a user may answer: by permission, group or name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib import auth
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.db.models.fields.json import KT

from ..links import name_user
from ..references import alias_of, key_of, read_key
from .run import CHANGING, Run, RunAction

User = AbstractBaseUser | AnonymousUser
# Of step runs, whose module imports this one.
StepRuns = QuerySet[Any]


def holds(user: User, permission: str, row: Model | None = None) -> bool:
    """Return whether ``user`` has the permission, in general or for ``row``; a user model may know none."""
    has_perm = getattr(user, "has_perm", None)
    return bool(has_perm is not None and has_perm(permission, row))


def group_names(user: User) -> list[str]:
    """Return the names of the groups that ``user`` is in; a user model may know none."""
    groups = getattr(user, "groups", None)
    return [] if groups is None else list(groups.values_list("name", flat=True))


def names_of(user: User) -> list[str]:
    """Return the texts by which an approval names ``user``: in those of earlier releases the key alone."""
    return [str(user.pk), name_user(user)] if isinstance(user, AbstractBaseUser) else []


def is_named(user: User, names: Collection[str]) -> bool:
    """Return whether ``names`` of an approval are also of ``user``; a later user of one's key has another."""
    return any(name in names for name in names_of(user))


def askers_of(run: Run) -> list[str]:
    """Return the keys, as text, of the users who asked for what an approval in ``run`` approves.

    Those who triggered, restarted or changed it, a run that it was restarted from, or one that called it.
    """
    using, seen, level = run._state.db, set[UUID](), {run.pk}
    found = set[Any]()
    while level:
        seen |= level
        runs = Run.objects.using(using).filter(pk__in=level)
        origins = list(runs.values_list("triggered_by", "restarted_from", "parent__run"))
        found |= {user for user, *_earlier in origins}
        level = {each for _user, *earlier in origins for each in earlier if each is not None} - seen
    changes = RunAction.objects.using(using).filter(run__in=seen, verb__in=CHANGING)
    found |= set(changes.values_list("by", flat=True))
    return sorted(str(user) for user in found - {None})


def is_own(user: User, run: Run) -> bool:
    """Return whether ``user`` triggered the run, or has changed what is approved in it."""
    changes = RunAction.objects.using(run._state.db).filter(run=run, verb__in=CHANGING, by=user.pk)
    return run.triggered_by_id == user.pk or changes.exists()


def is_own_question(user: User) -> Q:
    """Return which step runs ask ``user`` to approve what they asked for themselves, where that counts."""
    changes = RunAction.objects.filter(run=OuterRef("run"), verb__in=CHANGING, by=user.pk)
    is_theirs = Q(run__triggered_by=user.pk) | Q(awaits__askers__has_key=str(user.pk)) | Exists(changes)
    return Q(is_theirs, awaits__allow_self=False)


def may_be_answered(waiting: StepRuns, user: User) -> Q:
    """Return which of ``waiting`` the user may answer. The number of queries does not grow with the rows."""
    texts = waiting.order_by().annotate(asked=KT("awaits__permission")).values_list("asked", flat=True)
    asked = {str(text) for text in texts.distinct() if text not in (None, "null")}
    held = {permission for permission in asked if holds(user, permission)}
    found = Q(awaits__users__has_any_keys=names_of(user)) | Q(awaits__permission__in=sorted(held))
    found |= Q(awaits__group__in=group_names(user))
    if asked > held and _has_object_permissions():
        found |= Q(pk__in=list(_held_for_row(waiting, user, asked - held)))
    return found


def _has_object_permissions() -> bool:
    # Django's own backend has none.
    return any(type(backend) is not ModelBackend for backend in auth.get_backends())


def _held_for_row(waiting: StepRuns, user: User, permissions: Collection[str]) -> Iterator[UUID]:
    rows = list(waiting.filter(awaits__permission__in=sorted(permissions)).select_related("run"))
    subjects = _subjects(row.run for row in rows)
    for row in rows:
        about = subjects.get((row.run.subject_type, row.run.subject_id), row.run)
        if holds(user, (row.awaits or {})["permission"], about):
            yield row.pk


def _subjects(runs: Iterable[Run]) -> dict[tuple[str, str], Model]:
    """Return the rows that the runs are about, by label and key: one query a model."""
    keys: dict[tuple[str, str], set[str]] = defaultdict(set)
    for run in runs:
        if run.subject_type:
            keys[run.subject_type, str(run._state.db)].add(run.subject_id)
    found = {}
    for (label, using), ids in keys.items():
        # The model may be gone.
        with suppress(LookupError, ValueError):
            model: type[Model] = apps.get_model(label)
            rows = model._base_manager.using(alias_of(label, using)).filter(pk__in=list(_keys(model, ids)))
            found.update({(label, str(key_of(row))): row for row in rows})
    return found


def _keys(model: type[Model], texts: Iterable[str]) -> Iterator[Any]:
    for text in texts:
        # Keys may be of another type by now.
        with suppress(ValueError):
            yield read_key(model, text)
