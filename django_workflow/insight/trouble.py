"""Whether something is wrong that everybody who looks at a page should know of."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Min
from django.utils.formats import localize
from django.utils.timezone import localtime
from django.utils.translation import gettext as _

from ..dispatch import is_redis_silent
from ..models import StepRun
from ..status import StepStatus

# What is late by less is on its way.
LATE = timedelta(seconds=60)


def find_trouble(now: datetime) -> str:
    """Return a sentence, or an empty text where all is well. One query; Redis is not asked."""
    if is_redis_silent():
        return _(
            "Redis does not answer: workers are not told of what is ready. Nothing is lost; it goes on later."
        )
    late = StepRun.objects.due(now - LATE).exclude(status=StepStatus.RUNNING)
    since = late.aggregate(since=Min("due_at"))["since"]
    if since is None:
        return ""
    return _("Steps have been ready since %(since)s, and nobody has come for them.") % {
        "since": localize(localtime(since))
    }
