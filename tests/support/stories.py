"""What may happen to runs with branches, maps, waits, children and undo: told with and without deaths."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from django_workflow import (
    Sleep,
    StepContext,
    WaitForEvent,
    cancel_run,
    define,
    pause_run,
    resume_run,
    retry_run,
    send_event,
    skip_step,
    trigger,
    undo_run,
)
from django_workflow.engine.execute import work
from tests.support.dying import Story, time_passes
from tests.testapp.models import Note

MARK, ATOMIC, SHARING = "story.mark", "story.mark_atomically", "story.mark_idempotently"
WORK = partial(work, "default")
Step = Mapping[str, Any]


def place_of(context: StepContext) -> str:
    """Return what a call of a step is for, whatever its attempt."""
    index = -1 if context.index is None else context.index
    return f"{context.workflow} {context.step} {context.visit} {index}"


def mark(context: StepContext, value: Any = None) -> Any:
    """Note the call, and count it in the state: what is recorded twice counts twice."""
    Note.objects.create(text=place_of(context))
    return _count(context, value)


def mark_atomically(context: StepContext, value: Any = None) -> Any:
    """Write a row that must not be there twice, in the transaction of the checkpoint."""
    Note.objects.create(text=place_of(context), key=f"{context.run_id} {place_of(context)}")
    return _count(context, value)


def _count(context: StepContext, value: Any) -> Any:
    name = place_of(context).replace(" ", "_").replace(":", "_").replace("-1", "")
    context.state[name] = context.state.get(name, 0) + 1
    return context.step if value is None else value


def nap(context: StepContext) -> Any:
    """Sleep, wait for an event, and tell of both: three calls of one attempt."""
    if context.event is None:
        return Sleep(timedelta(hours=1))
    if context.event.name == "timer":
        return WaitForEvent("paid", timeout=timedelta(hours=1))
    return f"{context.event.name} {context.event.payload}"


def register_all(register: Callable[..., Any]) -> None:
    """Register the step types of the stories."""
    register(MARK)(mark)
    register(SHARING, idempotent=True)(mark)
    register(ATOMIC, atomic=True)(mark_atomically)
    register("story.nap")(nap)


def step(name: str, type_: str = MARK, **fields: Any) -> dict[str, Any]:
    """Return a step of a definition."""
    return {"name": name, "type": type_, **fields}


def call(workflow: str, name: str = "call", **fields: Any) -> dict[str, Any]:
    """Return a step that calls a workflow; the child has the key of its place."""
    key = f"{workflow}-{{{{ index }}}}" if "for_each" in fields else workflow
    params = {"workflow": workflow, "key": key, **fields.pop("params", {})}
    return step(name, "flow.call", **{"with": params, **fields})


def waiting(event: str, name: str = "wait", **fields: Any) -> dict[str, Any]:
    """Return a step that waits for an event."""
    return step(name, "flow.wait", **{"with": {"event": event}, **fields})


def flow(*steps: Step, name: str = "flow", **fields: Any) -> Callable[[], object]:
    """Return what defines a workflow."""
    return partial(define, name, steps=steps, **fields)


def all_of(*acts: Callable[[], object]) -> Callable[[], None]:
    """Return one act that does these."""

    def do_all() -> None:
        for act in acts:
            act()

    return do_all


START = partial(trigger, "flow", {"values": [1, 2, 3]}, key="k")
RUN = ("flow", "k")
FAIL = step("broken", "tests.fail")
UNDO = {"type": ATOMIC, "with": {"value": "{{ output }}"}}
TYPES = (MARK, ATOMIC, SHARING)


def _branches() -> Story:
    branches = [step(f"b{place}", type_, needs=["first"]) for place, type_ in enumerate(TYPES)]
    names = [each["name"] for each in branches]
    early = step("early", ATOMIC, needs=names, join="any")
    steps = [step("first"), *branches, early, step("join", ATOMIC, needs=names), step("last", needs=["join"])]
    return Story(define=flow(*steps), acts=[START])


def _map(type_: str) -> Story:
    items = step("items", type_, for_each="values", max_parallel=2, **{"with": {"value": "{{ item }}"}})
    after = step("after", ATOMIC, **{"with": {"value": "{{ steps.items }}"}})
    return Story(define=flow(items, after), acts=[START])


def _events() -> Story:
    early = partial(send_event, RUN, "early", 1, id="e1")
    steps = [waiting("early"), waiting("late", "other"), step("between"), waiting("once", "third")]
    late = [partial(send_event, RUN, "late", number, id="e2") for number in range(2)]
    once = partial(send_event, RUN, "once", 2)
    return Story(define=flow(*steps, step("after", ATOMIC)), acts=[early, early, START, *late, once])


def _timers() -> Story:
    in_time = waiting("never", timeout="2h", on_error={"WaitTimeout": "late"})
    steps = [
        step("delayed", ATOMIC, delay="1h"),
        step("nap", "story.nap"),
        step("pause", "flow.sleep", needs=["delayed"], **{"with": {"for": "2h"}}),
        {**in_time, "needs": ["nap", "pause"]},
        step("late", ATOMIC, needs="jump"),
    ]
    pay = partial(send_event, RUN, "paid", 7, id="e1")
    hours = [act for _ in range(3) for act in (partial(time_passes, hours=1.1), WORK)]
    return Story(define=flow(*steps), acts=[START, *hours[:4], pay, *hours, *hours])


def _child() -> Story:
    define_all = all_of(
        flow(step("leaf", ATOMIC), waiting("go"), name="grandchild"),
        flow(call("grandchild"), step("between"), name="child"),
        flow(call("child"), step("after", ATOMIC, **{"with": {"value": "{{ steps.call }}"}})),
    )
    go = partial(send_event, ("grandchild", "grandchild"), "go", 5, id="e1")
    return Story(define=define_all, acts=[START, go])


def _children() -> Story:
    define_all = all_of(
        flow(step("leaf", ATOMIC, **{"with": {"value": "{{ value }}"}}), name="child"),
        flow(
            call("child", for_each="values", max_parallel=2, params={"input": {"value": "{{ item }}"}}),
            step("after", ATOMIC, **{"with": {"value": "{{ steps.call }}"}}),
        ),
    )
    return Story(define=define_all, acts=[START])


def _cancelled_children() -> Story:
    define_all = all_of(
        flow(waiting("go"), name="grandchild"),
        flow(call("grandchild"), name="child"),
        flow(call("child"), call("child", "items", needs=[], for_each="values")),
    )
    return Story(define=define_all, acts=[START, partial(cancel_run, RUN)])


def _child_out_of_time() -> Story:
    define_all = all_of(
        flow(waiting("go"), name="child"),
        flow(call("child", timeout="1h", on_error="continue"), step("after", ATOMIC)),
    )
    return Story(define=define_all, acts=[START, partial(time_passes, hours=2), WORK])


def _retried_child() -> Story:
    work_when_open = waiting("open", timeout="1h")
    define_all = all_of(flow(work_when_open, name="child"), flow(call("child"), step("after", ATOMIC)))
    acts = [
        START,
        partial(time_passes, hours=2),
        WORK,
        partial(retry_run, RUN),
        partial(send_event, ("child", "child"), "open", 1, id="e1"),
    ]
    return Story(define=define_all, acts=acts)


def _undone() -> Story:
    items = step("items", ATOMIC, for_each="values", undo=UNDO, **{"with": {"value": "{{ item }}"}})
    steps = [step("a", undo=UNDO), step("b", ATOMIC, undo={"type": MARK}), items, FAIL]
    return Story(define=flow(*steps, on_failure="undo"), acts=[START])


def _undone_by_a_person() -> Story:
    steps = [step("a", undo=UNDO), step("b", ATOMIC, undo=UNDO), waiting("never")]
    return Story(define=flow(*steps), acts=[START, partial(cancel_run, RUN), partial(undo_run, RUN)])


def _alarm() -> Story:
    define_all = all_of(
        flow(step("ring", ATOMIC), name="alarm"),
        flow(step("a"), FAIL, on_failure={"workflow": "alarm"}),
    )
    return Story(define=define_all, acts=[START])


def _paused_and_skipped() -> Story:
    steps = [
        waiting("one"),
        step("left", ATOMIC, needs=["wait"]),
        waiting("two", "other", needs=[]),
        step("right", needs=["other"]),
        step("join", ATOMIC, needs=["left", "right"]),
    ]
    acts = [
        START,
        partial(pause_run, RUN),
        partial(send_event, RUN, "one", 1, id="e1"),
        partial(skip_step, RUN, "other", "by hand"),
        partial(resume_run, RUN),
    ]
    return Story(define=flow(*steps), acts=acts)


STORIES: Mapping[str, Story] = {
    "branches": _branches(),
    **{f"map of {type_}": _map(type_) for type_ in TYPES},
    "events": _events(),
    "timers": _timers(),
    "child": _child(),
    "map of children": _children(),
    "cancelled children": _cancelled_children(),
    "child out of time": _child_out_of_time(),
    "retried child": _retried_child(),
    "undo": _undone(),
    "undo by a person": _undone_by_a_person(),
    "on_failure": _alarm(),
    "pause and skip": _paused_and_skipped(),
}
