"""Step types of the test app."""

from __future__ import annotations

from typing import Annotated

from django_workflow import Condition, Goto, StepName, step


@step("testapp.branch", idempotent=True)
def branch(
    if_: Annotated[Condition, "What is asked."],
    then: StepName,
    else_: StepName | None = None,
) -> Goto | None:
    """Do what flow.branch does: the built-in types use only what @step offers everybody."""
    target = then if if_ else else_
    return None if target is None else Goto(target)
