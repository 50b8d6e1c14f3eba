"""``restart_run(from_step=…)``: what ended well before it is copied, and the run goes on from there."""

from __future__ import annotations

from copy import copy
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from django_workflow import Goto, Sleep, VerbRefused, define, restart_run, retry_run, skip_step, trigger
from django_workflow.engine.control import end_overdue
from django_workflow.engine.execute import work as work_due
from django_workflow.exceptions import TooLarge
from django_workflow.models import Run, StepRun
from tests.support.runs import fresh, history, let_time_pass, notes, start, step_run, step_runs

pytestmark = pytest.mark.django_db(transaction=True)


def work(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "tests.work", **fields}


def echo(name: str, value: Any, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "tests.echo", "with": {"value": value}, **fields}


def test_what_ended_well_is_copied_and_the_rest_runs(broken) -> None:
    broken.add("two")
    old = start([work("one"), work("two"), echo("three", "{{ steps.one }}, {{ steps.two }}")])
    broken.clear()
    new = restart_run(old, from_step="two")
    assert (new.status, new.output) == ("done", "one worked, two worked")
    assert notes() == ["one 1", "two 1", "two 1"]
    assert history(new) == ["one:done", "two:done", "three:done"]
    copied, original = step_run(new, "one"), step_run(old, "one")
    same = ("output", "number", "visit", "attempt", "params", "finished_at", "worker", "state_changes")
    assert [getattr(copied, name) for name in same] == [getattr(original, name) for name in same]
    assert list(step_runs(new).order_by("number").values_list("step", flat=True)) == ["one", "two", "three"]
    assert new.actions.get().step == "two"
    assert list(step_runs(old).values_list("status", flat=True)) == ["done", "failed"]


def test_what_comes_after_the_step_runs_again_and_nothing_beside_it(broken) -> None:
    old = start([work("one"), work("two"), work("three"), work("aside", needs=["one"])])
    before = notes()
    restart_run(old, from_step="two")
    assert notes()[len(before) :] == ["two 1", "three 1"]


def test_the_state_is_what_the_copied_steps_left(register) -> None:
    seen: list[dict[str, Any]] = []

    @register("tests.write")
    def write(context, delete: str = "", **values: Any) -> None:
        seen.append(dict(context.state))
        if delete:
            del context.state[delete]
        context.state.update(values)

    steps = [{"a": 1, "b": 2}, {"delete": "given", "c": 3}, {"b": 5, "delete": "a"}, {}]
    names = ["one", "two", "three", "four"]
    flow = [
        {"name": name, "type": "tests.write", "with": values}
        for name, values in zip(names, steps, strict=True)
    ]
    old = start(flow, {"given": 1, "kept": 2})
    states = list(seen)
    assert states[3] == {"kept": 2, "b": 5, "c": 3}
    for place, name in enumerate(names):
        seen.clear()
        restart_run(old, from_step=name)
        assert seen == states[place:]


def test_an_edited_input_is_the_state_that_the_copied_steps_changed(register) -> None:
    old = start(
        [{"name": "one", "type": "flow.set", "with": {"a": 1}}, echo("two", "{{ a }} {{ b }}")], {"b": 1}
    )
    assert restart_run(old, from_step="two", input={"b": 7, "a": 0}).output == "1 7"


def test_items_and_their_handled_errors_are_copied(register) -> None:
    calls = []

    @register("tests.item")
    def item(value: int) -> int:
        calls.append(value)
        if value == 2:
            raise ValueError("no 2")
        return value * 10

    map_ = {"name": "map", "type": "tests.item", "for_each": "values", "with": {"value": "{{ item }}"}}
    steps = [{**map_, "on_error": "continue"}, echo("last", ["{{ steps.map }}", "{{ errors.map }}"])]
    old = start(steps, {"values": [1, 2, 3]})
    new = restart_run(old, from_step="last")
    assert (calls, new.output) == ([1, 2, 3], fresh(old).output)
    assert new.output[0] == [10, None, 30]
    assert new.output[1][0]["index"] == 1


def test_a_step_that_waits_for_others_starts_whatever_its_needs_say(broken) -> None:
    broken.add("one")
    nap = {"name": "nap", "type": "flow.sleep", "needs": [], "with": {"for": "1h"}}
    old = start([work("one", needs=[]), nap, work("join", needs=["one", "nap"])])
    broken.clear()
    new = restart_run(old, from_step="join")
    # What had failed or was cancelled beside it is ready by its own needs, and starts as well.
    assert sorted(history(new)) == ["join:done", "nap:waiting", "one:done"]
    assert let_time_pass(new).status == "done"
    assert sorted(notes()) == ["join 1", "one 1", "one 1"]


def test_the_condition_of_the_step_holds(broken) -> None:
    old = start([work("one"), work("two", **{"if": "wanted"})], {"wanted": True})
    restart_run(old, from_step="two", input={"wanted": False})
    assert notes() == ["one 1", "two 1"]


def test_a_skipped_step_is_copied_with_its_output(broken) -> None:
    broken.add("one")
    old = start([work("one"), echo("two", "{{ steps.one }}")])
    skip_step(old, "one", "by hand")
    assert restart_run(old, from_step="two").output == "by hand"
    assert notes() == ["one 1"]


def test_an_error_path_is_gone_along_again_with_its_error(broken) -> None:
    broken.update({"one", "rescue"})
    steps = [
        work("one", on_error="rescue"),
        work("two"),
        work("rescue", needs="jump"),
        echo("last", "{{ error.step }}"),
    ]
    old = start(steps)
    assert (old.status, step_run(old, "rescue").status) == ("failed", "failed")
    broken.discard("rescue")
    new = restart_run(old, from_step="rescue")
    assert (new.status, new.output) == ("done", "one")
    assert notes() == ["one 1", "rescue 1", "rescue 1"]


def test_an_error_path_that_the_ending_cut_off_is_gone_along_beside_the_step(broken) -> None:
    broken.update({"one", "two"})
    rescue = {"name": "rescue", "type": "flow.sleep", "needs": "jump", "with": {"for": "1h"}}
    steps = [work("one", needs=[], on_error="rescue"), rescue, work("two", needs=[])]
    old = start(steps)
    assert (old.status, step_run(old, "rescue").status) == ("failed", "cancelled")
    broken.clear()
    new = restart_run(old, from_step="two")
    assert (new.status, step_run(new, "rescue").status) == ("waiting", "waiting")
    assert let_time_pass(new).status == "done"
    assert notes() == ["one 1", "two 1", "two 1"]


def test_a_loop_is_restarted_in_its_latest_visit(register) -> None:
    visits = []

    @register("tests.loop")
    def loop(context) -> Goto | int:
        visits.append((context.step, context.visit))
        return Goto("one") if context.visit < 3 else context.visit

    define(
        "flow",
        steps=[echo("zero", 0), echo("one", 1), {"name": "two", "type": "tests.loop"}, echo("last", 2)],
    )
    old = trigger("flow")
    visits.clear()
    new = restart_run(old, from_step="last")
    assert (new.status, visits, step_run(new, "two").visit) == ("done", [], 3)
    again = restart_run(old, from_step="two")
    assert (fresh(again).status, visits) == ("done", [("two", 1), ("two", 2), ("two", 3)])


def test_a_jump_that_the_ending_kept_from_being_taken_is_taken(register) -> None:
    @register("tests.leave")
    def leave(context) -> Goto:
        if Run.objects.count() == 1:
            Run.objects.update(deadline=timezone.now())
            end_overdue("default", timezone.now())
        return Goto("three")

    first = {"name": "one", "type": "tests.leave"}
    between = [{"name": name, "type": "tests.note"} for name in ("two", "three")]
    aside = {"name": "aside", "type": "tests.note", "needs": [], "delay": "1h"}
    old = start([first, *between, aside], timeout="1d")
    assert history(old) == ["one:done", "aside:cancelled"]
    new = restart_run(old, from_step="aside")
    assert let_time_pass(new).status == "done"
    assert notes() == ["three", "aside"]


def test_the_newest_version_runs_on_what_it_still_has(broken) -> None:
    broken.add("three")
    old = start([work("one"), work("two"), work("three")])
    broken.clear()
    define("flow", steps=[work("one"), work("new"), work("three", needs=["one"])])
    new = restart_run(old, from_step="three", newest=True)
    assert sorted(history(new)) == ["new:done", "one:done", "three:done"]
    assert (fresh(new).status, sorted(notes())) == ("done", ["new 1", "one 1", "three 1", "three 1", "two 1"])


def test_a_jump_to_a_step_that_the_newest_version_has_no_more_is_forgotten(broken) -> None:
    broken.update({"one", "last"})
    old = start([work("one", on_error="gone"), work("gone", needs="jump"), work("last")])
    broken.clear()
    define("flow", steps=[work("one"), work("last")])
    assert restart_run(old, from_step="last", newest=True).status == "done"


def test_a_restarted_run_that_fails_is_retried_and_restarted_like_any(broken) -> None:
    broken.add("two")
    old = start([work("one"), work("two"), work("three")])
    new = restart_run(old, from_step="two")
    assert new.status == "failed"
    broken.clear()
    retry_run(new)
    assert fresh(new).status == "done"
    third = restart_run(new, from_step="three")
    assert (third.status, third.restarted_from) == ("done", new)
    assert notes() == ["one 1", "two 1", "two 1", "two 2", "three 1", "three 1"]


def test_a_large_map_is_copied(register) -> None:
    @register("tests.item")
    def work_on(value: int) -> int:
        return value

    map_ = {"name": "map", "type": "tests.item", "for_each": "values", "with": {"value": "{{ item }}"}}
    old = start([map_, echo("last", "{{ steps.map|length }}")], {"values": [0, 1]})
    # As if it had had 600 items: more than are inserted with one statement.
    item = step_run(old, "map", index=1)
    copies = [copy(item) for _ in range(598)]
    for index, row in enumerate(copies, start=2):
        row.pk, row.index, row.item, row.output, row.number = uuid4(), index, index, index, 100 + index
        row._state.adding = True
    StepRun.objects.bulk_create(copies)
    step_runs(old).filter(step="map", index=-1).update(output=list(range(600)))
    new = restart_run(old, from_step="last")
    assert (new.output, step_runs(new).filter(index__gte=0).count()) == (600, 600)


def test_run_whose_steps_were_copied_to_a_restart_cannot_go_on(broken) -> None:
    broken.add("two")
    run = start([work("one"), work("two")])
    restart_run(run, from_step="two")
    with pytest.raises(VerbRefused, match="restarted"):
        retry_run(run)


@pytest.fixture
def sleeper(register):
    """Register a step that writes ``k`` and ``own``, sleeps, and writes ``late`` when it is woken."""

    @register("tests.sleeper")
    def sleeper(context):
        if context.event is None:
            context.state["k"], context.state["own"] = "sleeper", 1
            return Sleep(timedelta(hours=1))
        context.state["late"] = 2
        return None


OTHER = {"name": "other", "type": "flow.set", "needs": [], "delay": "1m", "with": {"k": "other"}}
SHOW = echo("last", "{{ k }} {{ own }}", needs=["sleeper", "other"])


def test_the_later_of_two_writers_of_a_key_counts_though_it_was_done_first(sleeper) -> None:
    old = start([OTHER, {"name": "sleeper", "type": "tests.sleeper", "needs": []}, SHOW])
    step_runs(old).filter(step="other").update(due_at=timezone.now() - timedelta(minutes=1))
    work_due("default")
    assert step_run(old, "other").status == "done"
    old = let_time_pass(old)
    assert (old.status, old.output, old.state["k"], old.state["late"]) == ("done", "other 1", "other", 2)
    new = fresh(restart_run(old, from_step="last"))
    assert (new.output, new.state) == ("other 1", old.state)
    again = fresh(restart_run(new, from_step="last"))
    assert (again.output, again.state) == ("other 1", old.state)


def test_a_sleeper_that_was_skipped_counts_by_when_it_wrote(sleeper) -> None:
    old = start([OTHER, {"name": "sleeper", "type": "tests.sleeper", "needs": []}, SHOW])
    step_runs(old).filter(step="other").update(due_at=timezone.now() - timedelta(minutes=1))
    work_due("default")
    skip_step(old, "sleeper")
    assert fresh(old).output == "other 1"
    assert fresh(restart_run(old, from_step="last")).output == "other 1"


def test_a_restart_with_an_input_that_leaves_no_room_for_the_state_is_refused(settings: Any) -> None:
    settings.DJANGO_WORKFLOW = {"QUEUE": None, "MAX_BYTES": 500}
    run = start(
        [{"type": "flow.set", "with": {"a": "x" * 300}}, {"name": "b", "type": "tests.fail"}], {"b": "x"}
    )
    with pytest.raises(TooLarge, match="the input with what the copied steps wrote"):
        restart_run(run, from_step="b", input={"b": "x" * 300})
