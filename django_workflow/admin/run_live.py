"""What tells whether the page of a run would say something else than before; see ``fragments``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Exists, OuterRef, Subquery
from django.http import HttpRequest
from django.utils import timezone

from ..insight.why import SOON
from ..models import Run, StepRun
from ..status import StepStatus
from .fragments import make_etag

COLUMNS = ("id", "revision", "status", "is_late", "is_replaced", "renewed")


def marks() -> dict[str, Exists | Subquery]:
    """Return what is read with a run, beside its revision, which every change of it raises.

    Beside that there is only the time that goes by, what came in its place, and what running steps say: the
    renewals of their leases write it.
    """
    held = StepRun.objects.live().filter(run=OuterRef("pk"), status=StepStatus.RUNNING)
    late = StepRun.objects.live().filter(run=OuterRef("pk"), due_at__lt=timezone.now() - SOON)
    return {
        "is_late": Exists(late),
        "is_replaced": Exists(Run.objects.filter(restarted_from=OuterRef("pk"))),
        "renewed": Subquery(held.order_by("-lease_until").values("lease_until")[:1]),
    }


def etag_of(request: HttpRequest, run: Mapping[str, Any]) -> str:
    """Return the tag of a run's page, by its :data:`COLUMNS` and by which step runs are open."""
    return make_etag(request, *(run.get(name) for name in COLUMNS), request.GET.get("open"))
