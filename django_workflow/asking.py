"""What ``flow.approval`` asks, and of whom: params become an ``AskApproval``; who may answer is found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.contrib import auth
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AbstractBaseUser, Group, Permission
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import Error as DatabaseError
from django.db import router
from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _

from .exceptions import ParamsError
from .links import name_user
from .outcomes import AskApproval
from .params import declared_params
from .spelling import MOST_PROBLEMS

Users = dict[str, AbstractBaseUser]


def user_rows() -> QuerySet[Any]:
    """Return all users, active or not, read where they are written: a replica may not have a new one yet."""
    return _written(auth.get_user_model())


def make_question(
    *,
    permission: str | None,
    group: str | None,
    users: Any,
    count: int,
    allow_self: bool,
    form: Mapping[str, Any] | None,
    message: str,
    askers: Sequence[str],
) -> AskApproval:
    """Return the question; ``askers`` are the keys of the users who asked for what is approved.

    Raises ``ParamsError`` for users, a group or a permission that are not there, for fewer users than
    answers, and for a form that cannot be read.
    """
    if sum(who not in (None, "") for who in (permission, group, users)) != 1:
        raise _wrong("permission", "give exactly one of permission, group and users")
    if count < 1:
        raise _wrong("count", f"{count} answers: at least one is needed")
    if form:
        declared_params(form)
    if permission:
        _check_permission(permission)
    if group and not _written(Group).filter(name=group).exists():
        raise _wrong("group", f"there is no group {group!r}")
    found = {} if permission or group else _find_users(users)
    question = AskApproval(
        permission=permission or None,
        group=group or None,
        users={key: name_user(user) for key, user in found.items()},
        count=count,
        allow_self=allow_self,
        askers=tuple(askers),
        form=form or None,
        message=message,
    )
    if not permission and not group and len(_active(found.values(), question)) < count:
        why = "" if allow_self else ", and who triggered or changed the run does not count (allow_self)"
        raise _wrong("users", f"fewer active users are named than answers are needed ({count}){why}")
    return question


def find_answerers(question: AskApproval, say: Callable[[str], None]) -> list[AbstractBaseUser]:
    """Return the users who may answer ``question`` now, leaving aside permissions for single rows.

    There may be more: ``say`` is told who could not be found, such as by a backend that lists nobody.
    """
    found: Iterable[AbstractBaseUser]
    if question.permission:
        found = _users_with_permission(question.permission, say)
    elif question.group is None:
        found = user_rows().filter(pk__in=[*question.users])
    elif has_column("groups"):
        found = user_rows().filter(groups__name=question.group)
    else:
        found = ()
        say(f"the user model has no groups: could not find who is in the group {question.group!r}")
    return _active(found, question)


def why_unanswerable(questions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return why nobody can answer each question, a step run's ``awaits``; an empty text if somebody can.

    A group or a permission may have been renamed since, and users deleted. One query for all groups,
    one for all users, one for each permission.
    """
    groups = {str(each.get("group")) for each in questions if each.get("group")}
    permissions = {str(each.get("permission")) for each in questions if each.get("permission")}
    users = {name for each in questions for name in each.get("users") or ()}
    known = _written(Group).filter(name__in=groups).values_list("name", flat=True) if groups else ()
    lost = groups.difference(known) | {each for each in permissions if _is_unknown(each)}
    active = _names_of_active(users) if users else set()
    return [_why_unanswerable(each, lost, active) for each in questions]


def _why_unanswerable(question: Mapping[str, Any], lost: set[str], active: set[str]) -> str:
    if question.get("group") in lost:
        return _("there is no group %(name)r") % {"name": question["group"]}
    if question.get("permission") in lost:
        return _("there is no permission %(name)r") % {"name": question["permission"]}
    if question.get("users") and active.isdisjoint(question["users"]):
        return _("none of the users it names is there and active")
    return ""


def _names_of_active(names: Iterable[str]) -> set[str]:
    """Return those of ``names`` that name an active user, also as earlier releases did: by key alone."""
    users = _users_with_keys(name.rpartition(" ")[0] or name for name in names).values()
    return {name for user in users if user.is_active for name in (str(user.pk), name_user(user))}


def has_column(name: str) -> bool:
    """Return whether users can be searched by the field ``name``; a user model need not have any."""
    try:
        auth.get_user_model()._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def _users_with_permission(permission: str, say: Callable[[str], None]) -> Iterable[AbstractBaseUser]:
    # Inactive ones are left out later: without the column a query for it fails.
    options: dict[str, Any] = {} if has_column("is_active") else {"is_active": None}
    found: Users = {}
    for backend in auth.get_backends():
        try:
            rows = backend.with_perm(permission, **options)  # type: ignore[attr-defined]
            found |= {str(user.pk): user for user in rows}
        except DatabaseError:
            raise
        except Exception as error:
            say(f"{type(backend).__name__} could not say who has {permission!r}: {error}")
    return found.values()


def _active(users: Any, question: AskApproval) -> list[AbstractBaseUser]:
    but = () if question.allow_self else question.askers
    return [user for user in users if user.is_active and str(user.pk) not in but]


def _check_permission(permission: str) -> None:
    app_label, _dot, codename = permission.partition(".")
    if not app_label or not codename:
        raise _wrong("permission", f"{permission!r} is no permission: write it as app.codename")
    if _is_unknown(permission):
        raise _wrong("permission", f"there is no permission {permission!r}")


def _is_unknown(permission: str) -> bool:
    app_label, _dot, codename = permission.partition(".")
    if any(type(backend) is not ModelBackend for backend in auth.get_backends()):
        return False  # whose permissions need not be rows
    rows = _written(Permission).filter(content_type__app_label=app_label, codename=codename)
    return not rows.exists()


def _find_users(named: Any) -> Users:
    """Return users by key, as text: ``named`` is one or a list of instances, usernames and keys."""
    items = list(named) if isinstance(named, (list, tuple)) else [named]
    by_name, by_key = _users_named(items), _users_with_keys(items)
    found: Users = {}
    unknown = []
    for item in items:
        user = _find_user(item, by_name, by_key)
        if _is_ambiguous(item, by_name, by_key):
            unknown.append(f"{item!r:.80} is the key of one user and the username of another: give the row")
        elif user is None:
            unknown.append(f"there is no user {str(item)!r:.80}")
        else:
            found[str(user.pk)] = user
    if unknown:
        raise ParamsError("flow.approval", {"users": unknown[:MOST_PROBLEMS]})
    return found


def _find_user(item: Any, by_name: Users, by_key: Users) -> AbstractBaseUser | None:
    if isinstance(item, auth.get_user_model()):
        return item
    if isinstance(item, str) and item in by_name:
        return by_name[item]
    return next((by_key[str(key)] for key in _keys(item) if str(key) in by_key), None)


def _is_ambiguous(item: Any, by_name: Users, by_key: Users) -> bool:
    named = by_name.get(item) if isinstance(item, str) else None
    return named is not None and any(by_key.get(str(key), named).pk != named.pk for key in _keys(item))


def _users_named(items: Iterable[Any]) -> Users:
    model = auth.get_user_model()
    texts = {item for item in items if isinstance(item, str)}
    rows = user_rows().filter(**{f"{model.USERNAME_FIELD}__in": texts}) if texts else ()
    return {user.get_username(): user for user in rows}


def _users_with_keys(items: Iterable[Any]) -> Users:
    keys = {key for item in items for key in _keys(item)}
    rows = user_rows().filter(pk__in=keys) if keys else ()
    return {str(user.pk): user for user in rows}


def _keys(item: Any) -> Iterator[Any]:
    """Yield what ``item`` is as a key of a user, if it can be one."""
    if isinstance(item, bool) or not isinstance(item, (str, int, UUID)):
        return
    key = auth.get_user_model()._meta.pk
    try:
        value = key.to_python(item)
        key.run_validators(value)
    except (ValidationError, ValueError, OverflowError):
        return
    yield value


def _written(model: type[Model]) -> QuerySet[Any]:
    return model._base_manager.using(router.db_for_write(model))


def _wrong(param: str, problem: str) -> ParamsError:
    return ParamsError("flow.approval", {param: [problem]})
