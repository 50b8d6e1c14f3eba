"""The test kit: workflows in a project's tests, with the clock held and no other process or thread.

In Django's ``TestCase`` and ``TransactionTestCase``, and with pytest (which has the fixture
``workflow_test``)::

    with workflow_test(outputs={"charge": {"id": "ch_1"}}) as test:
        run = test.trigger("welcome-drip", {"user": user})
        test.advance(days=2)
        assert test.path(run) == ["hello", "tips"]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.db import connections
from django.db.models import Min, Model
from django.test import override_settings
from django.utils import timezone

from . import api
from .api.finding import lookup_of
from .definition.program import UNDO
from .engine import bulk, control, create
from .engine.execute import work
from .engine.leases import without_keeper
from .engine.now import database_now, held_clock, set_clock
from .engine.programs import get_program
from .engine.stand_ins import standing_in
from .engine.transactions import call_back, is_of_test_case, own_callbacks
from .models import BulkAction, Run, StepRun, Workflow
from .status import RunStatus, StepStatus

_is_open = False


@contextmanager
def workflow_test(outputs: Mapping[str, Any] | None = None, *, using: str | None = None) -> Iterator[Kit]:
    """Execute the steps of workflows inline in the body, and hold the clock.

    ``outputs`` stands in for handlers, by the name of the step (``"charge:undo"`` for its undo): the step's
    params are rendered and checked, its handler is not called. What is given is the output; an exception is
    raised; ``Goto`` and ``End`` are taken; a ``Sleep`` or ``WaitForEvent`` waits once, and the event's
    payload is the output; a function is called with the handler's ``context`` and returns any of these. With
    ``for_each`` it stands in for each item, which a function finds in ``context.item``.

    The clock begins at ``timezone.now()`` and moves by ``advance()`` only. At the end of a body that raised
    nothing, what is due is executed, and everything is as before. Runs live on the database ``using``, or
    where the router puts them. Raises ``RuntimeError`` inside another one.

    In a ``TestCase``, an error of the database also rolls back what the handler or callback wrote before it:
    elsewhere each of their statements is committed on its own.
    """
    given = dict(outputs or {})
    raw = getattr(settings, "DJANGO_WORKFLOW", None) or {}
    with ExitStack() as restoring:
        restoring.enter_context(_alone())
        restoring.enter_context(override_settings(DJANGO_WORKFLOW={**raw, "QUEUE": None}))
        restoring.enter_context(standing_in(given))
        restoring.enter_context(without_keeper())
        restoring.enter_context(held_clock(timezone.now()))
        restoring.enter_context(own_callbacks())
        test = Kit(create.write_alias(using), given)
        yield test
        test.execute_due()


class Kit:
    """What a test does with workflows; made by ``workflow_test``.

    Each method executes all that is due, before and after what it does itself, and refreshes the runs that
    the kit has returned. ``run`` is a Run, its id, or ``(workflow name, key)``; where there is none,
    ``Run.DoesNotExist`` is raised. All raise ``ValueError`` while ``outputs`` names a step that no published
    workflow has, and ``RuntimeError`` inside ``transaction.atomic()``, where nothing has committed yet.
    """

    def __init__(self, using: str, outputs: Mapping[str, Any]) -> None:
        self.using = using
        self._unseen = set(outputs)
        self._runs: list[Run] = []

    @property
    def now(self) -> datetime:
        """The time by the clock that the kit holds, aware."""
        return database_now(self.using)

    def trigger(
        self,
        workflow: str | Workflow,
        input: Mapping[str, Any] | None = None,
        *,
        key: str | None = None,
        subject: Model | None = None,
        user: AbstractBaseUser | None = None,
    ) -> Run:
        """Start a run as ``django_workflow.trigger`` does, execute it, and return it as it then is."""
        self._check()
        run = api.trigger(workflow, input, key=key, subject=subject, user=user, using=self.using)
        return self._go_on(run)

    def execute_due(self) -> None:
        """Call what waits for the commit, such as runs that the code under test has started, and execute.

        That is all that is due, until nothing is. Called by all the others.
        """
        self._check()
        while call_back() + self._do_due():
            pass
        for run in self._runs:
            with suppress(Run.DoesNotExist):
                run.refresh_from_db(using=self.using)

    def advance(self, duration: timedelta | None = None, **units: float) -> None:
        """Move the clock on, ``advance(days=2)``, and execute what comes due, each timer at its own moment.

        Without a duration: to the next timer, which is what a step waits for or a deadline; raises
        ``RuntimeError`` where there is none.
        """
        if duration is not None and units:
            raise TypeError("advance() takes a timedelta or its units, not both")
        self.execute_due()
        if duration is None and not units:
            until = self._next_timer()
            if until is None:
                raise RuntimeError(f"nothing waits for a time{self._describe_waiting()}")
        else:
            until = self.now + (timedelta(**units) if duration is None else duration)
        if until < self.now:
            raise ValueError("time goes forward only")
        while (moment := self._next_timer()) is not None and moment <= until:
            set_clock(moment)
            self.execute_due()
        set_clock(until)

    def send_event(self, run: api.RunLike, name: str, payload: Any = None, *, id: str | None = None) -> Run:
        """Send an event as ``django_workflow.send_event`` does; returns the run, not whether it is live."""
        found = self._find(run)
        api.send_event(found, name, payload, id=id)
        return self._go_on(found)

    def approve(
        self,
        run: api.RunLike,
        step: str,
        *,
        by: AbstractBaseUser,
        data: Mapping[str, Any] | None = None,
        note: str = "",
    ) -> Run:
        """Approve as ``django_workflow.approve`` does, permissions checked, and return the run."""
        found = self._find(run)
        api.approve(found, step, by=by, data=data, note=note)
        return self._go_on(found)

    def reject(
        self,
        run: api.RunLike,
        step: str,
        *,
        by: AbstractBaseUser,
        data: Mapping[str, Any] | None = None,
        note: str = "",
    ) -> Run:
        """Reject as ``django_workflow.reject`` does, permissions checked, and return the run."""
        found = self._find(run)
        api.reject(found, step, by=by, data=data, note=note)
        return self._go_on(found)

    def path(self, run: api.RunLike) -> list[str]:
        """Return the names of the steps that are done, in the order recorded.

        A step is there once a visit, however many items it has; what undid it is ``"charge:undo"``.
        """
        rows = StepRun.objects.using(self.using).filter(run=self._find(run), status=StepStatus.DONE)
        found = rows.order_by("number", "id").values_list("step", "visit", "index")
        seen = dict.fromkeys((step, visit) for step, visit, index in found if index < 0 or UNDO in step)
        return [step for step, _visit in seen]

    def _do_due(self) -> int:
        """Do what a clock without queues does; return how much there was."""
        due = bulk.due_bulk_actions(self.using)
        for bulk_id in due:
            while bulk.advance(self.using, bulk_id):
                pass
        return len(due) + control.end_overdue(self.using, self.now) + work(self.using)

    def _go_on(self, run: Run) -> Run:
        if not any(run is known for known in self._runs):
            self._runs.append(run)
        self.execute_due()
        return run

    def _find(self, run: api.RunLike) -> Run:
        self.execute_due()
        if isinstance(run, Run):
            return run
        return Run.objects.using(self.using).get(**lookup_of(run))

    def _check(self) -> None:
        connection = connections[self.using]
        if connection.in_atomic_block and not is_of_test_case(connection):
            raise RuntimeError(
                "steps are executed after the commit: call the test kit outside of transaction.atomic()"
            )
        if self._unseen:
            self._refuse_unknown()

    def _refuse_unknown(self) -> None:
        versions = Workflow.objects.using(self.using).exclude(published=None)
        ids = versions.values_list("published_id", flat=True)
        known = {name for version_id in ids for name in get_program(version_id, self.using).steps}
        self._unseen -= known
        for name in sorted(self._unseen):
            close = " or ".join(map(repr, get_close_matches(name, sorted(known), 3)))
            hint = f"did you mean {close}?" if close else "outputs are named by step, not by type."
            raise ValueError(f"outputs: no published workflow has a step {name!r}; {hint}")

    def _next_timer(self) -> datetime | None:
        """Return the next moment at which something comes due."""
        rows = StepRun.objects.using(self.using).live().exclude(status=StepStatus.RUNNING)
        rows = rows.exclude(run__status=RunStatus.PAUSED).filter(due_at__gt=self.now)
        runs = Run.objects.using(self.using).active().filter(ending="", deadline__gt=self.now)
        bulks = BulkAction.objects.using(self.using).unfinished().filter(due_at__gt=self.now)
        moments = (
            rows.aggregate(at=Min("due_at"))["at"],
            runs.aggregate(at=Min("deadline"))["at"],
            bulks.aggregate(at=Min("due_at"))["at"],
        )
        return min((moment for moment in moments if moment is not None), default=None)

    def _describe_waiting(self) -> str:
        rows = StepRun.objects.using(self.using).live().select_related("run__workflow")[:5]
        said = [f"{row.run}, {row.run.status}: {row} {row.status} {row.waiting_for}".rstrip() for row in rows]
        return f". Live are: {'; '.join(said)}" if said else ": every run is over"


@contextmanager
def _alone() -> Iterator[None]:
    global _is_open
    if _is_open:
        raise RuntimeError("workflow_test() is open already: one test has one kit at a time")
    _is_open = True
    try:
        yield
    finally:
        _is_open = False
