"""The built-in step types, registered with the same ``@step`` as anybody's."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from .context import StepContext
from .exceptions import Failed, ParamsError
from .mail import Letter, build_message
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


@step("mail.send", label="Send a mail")
def send_mail(
    context: StepContext,
    to: Annotated[str | list[str], "An address, or a list of them."],
    subject: Annotated[str | None, "Line breaks become spaces."] = None,
    body: Annotated[str | None, "The text."] = None,
    html: Annotated[str | None, "The text as HTML."] = None,
    template: Annotated[str | None, "Without its ending: .txt, .html, .subject.txt where they exist."] = None,
    language: Annotated[str | None, "The language of the template, such as fr."] = None,
    from_email: Annotated[str | None, "Left out: DEFAULT_FROM_EMAIL."] = None,
    cc: Annotated[str | list[str] | None, "Copies to."] = None,
    bcc: Annotated[str | list[str] | None, "Hidden copies to."] = None,
    reply_to: Annotated[str | list[str] | None, "Where answers go."] = None,
    headers: Annotated[dict[str, str] | None, "More headers."] = None,
) -> dict[str, Any]:
    """Send a mail, written here or in a template that sees the state, steps, run, item and index."""
    letter = Letter(
        to=_listed(to),
        cc=_listed(cc),
        bcc=_listed(bcc),
        reply_to=_listed(reply_to),
        subject=subject,
        body=body,
        html=html,
        template=template,
        language=language,
        from_email=from_email or None,
        headers=headers or {},
    )
    message = build_message(letter, context)
    sent = message.send()
    return {"sent": sent, "to": list(message.to), "message_id": message.extra_headers.get("Message-ID")}


def _listed(addresses: str | list[str] | None) -> tuple[str, ...]:
    if addresses is None:
        return ()
    return (addresses,) if isinstance(addresses, str) else tuple(dict.fromkeys(addresses))


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
