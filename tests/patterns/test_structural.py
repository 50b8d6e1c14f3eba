"""Structural patterns: WCP-10 and WCP-11."""

from __future__ import annotations

from itertools import permutations

import pytest

from django_workflow import DefinitionError, define
from django_workflow.test import Kit
from tests.support.flows import start, statuses

# Two ways into the loop (write, review) and two out of it (give_up, judge).
ARTICLE = """
    name: article
    steps:
      - {name: begin, type: flow.branch, with: {if: has_draft, then: review, else: write}}
      - {name: write, type: flow.wait, needs: jump, with: {event: written}}
      - {name: give_up, type: flow.branch, with: {if: "steps.write.payload == 'nothing'", then: drop}}
      - {name: review, type: flow.wait, with: {event: reviewed}}
      - name: judge
        type: flow.switch
        with: {value: "{{ steps.review.payload }}", cases: {rewrite: write, once more: review}}
      - {name: print, type: tests.echo}
      - {name: drop, type: tests.echo, needs: jump}
"""
WRITTEN = ("written", "text")
REWRITE, ONCE_MORE, GOOD = (("reviewed", word) for word in ("rewrite", "once more", "good"))
WAYS = [
    (True, [GOOD], "begin review judge print"),
    (False, [WRITTEN, GOOD], "begin write give_up review judge print"),
    (True, [ONCE_MORE, ONCE_MORE, GOOD], "begin review judge review judge review judge print"),
    (True, [REWRITE, WRITTEN, GOOD], "begin review judge write give_up review judge print"),
    (True, [REWRITE, ("written", "nothing")], "begin review judge write give_up drop"),
]


@pytest.mark.parametrize(
    ("has_draft", "events", "path"), WAYS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_wcp_10_arbitrary_cycles(kit: Kit, has_draft: bool, events: list[tuple[str, str]], path: str) -> None:
    """A loop may have several entries and exits, and be left and entered in any order."""
    run = start(kit, ARTICLE, has_draft=has_draft)
    for name, payload in events:
        assert run.status == "waiting"
        kit.send_event(run, name, payload)
    assert (run.status, " ".join(kit.path(run))) == ("done", path)


def test_wcp_10_arbitrary_cycles_end_at_max_visits(kit: Kit) -> None:
    run = start(kit, "{name: round, max_visits: 5, steps: [{name: turn, type: tests.echo, next: turn}]}")
    assert (run.status, run.error_type) == ("failed", "django_workflow.exceptions.MaxVisitsExceeded")
    assert kit.path(run) == ["turn"] * 4


@pytest.mark.django_db
def test_wcp_10_arbitrary_cycles_are_made_by_jumps_and_not_by_needs() -> None:
    steps = [
        {"name": "write", "type": "tests.echo", "needs": ["review"]},
        {"name": "review", "type": "tests.echo", "needs": ["write"]},
    ]
    with pytest.raises(DefinitionError, match="a cycle, none of them can start; a loop is made by next"):
        define("article", steps=steps)


@pytest.mark.parametrize("order", list(permutations(["paid", "packed", "asked"])), ids=" ".join)
def test_wcp_11_implicit_termination(kit: Kit, order: tuple[str, ...]) -> None:
    """The run is done when nothing is left to do, wherever that is, and no sooner; no step says so."""
    run = start(
        kit,
        """
        name: order
        steps:
          - {name: pay, type: flow.wait, needs: [], with: {event: paid}, on_error: remind}
          - {name: thank, type: tests.echo}
          - {name: pack, type: flow.wait, needs: [], with: {event: packed}}
          - {name: inquire, type: flow.wait, needs: [], with: {event: asked}}
          - {name: answer, type: tests.echo}
          - {name: file, type: tests.echo}
          - {name: remind, type: tests.echo, needs: jump}
        """,
    )
    for event in order:
        assert run.status == "waiting"
        kit.send_event(run, event)
    assert run.status == "done"
    assert set(statuses(run).values()) == {"done"}
    assert "remind" not in statuses(run)
