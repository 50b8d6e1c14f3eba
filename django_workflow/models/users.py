"""Users, to whom rows of the app point: they live where their own router says, maybe in another database."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db import models, router
from django.db.models.deletion import SET_NULL, Collector
from django.db.models.fields.related_descriptors import ForwardManyToOneDescriptor

# What may be set, and what is got: django-stubs finds both from the model.
_Set = TypeVar("_Set")
_Get = TypeVar("_Get")


def forget(
    collector: Collector, field: models.ForeignKey[Any, Any], rows: models.QuerySet[Any], using: str
) -> None:
    """Set the key of a deleted user to NULL, as ``SET_NULL`` does, in the database that has the rows."""
    user = field.remote_field.model()
    user._state.db = using
    SET_NULL(collector, field, rows.using(router.db_for_write(field.model, instance=user)), using)


# The rows need not be read, and must not be: ``rows`` would be read on the alias of the user.
forget.lazy_sub_objs = True  # type: ignore[attr-defined]


class _User(ForwardManyToOneDescriptor):  # type: ignore[type-arg]
    def get_queryset(self, **hints: Any) -> models.QuerySet[Any]:
        # The row as a hint would send the query to the row's own database.
        users: models.QuerySet[Any] = super().get_queryset(**hints)
        return users.using(router.db_for_write(users.model))


class UserKey(models.ForeignKey[_Set, _Get]):
    """The key of a user, without a constraint. ``select_related`` would join two databases: prefetch it."""

    forward_related_accessor_class = _User

    def deconstruct(self) -> Any:
        """Return it as the plain foreign key that it is in the database."""
        name, _path, args, options = super().deconstruct()
        return name, "django.db.models.ForeignKey", args, options
