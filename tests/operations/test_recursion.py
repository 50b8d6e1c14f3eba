"""Workflows that would call themselves without end are refused when they are published."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_workflow import define
from django_workflow.engine.publish import publish
from django_workflow.engine.sync import Verdict, preview, sync
from django_workflow.exceptions import DefinitionError
from django_workflow.models import Step, Workflow

from .conftest import Ship

pytestmark = pytest.mark.django_db


def call(workflow: str, **fields: Any) -> dict[str, Any]:
    return {"type": "flow.call", "with": {"workflow": workflow}, **fields}


def calling(name: str, workflow: str) -> str:
    return f"name: {name}\nsteps:\n  - {{type: flow.call, with: {{workflow: {workflow}}}}}\n"


def resting(name: str) -> str:
    return f"name: {name}\nsteps:\n  - {{type: flow.set, with: {{x: 1}}}}\n"


def versions(name: str) -> int:
    return Workflow.objects.get(name=name).versions.count()


def refusal(name: str, *steps: dict[str, Any]) -> str:
    with pytest.raises(DefinitionError) as caught:
        define(name, steps=steps)
    return str(caught.value)


def test_workflow_that_calls_itself_is_refused() -> None:
    text = refusal("a", call("a"))

    assert "step 'flow_call', with.workflow: a -> a: every run would start the next" in text
    assert not Workflow.objects.filter(name="a").exists()


def test_way_back_over_others_is_named() -> None:
    define("c", steps=[call("a")])
    define("b", steps=[call("unknown", name="other"), call("c", name="on")])

    assert "step 'first', with.workflow: a -> b -> c -> a" in refusal("a", call("b", name="first"))


def test_published_versions_count_and_drafts_do_not() -> None:
    define("b", steps=[call("a", **{"if": "again"})])
    Step.objects.filter(workflow__name="b").update(condition="")

    define("a", steps=[call("b")])

    assert versions("a") == 1


def test_draft_of_staff_is_refused_when_it_is_published() -> None:
    define("b", steps=[call("a")])
    draft = Workflow.objects.create(name="a")
    Step.objects.create(workflow=draft, name="on", type="flow.call", params={"workflow": "b"})

    with pytest.raises(DefinitionError, match="a -> b -> a"):
        publish(draft, using="default")

    draft.refresh_from_db()
    assert draft.published is None


def test_call_under_a_condition_may_lead_back() -> None:
    define("b", steps=[call("a")])

    define("a", steps=[call("b", **{"if": "again"})])

    assert versions("a") == 1


def test_levels_of_calls_cost_a_query_each() -> None:
    for number in range(20):
        define(f"leaf-{number}", steps=[{"type": "flow.set", "with": {"x": 1}}])
    steps = [call(f"leaf-{number}", name=f"s{number}") for number in range(20)]
    define("root", steps=[*steps, {"type": "flow.set", "if": "x"}])
    define("plain", steps=[{"type": "flow.set", "with": {"x": 1}}])

    def count(name: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            publish(Workflow.objects.get(name=name), using="default")
        return len(queries)

    # And one for what the called ones declare as input.
    assert count("root") == count("plain") + 2


def test_file_may_call_a_later_file(ship: Ship) -> None:
    ship("a.yaml", calling("a", "b"))
    ship("b.yaml", resting("b"))

    assert {each.verdict for each in sync("default")} == {Verdict.CREATED}


def test_files_that_call_each_other_are_refused(ship: Ship) -> None:
    ship("a.yaml", calling("a", "b"))
    ship("b.yaml", calling("b", "a"))
    ship("c.yaml", resting("c"))

    shown = {each.name: (each.verdict, each.note) for each in preview("default")}
    done = {each.name: (each.verdict, each.note) for each in sync("default")}

    assert {name: verdict for name, (verdict, _note) in done.items()} == {
        "a": Verdict.REFUSED,
        "b": Verdict.REFUSED,
        "c": Verdict.CREATED,
    }
    assert "a -> b -> a" in done["a"][1]
    assert {name: shown[name] for name in "ab"} == {name: done[name] for name in "ab"}


def test_call_that_turns_round_in_one_sync_is_published(ship: Ship) -> None:
    ship("a.yaml", resting("a"))
    ship("b.yaml", calling("b", "a"))
    sync("default")

    ship("a.yaml", calling("a", "b"))
    ship("b.yaml", resting("b"))

    assert {each.verdict for each in sync("default")} == {Verdict.UPDATED}
    assert (versions("a"), versions("b")) == (2, 2)


def test_file_that_will_not_be_published_does_not_count(ship: Ship) -> None:
    ship("a.yaml", resting("a"))
    ship("b.yaml", calling("b", "a"))
    sync("default")

    ship("a.yaml", calling("a", "b"))
    ship("b.yaml", "name: b\nsteps:\n  - {type: nobody.knows}\n")

    done = {each.name: each for each in sync("default")}
    assert {each.verdict for each in done.values()} == {Verdict.REFUSED}
    assert "a -> b -> a" in done["a"].note
