"""``skip_step``: a step that waits or failed is passed over, and the run goes on as if it were done."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone

from django_workflow import define, pause_run, resume_run, retry_run, skip_step, trigger
from django_workflow.exceptions import NotStorable, TooLarge, VerbRefused
from django_workflow.models import Run, RunAction
from tests.support.runs import fresh, history, items_of, let_time_pass, notes, start, step_run, step_runs
from tests.support.states import hold, run_in

pytestmark = pytest.mark.django_db(transaction=True)
AFTER = {"name": "after", "type": "tests.echo", "with": {"value": "{{ steps.one }}"}}
JOIN = {"name": "join", "type": "tests.note", "needs": ["one", "two"]}
CHILD = [{"name": "deep", "type": "flow.sleep", "with": {"for": "1h"}}]
WAITS = {
    "timer": {"type": "flow.sleep", "with": {"for": "1h"}},
    "delay": {"type": "tests.echo", "delay": "1h"},
    "retry": {"type": "tests.fail", "retry": {"attempts": 2, "delay": "1h"}},
    "event": {"type": "flow.wait", "with": {"event": "paid"}},
    "approval": {"type": "flow.approval", "with": {"group": "staff"}},
    "child": {"type": "flow.call", "with": {"workflow": "child"}},
    "items": {"type": "flow.sleep", "with": {"for": "1h"}, "for_each": "values"},
    "children": {"type": "flow.call", "with": {"workflow": "child"}, "for_each": "values"},
}


def _wait(kind: str, **fields: object) -> Run:
    Group.objects.get_or_create(name="staff")
    define("child", steps=CHILD)
    return start([{"name": "one", **WAITS[kind], **fields}, AFTER], {"values": [1, 2]})


@pytest.mark.parametrize("kind", WAITS)
def test_a_step_that_waits_is_skipped_with_its_output(kind: str) -> None:
    run = _wait(kind)
    assert skip_step(run, "one", {"id": 7}).status in ("running", "done")
    run = fresh(run)
    assert (run.status, run.output, run.output_of("one")) == ("done", {"id": 7}, {"id": 7})
    row = step_run(run, "one", index=-1, current=True)
    assert (row.status, row.waiting_for, row.due_at) == ("skipped", "", None)
    assert not step_runs(run).live().exists()


def test_the_items_beside_a_skipped_step_go_on() -> None:
    nap = {"type": "flow.sleep", "with": {"for": "1h"}, "for_each": "values", "needs": []}
    run = start([{**nap, "name": "one"}, {**nap, "name": "two"}], {"values": [1, 2]})
    skip_step(run, "one", "given")
    assert items_of(run, step="one") == ["one[0]:cancelled", "one[1]:cancelled"]
    assert items_of(run, step="two") == ["two[0]:waiting", "two[1]:waiting"]
    assert (let_time_pass(run).status, run.output_of("two")) == ("done", [None, None])


@pytest.mark.parametrize("kind", ["child", "children"])
def test_what_a_skipped_step_called_is_cancelled(kind: str) -> None:
    skip_step(_wait(kind), "one")
    called = Run.objects.filter(workflow__name="child")
    assert set(called.values_list("status", flat=True)) == {"cancelled"}


def test_a_step_without_a_handler_is_skipped() -> None:
    run = start([{"name": "one", "type": "flow.sleep", "with": {"for": "1h"}}, AFTER])
    step_runs(run).update(waiting_for="handler")
    skip_step(run, "one", 1)
    assert fresh(run).output == 1


@pytest.mark.parametrize("kind", WAITS)
def test_in_a_paused_run_what_follows_is_ready_at_resume(kind: str) -> None:
    run = _wait(kind)
    pause_run(run)
    assert skip_step(run, "one", 5).status == "paused"
    row = step_run(run, "after")
    assert (fresh(run).status, row.status, row.due_at) == ("paused", "pending", None)
    resume_run(run)
    assert fresh(run).output == 5


def test_a_failed_step_is_skipped_and_its_run_goes_on_with_a_new_deadline() -> None:
    run = start([{"name": "one", "type": "tests.fail"}, AFTER], timeout="1d")
    Run.objects.update(deadline=timezone.now())
    user = User.objects.create_user("staff")
    skip_step(run, "one", "by hand", by=user, note="done by hand")
    run = fresh(run)
    assert (run.status, run.error, run.output) == ("done", "", "by hand")
    assert run.deadline > timezone.now() + timedelta(hours=23)
    assert "broken" in step_run(run, "one").error
    action = RunAction.objects.get()
    assert (action.verb, action.step, action.by, action.note) == ("skip", "one", user, "done by hand")


def test_the_output_of_a_skipped_last_step_is_the_output_of_the_run() -> None:
    run = start(
        [{"name": "zero", "type": "tests.echo", "with": {"value": 0}}, {"name": "one", "type": "tests.fail"}]
    )
    skip_step(run, "one", {"id": 7})
    assert (fresh(run).status, fresh(run).output) == ("done", {"id": 7})


def test_the_output_of_a_step_skipped_before_the_end_is_the_output_of_the_run_where_it_is_the_last() -> None:
    nap = {"type": "flow.sleep", "needs": [], "with": {"for": "1h"}}
    run = start([{**nap, "name": "zero"}, {**nap, "name": "one"}])
    skip_step(run, "one", {"id": 7})
    assert let_time_pass(run).output == {"id": 7}


def test_a_step_skipped_without_an_output_leaves_the_output_to_the_one_before() -> None:
    run = start(
        [{"name": "zero", "type": "tests.echo", "with": {"value": 0}}, {"name": "one", "type": "tests.fail"}]
    )
    skip_step(run, "one")
    assert (fresh(run).status, fresh(run).output, run.output_of("one")) == ("done", 0, None)


@pytest.mark.parametrize("one", [WAITS["timer"], {"type": "tests.fail"}], ids=["waiting", "failed"])
def test_the_static_jump_of_a_skipped_step_is_taken(one) -> None:
    steps = [{"name": name, "type": "tests.note"} for name in ("two", "three")]
    run = start([{**one, "name": "one", "next": "three"}, *steps])
    skip_step(run, "one", 1)
    assert (fresh(run).status, notes()) == ("done", ["three"])


@pytest.mark.parametrize("one", [WAITS["timer"], {"type": "tests.fail"}], ids=["waiting", "failed"])
def test_a_skipped_step_that_leads_to_the_end_ends_the_run(one) -> None:
    two = {"name": "two", "type": "tests.note", "needs": [], "delay": "1h"}
    run = start([two, {**one, "name": "one", "needs": [], "next": "end"}])
    skip_step(run, "one", 1)
    run = fresh(run)
    assert (run.status, run.output, run.error, notes()) == ("done", 1, "", [])
    assert set(step_runs(run).filter(step="two").values_list("status", flat=True)) == {"cancelled"}


def test_what_the_ending_cancelled_begins_again_and_is_waited_for() -> None:
    two = {"name": "two", "type": "flow.sleep", "needs": [], "with": {"for": "1h"}}
    run = start([{"name": "one", "type": "tests.fail", "needs": []}, two, JOIN])
    assert sorted(history(run)) == ["one:failed", "two:cancelled"]
    skip_step(run, "one")
    assert (fresh(run).status, notes()) == ("waiting", [])
    assert let_time_pass(run).status == "done"
    assert notes() == ["join"]


@pytest.fixture
def two_failures(broken) -> Run:
    """Return a run of which two parallel steps have failed; the first leads to ``three``."""
    broken.update({"one", "two"})
    one = {"name": "one", "type": "tests.work", "needs": [], "next": "three"}
    two = {"name": "two", "type": "tests.work", "needs": []}
    last = [{"name": name, "type": "tests.note", "needs": ["one"]} for name in ("between", "three")]
    run = start([one, two, *last])
    # The second was under way when the first ended the run.
    step_runs(run).filter(step="two").update(status="failed", error="no two", started_at=timezone.now())
    return fresh(run)


def test_a_run_stays_failed_by_the_other_step_that_failed(two_failures) -> None:
    run = two_failures
    assert skip_step(run, "one", 1).status == "failed"
    run = fresh(run)
    assert (run.status, run.ending, run.error, run.step) == ("failed", "failed", "no two", "two")
    assert run.finished_at is not None
    assert notes() == ["one 1"]
    skip_step(run, "two", 2)
    assert (fresh(run).status, notes()) == ("done", ["one 1", "three"])


def test_a_retry_after_a_skip_retries_only_what_failed(two_failures, broken) -> None:
    run = two_failures
    skip_step(run, "one", 1)
    broken.clear()
    retry_run(run)
    assert fresh(run).status == "done"
    assert sorted(notes()) == ["one 1", "three", "two 2"]
    assert fresh(run).output_of("one") == 1


def test_a_failed_step_with_items_is_skipped_as_a_whole() -> None:
    one = {"name": "one", "type": "tests.fail", "for_each": "values"}
    run = start([one, AFTER], {"values": [1, 2]})
    skip_step(run, "one", ["a", "b"])
    assert (fresh(run).status, fresh(run).output) == ("done", ["a", "b"])


def test_an_item_that_runs_while_its_step_is_skipped_is_dropped(register) -> None:
    @register("tests.item")
    def item(context) -> int:
        if context.index == 0:
            skip_step(context.run_id, "one", "given")
        return context.index

    one = {"name": "one", "type": "tests.item", "for_each": "values"}
    run = start([one, AFTER], {"values": [1, 2]})
    assert let_time_pass(run).status == "done"
    assert fresh(run).output == "given"
    assert set(step_runs(run).filter(index__gte=0).values_list("status", "output")) == {("cancelled", None)}


def test_errors_say_nothing_of_a_step_that_was_skipped() -> None:
    one = {"name": "one", "type": "tests.fail", "retry": {"attempts": 2, "delay": "1h"}}
    run = start([one, {**AFTER, "with": {"value": "{{ errors.one }}"}}])
    skip_step(run, "one")
    assert (fresh(run).status, fresh(run).output) == ("done", None)


def test_a_row_is_given_as_output(register) -> None:
    user = User.objects.create_user("staff")
    run = start(
        [{"name": "one", "type": "tests.fail"}, {**AFTER, "with": {"value": "{{ steps.one.username }}"}}]
    )
    skip_step(run, "one", user)
    assert (fresh(run).output, run.output_of("one")) == ("staff", user)


@pytest.mark.parametrize(
    ("steps", "name", "why"),
    [
        ([{"name": "one", "type": "tests.fail"}], "on", "no step 'on'; its steps are one"),
        ([WAITS["timer"] | {"name": "one"}, AFTER], "after", "has not begun"),
        ([{"name": "zero", "type": "tests.echo"}, WAITS["timer"] | {"name": "one"}], "zero", "is done"),
        (
            [{"name": "zero", "type": "tests.echo"}, {"name": "one", "type": "tests.fail"}],
            "zero",
            "retry the run",
        ),
        (
            [
                {"name": "one", "type": "tests.fail", "on_error": "continue"},
                {"name": "two", "type": "tests.fail"},
            ],
            "one",
            "did not end the run",
        ),
        ([{"name": "one", "type": "tests.fail"}], "one:undo", "has no 'one:undo'"),
    ],
)
def test_a_step_that_neither_waits_nor_ended_the_run_is_refused(steps, name: str, why: str) -> None:
    run = start(steps)
    before = list(step_runs(run).values())
    with pytest.raises(VerbRefused, match=why):
        skip_step(run, name)
    assert (list(step_runs(run).values()), RunAction.objects.count()) == (before, 0)


def test_an_endless_loop_is_not_skipped_into_its_next_visit() -> None:
    one = {"name": "one", "type": "tests.fail", "next": "one"}
    run = start([one], max_visits=1)
    with pytest.raises(VerbRefused, match="max_visits is 1"):
        skip_step(run, "one")
    assert fresh(run).status == "failed"


@pytest.mark.parametrize(("output", "error"), [(object(), NotStorable), ("x" * 2**21, TooLarge)])
def test_an_output_that_cannot_be_kept_is_refused(output: object, error: type[Exception]) -> None:
    run = run_in("waiting")
    with pytest.raises(error):
        skip_step(run, "work", output)
    assert fresh(run).status == "waiting"


@pytest.fixture
def undoing(broken) -> Run:
    """Return a run whose undo stopped at that of ``b``, the second of ``b`` and ``a``."""
    broken.add("b:undo")
    undo = {"undo": {"type": "tests.work"}}
    steps = [{"name": name, "type": "tests.echo", **undo} for name in ("a", "b")]
    return start([*steps, {"name": "c", "type": "tests.fail"}], on_failure="undo")


def test_an_undo_that_failed_is_skipped_and_the_next_one_begins(undoing) -> None:
    run = undoing
    assert (run.status, notes()) == ("failed", ["b:undo 1"])
    skip_step(run, "b:undo", note="done by hand")
    run = fresh(run)
    assert (run.status, notes()) == ("failed", ["b:undo 1", "a:undo 1"])
    assert step_run(run, "b:undo").status == "skipped"
    assert run.error == "broken"


def test_the_last_undo_is_skipped_and_the_run_stays_as_it_ended(undoing, broken) -> None:
    broken.add("a:undo")
    skip_step(undoing, "b:undo")
    skip_step(undoing, "a:undo")
    assert (fresh(undoing).status, notes()) == ("failed", ["b:undo 1", "a:undo 1"])
    with pytest.raises(VerbRefused, match="no 'a:undo'"):
        skip_step(undoing, "a:undo")


def test_an_undo_that_waits_is_skipped() -> None:
    undo = {"undo": {"type": "flow.sleep", "with": {"for": "1h"}}}
    steps = [{"name": name, "type": "tests.echo", **undo} for name in ("a", "b")]
    run = fresh(start([*steps, {"name": "c", "type": "tests.fail"}], on_failure="undo"))
    assert (run.status, step_run(run, "b:undo").status) == ("running", "waiting")
    skip_step(run, "b:undo")
    assert (fresh(run).status, step_run(run, "a:undo").status) == ("running", "waiting")
    skip_step(run, "a:undo")
    assert fresh(run).status == "failed"


def test_a_step_that_runs_is_not_skipped() -> None:
    run = hold(_wait("timer"), "one")
    with pytest.raises(VerbRefused, match="is running"):
        skip_step(run, "one")


def test_a_skip_is_for_one_visit_of_a_loop() -> None:
    define("flow", steps=[{"name": "one", **WAITS["event"], "next": "one"}], max_visits=3)
    run = trigger("flow")
    skip_step(run, "one", 1)
    assert step_run(run, "one", current=True).visit == 2
    assert (fresh(run).status, run.output_of("one")) == ("waiting", None)


@pytest.mark.parametrize("first", [WAITS["event"], {"type": "tests.fail", "on_error": "fail"}])
def test_the_first_of_any_fires_when_it_is_skipped(first) -> None:
    other = {"name": "two", "needs": [], **WAITS["approval"]}
    join = {"name": "join", "type": "tests.note", "needs": ["one", "two"], "join": "any"}
    Group.objects.create(name="staff")
    run = start([other, {"name": "one", "needs": [], **first}, join])
    skip_step(run, "one")
    assert (notes(), step_run(run, "join").status) == (["join"], "done")


def test_a_step_whose_condition_was_false_fires_no_any() -> None:
    one = {"name": "one", "type": "tests.note", "if": "wanted"}
    two = {"name": "two", "needs": [], **WAITS["event"]}
    join = {"name": "join", "type": "tests.note", "needs": ["one", "two"], "join": "any"}
    run = start([one, two, join], {"wanted": False})
    assert (notes(), history(run)) == ([], ["one:skipped", "two:waiting"])
