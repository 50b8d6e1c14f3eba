"""The built-in step types, registered with the same ``@step`` as anybody's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from .context import StepContext
from .exceptions import Failed, ParamsError
from .outcomes import End, Goto, Sleep
from .params import Condition, StepName
from .registry import step


@step("flow.set", idempotent=True, label="Set state")
def set_state(context: StepContext, **params: Any) -> None:
    """Write the given keys to the run's state."""
    for key, value in params.items():
        context.state[key] = value


@step("flow.branch", idempotent=True, label="Branch")
def branch(
    if_: Annotated[Condition, "What is asked, such as order.total > 1000."],
    then: Annotated[StepName, "The step to go to when it holds."],
    else_: Annotated[StepName | None, "The step to go to otherwise; left out: on to the next."] = None,
) -> Goto | None:
    """Go to one step when a condition holds, and to another, or on, when it does not."""
    target = then if if_ else else_
    return None if target is None else Goto(target)


@step("flow.switch", idempotent=True, label="Switch")
def switch(
    value: Annotated[Any, "What is compared, as text."],
    cases: Annotated[dict[str, StepName], "Value to step name."],
    default: Annotated[
        StepName | None, "The step to go to when no case matches; left out: on to the next."
    ] = None,
) -> Goto | None:
    """Go to the step whose case equals a value, to the default, or on."""
    target = cases.get(_as_text(value), default)
    return None if target is None else Goto(target)


@step("flow.end", idempotent=True, label="End")
def end(output: Annotated[Any, "The run's output."] = None) -> End:
    """End the run as done."""
    return End(output)


@step("flow.fail", idempotent=True, label="Fail")
def fail(message: Annotated[str, "Why."] = "the workflow ended in flow.fail") -> None:
    """End the run as failed."""
    raise Failed(message)


@step("flow.sleep", idempotent=True, label="Sleep")
def sleep(
    context: StepContext,
    for_: Annotated[timedelta | None, "How long, such as 2h."] = None,
    until: Annotated[datetime | None, "The moment to wait for."] = None,
) -> Sleep | None:
    """Wait for a while, or until a moment; it costs nothing."""
    if (for_ is None) == (until is None):
        raise ParamsError("flow.sleep", {"for": ["give either for or until"]})
    if context.event is not None:
        return None
    return Sleep(for_ if for_ is not None else until)  # type: ignore[arg-type]


def _as_text(value: Any) -> str:
    return (
        {True: "true", False: "false", None: ""}.get(value, str(value))
        if value is None or isinstance(value, bool)
        else str(value)
    )
