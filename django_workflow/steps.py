"""The built-in step types, registered with the same ``@step`` as anybody's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, NoReturn, TypedDict, cast

from .approval_mail import send_questions
from .asking import make_question
from .context import Event, StepContext
from .exceptions import ChildFailed, Failed, ParamsError, Rejected, WorkflowError
from .links import ApprovalLink
from .mail import Letter, build_message
from .models import StepRun
from .models.approvable import askers_of
from .outcomes import AskApproval, CallWorkflow, End, Goto, Sleep, WaitForEvent
from .params import Condition, StepName
from .registry import step
from .status import RunStatus


class Answered(TypedDict):
    """One answer to an approval; ``at`` is ISO text."""

    by: str
    approved: bool
    note: str
    data: Any
    at: str


class Approved(TypedDict):
    """The output of ``flow.approval``; ``note``, ``data`` and ``at`` are those of the answer that decided."""

    by: list[str]
    at: str
    note: str
    data: Any
    answers: list[Answered]


class Happened(TypedDict):
    """The output of ``flow.wait``."""

    event: str
    payload: Any


class Sent(TypedDict):
    """The output of ``mail.send``; ``sent`` counts messages, where the backend does."""

    sent: int | None
    to: list[str]
    message_id: str | None


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
def fail(message: Annotated[str, "Why."] = "the workflow ended in flow.fail") -> NoReturn:
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


@step("flow.approval", label="Approval")
def ask_approval(
    context: StepContext,
    permission: Annotated[str | None, "Who has it may answer, such as shop.approve_order."] = None,
    group: Annotated[str | None, "Who is in the group of this name may answer."] = None,
    users: Annotated[Any, "Who may answer: one or a list of users, usernames or keys."] = None,
    count: Annotated[int, "How many have to approve."] = 1,
    allow_self: Annotated[bool, "Whether who triggered or changed the run may answer."] = False,
    form: Annotated[dict[str, Any] | None, "What an approval says beside yes, declared as input is."] = None,
    message: Annotated[str, "What is asked."] = "",
    notify: Annotated[bool | list[str] | str, "A mail to all who may answer, or to these addresses."] = False,
) -> AskApproval | Approved:
    """Wait until people have approved; a rejection fails the step with Rejected."""
    if context.event is not None:
        return _answered(context.event)
    using = context.using
    run = StepRun.objects.using(using).select_related("run").get(pk=context.step_run_id).run
    question = make_question(
        permission=permission,
        group=group,
        users=users,
        count=count,
        allow_self=allow_self,
        form=form,
        message=message,
        askers=askers_of(run),
    )
    if notify:
        link = ApprovalLink(using=using, step_run_id=context.step_run_id)
        send_questions(question, context, notify=notify, link=link)
    return question


def _answered(event: Event) -> Approved:
    if event.name == "approved":
        return cast("Approved", event.payload)
    raise Rejected(event.payload["note"] or f"rejected by {', '.join(event.payload['by'])}")


@step("flow.wait", idempotent=True, label="Wait for an event")
def wait(
    context: StepContext,
    event: Annotated[str | list[str], "Its name, or a list of names: the first to come wins."],
    shared: Annotated[bool, "Other steps that wait for the event get it as well."] = False,
) -> WaitForEvent | Happened:
    """Wait for an event from outside, or for the first of several; it costs nothing."""
    if context.event is not None:
        return {"event": context.event.name, "payload": context.event.payload}
    try:
        return WaitForEvent(event, shared=shared)
    except ValueError as error:
        raise ParamsError("flow.wait", {"event": [str(error)]}) from error


@step("flow.call", idempotent=True, label="Call a workflow")
def call(
    context: StepContext,
    workflow: Annotated[str, "Its name."],
    input: Annotated[dict[str, Any] | None, "What its run starts with."] = None,
    wait: Annotated[bool, "Off: go on at once; the output is the run's id."] = True,
    key: Annotated[str | None, "One run per workflow and key: a second call finds the first run."] = None,
) -> Any:
    """Run another workflow, and give its output."""
    if context.event is None:
        return CallWorkflow(workflow=workflow, input=input or {}, wait=wait, key=key)
    child = context.event.payload
    if child["status"] == RunStatus.DONE:
        return child["output"]
    raise ChildFailed(f"run {child['run']} of {workflow} {_tell_end(child)}")


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
) -> Sent:
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
    if sent == 0:
        # A backend that says nothing has said nothing wrong.
        raise WorkflowError("the mail was not sent: the mail backend can't say why; see its log and settings")
    return {"sent": sent, "to": list(message.to), "message_id": message.extra_headers.get("Message-ID")}


def _tell_end(child: Mapping[str, Any]) -> str:
    if child["status"] is None:
        return "is not there any more"
    how = "was cancelled" if child["status"] == RunStatus.CANCELLED else "failed"
    return ": ".join(filter(None, (how, child["error_type"], child["error"])))


def _listed(addresses: str | list[str] | None) -> tuple[str, ...]:
    if addresses is None:
        return ()
    return (addresses,) if isinstance(addresses, str) else tuple(dict.fromkeys(addresses))


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
