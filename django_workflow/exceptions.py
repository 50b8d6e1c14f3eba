"""Every error of the app, one tree.

WorkflowError
├── DefinitionError           a definition cannot be published; ``problems`` lists everything wrong with it
├── OwnershipError            somebody else owns the workflow
├── WorkflowNotFound          no workflow of that name, or none published
├── VerbRefused               the verb is not allowed in the run's status
│   └── NotAllowed            this person may not answer the approval
├── RegistrationError         ``@step`` was used in a way that cannot work
├── RetryAfter                raised by a handler: try again then, at no cost in attempts
├── StepTimeout               a handler ran longer than its step's ``timeout``
├── RunTimeout                a run went on longer than its workflow's ``timeout``
├── WaitTimeout               what a step waited for did not come within its ``timeout``
├── ChildFailed               the run that ``flow.call`` started did not end well
├── LeaseLost                 another worker has taken the step over
└── PermanentError            raised by a handler, or by the engine: never retried
    ├── ExpressionError       an expression or condition cannot be parsed or evaluated
    ├── ParamsError           params or input do not fit what is declared; ``problems`` lists them
    ├── NotStorable           a value cannot be kept as JSON; ``path`` says where it stands
    │   └── TooLarge          a value is over ``DJANGO_WORKFLOW["MAX_BYTES"]``
    ├── DeletedReference      the row behind a model reference no longer exists
    ├── OutcomeError          a handler returned an outcome that its step may not use
    ├── MaxVisitsExceeded     a loop visited one step too often
    ├── Interrupted           the worker died in a step that must not run twice: outcome unknown
    ├── Poisoned              a step's worker died ``MAX_CRASHES`` times
    ├── Rejected              a person said no to ``flow.approval``
    ├── TooDeep               calls of workflows that call workflows, more than 20 deep
    └── Failed                ``flow.fail`` ended the run
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

# A hundred years, in seconds: what a server asks for may be absurd, and must not leave the calendar.
LONGEST_DELAY = 36500 * 86400


class WorkflowError(Exception):
    """Root of every error this app raises."""


class DefinitionError(WorkflowError):
    """A definition that cannot be published.

    ``problems`` is a list of :class:`django_workflow.definition.spec.Problem`, or of plain texts.
    """

    def __init__(self, name: str, problems: Sequence[object]) -> None:
        self.name = name
        self.problems = list(problems)
        lines = "".join(f"\n  - {problem}" for problem in self.problems)
        super().__init__(f"Workflow {name!r} cannot be published:{lines}")


class OwnershipError(WorkflowError):
    """The workflow belongs to somebody else: only the owner writes."""


class WorkflowNotFound(WorkflowError, LookupError):
    """No workflow of that name on this database, or it was never published."""


class VerbRefused(WorkflowError):
    """The run's status does not allow the verb; the message says why, and what does."""


class NotAllowed(VerbRefused):
    """This person may not answer the approval, or has done so."""


class RegistrationError(WorkflowError):
    """A step type is registered in a way that cannot work."""


class RetryAfter(WorkflowError):
    """Raised by a handler to be called again after ``delay`` (timedelta or seconds), at no cost in attempts.

    The seconds may be text, as in the header ``Retry-After``. A step may do so 1,000 times. Raises
    ``ValueError`` for a delay that is no number of seconds, and ``TypeError`` for one of another type.
    """

    def __init__(self, delay: timedelta | float | str, message: str = "") -> None:
        try:
            seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
        except OverflowError:
            seconds = LONGEST_DELAY
        except ValueError:
            seconds = math.nan
        if math.isnan(seconds):
            raise ValueError(f"RetryAfter({delay!r:.100}) is no delay: give a timedelta, or seconds")
        self.delay = timedelta(seconds=min(max(seconds, 0), LONGEST_DELAY))
        super().__init__(message or f"asked to be called again in {self.delay}")


class StepTimeout(WorkflowError):
    """The handler ran longer than the step's ``timeout``."""


class RunTimeout(WorkflowError):
    """The run went on longer than its workflow's ``timeout``."""


class WaitTimeout(WorkflowError):
    """The event, the answers or the called run that a step waited for did not come within its ``timeout``."""


class ChildFailed(WorkflowError):
    """The run that ``flow.call`` started failed or was cancelled; the message has its id and its error."""


class LeaseLost(WorkflowError):
    """The step belongs to another worker by now; whatever this one returns is dropped."""


class PermanentError(WorkflowError):
    """Raise it, or a subclass, from a handler for a failure that no retry can mend."""


class ExpressionError(PermanentError):
    """An expression or a condition that cannot be parsed or evaluated."""


class ParamsError(PermanentError):
    """Params, or a run's input, do not fit what is declared. ``problems`` maps a name to its texts."""

    def __init__(self, what: str, problems: dict[str, list[str]]) -> None:
        self.what = what
        self.problems = problems
        texts = "; ".join(f"{name}: {text}" for name, many in problems.items() for text in many)
        super().__init__(f"{what}: {texts}")


class NotStorable(PermanentError):
    """A value that cannot be kept as JSON; ``path`` (``state.user.avatar``) says where it stands."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        super().__init__(f"{path}: {reason}")


class TooLarge(NotStorable):
    """A value over the size limit of ``DJANGO_WORKFLOW["MAX_BYTES"]``."""


class DeletedReference(PermanentError):
    """The row behind a model reference no longer exists."""


class OutcomeError(PermanentError):
    """A handler returned an outcome that its step may not use, such as a jump to an unknown step."""


class MaxVisitsExceeded(PermanentError):
    """One step was visited more often than the workflow's ``max_visits``."""


class Interrupted(PermanentError):
    """The worker died in a step registered with ``rerun_after_crash=False``: its outcome is unknown."""


class Poisoned(PermanentError):
    """The step's worker died ``MAX_CRASHES`` times while it ran alone."""


class Rejected(PermanentError):
    """A person rejected what ``flow.approval`` asked; the message is that person's note."""


class TooDeep(PermanentError):
    """A workflow called a workflow that called a workflow, more than 20 deep."""


class Failed(PermanentError):
    """``flow.fail`` ended the run as failed."""
