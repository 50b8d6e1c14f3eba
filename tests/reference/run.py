"""The naive model of a run with what the plan knows: one call for each attempt, and nothing takes time."""

from __future__ import annotations

from dataclasses import dataclass

from django_workflow.definition.spec import WorkflowSpec
from tests.reference.flow import FlowRun
from tests.reference.rows import Key
from tests.support.definitions import Result, Script

Entry = tuple[str, int, int, str]


@dataclass(frozen=True, slots=True)
class WholeScript:
    """A script that is known beforehand, asked as ``FlowScript`` is."""

    script: Script

    def is_refused(self, step: str, visit: int) -> bool:
        """Return whether the condition of that visit is false."""
        return (step, visit) in self.script.refused

    def result(self, key: Key, call: int) -> Result:
        """Return what the handler does in that attempt."""
        step, visit, _index, attempt = key
        return self.script.result(step, visit=visit, attempt=attempt)


class ReferenceRun:
    """A run of ``spec`` in which each call of a step does what ``script`` says; steps go by their names."""

    def __init__(self, spec: WorkflowSpec, script: Script) -> None:
        self.run = FlowRun(spec, WholeScript(script))

    @property
    def status(self) -> str:
        """``pending`` until something starts, ``running``, then ``done`` or ``failed``."""
        return self.run.status

    @property
    def history(self) -> list[Entry]:
        """Every attempt so far, oldest first: step, visit, attempt, status."""
        return [(row.step, row.visit, row.attempt, row.status) for row in self.run.rows]

    def ready(self) -> set[str]:
        """Return the steps that may start now."""
        return {key[0] for key in self.run.startable()}

    def running(self) -> set[str]:
        """Return the steps that may finish now."""
        return {key[0] for key in self.run.running()}

    def start(self, name: str) -> None:
        """Somebody begins to work on a step that is ready."""
        self.run.begin(self.run.paths.current[name].key)

    def finish(self, name: str) -> None:
        """A running step is recorded, with what the script makes of it, and with everything that follows."""
        self.run.record(self.run.paths.current[name].key)
