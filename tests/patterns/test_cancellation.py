"""Cancellation: WCP-19 and WCP-20."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from django_workflow import LeaseLost, StepContext, cancel_run, send_event, skip_step, trigger
from django_workflow.test import Kit
from tests.support.flows import be_a_worker, let_delays_pass, publish, runs_of, start, statuses, waits
from tests.support.runs import fresh, in_threads

# The author may withdraw: a jump to gate takes back what comes after it, and gate now leads elsewhere.
ARTICLE = """
    name: article
    steps:
      - {name: gate, type: flow.branch, with: {if: "steps.withdraw.event", then: archive}}
      - {name: review, type: flow.wait, with: {event: reviewed}}
      - {name: print, type: tests.echo}
      - {name: over, type: flow.end}
      - {name: withdraw, type: flow.wait, needs: [], with: {event: withdrawn}, next: gate}
      - {name: archive, type: tests.echo, needs: jump}
      - {name: sell, type: flow.wait, needs: [], with: {event: sold}}
"""


def test_wcp_19_cancel_task(kit: Kit) -> None:
    """A step under way is taken back, and its result is not awaited; the rest of the run goes on."""
    run = start(kit, ARTICLE)
    assert waits(run) == ["reviewed", "sold", "withdrawn"]
    kit.send_event(run, "withdrawn")
    assert run.step_runs.get(step="review", visit=1).status == "cancelled"
    assert (run.status, waits(run)) == ("waiting", ["sold"])
    kit.send_event(run, "reviewed")
    assert waits(run) == ["sold"]
    kit.send_event(run, "sold")
    assert (run.status, kit.path(run)) == ("done", ["gate", "withdraw", "gate", "archive", "sell"])


def test_wcp_19_cancel_task_that_is_not_asked_for(kit: Kit) -> None:
    run = start(kit, ARTICLE)
    kit.send_event(run, "reviewed")
    assert (run.status, kit.path(run)) == ("done", ["gate", "review", "print", "over"])
    assert statuses(run)["withdraw"] == "cancelled"


def test_wcp_19_cancel_task_by_its_timeout(kit: Kit) -> None:
    run = start(
        kit,
        """
        name: article
        steps:
          - {name: review, type: flow.wait, timeout: 3d, on_error: hurry, with: {event: reviewed}}
          - {name: print, type: tests.echo}
          - {name: hurry, type: flow.wait, needs: jump, with: {event: decided}}
        """,
    )
    kit.advance()
    assert waits(run) == ["decided"]
    kit.send_event(run, "reviewed")
    assert waits(run) == ["decided"]
    kit.send_event(run, "decided")
    assert (run.status, kit.path(run)) == ("done", ["hurry"])


def test_wcp_19_cancel_task_by_an_operator(kit: Kit) -> None:
    run = start(kit, ARTICLE)
    skip_step(run, "review")
    kit.execute_due()
    assert (run.status, kit.path(run)) == ("done", ["gate", "print", "over"])


class Meeting:
    """A handler under way, which a test stops at a point; ``saw`` is what it found there."""

    def __init__(self) -> None:
        self.began, self.may_go_on = Event(), Event()
        self.saw: Any = None

    def hold(self, context: StepContext) -> str:
        self.began.set()
        assert self.may_go_on.wait(30)
        try:
            context.heartbeat()
            self.saw = context.cancelled
        except LeaseLost:
            self.saw = LeaseLost
            raise
        return "too late"

    def during(self, act: Callable[[], object]) -> None:
        """Let a worker call the handler, and act while it is in there."""
        in_threads(be_a_worker, lambda: self._act(act))

    def _act(self, act: Callable[[], object]) -> None:
        try:
            assert self.began.wait(30)
            act()
        finally:
            self.may_go_on.set()


@pytest.fixture
def meeting(register: Callable[..., Any]) -> Meeting:
    meeting = Meeting()

    @register("tests.hold")
    def hold(context: StepContext) -> str:
        return meeting.hold(context)

    return meeting


@pytest.mark.django_db(transaction=True)
def test_wcp_19_cancel_task_whose_handler_runs(meeting: Meeting) -> None:
    """The handler is told at its next heartbeat, and what it returns counts for nothing."""
    held = ARTICLE.replace("flow.wait, with: {event: reviewed}", "tests.hold, delay: 1h")
    run = trigger(publish(held))
    let_delays_pass(run)
    meeting.during(lambda: send_event(run, "withdrawn"))
    assert meeting.saw is LeaseLost
    row = run.step_runs.get(step="review", visit=1)
    assert (row.status, row.output) == ("cancelled", None)
    assert (waits(run), statuses(run)["archive"]) == (["sold"], "done")
    assert not run.step_runs.filter(step="print", status="done").exists()


CASE = """
    name: order
    steps:
      - {name: pay, type: flow.wait, needs: [], with: {event: paid}}
      - {name: thank, type: tests.echo}
      - {name: pick, type: flow.wait, needs: [], for_each: goods, with: {event: "{{ item }}"}}
      - {name: restock, type: flow.call, needs: [], with: {workflow: restock}}
      - {name: later, type: tests.echo, needs: [], delay: 3d}
      - {name: annul, type: flow.wait, needs: [], with: {event: annulled}}
      - {name: why, type: flow.fail, with: {message: "{{ steps.annul.payload }}"}}
"""


def start_case(kit: Kit) -> Any:
    publish("{name: restock, steps: [{name: wait, type: flow.wait, with: {event: restocked}}]}")
    return start(kit, CASE, goods=["book", "pen"])


def test_wcp_20_cancel_case(kit: Kit) -> None:
    """The whole run is taken back with all that is under way, called runs too, and nothing more begins."""
    run = start_case(kit)
    begun = set(statuses(run))
    cancel_run(run, note="by telephone")
    kit.execute_due()
    assert run.status == "cancelled"
    assert set(run.step_runs.values_list("status", flat=True)) == {"cancelled"}
    assert [child.status for child in runs_of("restock")] == ["cancelled"]
    for event in ("paid", "book", "pen", "annulled"):
        assert send_event(run, event) is False
    kit.advance(days=4)
    assert set(statuses(run)) == begun
    assert "thank" not in begun


def test_wcp_20_cancel_case_by_the_definition(kit: Kit) -> None:
    """An event that leads to ``flow.fail`` does the same; the run is then failed, with the reason."""
    run = start_case(kit)
    kit.send_event(run, "annulled", "changed my mind")
    assert (run.status, run.error) == ("failed", "changed my mind")
    done = {"annul": "done", "why": "failed"}
    assert statuses(run) == dict.fromkeys(statuses(run), "cancelled") | done
    assert [child.status for child in runs_of("restock")] == ["cancelled"]


@pytest.mark.django_db(transaction=True)
def test_wcp_20_cancel_case_while_a_handler_runs(meeting: Meeting) -> None:
    """The handler is told, its result is recorded on its own row, and nothing follows from it."""
    run = trigger(
        publish("""
            name: order
            steps:
              - {name: pack, type: tests.hold, delay: 1h}
              - {name: ship, type: tests.echo}
        """)
    )
    let_delays_pass(run)
    meeting.during(lambda: cancel_run(run))
    assert meeting.saw is True
    assert (fresh(run).status, statuses(run)) == ("cancelled", {"pack": "done"})
