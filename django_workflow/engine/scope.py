"""What the expressions of a step can read: the state, earlier outputs and errors, the run, the item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from django.db.models import Q

from ..codec import decode, load
from ..definition.expressions import NO_OUTPUT
from ..models import HAS_OUTPUT, Run, StepRun
from ..status import StepStatus

NOTHING_KNOWN: Mapping[str, Any] = MappingProxyType({})


class Outputs(Mapping[str, Any]):
    """The latest output of each step of the definition, by name; ``NO_OUTPUT`` where there is none.

    ``known``: outputs, encoded, that this process has just recorded and need not read.
    """

    def __init__(
        self, run: Run, names: Mapping[str, object], using: str, known: Mapping[str, Any] = NOTHING_KNOWN
    ) -> None:
        self._run = run
        self._names = names
        self._using = using
        self._known = known
        self._found: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._found:
            self._found[name] = self._read(name)
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    @property
    def found(self) -> dict[str, Any]:
        """The outputs that were asked for so far."""
        return dict(self._found)

    def _latest(self, name: str, condition: Q) -> StepRun | None:
        rows = StepRun.objects.using(self._using).filter(condition, run_id=self._run.pk, step=name, index=-1)
        return rows.order_by("-visit", "-attempt").first()

    def _read(self, name: str) -> Any:
        if name in self._known:
            return decode(self._known[name], using=self._using)
        row = self._latest(name, HAS_OUTPUT)
        return NO_OUTPUT if row is None else decode(row.output, using=self._using)


class LoadedOutputs(Mapping[str, Any]):
    """The same for handlers: model references as instances, and None for a step without output."""

    def __init__(self, outputs: Outputs) -> None:
        self._outputs = outputs

    def __getitem__(self, name: str) -> Any:
        value = self._outputs[name]
        return None if value is NO_OUTPUT else load(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)


class Errors(Outputs):
    """The error each step ended with, by name: type and message.

    For items a list of these with their index.
    """

    def _read(self, name: str) -> Any:
        ended = Q(status__in=(StepStatus.DONE, StepStatus.FAILED))
        # After an attempt that failed the step was skipped by a person: it did not end with that error.
        row = self._latest(name, ended | Q(status=StepStatus.SKIPPED, attempt__gt=1))
        if row is None:
            return NO_OUTPUT
        items = StepRun.objects.using(self._using).filter(
            run_id=self._run.pk,
            step=name,
            visit=row.visit,
            index__gte=0,
            current=True,
            status=StepStatus.FAILED,
        )
        failed = [{"index": item.index, **_error(item)} for item in items.order_by("index")]
        if failed:
            return failed
        return _error(row) if row.status == StepStatus.FAILED else NO_OUTPUT


def _error(row: StepRun) -> dict[str, str]:
    return {"type": row.error_type, "message": row.error}


class Scope(Mapping[str, Any]):
    """The names of an expression: the reserved words, then the keys of the state, decoded when asked for.

    ``undone``: the step run whose ``output``, item and index an undo reads.
    """

    def __init__(
        self,
        run: Run,
        step_run: StepRun,
        outputs: Outputs,
        errors: Errors,
        using: str,
        *,
        undone: StepRun | None = None,
    ) -> None:
        self._state: Mapping[str, Any] = run.state
        self._using = using
        self._values: dict[str, Any] = {
            "steps": outputs,
            "errors": errors,
            # In a run that on_failure started, its state has the run that failed and the error of that.
            "run": run.state.get("run") or {"id": str(run.pk), "key": run.key, "workflow": run.workflow.name},
            "error": (run.jumps or {}).get("error") or run.state.get("error"),
        }
        about = step_run if undone is None else undone
        if undone is not None:
            self._values["output"] = decode(undone.output, using=using)
        if about.index >= 0:
            self._values |= {"item": decode(about.item, using=using), "index": about.index}

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            self._values[name] = decode(self._state[name], using=self._using)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter([*self._values, *(name for name in self._state if name not in self._values)])

    def __len__(self) -> int:
        return sum(1 for _ in self)
