"""A run starts in the caller's transaction, and no handler leaves one behind."""

from __future__ import annotations

import pytest
from django.db import connection, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, TestCase, TransactionTestCase, override_settings
from django.urls import path

from django_workflow import define, trigger
from django_workflow.models import Run, StepRun
from tests.support.runs import fresh, history, start, step_run
from tests.testapp.models import Note


class Oops(Exception):
    """Ends a transaction."""


def sign_up(request: HttpRequest, mood: str) -> HttpResponse:
    run = trigger("flow")
    if mood == "bad":
        raise Oops
    return HttpResponse(run.status)


urlpatterns = [path("sign-up/<str:mood>/", sign_up)]


@pytest.mark.django_db(transaction=True)
class TestTransactions:
    def test_a_trigger_rolled_back_leaves_nothing(self) -> None:
        define("flow", steps=[{"type": "tests.note"}])
        with transaction.atomic():
            trigger("flow", key="one")
            transaction.set_rollback(True)
        assert Run.objects.count() == StepRun.objects.count() == Note.objects.count() == 0

    def test_a_savepoint_rolled_back_leaves_nothing_of_its_trigger(self) -> None:
        define("flow", steps=[{"type": "tests.note", "with": {"text": "{{ who }}"}}])
        with transaction.atomic():
            trigger("flow", {"who": "outer"})
            with transaction.atomic():
                trigger("flow", {"who": "inner"})
                transaction.set_rollback(True)
        assert [note.text for note in Note.objects.all()] == ["outer"]
        assert Run.objects.count() == 1

    def test_trigger_inside_atomic_runs_after_the_commit(self) -> None:
        define("flow", steps=[{"type": "tests.note"}])
        with transaction.atomic():
            run = trigger("flow")
            assert (run.status, fresh(run).status) == ("pending", "pending")
            assert Note.objects.count() == 0
        assert (run.status, fresh(run).status) == ("done", "done")
        assert Note.objects.count() == 1

    def test_a_failing_step_leaves_the_history_of_earlier_ones(self) -> None:
        run = start(
            [
                {"name": "one", "type": "tests.note"},
                {"name": "two", "type": "tests.fail"},
                {"type": "tests.note"},
            ]
        )
        assert (run.status, run.error, run.error_type, run.step) == ("failed", "broken", "ValueError", "two")
        assert history(run) == ["one:done", "two:failed"]
        assert [note.text for note in Note.objects.all()] == ["one"]
        assert "raise ValueError(message)" in step_run(run, "two").traceback

    def test_the_error_of_a_handler_does_not_reach_the_caller_of_trigger(self) -> None:
        define("flow", steps=[{"type": "tests.fail"}])
        with transaction.atomic():
            Note.objects.create(text="caller")
            trigger("flow")
        assert Note.objects.filter(text="caller").exists()

    def test_a_handler_that_leaves_a_transaction_open_fails_and_it_is_rolled_back(self, register) -> None:
        @register("tests.open")
        def leave_open() -> None:
            transaction.set_autocommit(False)
            Note.objects.create(text="lost")

        run = start([{"type": "tests.open"}, {"type": "tests.note"}])
        assert run.status == "failed"
        assert "left a transaction open on 'default'" in run.error
        assert connection.get_autocommit()
        assert Note.objects.count() == 0

    def test_a_transaction_left_open_on_another_alias_is_rolled_back_too(self, register) -> None:
        connections["default"].ensure_connection()

        @register("tests.open")
        def leave_open() -> None:
            transaction.set_autocommit(False, using="default")
            raise Oops("and an error of its own")

        run = start([{"type": "tests.open"}])
        assert run.status == "failed"
        assert connection.get_autocommit()

    def test_a_handler_may_close_its_connection(self, register) -> None:
        @register("tests.close")
        def close() -> str:
            connection.close()
            return "closed"

        run = start([{"type": "tests.close"}, {"type": "tests.note"}])
        assert (run.status, Note.objects.count()) == ("done", 1)

    def test_an_error_of_the_database_in_a_handler_is_its_own(self, register) -> None:
        @register("tests.twice")
        def twice() -> None:
            Note.objects.create(text="a", key="same")
            Note.objects.create(text="b", key="same")

        run = start([{"type": "tests.twice"}])
        assert (run.status, run.error_type) == ("failed", "django.db.utils.IntegrityError")
        assert [note.text for note in Note.objects.all()] == ["a"]

    def test_a_handlers_own_transaction_is_its_own(self, register) -> None:
        @register("tests.own")
        def own() -> None:
            with transaction.atomic(durable=True):
                Note.objects.create(text="kept")
            raise Oops

        assert start([{"type": "tests.own"}]).status == "failed"
        assert Note.objects.count() == 1


class TestInsideATestCase(TestCase):
    def test_a_run_is_driven_by_captured_callbacks(self) -> None:
        define("flow", steps=[{"type": "tests.note"}, {"type": "tests.note_atomically"}])
        with self.captureOnCommitCallbacks(execute=True):
            run = trigger("flow")
            assert run.status == "pending"
        assert (run.status, fresh(run).status) == ("done", "done")
        assert Note.objects.count() == 2

    def test_without_them_nothing_runs(self) -> None:
        define("flow", steps=[{"type": "tests.note"}])
        run = trigger("flow")
        assert (run.status, Note.objects.count()) == ("pending", 0)

    def test_a_failing_atomic_step_keeps_the_transaction_of_the_test_whole(self) -> None:
        define(
            "flow",
            steps=[
                {"type": "tests.note"},
                {"type": "tests.note_atomically", "with": {"text": "{{ missing }}"}},
            ],
        )
        with self.captureOnCommitCallbacks(execute=True):
            run = trigger("flow")
        assert (fresh(run).status, Note.objects.count()) == ("failed", 1)


class TestInsideATransactionTestCase(TransactionTestCase):
    def test_a_run_is_driven_at_once(self) -> None:
        define("flow", steps=[{"type": "tests.note"}])
        assert trigger("flow").status == "done"


@override_settings(ROOT_URLCONF=__name__)
class TestAtomicRequests(TransactionTestCase):
    def setUp(self) -> None:
        settings = connection.settings_dict
        before = settings["ATOMIC_REQUESTS"]
        settings["ATOMIC_REQUESTS"] = True
        self.addCleanup(settings.__setitem__, "ATOMIC_REQUESTS", before)
        define("flow", steps=[{"type": "tests.note"}])

    def test_a_view_triggers_and_its_run_follows_the_commit(self) -> None:
        assert Client().get("/sign-up/good/").content == b"pending"
        assert Run.objects.get().status == "done"

    def test_a_view_that_fails_leaves_no_run(self) -> None:
        assert Client(raise_request_exception=False).get("/sign-up/bad/").status_code == 500
        assert Run.objects.count() == Note.objects.count() == 0
