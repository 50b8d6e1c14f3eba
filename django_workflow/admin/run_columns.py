"""The columns of the list of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ..insight.spans import seconds_taken, show_span
from ..models import Run
from ..status import RunStatus
from .pictures.marks import draw_badge
from .showing import NOTHING, shorten_id, show_moment
from .subject_links import subject_of

if TYPE_CHECKING:
    Mixed = admin.ModelAdmin[Run]
else:
    Mixed = object


class RunColumns(Mixed):
    """What each column says; none of them asks the database."""

    @admin.display(description=_("id"), ordering="id")
    def id_short(self, run: Run) -> str:
        """Return the beginning of the id."""
        return shorten_id(run.pk)

    @admin.display(description=_("status"))
    def shown_status(self, run: Run) -> SafeString:
        """Return the status as a badge; of a run that is done, with how many steps failed."""
        count = len(getattr(run, "failed_steps", ()))
        if not count or run.status != RunStatus.DONE:
            return draw_badge(run.status)
        text = ngettext("done, %d step failed", "done, %d steps failed", count)
        return draw_badge(run.status, text % count)

    @admin.display(description=_("workflow"))
    def workflow_name(self, run: Run) -> str:
        """Return the name of the workflow."""
        return run.workflow.name

    @admin.display(description=_("about"))
    def subject(self, run: Run) -> str:
        """Return the row the run is about, linked where it has a page."""
        subject = subject_of(self.admin_site, run)
        if subject is None:
            return NOTHING
        return (
            format_html('<a href="{}">{}</a>', subject.url, subject.label) if subject.url else subject.label
        )

    @admin.display(description=_("progress"))
    def shown_progress(self, run: Run) -> str:
        """Return how many steps have ended, of how many."""
        progress: Any = getattr(run, "progress", None)
        if progress is None:
            return NOTHING
        return gettext("%(ended)d of %(total)d") % {"ended": progress.ended, "total": progress.total}

    @admin.display(description=_("triggered"), ordering="id")
    def created(self, run: Run) -> SafeString:
        """Return when it was triggered."""
        return show_moment(run.created_at)

    @admin.display(description=_("duration"))
    def duration(self, run: Run) -> str:
        """Return how long the run took, or has taken by now."""
        seconds = seconds_taken(run.started_at, run.finished_at or timezone.now())
        return NOTHING if seconds is None else show_span(seconds)
