"""Rows, their constraints and named sets."""

from .answer import Answer
from .bulk_action import BulkAction, BulkActionQuerySet
from .clock import Clock, ClockQuerySet
from .event import Event, EventQuerySet
from .pages import Approval, Failure, Health, StepType
from .run import Run, RunAction, RunQuerySet, Source
from .step_run import HAS_OUTPUT, StepRun, StepRunQuerySet
from .workflow import ManagedBy, Step, Workflow, WorkflowVersion

__all__ = [
    "HAS_OUTPUT",
    "Answer",
    "Approval",
    "BulkAction",
    "BulkActionQuerySet",
    "Clock",
    "ClockQuerySet",
    "Event",
    "EventQuerySet",
    "Failure",
    "Health",
    "ManagedBy",
    "Run",
    "RunAction",
    "RunQuerySet",
    "Source",
    "Step",
    "StepRun",
    "StepRunQuerySet",
    "StepType",
    "Workflow",
    "WorkflowVersion",
]
