"""What all rows of the app have in common: they are read where they were written."""

from __future__ import annotations

from typing import Any, TypeVar

from django.db import models, router

M = TypeVar("M", bound=models.Model)


class RowQuerySet(models.QuerySet[M]):
    """Rows of one alias: the one that is named, else that of the row they hang on, else the one for writing.

    A replica lags, so a run that was just triggered may not be on it yet.
    """

    _db: str | None
    _hints: dict[str, Any]

    @property
    def db(self) -> str:
        """The alias that the query is sent to."""
        if self._db:
            return self._db
        near = self._hints.get("instance")
        if isinstance(near, Row) and near._state.db:
            return near._state.db
        return str(router.db_for_write(self.model, **self._hints))


def count_up_to(rows: models.QuerySet[Any], most: int) -> int:
    """Return how many rows there are; ``most`` + 1 where there are more.

    They are counted in their order: those that are asked for are often together in it. The database does not
    know that, and would begin to look for them at the other end of the table.
    """
    return rows[: most + 1].values("pk").count()


class Row(models.Model):
    """A row of the app. Its manager also reads what a foreign key leads to."""

    objects = RowQuerySet.as_manager()

    class Meta:
        abstract = True
        base_manager_name = "objects"
