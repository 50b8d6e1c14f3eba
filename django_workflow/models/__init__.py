"""Rows, their constraints and named sets."""

from .clock import Clock, ClockQuerySet
from .run import Run, RunAction, RunQuerySet, Source
from .step_run import StepRun, StepRunQuerySet
from .workflow import ManagedBy, Step, Workflow, WorkflowVersion

__all__ = [
    "Clock",
    "ClockQuerySet",
    "ManagedBy",
    "Run",
    "RunAction",
    "RunQuerySet",
    "Source",
    "Step",
    "StepRun",
    "StepRunQuerySet",
    "Workflow",
    "WorkflowVersion",
]
