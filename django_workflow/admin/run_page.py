"""The page of one run: how it stands, what it did, why it does not move, and what may be done about it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from ..engine.now import database_now
from ..insight.facts import RunFacts, read_facts
from ..insight.possible import why_not
from ..insight.progress import Progress, count_progress
from ..insight.spans import seconds_taken
from ..insight.why import is_late, why
from ..models import Approval, Run, StepRun, Workflow, WorkflowVersion
from ..status import WaitingFor
from .allowed import is_allowed
from .links import Link, list_url, row_url
from .read_only import can_see
from .run_pictures import draw_run_graph, draw_run_timeline
from .showing import show_json
from .step_runs import HIDDEN_PAYLOAD, SEE_PAYLOAD
from .subject_links import Subject, subject_of
from .verbs import VERBS, RunVerb

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

# Of a value on this page; a step's own page has all of it.
LIMIT = 50_000
# So many step runs are shown whole at once.
MOST_OPEN = 20
# So many questions are named one by one.
MOST_ANSWERS = 5
OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A verb that the user may use: where to, or why not now."""

    name: str
    label: str | _StrPromise
    url: str
    reason: str
    is_grave: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A step run as a line of the table; ``whole`` has what its big columns say, where it is open."""

    step_run: StepRun
    whole: StepRun | None
    toggle: str
    url: str

    @property
    def notes(self) -> str:
        """The visit and the attempt, where these are not the first."""
        visit, attempt = self.step_run.visit, self.step_run.attempt
        parts = [_("visit %d") % visit] if visit > 1 else []
        return ", ".join([*parts, _("attempt %d") % attempt] if attempt > 1 else parts)

    @property
    def seconds(self) -> float | None:
        """How long it took, in seconds."""
        return seconds_taken(self.step_run.started_at, self.step_run.finished_at)

    @property
    def error_class(self) -> str:
        """The bare name of the class of its error."""
        return self.step_run.error_type.rpartition(".")[2]


class RunPage:
    """What the template of one run reads."""

    def __init__(self, request: HttpRequest, page: admin.ModelAdmin[Any], run: Run) -> None:
        self.request = request
        self.page = page
        self.site = page.admin_site
        self.run = run
        self.facts: RunFacts = read_facts(run, database_now(run._state.db or "default"))
        self.sees_payload = is_allowed(request, SEE_PAYLOAD, run)
        self.hidden_payload = HIDDEN_PAYLOAD

    @cached_property
    def why(self) -> str:
        """Why it is not moving, in one sentence."""
        return why(self.facts)

    @cached_property
    def is_late(self) -> bool:
        """Whether something is due, and nobody comes for it."""
        return not self.run.is_final and is_late(self.facts)

    @cached_property
    def seconds(self) -> float | None:
        """How long it has taken, in seconds."""
        return seconds_taken(self.run.started_at, self.run.finished_at or self.facts.now)

    @cached_property
    def progress(self) -> Progress | None:
        """How many of its steps have ended."""
        program = self.facts.program
        return None if program is None else count_progress(program.graph, self.facts.current.values())

    @cached_property
    def offers(self) -> list[Offer]:
        """The verbs that the user may use at all."""
        return [*self._answers(), *(self._offer(verb) for verb in VERBS if self._may(verb))]

    @cached_property
    def possible(self) -> list[Offer]:
        """The verbs that can be used now."""
        return [offer for offer in self.offers if not offer.reason]

    @cached_property
    def impossible(self) -> list[Offer]:
        """The verbs that cannot be used now, and why."""
        return [offer for offer in self.offers if offer.reason]

    @cached_property
    def rows(self) -> list[Row]:
        """The latest step runs, in the order they were made."""
        whole = self._read_whole()
        sees_page = can_see(self.site, StepRun, self.request)
        return [
            Row(
                step_run=each,
                whole=whole.get(each.pk),
                toggle=self._toggle(each.pk),
                url=row_url(self.site, each) if sees_page else "",
            )
            for each in self.facts.latest
        ]

    @cached_property
    def opened(self) -> Collection[UUID]:
        """The step runs that are shown whole: those asked for, else the ones that made it fail."""
        asked = self.request.GET.get(OPEN)
        if asked is None:
            failed = [row for row in self.facts.failed if row in self.facts.latest]
            return [row.pk for row in failed[:1]]
        return list(_read_ids(asked))[:MOST_OPEN]

    @cached_property
    def graph(self) -> str:
        """The steps of the version as a picture; an empty text where there are too many, or none."""
        return draw_run_graph(self.facts, self._opening)

    @cached_property
    def timeline(self) -> str:
        """The step runs as a picture."""
        return draw_run_timeline(self.facts, self._opening)

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        """The steps of the version with how they stand: the picture as a table."""
        if self.facts.program is None:
            return []
        graph = self.facts.program.graph
        return [
            {"spec": spec, "needs": ", ".join(graph.needs[name]), "row": self.facts.current.get(name)}
            for name, spec in graph.steps.items()
        ]

    @cached_property
    def subject(self) -> Subject | None:
        """The row it is about, as a link where it has a page."""
        return subject_of(self.site, self.run)

    @cached_property
    def workflow_url(self) -> str:
        """The page of its workflow, where there is one."""
        return row_url(self.site, self.run.workflow) if can_see(self.site, Workflow, self.request) else ""

    @cached_property
    def version_url(self) -> str:
        """The page of its version, where there is one."""
        version = self.run.version
        has_page = version is not None and can_see(self.site, WorkflowVersion, self.request)
        return row_url(self.site, version) if has_page and version is not None else ""

    @cached_property
    def caller(self) -> Run | None:
        """The run whose step called it."""
        return None if self.run.parent is None else self.run.parent.run

    @cached_property
    def all_rows_url(self) -> str:
        """The list of all its step runs."""
        return list_url(self.site, StepRun, run__id__exact=self.run.pk)

    @cached_property
    def data(self) -> list[tuple[str, str]]:
        """Input, state and output, hidden parts starred."""
        values = ((_("Input"), self.run.input), (_("State"), self.run.state), (_("Output"), self.run.output))
        return [(name, show_json(value, LIMIT)) for name, value in values]

    @cached_property
    def caller_url(self) -> str:
        """The page of the run that called it."""
        return "" if self.caller is None else row_url(self.site, self.caller)

    @cached_property
    def restarted_from_url(self) -> str:
        """The page of the run whose place it took."""
        earlier = self.run.restarted_from
        return "" if earlier is None else row_url(self.site, earlier)

    @cached_property
    def error_class(self) -> str:
        """The bare name of the class of its error."""
        return self.run.error_type.rpartition(".")[2]

    @cached_property
    def called(self) -> Iterable[Link]:
        """The runs that its steps called."""
        return [self._link(run) for run in self.facts.called]

    @cached_property
    def restarts(self) -> Iterable[Link]:
        """The runs that took its place."""
        return [self._link(run) for run in self.facts.restarts]

    def _link(self, run: Run) -> Link:
        return Link(url=row_url(self.site, run), label=f"{run} ({run.get_status_display()})")

    def _may(self, verb: RunVerb) -> bool:
        return is_allowed(self.request, verb.permission, self.run)

    def _offer(self, verb: RunVerb) -> Offer:
        url = row_url(self.site, self.run, verb.name)
        reason = why_not(verb.name, self.facts)
        return Offer(name=verb.name, label=verb.label, url=url, reason=reason, is_grave=verb.is_grave)

    def _answers(self) -> Iterable[Offer]:
        """Yield the questions that the user may answer; where they are many, the page of all."""
        if not any(row.waiting_for == WaitingFor.APPROVAL for row in self.facts.live):
            return
        asked = StepRun.objects.using(self.facts.using).filter(run=self.run)
        user: Any = self.request.user
        rows = list(asked.approvable_by(user)[: MOST_ANSWERS + 1])
        urls = [self._url_of_answer(row) for row in rows]
        if len(rows) > MOST_ANSWERS:
            rows, urls = rows[:1], [list_url(self.site, Approval)]
        for row, url in zip(rows, urls, strict=True):
            if url:
                label = _("Answer: %s") % row
                yield Offer(name=f"answer-{row.pk}", label=label, url=url, reason="", is_grave=False)

    def _url_of_answer(self, row: StepRun) -> str:
        name = "admin:django_workflow_approval_answer"
        try:
            return reverse(name, args=[row.pk], current_app=self.site.name)
        except NoReverseMatch:
            return ""

    def _read_whole(self) -> Mapping[UUID, StepRun]:
        if not self.opened:
            return {}
        rows = StepRun.objects.using(self.facts.using).filter(run=self.run, pk__in=self.opened)
        return {row.pk: row for row in rows}

    def _opening(self, pk: UUID) -> str:
        """Return the address with this step run opened."""
        return self._toggle(pk) if pk not in self.opened else f"#row-{pk}"

    def _toggle(self, pk: UUID) -> str:
        """Return the address with this step run opened, or closed."""
        opened = [each for each in self.opened if each != pk]
        if len(opened) == len(self.opened):
            opened.append(pk)
        return f"?{OPEN}={','.join(map(str, opened))}#row-{pk}"


def _read_ids(text: str) -> Iterable[UUID]:
    for part in filter(None, text.split(",")):
        try:
            yield UUID(part)
        except ValueError:
            continue
