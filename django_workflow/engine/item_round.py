"""Rounds of items: several of one ``for_each``, called in turn and recorded together."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..exceptions import LeaseLost
from .attempt import attempt
from .claim import Claim
from .event_context import read_called_runs
from .gate import StaleClaim
from .give_back import give_back
from .items import is_item_end
from .moves import Erred
from .orders import remembering_workflows
from .plan import item_action
from .record_items import fits_items, record_items
from .recording import Keep
from .report import Report
from .safely import record_safely
from .sharing import shares_items
from .single import tell_lost, verdict
from .waits import has_timed_out


def is_shared_item(claim: Claim) -> bool:
    """Return whether the claim is an item that was claimed with others, and may be recorded with them."""
    row = claim.step_run
    is_item = row.index >= 0 and row.undoes_id is None and claim.in_batch
    is_apart = claim.was_undone or row.solo or has_timed_out(row)
    return is_item and not is_apart and not claim.run.ending and shares_items(claim.handler)


def are_siblings(one: Claim, other: Claim) -> bool:
    """Return whether both are items of the same visit of a step."""
    first, second = one.step_run, other.step_run
    return (first.run_id, first.step, first.visit) == (second.run_id, second.step, second.visit)


def execute_items(claims: Sequence[Claim], *, keep: Keep, longest: float) -> tuple[int, list[Claim]]:
    """Execute items for ``longest`` seconds and record them; return how many were begun, and what follows."""
    read_called_runs([claim.step_run for claim in claims], claims[0].using)
    with remembering_workflows():
        begun, reports = _attempt_items(claims, longest)
    odd = reports[-1] if reports and not fits_items(*reports[-1]) else None
    plain = reports if odd is None else reports[:-1]
    following = record_items(plain, keep=keep) if len(plain) > 1 else None
    alone = plain if following is None else []
    _share_run(claims, plain)
    if odd is not None:
        if _stops_others(*odd):
            _hand_back(claims[begun:])
        alone = [*alone, odd]
    return begun, [*(following or []), *_record_alone(alone, keep)]


def _attempt_items(claims: Sequence[Claim], longest: float) -> tuple[int, list[tuple[Claim, Report]]]:
    """Call handlers up to the first whose report has to be recorded alone."""
    until = time.monotonic() + longest
    reports: list[tuple[Claim, Report]] = []
    for begun, claim in enumerate(claims):
        if begun and time.monotonic() > until:
            return begun, reports
        if claim.handler is None or claim.lease.is_given_back:
            continue
        try:
            reports.append((claim, verdict(claim) or attempt(claim, claim.handler)))
        except LeaseLost:
            tell_lost(claim)
            continue
        if not fits_items(*reports[-1]):
            return begun + 1, reports
    return len(claims), reports


def _share_run(claims: Sequence[Claim], recorded: Sequence[tuple[Claim, Report]]) -> None:
    """Let all go on from the run as it was recorded last."""
    for claim in claims if recorded else ():
        claim.run = claim.step_run.run = recorded[-1][0].run


def _stops_others(claim: Claim, report: Report) -> bool:
    if not isinstance(report.result, Erred) or not is_item_end(claim, report):
        return False
    return item_action(claim.spec, report.result) != "continue"


def _hand_back(claims: Sequence[Claim]) -> None:
    """Let what has not begun be as nobody's: the failure that is recorded now cancels it."""
    for claim in claims:
        claim.lease.is_given_back = True
        give_back(claim.using, claim.run.pk, claim.step_run.pk, claim.token)


def _record_alone(reports: Sequence[tuple[Claim, Report]], keep: Keep) -> list[Claim]:
    following = []
    for claim, report in reports:
        try:
            following.append(record_safely(claim, report, keep=keep))
        except StaleClaim:
            tell_lost(claim)
    return [claim for claim in following if claim is not None]
