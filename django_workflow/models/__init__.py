"""Rows, their constraints and named sets."""

from .answer import Answer
from .bulk_action import BulkAction, BulkActionQuerySet
from .clock import Clock, ClockQuerySet
from .event import Event, EventQuerySet
from .run import Run, RunAction, RunQuerySet, Source
from .step_run import HAS_OUTPUT, StepRun, StepRunQuerySet
from .workflow import ManagedBy, Step, Workflow, WorkflowVersion

__all__ = [
    "HAS_OUTPUT",
    "Answer",
    "BulkAction",
    "BulkActionQuerySet",
    "Clock",
    "ClockQuerySet",
    "Event",
    "EventQuerySet",
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
