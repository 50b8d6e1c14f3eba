"""What a caller asks for: the workflow found, its input and key checked, before any row is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import router
from django.db.models import Model

from ..codec import check_size, encode_top_level
from ..conf import get_settings
from ..definition.program import Program
from ..definition.spec import RESERVED_STATE
from ..exceptions import NotStorable, ParamsError, WorkflowNotFound
from ..models import Run, Workflow
from ..models.run import why_no_subject
from ..params import declared_params
from ..references import ModelReference, reference_to
from ..storable import is_storable_text
from .programs import get_program

MAX_KEY = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a caller asks for, checked and encoded: one run."""

    input: dict[str, Any]
    key: str | None = None
    subject: ModelReference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A run that a step asks for: found and checked, to be inserted when the step is recorded."""

    workflow: Workflow
    order: Order
    waits: bool


def find_workflow(name: str, using: str) -> Workflow:
    """Return the workflow.

    Raises ``WorkflowNotFound`` for an unknown name, and for one that was never published.
    """
    workflow = _memory.get((using, name))
    if workflow is None and is_storable_text(name):
        workflow = Workflow.objects.using(using).filter(name=name).first()
    if workflow is None:
        known = ", ".join(Workflow.objects.using(using).values_list("name", flat=True)[:20])
        raise WorkflowNotFound(
            f"no workflow named {name!r} on database {using!r}; there are: {known or 'none'}"
        )
    if workflow.published_id is None and workflow.enabled:
        raise WorkflowNotFound(f"workflow {name!r} was never published: publish it first")
    _memory.put((using, name), workflow)
    return workflow


class _Memory(threading.local):
    """The workflows that this thread need not ask for again just now; None where it asks each time."""

    workflows: dict[tuple[str, str], Workflow] | None = None

    def get(self, key: tuple[str, str]) -> Workflow | None:
        return None if self.workflows is None else self.workflows.get(key)

    def put(self, key: tuple[str, str], workflow: Workflow) -> None:
        if self.workflows is not None:
            self.workflows[key] = workflow


_memory = _Memory()


@contextmanager
def remembering_workflows() -> Iterator[None]:
    """Ask for each workflow once in the body, which takes no longer than a moment."""
    _memory.workflows = {}
    try:
        yield
    finally:
        _memory.workflows = None


def write_alias(using: str | None) -> str:
    """Return the alias that runs live on: ``using``, else what the router says for writing a Run."""
    return using or router.db_for_write(Run)


def make_order(
    workflow: Workflow,
    given: Mapping[str, Any] | None,
    *,
    using: str,
    key: str | None = None,
    subject: Model | None = None,
) -> Order:
    """Return what a caller asks for, checked and encoded.

    Raises ``ParamsError`` for input that the workflow does not declare, ``NotStorable``, ``TooLarge``, and
    ``ValueError`` for a key that is not text of 1 to 255 characters.
    """
    if key is not None:
        check_key(key)
    about = None if subject is None else _check_subject(subject, using)
    program = None if workflow.published_id is None else get_program(workflow.published_id, using)
    return Order(
        input=_check_input(workflow, program, {} if given is None else given, using), key=key, subject=about
    )


def check_key(key: object) -> None:
    """Raise ``ValueError`` for what cannot be the key of a run."""
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY or not is_storable_text(key):
        raise ValueError(
            f"a key is text of 1 to {MAX_KEY} characters without NUL or lone surrogates, not {key!r:.80}"
        )


def _check_subject(subject: Model, using: str) -> ModelReference:
    reason = why_no_subject(subject)
    if reason:
        raise NotStorable("subject", reason)
    return reference_to(subject, using)


def _check_input(workflow: Workflow, program: Program | None, values: Any, using: str) -> dict[str, Any]:
    what = f"input of {workflow.name}"
    if not isinstance(values, Mapping):
        raise ParamsError(what, {"input": [f"an object is needed, not {type(values).__name__}"]})
    if program is not None and program.spec.input is not None:
        values = declared_params(program.spec.input).convert(values, what=what, using=using)
    for key in RESERVED_STATE & set(values):
        raise NotStorable(
            f"input.{key}", "this word has its own meaning in expressions; give it another name"
        )
    encoded: dict[str, Any] = encode_top_level(values, "input", using=using)
    check_size(encoded, "input", get_settings().MAX_BYTES)
    return encoded
