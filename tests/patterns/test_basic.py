"""Basic control flow: WCP-1 to WCP-5."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from threading import Barrier
from typing import Any

import pytest

from django_workflow import trigger
from django_workflow.test import Kit
from tests.support.flows import be_a_worker, let_delays_pass, publish, start, statuses, waits
from tests.support.runs import fresh, in_threads

SPLIT = """
    name: order
    steps:
      - {name: take, type: flow.wait, with: {event: taken}}
      - {name: charge, type: flow.wait, needs: [take], with: {event: charged}}
      - {name: pack, type: flow.wait, needs: [take], with: {event: packed}}
      - {name: print, type: flow.wait, needs: [take], with: {event: printed}}
"""
JOINED = SPLIT + "      - {name: ship, type: tests.echo, needs: [charge, pack, print]}\n"
CHOICE = """
    name: order
    steps:
      - name: how
        type: flow.switch
        with: {value: "{{ payment }}", cases: {card: charge, invoice: invoice}, default: refuse}
      - {name: charge, type: tests.echo, needs: jump}
      - {name: invoice, type: tests.echo, needs: jump}
      - {name: refuse, type: tests.echo, needs: jump}
"""
CHOICES = [("card", "charge"), ("invoice", "invoice"), ("shells", "refuse")]


def test_wcp_01_sequence(kit: Kit) -> None:
    """A step is not begun before the one above it has ended."""
    run = start(
        kit,
        """
        name: order
        steps:
          - {name: pay, type: flow.wait, with: {event: paid}}
          - {name: pack, type: flow.wait, with: {event: packed}}
          - {name: ship, type: tests.echo}
        """,
    )
    assert statuses(run) == {"pay": "waiting"}
    kit.send_event(run, "paid")
    assert statuses(run) == {"pay": "done", "pack": "waiting"}
    kit.send_event(run, "packed")
    assert (run.status, kit.path(run)) == ("done", ["pay", "pack", "ship"])


def test_wcp_02_parallel_split(kit: Kit) -> None:
    """All branches begin when the step before them ends, and are under way at the same time."""
    run = start(kit, SPLIT)
    assert waits(run) == ["taken"]
    kit.send_event(run, "taken")
    assert waits(run) == ["charged", "packed", "printed"]


@pytest.mark.django_db(transaction=True)
def test_wcp_02_parallel_split_is_executed_by_several_workers_at_once(register: Callable[..., Any]) -> None:
    """Each handler returns only when the other has begun too."""
    both = Barrier(2, timeout=30)

    @register("tests.meet")
    def meet() -> None:
        both.wait()

    run = trigger(
        publish("""
            name: order
            steps:
              - {name: take, type: tests.echo}
              - {name: charge, type: tests.meet, needs: [take], delay: 1h}
              - {name: pack, type: tests.meet, needs: [take], delay: 1h}
        """)
    )
    let_delays_pass(run)
    in_threads(be_a_worker, be_a_worker)
    assert (fresh(run).status, statuses(run)) == ("done", {"take": "done", "charge": "done", "pack": "done"})


@pytest.mark.parametrize("order", list(permutations(["charged", "packed", "printed"])), ids=" ".join)
def test_wcp_03_synchronization(kit: Kit, order: tuple[str, ...]) -> None:
    """What joins the branches begins once, after the last of them, whichever that is."""
    run = start(kit, JOINED)
    for event in ("taken", *order):
        assert "ship" not in statuses(run)
        kit.send_event(run, event)
    assert run.status == "done"
    assert run.step_runs.filter(step="ship").count() == 1


@pytest.mark.parametrize(("payment", "chosen"), CHOICES)
def test_wcp_04_exclusive_choice(kit: Kit, payment: str, chosen: str) -> None:
    """Exactly one of the branches is taken; of the others nothing begins."""
    run = start(kit, CHOICE, payment=payment)
    assert (run.status, statuses(run)) == ("done", {"how": "done", chosen: "done"})


@pytest.mark.parametrize(("total", "chosen"), [(50, "ship"), (5000, "ask")])
def test_wcp_04_exclusive_choice_by_a_condition(kit: Kit, total: int, chosen: str) -> None:
    run = start(
        kit,
        """
        name: order
        steps:
          - {name: large, type: flow.branch, with: {if: total > 1000, then: ask, else: ship}}
          - {name: ask, type: tests.echo, needs: jump}
          - {name: ship, type: tests.echo, needs: jump}
        """,
        total=total,
    )
    assert (run.status, kit.path(run)) == ("done", ["large", chosen])


@pytest.mark.parametrize(("payment", "chosen"), CHOICES)
def test_wcp_05_simple_merge(kit: Kit, payment: str, chosen: str) -> None:
    """What follows the alternatives begins when the chosen one ends, once, and waits for no other."""
    merged = CHOICE.replace("type: tests.echo", "type: flow.wait, with: {event: settled}")
    tell = "      - {name: tell, type: tests.echo, needs: [charge, invoice, refuse]}\n"
    run = start(kit, merged + tell, payment=payment)
    assert statuses(run) == {"how": "done", chosen: "waiting"}
    kit.send_event(run, "settled")
    assert (run.status, kit.path(run)) == ("done", ["how", chosen, "tell"])
