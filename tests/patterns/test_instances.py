"""Patterns with several instances of one activity: WCP-12 to WCP-15."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from django_workflow import StepContext, cancel_run
from django_workflow.test import Kit
from tests.support.flows import publish, runs_of, start, statuses, waits

REVIEW = """
    name: review
    steps:
      - {name: read, type: flow.wait, with: {event: read}}
      - {name: verdict, type: tests.echo, with: {value: "{{ name }}: {{ steps.read.payload }}"}}
"""
WRITTEN_OUT = """
    name: article
    steps:
      - {name: review_ann, type: flow.wait, needs: [], with: {event: ann}}
      - {name: review_bob, type: flow.wait, needs: [], with: {event: bob}}
      - {name: review_cleo, type: flow.wait, needs: [], with: {event: cleo}}
      - {name: decide, type: tests.echo, needs: [review_ann, review_bob, review_cleo]}
"""
LISTED = """
    name: article
    steps:
      - {name: appoint, type: flow.set, with: {reviewers: [ann, bob, cleo]}}
      - {name: review, type: flow.wait, for_each: reviewers, with: {event: "{{ item }}"}}
      - {name: decide, type: tests.echo}
"""
# Reviews are asked for as long as the editor likes, while earlier ones are under way or done.
OPEN_ENDED = """
    name: article
    steps:
      - {name: more, type: flow.wait, with: {event: [ask, enough]}}
      - {name: enough, type: flow.branch, with: {if: "steps.more.event == 'enough'", then: gather}}
      - {name: note, type: tests.note_reviewer, with: {name: "{{ steps.more.payload }}"}}
      - name: ask
        type: flow.call
        with:
          workflow: review
          key: "{{ run.id }}-{{ steps.more.payload }}"
          input: {name: "{{ steps.more.payload }}"}
          wait: false
        next: more
      - name: gather
        type: flow.call
        needs: jump
        for_each: reviewers
        with: {workflow: review, key: "{{ run.id }}-{{ item }}"}
      - {name: decide, type: tests.echo, with: {value: "{{ steps.gather }}"}}
"""


def test_wcp_12_multiple_instances_without_synchronization(kit: Kit) -> None:
    """Instances are started, and neither what started them nor its end waits for them."""
    publish(REVIEW)
    run = start(
        kit,
        """
        name: article
        steps:
          - name: ask
            type: flow.call
            for_each: reviewers
            with: {workflow: review, wait: false, input: {name: "{{ item }}"}}
          - {name: thank, type: tests.echo}
        """,
        reviewers=["ann", "bob", "cleo"],
    )
    assert (run.status, kit.path(run)) == ("done", ["ask", "thank"])
    reviews = runs_of("review")
    assert [(review.state["name"], review.status) for review in reviews] == [
        ("ann", "waiting"),
        ("bob", "waiting"),
        ("cleo", "waiting"),
    ]
    kit.send_event(reviews[1], "read")
    assert [review.status for review in runs_of("review")] == ["waiting", "done", "waiting"]


@pytest.mark.parametrize("text", [WRITTEN_OUT, LISTED], ids=["written out", "listed"])
def test_wcp_13_multiple_instances_with_a_priori_design_time_knowledge(kit: Kit, text: str) -> None:
    """As many as the definition says are under way at once; what follows begins after all of them."""
    run = start(kit, text)
    assert waits(run) == ["ann", "bob", "cleo"]
    for event in ("bob", "cleo", "ann"):
        assert "decide" not in statuses(run)
        kit.send_event(run, event)
    assert (run.status, kit.path(run).count("decide")) == ("done", 1)


FROM_STEP = """
    name: article
    steps:
      - {name: appoint, type: tests.echo, with: {value: "{{ reviewers }}"}}
      - {name: review, type: flow.wait, for_each: steps.appoint, with: {event: "{{ item }}"}}
      - {name: decide, type: tests.echo, with: {value: "{{ steps.review }}"}}
"""


@pytest.mark.parametrize("names", [[], ["ann"], ["ann", "bob", "cleo", "dora"]], ids=len)
def test_wcp_14_multiple_instances_with_a_priori_run_time_knowledge(kit: Kit, names: list[str]) -> None:
    """As many as a step gives in this run are under way at once; what follows has the result of each."""
    run = start(kit, FROM_STEP, reviewers=names)
    assert waits(run) == names
    for name in reversed(names):
        assert "decide" not in statuses(run)
        kit.send_event(run, name, f"{name} read it")
    assert run.status == "done"
    assert [each["payload"] for each in run.output] == [f"{name} read it" for name in names]


def test_wcp_14_multiple_instances_with_a_priori_run_time_knowledge_are_counted_once(kit: Kit) -> None:
    """Who is named after ``for_each`` has begun is not asked: for that see WCP-15."""
    run = start(
        kit,
        """
        name: article
        steps:
          - {name: review, type: flow.wait, needs: [], for_each: reviewers, with: {event: "{{ item }}"}}
          - {name: late, type: flow.wait, needs: [], with: {event: late}}
          - {name: add, type: flow.set, with: {reviewers: [ann, bob]}}
        """,
        reviewers=["ann"],
    )
    kit.send_event(run, "late")
    assert run.state["reviewers"] == ["ann", "bob"]
    assert waits(run) == ["ann"]
    kit.send_event(run, "ann")
    assert run.status == "done"


@pytest.fixture
def note_reviewer(register: Callable[..., Any]) -> None:
    @register("tests.note_reviewer", idempotent=True)
    def note_reviewer(context: StepContext, name: str) -> None:
        known = context.state.get("reviewers", [])
        context.state["reviewers"] = [*known, name]


def read(kit: Kit, name: str) -> None:
    review = next(run for run in runs_of("review") if run.state["name"] == name)
    kit.send_event(review, "read", "good")


@pytest.mark.usefixtures("note_reviewer")
def test_wcp_15_multiple_instances_without_a_priori_run_time_knowledge(kit: Kit) -> None:
    """Instances are added while others are under way or done; what follows begins after all of them.

    The key makes the second call find the run of the first, and wait for it.
    """
    publish(REVIEW)
    run = start(kit, OPEN_ENDED)
    kit.send_event(run, "ask", "ann")
    kit.send_event(run, "ask", "bob")
    assert [review.status for review in runs_of("review")] == ["waiting", "waiting"]
    read(kit, "bob")
    kit.send_event(run, "ask", "cleo")
    assert [review.status for review in runs_of("review")] == ["waiting", "done", "waiting"]
    kit.send_event(run, "enough")
    for name in ("cleo", "ann"):
        assert statuses(run)["gather"] == "waiting"
        read(kit, name)
    assert (run.status, run.output) == ("done", ["ann: good", "bob: good", "cleo: good"])
    assert len(runs_of("review")) == 3


@pytest.mark.usefixtures("note_reviewer")
def test_wcp_15_multiple_instances_without_a_priori_run_time_knowledge_outlive_a_cancel(kit: Kit) -> None:
    """Nobody waits for them before they are gathered, so a cancel does not reach them: name them by key."""
    publish(REVIEW)
    run = start(kit, OPEN_ENDED)
    kit.send_event(run, "ask", "ann")
    cancel_run(run)
    (review,) = runs_of("review")
    assert (review.status, review.key) == ("waiting", f"{run.pk}-ann")
