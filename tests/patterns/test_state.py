"""State-based patterns: WCP-16 to WCP-18."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from django_workflow import StepContext
from django_workflow.test import Kit
from tests.support.flows import publish, runs_of, start, statuses, waits

PAYMENT = """
    name: order
    steps:
      - name: payment
        type: flow.wait
        with: {event: [paid, refused]}
        timeout: 3d
        on_error: {WaitTimeout: remind}
      - name: which
        type: flow.switch
        with: {value: "{{ steps.payment.event }}", cases: {paid: ship}, default: apologise}
      - {name: ship, type: flow.wait, needs: jump, with: {event: over}}
      - {name: apologise, type: flow.wait, needs: jump, with: {event: over}}
      - {name: remind, type: flow.wait, needs: jump, with: {event: over}}
"""
CASES = [("paid", "ship"), ("refused", "apologise"), (None, "remind")]


@pytest.mark.parametrize(("event", "chosen"), CASES)
def test_wcp_16_deferred_choice(kit: Kit, event: str | None, chosen: str) -> None:
    """All alternatives are open until the first of them comes, which takes the others back."""
    run = start(kit, PAYMENT)
    assert waits(run) == ["paid", "refused"]
    if event is None:
        kit.advance(timedelta(days=3))
    else:
        kit.send_event(run, event)
    begun = {name for name, status in statuses(run).items() if status != "skipped"} - {"payment", "which"}
    assert begun == {chosen}
    for other in ("paid", "refused"):
        kit.send_event(run, other)
    kit.advance(timedelta(days=3))
    assert waits(run) == ["over"]
    kit.send_event(run, "over")
    assert (run.status, kit.path(run)[-1]) == ("done", chosen)


CHECKS = ("blood", "eyes", "heart")
IN_LIST_ORDER = """
    name: patient
    steps:
      - {name: check, type: flow.call, for_each: checks, max_parallel: 1, with: {workflow: "{{ item }}"}}
      - {name: report, type: tests.echo}
"""
# The heart is listened to after the blood test only; otherwise whoever is free takes the patient.
IN_ANY_ORDER = """
    name: patient
    steps:
      - {name: open, type: tests.open_checks, with: {after: {heart: blood}}}
      - {name: report, type: flow.branch, with: {if: "not open", then: tell}}
      - {name: free, type: flow.wait, with: {event: "{{ open }}"}}
      - {name: check, type: flow.call, with: {workflow: "{{ steps.free.event }}"}}
      - {name: strike, type: tests.strike, with: {check: "{{ steps.free.event }}"}, next: open}
      - {name: tell, type: tests.echo, needs: jump}
"""


def publish_checks() -> None:
    for name in CHECKS:
        publish(f"{{name: {name}, steps: [{{name: look, type: flow.wait, with: {{event: seen}}}}]}}")


def under_way() -> list[str]:
    return [name for name in CHECKS for run in runs_of(name) if not run.is_final]


def finish(kit: Kit, name: str) -> None:
    (run,) = runs_of(name)
    kit.send_event(run, "seen")


@pytest.mark.parametrize("order", list(permutations(CHECKS)), ids=" ".join)
def test_wcp_17_interleaved_parallel_routing(kit: Kit, order: tuple[str, ...]) -> None:
    """Each of several activities is executed once, one at a time: here in the order of a list."""
    publish_checks()
    run = start(kit, IN_LIST_ORDER, checks=list(order))
    for name in order:
        assert "report" not in statuses(run)
        assert under_way() == [name]
        finish(kit, name)
    assert (run.status, kit.path(run)) == ("done", ["check", "report"])


@pytest.fixture
def order_of_checks(register: Callable[..., Any]) -> None:
    @register("tests.open_checks", idempotent=True)
    def open_checks(context: StepContext, after: dict[str, str]) -> None:
        left = context.state["left"]
        context.state["open"] = [name for name in left if after.get(name) not in left]

    @register("tests.strike", idempotent=True)
    def strike(context: StepContext, check: str) -> None:
        context.state["left"] = [name for name in context.state["left"] if name != check]


@pytest.mark.usefixtures("order_of_checks")
@pytest.mark.parametrize("order", list(permutations(CHECKS)), ids=" ".join)
def test_wcp_17_interleaved_parallel_routing_in_an_order_that_people_choose(
    kit: Kit, order: tuple[str, ...]
) -> None:
    """The next is whichever comes first, but none comes before what it has to come after."""
    publish_checks()
    run = start(kit, IN_ANY_ORDER, left=list(CHECKS))
    for name in order:
        kit.send_event(run, name)
    done = []
    while not run.is_final:
        (name,) = under_way()
        finish(kit, name)
        done.append(name)
    # A heart that was free too early is taken first thing after the blood.
    wanted = list(order)
    if wanted.index("heart") < wanted.index("blood"):
        wanted.remove("heart")
        wanted.insert(wanted.index("blood") + 1, "heart")
    assert (run.status, done) == ("done", wanted)
    assert waits(run) == []


# Between open and close, and only then, the address can be changed, as often as one likes.
ADDRESS = """
    name: order
    steps:
      - {name: pay, type: flow.wait, with: {event: paid}}
      - {name: open, type: flow.set, with: {address_is_open: true}}
      - {name: pack, type: flow.wait, with: {event: packed}}
      - {name: close, type: flow.set, with: {address_is_open: false}}
      - {name: arrive, type: flow.wait, with: {event: arrived}}
      - {name: over, type: flow.end}
      - {name: change, type: flow.wait, needs: [], with: {event: change}}
      - name: may_change
        type: flow.branch
        with: {if: "address_is_open|default:False", then: apply, else: change}
      - name: apply
        type: flow.set
        needs: jump
        with: {address: "{{ steps.change.payload }}"}
        next: change
"""


def test_wcp_18_milestone(kit: Kit) -> None:
    """The activity can be executed from when the milestone is reached until it is passed."""
    run = start(kit, ADDRESS, address="first")
    seen = []
    for event in ("", "paid", "packed"):
        if event:
            kit.send_event(run, event)
        for number in range(2):
            kit.send_event(run, "change", f"{event} {number}")
            seen.append(run.state["address"])
    assert seen == ["first", "first", "paid 0", "paid 1", "paid 1", "paid 1"]
    kit.send_event(run, "arrived")
    assert (run.status, run.state["address"]) == ("done", "paid 1")


def test_wcp_18_milestone_that_stays_reached(kit: Kit) -> None:
    """A shared event is read by all who ask, also later; it says that something was, not that it still is."""
    run = start(
        kit,
        """
        name: order
        steps:
          - {name: label, type: flow.wait, needs: [], with: {event: addressed, shared: true}}
          - {name: pack, type: flow.wait, needs: [], with: {event: packed}}
          - {name: hand_over, type: flow.wait, with: {event: addressed, shared: true}}
        """,
    )
    kit.send_event(run, "packed")
    assert statuses(run) == {"label": "waiting", "pack": "done", "hand_over": "waiting"}
    kit.send_event(run, "addressed")
    assert (run.status, kit.path(run)) == ("done", ["pack", "label", "hand_over"])


def test_wcp_18_milestone_that_was_reached_before_it_is_asked_for(kit: Kit) -> None:
    run = start(
        kit,
        """
        name: order
        steps:
          - {name: label, type: flow.wait, needs: [], with: {event: addressed, shared: true}}
          - {name: pack, type: flow.wait, needs: [], with: {event: packed}}
          - {name: hand_over, type: flow.wait, with: {event: addressed, shared: true}}
        """,
    )
    kit.send_event(run, "addressed")
    assert waits(run) == ["packed"]
    kit.send_event(run, "packed")
    assert (run.status, kit.path(run)) == ("done", ["label", "pack", "hand_over"])
