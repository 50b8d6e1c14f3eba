"""Rows of any key, of several columns, long, of bytes: runs keep them, or refuse them and lose nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Model
from django.test import override_settings

from django_workflow import (
    approve,
    define,
    restart_run,
    send_event,
    skip_step,
    trigger,
    trigger_many,
)
from django_workflow.exceptions import NotAllowed, NotStorable, ParamsError
from django_workflow.models import Run, StepRun
from tests.support.runs import fresh, start, step_run
from tests.testapp.models import Block, Note, Pair, Paper, Route, Seat

pytestmark = pytest.mark.django_db(transaction=True)

Make = Callable[[], Model]


def seat() -> Seat:
    Seat.objects.create(hall='"B", [2', number=7)
    return Seat.objects.create(hall='"A", [1', number=7)


def block() -> Block:
    if connection.vendor == "mysql":
        pytest.skip("It has no keys of bytes.")
    return Block.objects.create(digest=b"\x00\xff$", name="genesis")


def paper() -> Paper:
    return Paper.objects.create(title="ü" * 300)


def route() -> Route:
    return Route.objects.create(way=Pair(("a", "b")))


every_key = pytest.mark.parametrize("make", [seat, block, paper])
subject_key = pytest.mark.parametrize("make", [seat, block])


@pytest.fixture
def holder(monkeypatch: pytest.MonkeyPatch) -> type[ByRow]:
    monkeypatch.setattr(ByRow, "rows", [])
    return ByRow


class ByRow:
    """A backend that gives permissions for single rows."""

    rows: list[Any] = []

    def authenticate(self, request: Any, **credentials: Any) -> None:
        return None

    def has_perm(self, user: User, permission: str, obj: Any = None) -> bool:
        return obj is not None and obj in self.rows


BACKENDS = [f"{__name__}.ByRow"]


@every_key
def test_a_row_is_input_and_comes_back_from_each_place(register: Any, make: Make) -> None:
    row = make()

    @register("tests.take")
    def take(context: Any, given: Any) -> Any:
        context.state["kept"] = [given]
        return {"row": given}

    @register("tests.see")
    def see(context: Any, rows: list[Any]) -> list[bool]:
        return [each == row for each in (*rows, *context.state["kept"])]

    steps = [
        {"name": "take", "type": "tests.take", "with": {"given": "{{ it }}"}},
        {"name": "listen", "type": "flow.wait", "with": {"event": "told"}},
        {
            "type": "tests.see",
            "with": {"rows": ["{{ it }}", "{{ steps.take.row }}", "{{ steps.listen.payload.row }}"]},
        },
    ]
    run = start(steps, {"it": row})
    send_event(run, "told", {"row": row})
    assert fresh(run).output == [True] * 4
    again = restart_run(run, input={"it": row})
    skip_step(again, "listen", {"payload": {"row": row}})
    assert fresh(again).output == [True] * 4


@every_key
def test_a_declared_input_takes_the_row_and_its_key(register: Any, make: Make) -> None:
    row = make()

    @register("tests.take")
    def take(it: Any) -> bool:
        return it == row

    steps = [{"type": "tests.take", "with": {"it": "{{ it }}"}}]
    define("flow", steps=steps, input={"it": row._meta.label})
    first = trigger("flow", {"it": row})
    by_key = trigger("flow", {"it": first.input["it"]["pk"]})
    many = trigger_many("flow", [{"it": row}])
    assert [fresh(each).output for each in (first, by_key, *many)] == [True] * 3
    assert by_key.input == first.input


@pytest.mark.parametrize("key", [['"A", [1', 7], ('"A", [1', "7"), '["\\"A\\", [1", 7]'])
def test_a_key_of_several_columns_is_given_as_a_list_or_its_text(key: Any) -> None:
    row = seat()
    define(
        "flow",
        steps=[{"type": "tests.echo", "with": {"value": "{{ seat.number }}"}}],
        input={"seat": "testapp.Seat"},
    )
    run = trigger("flow", {"seat": key})
    assert (run.output, run.input) == (
        7,
        {"seat": {"$model": "testapp.seat", "pk": json.dumps([row.hall, 7], ensure_ascii=False)}},
    )


@pytest.mark.parametrize(
    "key",
    [
        5,
        "5",
        "x",
        "[",
        "[1]",
        [],
        ["A"],
        ["A", 7, 7],
        ["A", "x"],
        ["A", None],
        ["A", [7]],
        {"hall": "A"},
        "[" * 99999,
    ],
)
def test_what_is_no_key_of_several_columns_is_refused(key: Any) -> None:
    define("flow", steps=[{"type": "tests.note"}], input={"seat": "testapp.Seat"})
    with pytest.raises(ParamsError, match=r"seat: .*testapp.Seat"):
        trigger("flow", {"seat": key})
    assert not Run.objects.exists()


def test_expressions_read_the_columns_of_a_key() -> None:
    row = seat()
    value = ["{{ it.hall }}", "{{ it.number }}", "{{ it.pk }}", "{{ it.price }}"]
    run = start([{"type": "tests.echo", "with": {"value": value}}], {"it": row})
    assert run.output == [row.hall, 7, [row.hall, 7], {"$decimal": "0.00"}]


@subject_key
def test_a_run_is_about_a_row_of_any_key(make: Make) -> None:
    row = make()
    define("called", steps=[{"type": "tests.note"}])
    run = trigger(define("flow", steps=[{"type": "flow.call", "with": {"workflow": "called"}}]), subject=row)
    assert fresh(run).subject == row
    assert fresh(restart_run(run)).subject == row
    assert [each.workflow.name for each in Run.objects.about(row)].count("called") == 2
    row.delete()
    assert fresh(run).subject is None


def test_a_subject_with_a_key_too_long_is_refused_and_nothing_is_lost() -> None:
    row = paper()
    define("flow", steps=[{"type": "tests.note"}])
    with transaction.atomic():
        Note.objects.create(text="before")
        with pytest.raises(
            NotStorable, match=r"^subject: the key of this testapp.Paper has 300 .* 255.*as input only"
        ):
            trigger("flow", subject=row)
        Note.objects.create(text="after")
    assert Note.objects.count() == 2
    assert not Run.objects.exists()


@pytest.mark.parametrize("given", [{"input": {"it": "row"}}, {"subject": "row"}])
def test_a_key_that_is_not_read_back_is_refused(given: dict[str, Any]) -> None:
    row = route()
    define("flow", steps=[{"type": "tests.note"}])
    given = {"input": {"it": row}} if "input" in given else {"subject": row}
    with pytest.raises(NotStorable, match=r"the key of this testapp.Route cannot be read back .*to_python"):
        trigger("flow", **given)
    assert not Run.objects.exists()


def test_a_key_that_is_not_read_back_fails_what_gives_it(register: Any) -> None:
    row = route()

    @register("tests.give")
    def give() -> Any:
        return row

    run = start([{"type": "tests.give"}])
    assert (run.status, "cannot be read back" in run.error) == ("failed", True)
    waiting = start([{"type": "flow.wait", "with": {"event": "told"}}])
    with pytest.raises(NotStorable, match="cannot be read back"):
        send_event(waiting, "told", {"it": row})
    with pytest.raises(NotStorable, match="cannot be read back"):
        trigger_many("flow", [{"it": row}])
    with pytest.raises(NotStorable, match="cannot be read back"):
        restart_run(run, input={"it": row})
    with pytest.raises(NotStorable, match="cannot be read back"):
        skip_step(waiting, "flow_wait", {"it": row})


@pytest.mark.parametrize("make", [lambda: Seat(hall="A"), lambda: Seat(hall="A", number=1)])
def test_a_row_with_a_key_of_several_columns_has_to_be_saved(make: Make) -> None:
    define("flow", steps=[{"type": "tests.note"}])
    with pytest.raises(NotStorable, match="not saved"):
        trigger("flow", {"it": make()})


def test_a_deleted_row_with_a_key_of_several_columns_is_refused() -> None:
    row = seat()
    row.delete()
    define("flow", steps=[{"type": "tests.note"}])
    with pytest.raises(NotStorable, match="not saved"):
        trigger("flow", {"it": row})


@subject_key
@override_settings(AUTHENTICATION_BACKENDS=BACKENDS)
def test_who_may_answer_is_asked_about_the_subject(holder: type[ByRow], make: Make) -> None:
    row, other = make(), Note.objects.create(text="another")
    user = User.objects.create_user("boss")
    steps = [{"name": "ask", "type": "flow.approval", "with": {"permission": "testapp.approve"}}]
    run = trigger(define("flow", steps=steps), subject=row)
    plain = trigger("flow", subject=other)
    holder.rows = [run, plain]
    assert not StepRun.objects.approvable_by(user).exists()
    with pytest.raises(NotAllowed, match="lacks the permission"):
        approve(run, "ask", by=user)
    holder.rows = [row]
    assert StepRun.objects.approvable_by(user).get() == step_run(run, "ask")
    approve(run, "ask", by=user)
    assert fresh(run).status == "done"
