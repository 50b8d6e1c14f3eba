"""The strip of a workflow: its last runs as bars, so that one sees at a glance how it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .svg import NOTHING, element, path, picture
from .words import count_statuses, name_status, write_moment

MOST = 20
HIGH = 20
WIDE = 7
STEP = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class StripItem:
    """One run: its status, when it began, and whether it is done though steps failed."""

    status: str
    at: datetime
    has_failed_steps: bool = False


def draw_strip(runs: Sequence[StripItem]) -> SafeString:
    """Return the last 20 of ``runs``, which come oldest first; an empty text for none."""
    shown = runs[-MOST:]
    if not shown:
        return NOTHING
    bars = (_draw_bar(run, place * STEP) for place, run in enumerate(shown))
    label = ngettext("%(count)d run: %(statuses)s", "%(count)d runs: %(statuses)s", len(shown))
    label %= {"count": len(shown), "statuses": count_statuses(run.status for run in shown)}
    width = len(shown) * STEP - STEP + WIDE
    return picture(
        *bars,
        width=width,
        height=HIGH,
        class_="workflow-picture workflow-strip",
        role="img",
        aria_label=label,
    )


def _draw_bar(run: StripItem, left: float) -> SafeString:
    status = _("done, though steps failed") if run.has_failed_steps else name_status(run.status)
    title = _("%(status)s, %(when)s") % {"status": status, "when": write_moment(run.at)}
    shape = _shape(run.status, left)
    return element("path", element("title", title), d=shape, data_status=run.status)


def _shape(status: str, left: float) -> str:
    """Return a whole bar, one with a notch, a hollow one, or for what is not over a low one."""
    right, middle = left + WIDE, left + WIDE / 2
    if status == "done":
        return path("M", left, 1, "H", right, "V", HIGH, "H", left, "Z")
    if status == "failed":
        half, notch = HIGH / 2, 4
        return path(
            *("M", left, 1, "H", right, "V", half - notch, "L", middle + 1, half, right, half + notch),
            *("V", HIGH, "H", left, "V", half + notch, "L", middle - 1, half, left, half - notch, "Z"),
        )
    if status == "cancelled":
        return path("M", left + 0.5, 1.5, "H", right - 0.5, "V", HIGH - 0.5, "H", left + 0.5, "Z")
    return path("M", left, HIGH - 8, "H", right, "V", HIGH, "H", left, "Z")
