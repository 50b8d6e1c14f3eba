"""Advanced branching and synchronization: WCP-6 to WCP-9."""

from __future__ import annotations

from itertools import combinations

import pytest

from django_workflow.test import Kit
from tests.support.flows import publish, runs_of, start, statuses, waits

EXTRAS = ("card", "ribbon", "wrap")
SUBSETS = [subset for size in range(4) for subset in combinations(EXTRAS, size)]
CHOSEN = """
    name: gift
    steps:
      - {name: take, type: tests.echo}
      - {name: card, type: flow.wait, needs: [take], if: "'card' in extras", with: {event: card}}
      - {name: ribbon, type: flow.wait, needs: [take], if: "'ribbon' in extras", with: {event: ribbon}}
      - {name: wrap, type: flow.wait, needs: [take], if: "'wrap' in extras", with: {event: wrap}}
"""
MERGED_BY_JUMP = """
    name: order
    steps:
      - {name: goods, type: flow.wait, needs: [], with: {event: goods}, next: bill}
      - {name: work, type: flow.wait, needs: [], with: {event: work}, next: bill}
      - {name: bill, type: flow.wait, needs: jump, with: {event: billed}}
"""


@pytest.mark.parametrize("extras", SUBSETS, ids=" ".join)
def test_wcp_06_multi_choice(kit: Kit, extras: tuple[str, ...]) -> None:
    """Any number of the branches is taken, each by its own condition, and the rest is skipped."""
    run = start(kit, CHOSEN, extras=list(extras))
    taken = {name: "waiting" if name in extras else "skipped" for name in EXTRAS}
    assert statuses(run) == {"take": "done", **taken}
    assert waits(run) == list(extras)


@pytest.mark.parametrize("extras", SUBSETS, ids=" ".join)
def test_wcp_07_structured_synchronizing_merge(kit: Kit, extras: tuple[str, ...]) -> None:
    """The merge waits for those branches that were taken, for all of them and for no other."""
    send = "      - {name: send, type: tests.echo, needs: [card, ribbon, wrap]}\n"
    run = start(kit, CHOSEN + send, extras=list(extras))
    for extra in reversed(extras):
        assert "send" not in statuses(run)
        kit.send_event(run, extra)
    assert run.status == "done"
    assert run.step_runs.filter(step="send").count() == 1


def test_wcp_08_multi_merge(kit: Kit) -> None:
    """Each branch that arrives begins what follows anew, also while it is under way for another branch.

    A step runs once a visit, so it cannot be under way twice in one run. What comes after the merge is
    therefore a workflow of its own, and each branch runs it.
    """
    publish("{name: bill, steps: [{name: send, type: flow.wait, with: {event: billed}}]}")
    run = start(
        kit,
        """
        name: order
        steps:
          - {name: goods, type: flow.wait, needs: [], with: {event: goods}}
          - {name: bill_goods, type: flow.call, with: {workflow: bill, input: {what: goods}}}
          - {name: work, type: flow.wait, needs: [], with: {event: work}}
          - {name: bill_work, type: flow.call, with: {workflow: bill, input: {what: work}}}
        """,
    )
    assert runs_of("bill") == []
    kit.send_event(run, "work")
    assert [bill.state["what"] for bill in runs_of("bill")] == ["work"]
    kit.send_event(run, "goods")
    assert [(bill.state["what"], bill.status) for bill in runs_of("bill")] == [
        ("work", "waiting"),
        ("goods", "waiting"),
    ]
    for bill in runs_of("bill"):
        assert run.status == "waiting"
        kit.send_event(bill, "billed")
    assert run.status == "done"


def test_wcp_08_multi_merge_is_not_made_by_a_jump(kit: Kit) -> None:
    """A branch that arrives while the step is under way only ends there: it is what it joins."""
    run = start(kit, MERGED_BY_JUMP)
    kit.send_event(run, "goods")
    kit.send_event(run, "work")
    assert run.step_runs.filter(step="bill").count() == 1
    kit.send_event(run, "billed")
    assert (run.status, kit.path(run)) == ("done", ["goods", "work", "bill"])


def test_wcp_08_multi_merge_is_made_by_a_jump_for_branches_that_never_overlap(kit: Kit) -> None:
    """A branch that arrives when the step is done begins a new visit of it."""
    run = start(kit, MERGED_BY_JUMP)
    for event in ("goods", "billed", "work", "billed"):
        assert run.status == "waiting"
        kit.send_event(run, event)
    assert (run.status, kit.path(run)) == ("done", ["goods", "bill", "work", "bill"])


def test_wcp_09_structured_discriminator(kit: Kit) -> None:
    """The first branch to end begins what follows, the others change nothing, and a loop sets it back."""
    run = start(
        kit,
        """
        name: offer
        steps:
          - {name: ask, type: tests.echo}
          - {name: near, type: flow.wait, needs: [ask], with: {event: near}}
          - {name: far, type: flow.wait, needs: [ask], with: {event: far}}
          - {name: take, type: tests.echo, needs: [near, far], join: any}
          - {name: judge, type: flow.wait, needs: [near, far, take], with: {event: [good, bad]}}
          - {name: again, type: flow.branch, with: {if: "steps.judge.event == 'bad'", then: ask}}
        """,
    )
    kit.send_event(run, "far")
    assert statuses(run) == {"ask": "done", "near": "waiting", "far": "done", "take": "done"}
    kit.send_event(run, "near")
    kit.send_event(run, "bad")
    assert kit.path(run) == ["ask", "far", "take", "near", "judge", "again", "ask"]
    assert statuses(run) == {"ask": "done", "near": "waiting", "far": "waiting"}
    for event in ("near", "far", "good"):
        kit.send_event(run, event)
    assert run.status == "done"
    assert kit.path(run)[7:] == ["near", "take", "far", "judge", "again"]
