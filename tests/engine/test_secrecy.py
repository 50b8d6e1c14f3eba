"""A secret that a handler lets slip is in no row, and what is hidden is in no error and no log line."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypedDict

import pytest
from django.test import override_settings

from django_workflow import Secret, Sleep, StepContext, define
from django_workflow.exceptions import DefinitionError
from django_workflow.models import StepRun
from tests.support.runs import let_time_pass, start, step_run
from tests.testapp.models import Note, Order


class Login(TypedDict):
    user: str
    key: Secret


pytestmark = pytest.mark.django_db(transaction=True)

SECRETS = {
    "bank": lambda: "sk_live_123",
    "short": "no",
    "pin": "471100",
    "long": "a-secret-of-many-words-1",
    "odd": 'größer "als" erlaubt',
}
secrets = override_settings(DJANGO_WORKFLOW={"QUEUE": None, "SECRETS": SECRETS})


@secrets
@pytest.mark.parametrize("fails", [True, False])
def test_a_secret_is_starred_in_what_is_kept_for_people(register: Callable[..., Any], fails: bool) -> None:
    @register("tests.leaky")
    def leaky(context: StepContext, key: Secret, other: Secret = "short") -> str:
        context.log("asked with", key)
        if fails:
            raise ValueError(f"https://bank.example/?key={key} said {other}")
        return "kept"

    run = start([{"name": "ask", "type": "tests.leaky", "with": {"key": "bank"}}])
    row = step_run(run, "ask")
    for text in (row.error, row.traceback, run.error, str(row.logs)):
        assert "sk_live_123" not in text
    assert "********" in str(row.logs)
    assert (row.params, row.output) == ({"key": "bank"}, None if fails else "kept")
    if fails:
        assert row.error == "https://bank.example/?key=******** said no"


@secrets
def test_a_secret_is_starred_in_output_state_and_progress(register: Callable[..., Any]) -> None:
    @register("tests.leaky")
    def leaky(context: StepContext, key: Secret, pins: list[Secret]) -> Any:
        context.state["answer"] = {"url": f"https://bank.example/?key={key}", key: [int(pins[0]), 4]}
        context.state["kept"] = "as it is"
        context.progress(float(pins[0]), 500_000)
        return [key, {key: float(pins[0])}, 4711]

    run = start([{"name": "ask", "type": "tests.leaky", "with": {"key": "bank", "pins": ["pin"]}}])
    row = step_run(run, "ask")
    assert row.output == ["********", {"********": "********"}, 4711]
    answer = {"url": "https://bank.example/?key=********", "********": ["********", 4]}
    assert run.state == {"answer": answer, "kept": "as it is"}
    assert run.output == row.output
    for text in map(str, StepRun.objects.values_list("output", "state_changes", "progress", "logs")):
        assert "sk_live_123" not in text
        assert "471100" not in text


@secrets
def test_only_the_secret_of_several_params_is_starred_and_all_of_it(register: Callable[..., Any]) -> None:
    @register("tests.leaky")
    def leaky(login: Login) -> list[str]:
        key = login.pop("key")  # type: ignore[misc]
        return [login["user"], key, f"{key[:-1]}4"]

    run = start([{"type": "tests.leaky", "with": {"login": {"user": "somebody", "key": "long"}}}])
    assert run.output == ["somebody", "********", "a-secret-of-many-words-4"]


@secrets
@pytest.mark.parametrize("write", [str, repr, json.dumps, partial(json.dumps, ensure_ascii=False)])
def test_a_secret_is_starred_however_it_is_written(
    register: Callable[..., Any], write: Callable[[str], str]
) -> None:
    @register("tests.leaky")
    def leaky(context: StepContext, key: Secret) -> str:
        context.log("asked with", write(key))
        return write(key)

    run = start([{"name": "ask", "type": "tests.leaky", "with": {"key": "odd"}}])
    texts = [run.output, *step_run(run, "ask").logs]
    assert all("********" in text and "erlaubt" not in text and "als" not in text for text in texts)


@secrets
def test_a_secret_that_is_one_of_several_alternatives_is_starred(register: Callable[..., Any]) -> None:
    @register("tests.leaky")
    def leaky(key: int | Secret) -> object:
        return key

    assert start([{"type": "tests.leaky", "with": {"key": "bank"}}]).output == "********"


@secrets
@pytest.mark.parametrize("name", ["{{ name }}", "{{ 'bank' }}", "ba{{ nk }}"])
def test_the_name_of_a_secret_is_no_expression(register: Callable[..., Any], name: str) -> None:
    @register("tests.leaky")
    def leaky(key: Secret, other: Secret | None = None, many: list[Secret] | None = None) -> None: ...

    for params in ({"key": name}, {"key": "bank", "other": name}, {"key": "bank", "many": [name]}):
        with pytest.raises(DefinitionError, match="it can't be an expression"):
            define("flow", steps=[{"type": "tests.leaky", "with": params}])


HIDDEN = "sk_live_999"
LONG = "a password of so many words that it is cut in the middle"


@pytest.mark.parametrize(
    "step",
    [
        {"type": "tests.whole", "with": {"api_key": HIDDEN}},
        {"type": "tests.whole", "with": {"api_key": "{{ token }}"}},
        {"type": "tests.whole", "with": {"number": "{{ token }}"}},
        {"type": "tests.whole", "with": {"numbers": {"token": "{{ token }}"}}},
        {"type": "tests.raise", "with": {"text": "{{ token }}"}},
        {"type": "tests.raise"},
        {"type": "tests.raise", "if": "token > 5"},
        {"type": "tests.raise", "with": {"text": "{{ steps.ask.token }}"}},
        {"type": "tests.raise", "for_each": "token"},
    ],
)
def test_errors_and_log_lines_do_not_show_what_is_hidden(
    register: Callable[..., Any], caplog: pytest.LogCaptureFixture, step: dict[str, Any]
) -> None:
    @register("tests.ask")
    def ask() -> dict[str, str]:
        return {"token": HIDDEN}

    @register("tests.whole")
    def whole(api_key: int = 0, number: int = 0, numbers: dict[str, int] | None = None) -> None: ...

    @register("tests.raise")
    def fail(context: StepContext, text: str = "") -> None:
        context.log("asked with", text or context.state["token"])
        raise ValueError(f"{text or context.state['token']!r} was refused")

    if step.get("with") == {"api_key": HIDDEN}:
        with pytest.raises(DefinitionError) as refused:
            start([{"name": "last", **step}])
        assert HIDDEN not in str(refused.value)
        return
    run = start([{"name": "ask", "type": "tests.ask"}, {"name": "last", **step}], {"token": HIDDEN})
    row = step_run(run, "last")
    assert run.status == "failed"
    for text in (run.error, row.error, row.traceback, str(row.logs), caplog.text):
        assert HIDDEN not in text


@pytest.mark.parametrize("before", [0, 630, 650, 700, 740, 2000])
def test_a_line_that_was_cut_shows_no_part_of_what_is_hidden(
    register: Callable[..., Any], before: int
) -> None:
    @register("tests.tell")
    def tell(context: StepContext) -> None:
        context.log("-" * before + context.state["password"] + "-" * (2050 - before))

    row = step_run(start([{"name": "tell", "type": "tests.tell"}], {"password": LONG}), "tell")
    assert set(row.logs[0]) <= set("-*…")


def test_what_a_step_gives_under_a_hidden_name_is_not_in_its_log_lines(register: Callable[..., Any]) -> None:
    @register("tests.ask")
    def ask(context: StepContext) -> dict[str, str]:
        context.log("given", HIDDEN)
        return {"token": HIDDEN}

    run = start([{"name": "ask", "type": "tests.ask"}])
    assert step_run(run, "ask").logs == ["given ********"]
    assert run.output == {"token": HIDDEN}


def test_an_output_that_was_recorded_by_another_worker_is_hidden_too(register: Callable[..., Any]) -> None:
    @register("tests.ask")
    def ask() -> dict[str, str]:
        return {"token": HIDDEN}

    @register("tests.tell")
    def tell(context: StepContext) -> Any:
        if context.event is None:
            return Sleep(timedelta(hours=1))
        context.log("read", context.steps["ask"]["token"])
        return None

    steps = [{"name": "ask", "type": "tests.ask"}, {"name": "tell", "type": "tests.tell"}]
    assert step_run(let_time_pass(start(steps)), "tell").logs == ["read ********"]


@secrets
def test_what_the_database_quotes_at_the_commit_is_starred(register: Callable[..., Any]) -> None:
    @register("tests.leaky", atomic=True)
    def leaky(pin: Secret) -> None:
        Note.objects.create(text=pin)
        Order.objects.create(number="1", customer_id=int(pin))  # refused at the commit, with the key

    run = start([{"name": "ask", "type": "tests.leaky", "with": {"pin": "pin"}}])
    row = step_run(run, "ask")
    assert row.error_type == "django.db.utils.IntegrityError"
    for text in (row.error, row.traceback, run.error):
        assert "471100" not in text
