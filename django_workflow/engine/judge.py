"""What is wrong with a definition, in this project: with its step types and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..conf import get_settings
from ..definition import validate
from ..definition.spec import Problem, WorkflowSpec
from ..links import NO_BASE_URL
from ..registry import get_handler


def check_definition(data: Any) -> tuple[WorkflowSpec, list[Problem]]:
    """Return the spec of definition data and all its problems and warnings."""
    spec, problems = validate.check_definition(data, get_handler)
    return spec, [*problems, *_without_links(spec)]


def _without_links(spec: WorkflowSpec) -> Iterator[Problem]:
    """Yield a warning for each approval that is to send links, where there is no address to begin them."""
    if get_settings().BASE_URL:
        return
    for step in spec.steps:
        handler = get_handler(step.type)
        if handler is not None and handler.type == "flow.approval" and step.params.get("notify"):
            yield Problem(NO_BASE_URL, step=step.name, field="with.notify", level="warning")
