"""Shipped workflow files: all of them are judged before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Warning

from ..engine.files import ShippedFile, find_problems, read_shipped_files, shared_names


def check_files(app_configs: Any = None, **kwargs: Any) -> list[CheckMessage]:
    """E007: a file that does not validate. E008: files that share a name. W004: what publishing warns of."""
    files = read_shipped_files()
    found = [message for file in files for message in _check(file)]
    for name, sources in shared_names(files).items():
        text = f"{len(sources)} files have a workflow named {name!r}: {', '.join(sources)}."
        hint = "Rename all but one of them: a workflow has one owner."
        found.append(Error(text, hint, sources[0], "django_workflow.E008"))
    return found


def _check(file: ShippedFile) -> Iterator[CheckMessage]:
    for problem in find_problems(file):
        if problem.level == "error":
            hint = "The file is not synced until this is mended."
            yield Error(str(problem), hint, file.source, "django_workflow.E007")
        else:
            hint = "The file is synced all the same; each of its versions keeps its warnings."
            yield Warning(str(problem), hint, file.source, "django_workflow.W004")
