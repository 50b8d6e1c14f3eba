"""What publishing refuses and what it warns of: one row for each kind of problem, with its step and field."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest

from django_workflow.context import StepContext
from django_workflow.definition.spec import MAX_STEPS, RESERVED_NAMES, RESERVED_STATE, StepSpec, WorkflowSpec
from django_workflow.definition.validate import Problem, check_definition, validate
from django_workflow.exceptions import Failed
from django_workflow.outcomes import End
from django_workflow.params import Condition, StepName
from django_workflow.registry import Handler


def note(context: StepContext, text: Any = None, number: int = 0) -> None:
    """May return a Goto of its own."""


def ring(context: StepContext, text: Any = None) -> None:
    """Stands for a built-in type that cannot jump."""


def branch(
    context: StepContext, if_: Condition, then: StepName | None = None, else_: StepName | None = None
) -> None:
    """Jumps to one of two steps."""


def switch(
    context: StepContext, value: Any, cases: dict[str, StepName], default: StepName | None = None
) -> None:
    """Jumps to the step of a case."""


def collect(context: StepContext, **params: Any) -> None:
    """Takes any keys."""


def finish(context: StepContext, **params: Any) -> End:
    """Always ends the run."""
    return End()


def give_up(context: StepContext, **params: Any) -> NoReturn:
    """Always fails."""
    raise Failed


def broken(context: StepContext, where: NoSuchClass) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Cannot be read by its annotations."""


for function in (ring, branch, switch, collect, finish, give_up):
    function.__module__ = "django_workflow.steps"

HANDLERS = {
    "app.note": Handler(type="app.note", function=note),
    "app.broken": Handler(type="app.broken", function=broken),
    "mail.ring": Handler(type="mail.ring", function=ring),
    "flow.branch": Handler(type="flow.branch", function=branch),
    "flow.switch": Handler(type="flow.switch", function=switch),
    "flow.set": Handler(type="flow.set", function=collect),
    "app.put": Handler(type="flow.set", function=collect),
    "flow.end": Handler(type="flow.end", function=finish),
    "flow.fail": Handler(type="flow.fail", function=give_up),
}


def note_step(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "app.note", **fields}


def ring_step(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "type": "mail.ring", **fields}


def check(*steps: Any, **fields: Any) -> list[Problem]:
    data = {"name": "demo", "steps": list(steps), **fields}
    return check_definition(data, HANDLERS.get)[1]


A = note_step("a")
B = note_step("b")
BRANCH = {"name": "pick", "type": "flow.branch"}

STEP_ERRORS: dict[str, tuple[list[Any], str, str, str]] = {
    "name with capitals": ([note_step("Ab")], "Ab", "name", "is no step name"),
    "name with a hyphen": ([note_step("a-b")], "a-b", "name", "is no step name"),
    "name too long": ([note_step("a" * 65)], "a" * 65, "name", "at most 64"),
    "name twice": ([A, A], "a", "name", "unique"),
    "type left out": ([{"name": "a"}], "a", "type", "a type is needed"),
    "unknown type": ([{"name": "a", "type": "no.such"}], "a", "type", "unknown step type 'no.such'"),
    "unreadable signature": ([{"name": "a", "type": "app.broken"}], "a", "type", "NoSuchClass"),
    "unknown field": ([note_step("a", nxt="b"), B], "a", "nxt", "did you mean 'next'?"),
    "unknown param": ([note_step("a", **{"with": {"txt": 1}})], "a", "with.txt", "did you mean 'text'?"),
    "param of a wrong type": ([note_step("a", **{"with": {"number": "x"}})], "a", "with.number", "'x'"),
    "missing param": ([{**BRANCH, "with": {}}], "pick", "with.if", "required"),
    "expression that does not parse": (
        [note_step("a", **{"with": {"text": "{{ x|nope }}"}})],
        "a",
        "with.text",
        "nope",
    ),
    "nested expression that does not parse": (
        [note_step("a", **{"with": {"text": [{"x": "hi {{ x"}]}})],
        "a",
        "with.text",
        "never closed",
    ),
    "condition that does not parse": ([note_step("a", **{"if": "1 <"})], "a", "if", "1 <"),
    "for_each that does not parse": ([note_step("a", for_each="x y")], "a", "for_each", "x y"),
    "condition param that does not parse": (
        [{**BRANCH, "with": {"if": "a and", "then": "a"}}, A],
        "pick",
        "with.if",
        "a and",
    ),
    "unknown need": (
        [note_step("alpha"), note_step("b", needs=["alpa"])],
        "b",
        "needs",
        "did you mean 'alpha'?",
    ),
    "need of itself": ([note_step("a", needs=["a"])], "a", "needs", "itself"),
    "jump in a list": ([A, note_step("b", needs=["jump"])], "b", "needs", "stands alone"),
    "cycle": ([note_step("a", needs=["b"]), note_step("b", needs=["a"])], "a", "needs", "a needs b needs a"),
    "unknown next": ([note_step("a", next="c"), B], "a", "next", "no step is called 'c'"),
    "next that on_error knows": ([note_step("a", next="fail"), B], "a", "next", "(or end)"),
    "unknown on_error": ([note_step("a", on_error="c"), B], "a", "on_error", "(or fail, continue)"),
    "on_error to the end": ([note_step("a", on_error="end"), B], "a", "on_error", "no step is called 'end'"),
    "unknown on_error of a class": ([note_step("a", on_error={"X": "c"}), B], "a", "on_error", "'c'"),
    "unknown step in a param": (
        [{**BRANCH, "with": {"if": "1", "then": "no"}}, A],
        "pick",
        "with.then",
        "'no'",
    ),
    "unknown step in a mapping": (
        [{"name": "pick", "type": "flow.switch", "with": {"value": 1, "cases": {"x": "no"}}}, A],
        "pick",
        "with.cases",
        "'no'",
    ),
    "jump from an item": (
        [{**BRANCH, "for_each": "x", "with": {"if": "item", "then": "a"}}, A],
        "pick",
        "with.then",
        "an item cannot jump",
    ),
    "max_parallel alone": ([note_step("a", max_parallel=2)], "a", "max_parallel", "for_each"),
    "expression as a queue": ([note_step("a", queue="{{ q }}")], "a", "queue", "literally"),
    "item outside for_each": (
        [note_step("a", **{"with": {"text": "{{ item.x }}"}})],
        "a",
        "with.text",
        "for_each",
    ),
    "index outside for_each": ([note_step("a", **{"if": "index > 1"})], "a", "if", "for_each"),
    "item before the items": (
        [note_step("a", for_each="x", **{"if": "item.ok"})],
        "a",
        "if",
        "before the items",
    ),
    "unknown step in steps": (
        [note_step("alpha"), note_step("b", **{"if": "steps.alpa.x"})],
        "b",
        "if",
        "did you mean 'alpha'?",
    ),
    "unknown step in errors": ([A, note_step("b", **{"if": "errors.c"})], "b", "if", "errors.c"),
    "steps alone": ([A, note_step("b", for_each="steps")], "b", "for_each", "as in steps.a"),
    "step that comes later": ([note_step("a", **{"if": "steps.b"}), B], "a", "if", "b does not run before"),
    "step of a parallel branch": (
        [A, B, note_step("c", needs=["a"], **{"with": {"text": "{{ steps.b }}"}})],
        "c",
        "with.text",
        "steps.b",
    ),
    "its own output": ([note_step("a", **{"if": "steps.a"})], "a", "if", "jumps back"),
    "reference in a filter's argument": (
        [note_step("a", **{"with": {"text": "{{ x|default:steps.b }}"}}), B],
        "a",
        "with.text",
        "steps.b",
    ),
    "reference in a condition param": (
        [{**BRANCH, "with": {"if": "steps.b.x", "then": "b"}}, B],
        "pick",
        "with.if",
        "steps.b",
    ),
    "unknown name of the run": (
        [note_step("a", **{"if": "run.user"})],
        "a",
        "if",
        "run.id, run.key, run.workflow",
    ),
    "reserved key of the state": (
        [{"name": "a", "type": "flow.set", "with": {"steps": 1}}],
        "a",
        "with.steps",
        "word",
    ),
    "reserved key by an alias": (
        [{"name": "a", "type": "app.put", "with": {"item": 1}}],
        "a",
        "with.item",
        "word",
    ),
    "nothing reaches it": ([ring_step("a"), ring_step("b", needs="jump")], "b", "needs", "can never run"),
    "always jumped past on a path": (
        [
            ring_step("a", on_error="c"),
            ring_step("c", needs="jump", next="e"),
            ring_step("d", needs=["c"]),
            ring_step("e", needs=["c"], next="end"),
        ],
        "d",
        "needs",
        "can never run",
    ),
    "no noise after an unknown target": (
        [{**BRANCH, "with": {"if": "1", "then": "no"}}, ring_step("b", needs="jump")],
        "pick",
        "with.then",
        "'no'",
    ),
    "always jumped past": (
        [ring_step("a", next="c"), ring_step("b"), ring_step("c")],
        "b",
        "needs",
        "can never run",
    ),
    "below an end": ([{"name": "a", "type": "flow.end"}, ring_step("b")], "b", "needs", "can never run"),
    "below a whole branch": (
        [
            {**BRANCH, "with": {"if": "1", "then": "c", "else": "d"}},
            ring_step("b"),
            ring_step("c", needs="jump"),
            ring_step("d", needs="jump"),
        ],
        "b",
        "needs",
        "can never run",
    ),
}


@pytest.mark.parametrize(("steps", "step", "field", "text"), STEP_ERRORS.values(), ids=STEP_ERRORS)
def test_error_of_a_step_names_step_and_field(steps: list[Any], step: str, field: str, text: str) -> None:
    errors = [problem for problem in check(*steps) if problem.level == "error"]

    assert [(problem.step, problem.field) for problem in errors] == [(step, field)]
    assert text in errors[0].message


WORKFLOW_ERRORS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no name": ({"name": None}, "name", "slug"),
    "empty name": ({"name": ""}, "name", "slug"),
    "name with a space": ({"name": "a b"}, "name", "slug"),
    "no steps": ({"steps": []}, "steps", "at least one step"),
    "steps of a wrong kind": ({"steps": "a"}, "steps", "a list of steps"),
    "too many steps": ({"steps": [{"type": "app.note"}] * (MAX_STEPS + 1)}, "steps", "1,001 steps"),
    "on_failure of a wrong kind": ({"on_failure": "retry"}, "on_failure", "undo, or {workflow: name}"),
    "on_failure without a slug": ({"on_failure": {"workflow": "a b"}}, "on_failure", "slug"),
    "on_failure with more": ({"on_failure": {"workflow": "b", "input": 1}}, "on_failure", "{workflow: name}"),
    "unknown input type": ({"input": {"x": "strr"}}, "input", "did you mean 'str'?"),
    "unknown input key": ({"input": {"x": {"typ": "str"}}}, "input", "typ"),
    "unknown format": ({"format": 2}, "format", "reads format 1"),
    "unknown field": ({"stepz": 1}, "stepz", "did you mean 'steps'?"),
}


@pytest.mark.parametrize(("fields", "field", "text"), WORKFLOW_ERRORS.values(), ids=WORKFLOW_ERRORS)
def test_error_of_the_workflow_names_the_field(fields: dict[str, Any], field: str, text: str) -> None:
    problems = check_definition({"name": "demo", "steps": [A], **fields}, HANDLERS.get)[1]

    assert [(problem.step, problem.field, problem.level) for problem in problems] == [("", field, "error")]
    assert text in problems[0].message


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_reserved_step_name_is_an_error(name: str) -> None:
    assert ("name", "error") in {(problem.field, problem.level) for problem in check(note_step(name))}


@pytest.mark.parametrize("name", sorted(RESERVED_STATE))
def test_reserved_state_key_is_no_name_for_an_input(name: str) -> None:
    (problem,) = check(A, input={name: "str"})

    assert problem.field == "input"
    assert repr(name) in problem.message


WARNINGS: dict[str, tuple[list[Any], str, str, str]] = {
    "only an own Goto": ([A, note_step("b", needs="jump")], "b", "needs", 'Goto("b")'),
    "only an own Goto past a next": (
        [note_step("a", next="c"), B, note_step("c")],
        "b",
        "needs",
        'Goto("b")',
    ),
    "on_error to the main line": (
        [note_step("a", on_error="c"), B, note_step("c")],
        "a",
        "on_error",
        "c also runs",
    ),
    "on_error of a class to the main line": (
        [note_step("a", on_error={"X": "b", "*": "fail"}), B],
        "a",
        "on_error",
        "b also runs",
    ),
    "end beside a branch": (
        [note_step("a", needs=[]), note_step("b", needs=[], next="end")],
        "b",
        "next",
        "while a may still run",
    ),
    "end type beside a branch": (
        [note_step("a", needs=[]), {"name": "b", "type": "flow.end", "needs": []}],
        "b",
        "type",
        "while a may still run",
    ),
    "end on a path beside a branch": (
        [
            note_step("a", needs=[]),
            note_step("b", needs=[], on_error="c"),
            note_step("c", needs="jump", next="end"),
        ],
        "c",
        "next",
        "while a may still run",
    ),
    "end beside a branch of its own path": (
        [
            note_step("a", on_error="c"),
            note_step("c", needs="jump"),
            note_step("d", needs=["c"]),
            note_step("e", needs=["c"], next="end"),
        ],
        "e",
        "next",
        "while d may still run",
    ),
    "delay cut": ([note_step("a", retry={"delay": "2h"})], "a", "retry", "max_delay"),
    "policy that never applies": ([note_step("a", retry=[{}, {"errors": ["X"]}])], "a", "retry", "policy 1"),
}


@pytest.mark.parametrize(("steps", "step", "field", "text"), WARNINGS.values(), ids=WARNINGS)
def test_warning_names_step_and_field(steps: list[Any], step: str, field: str, text: str) -> None:
    problems = check(*steps)

    assert [(problem.step, problem.field, problem.level) for problem in problems] == [
        (step, field, "warning")
    ]
    assert text in problems[0].message


def test_timeout_beyond_the_deadline_of_the_run_is_a_warning() -> None:
    (problem,) = check(note_step("a", timeout="2h"), timeout="1h")

    assert (problem.step, problem.field, problem.level) == ("a", "timeout", "warning")


FINE: dict[str, list[Any]] = {
    "a step before one that jumps anywhere": [
        note_step("a", **{"if": "steps.pick"}),
        {**BRANCH, "with": {"if": True, "then": "{{ target }}"}},
    ],
    "a next under continue for one error": [
        ring_step("a", next="c", on_error={"X": "continue"}),
        B,
        note_step("c"),
    ],
    "an end for each of perhaps no items": [
        {"name": "a", "type": "flow.end", "for_each": "x"},
        ring_step("b"),
    ],
    "the ordered list": [
        A,
        B,
        note_step("c", **{"with": {"text": "{{ steps.a.x }} {{ errors.b }} {{ run.key }}"}}),
    ],
    "a diamond": [
        A,
        note_step("b", needs=["a"]),
        note_step("c", needs=["a"]),
        note_step("d", needs=["b", "c"]),
    ],
    "any of one need": [A, note_step("b", join="any")],
    "an end below all": [A, note_step("b", next="end")],
    "an end under a condition": [A, note_step("b", next="end", **{"if": "x"}), note_step("c")],
    "a next under continue": [note_step("a", next="c", on_error="continue"), B, note_step("c")],
    "a loop by next": [A, note_step("b", next="a", **{"if": "x"}), note_step("c")],
    "a loop knows later steps": [
        note_step("a", **{"if": "steps.b"}),
        note_step("b", next="a", **{"if": "steps.b"}),
    ],
    "a loop by on_error": [A, note_step("b", on_error="a")],
    "a step that tries itself again": [note_step("a", on_error="a", **{"if": "errors.a"})],
    "an error path": [
        note_step("a", on_error={"Rejected": "b", "*": "fail"}),
        note_step("b", needs="jump", **{"with": {"text": "{{ error.message }} {{ steps.a }}"}}),
        {"name": "c", "type": "flow.fail"},
    ],
    "an error path below an end": [
        ring_step("a", on_error="c"),
        {"name": "b", "type": "flow.end"},
        ring_step("c"),
    ],
    "an error path beside nothing that ends": [
        note_step("a", on_error="c"),
        B,
        note_step("c", needs="jump", next="end"),
    ],
    "branches that end apart": [
        {**BRANCH, "with": {"if": "{{ x > 1 }}", "then": "b", "else": "c"}},
        ring_step("b", needs="jump", next="end"),
        ring_step("c", needs="jump", next="end"),
    ],
    "a switch that goes on": [
        {"name": "pick", "type": "flow.switch", "with": {"value": "{{ x }}", "cases": {"1": "c"}}},
        ring_step("b"),
        ring_step("c", needs="jump"),
    ],
    "a target that an expression names": [
        {**BRANCH, "with": {"if": True, "then": "{{ target }}"}},
        ring_step("b", needs="jump", **{"with": {"text": "{{ steps.pick }}"}}),
    ],
    "cases that an expression gives": [
        {"name": "pick", "type": "flow.switch", "with": {"value": 1, "cases": "{{ cases }}"}},
        ring_step("b", needs="jump"),
    ],
    "items": [
        A,
        note_step("b", for_each="steps.a", max_parallel=3, **{"with": {"text": "{{ item.x }}{{ index }}"}}),
    ],
    "a jump from a whole for_each": [
        ring_step("a", for_each="x", next="c", on_error="b"),
        ring_step("b", needs="jump"),
        ring_step("c", needs=["a"]),
    ],
    "keys of the state": [{"name": "a", "type": "flow.set", "with": {"total": 1}}],
    "policies in order": [note_step("a", retry=[{"errors": ["X"]}, {"attempts": 2}])],
}


@pytest.mark.parametrize("steps", FINE.values(), ids=FINE)
def test_sound_definition_has_no_problems(steps: list[Any]) -> None:
    assert check(*steps) == []


def test_step_that_only_an_own_goto_reaches_may_read_any_step() -> None:
    problems = check(
        A, note_step("b", needs="jump", **{"if": "steps.a"}), note_step("c", **{"if": "steps.b"})
    )

    assert [problem.level for problem in problems] == ["warning"]


def test_declared_input_of_known_types_is_fine() -> None:
    assert (
        check(A, input={"x": "int", "order": "testapp.Order", "y": {"type": "str", "required": False}}) == []
    )


def test_problems_come_all_at_once_in_step_order() -> None:
    problems = check(
        note_step("a", next="no", **{"with": {"number": "x", "txt": 1}}),
        note_step("b", needs=["nope"], undo={"type": "x.y"}),
        {"name": "c", "type": "app.nothing"},
        queue=3,
        on_failure="redo",
    )

    assert [(problem.step, problem.field) for problem in problems] == [
        ("", "queue"),
        ("", "on_failure"),
        ("a", "with.txt"),
        ("a", "with.number"),
        ("a", "next"),
        ("b", "needs"),
        ("b", "undo.type"),
        ("c", "type"),
    ]


def test_every_cycle_is_named() -> None:
    problems = check(
        note_step("a", needs=["b"]),
        note_step("b", needs=["a"]),
        note_step("c", needs=["e", "a"]),
        note_step("d", needs=["c"]),
        note_step("e", needs=["d"]),
        note_step("f"),
    )

    assert [(problem.step, problem.message.partition(":")[0]) for problem in problems] == [
        ("a", "a needs b needs a"),
        ("c", "c needs e needs d needs c"),
    ]


def test_spec_made_in_python_is_checked_like_text() -> None:
    spec = WorkflowSpec(name="no slug", steps=(StepSpec(name="a", type="app.note", next="b"),))

    assert [(problem.step, problem.field) for problem in validate(spec, HANDLERS.get)] == [
        ("", "name"),
        ("a", "next"),
    ]


def test_long_list_is_checked_in_reasonable_time() -> None:
    steps = [note_step("s0"), *(note_step(f"s{n}", **{"if": f"steps.s{n - 1}"}) for n in range(1, MAX_STEPS))]

    assert check(*steps) == []
