"""What operators do to runs in the admin: each verb's words, its form, and the function that does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AbstractBaseUser
from django.utils.translation import gettext_lazy as _

from ..api import (
    cancel_run,
    pause_run,
    restart_run,
    resume_run,
    retry_run,
    skip_step,
    undo_run,
)
from ..engine.bulk_verbs import BULK_VERBS
from ..models import Run
from .verb_forms import BulkRestartForm, BulkSkipForm, EventForm, RestartForm, SkipForm, VerbForm

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

CONTROL, OVERRIDE = "control_run", "override_run"
# Does the verb: to which run, by whom, why, with what.
Act = Callable[[Run, AbstractBaseUser, str, Mapping[str, Any]], Run]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunVerb:
    """One verb: its name in addresses, its words, its forms, and what does it; ``is_grave`` asks for care."""

    name: str
    label: _StrPromise
    text: _StrPromise
    done: _StrPromise
    act: Act
    permission: str = CONTROL
    form: type[VerbForm] = VerbForm
    bulk_form: type[VerbForm] = VerbForm
    is_grave: bool = False


def _act(function: Callable[..., Run]) -> Act:
    def act(run: Run, by: AbstractBaseUser, note: str, given: Mapping[str, Any]) -> Run:
        return function(run, by=by, note=note, **given)

    return act


def _send_event(run: Run, by: AbstractBaseUser, note: str, given: Mapping[str, Any]) -> Run:
    # As a bulk action and the command do it: noted among the actions, refused for a run that is over.
    BULK_VERBS["event"].do(run, run._state.db or "default", by, note, given)
    return run


VERBS = (
    RunVerb(
        name="retry",
        label=_("Retry"),
        text=_(
            "The run goes on from its failed steps, on the version it was started with. The outputs of the "
            "other steps are kept."
        ),
        done=_("Retried: %s"),
        act=_act(retry_run),
    ),
    RunVerb(
        name="restart",
        label=_("Restart"),
        text=_(
            "A new run takes the place of this one, and its key. From a step: what does not come after that "
            "step is copied."
        ),
        done=_("Restarted: %s"),
        act=_act(restart_run),
        form=RestartForm,
        bulk_form=BulkRestartForm,
    ),
    RunVerb(
        name="resume",
        label=_("Resume"),
        text=_("The run goes on. What came due while it was paused happens now."),
        done=_("Resumed: %s"),
        act=_act(resume_run),
    ),
    RunVerb(
        name="pause",
        label=_("Pause"),
        text=_("Nothing more of the run starts until it is resumed. What runs is finished; timers count on."),
        done=_("Paused: %s"),
        act=_act(pause_run),
    ),
    RunVerb(
        name="event",
        label=_("Send event"),
        text=_("The event wakes the step that waits for it, now or later."),
        done=_("Event sent: %s"),
        act=_send_event,
        form=EventForm,
        bulk_form=EventForm,
    ),
    RunVerb(
        name="skip",
        label=_("Skip step"),
        text=_("The step is passed over: what follows starts as if it had returned the output given here."),
        done=_("Skipped: %s"),
        act=_act(skip_step),
        permission=OVERRIDE,
        form=SkipForm,
        bulk_form=BulkSkipForm,
        is_grave=True,
    ),
    RunVerb(
        name="undo",
        label=_("Undo"),
        text=_("What the done steps did is taken back by their undo, the latest first, each once."),
        done=_("Undone: %s"),
        act=_act(undo_run),
        permission=OVERRIDE,
        is_grave=True,
    ),
    RunVerb(
        name="cancel",
        label=_("Cancel"),
        text=_(
            "The run ends as cancelled: what waits is cancelled at once, what runs is told and awaited. "
            "What was done is not undone."
        ),
        done=_("Cancelled: %s"),
        act=_act(cancel_run),
        is_grave=True,
    ),
)
BY_NAME: Mapping[str, RunVerb] = {verb.name: verb for verb in VERBS}
