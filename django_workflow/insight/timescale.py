"""A scale from time to a picture's width in which the long stretches where no work is done are cut short."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# A stretch without work is cut short when it is longer than this share of the time that is to scale.
SHARE = 0.25
# What is left of it, in pixels; all of them together take no more than half of the width.
SHORT = 48.0

Stretch = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Something that went on from ``start`` to ``end`` (None: until now), be it work or waiting."""

    start: datetime
    end: datetime | None
    is_work: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A stretch of time and its place in the picture; a gap is one that is cut short."""

    start: datetime
    end: datetime
    left: float
    right: float
    is_gap: bool

    @property
    def seconds(self) -> float:
        """How long it truly is."""
        return (self.end - self.start).total_seconds()

    def place(self, moment: datetime) -> float:
        """Return where ``moment`` is in the picture: at an end of the piece, or between."""
        if moment <= self.start:
            return self.left
        if moment >= self.end:
            return self.left if self.start == self.end else self.right
        share = (moment - self.start) / (self.end - self.start)
        return min(self.left + share * (self.right - self.left), self.right)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timescale:
    """The pieces in the order of time; together they are as wide as the picture."""

    pieces: tuple[Piece, ...]

    @property
    def start(self) -> datetime:
        """When the first span starts."""
        return self.pieces[0].start

    @property
    def end(self) -> datetime:
        """When the last span ends."""
        return self.pieces[-1].end

    @property
    def gaps(self) -> tuple[Piece, ...]:
        """The stretches that are cut short."""
        return tuple(piece for piece in self.pieces if piece.is_gap)

    def place(self, moment: datetime) -> float:
        """Return where ``moment`` is in the picture; at its edge before all spans, and after them."""
        number = bisect(self.pieces, moment, key=lambda piece: piece.start)
        return self.pieces[max(number - 1, 0)].place(moment)


def fit(spans: Iterable[Span], *, now: datetime, width: float) -> Timescale:
    """Return the scale on which all ``spans`` fit into ``width``."""
    closed = [(span.start, max(span.start, span.end or now), span.is_work) for span in spans]
    whole = (
        min((start for start, _end, _is_work in closed), default=now),
        max((end for _start, end, _is_work in closed), default=now),
    )
    work = _merge([(start, end) for start, end, is_work in closed if is_work])
    gaps = _choose_gaps(_between(work, whole), _sum(work))
    return Timescale(pieces=_lay(whole, gaps, width))


def _merge(stretches: Iterable[Stretch]) -> list[Stretch]:
    merged: list[Stretch] = []
    for start, end in sorted(stretches):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _between(stretches: Sequence[Stretch], whole: Stretch) -> list[Stretch]:
    starts = [whole[0], *(end for _start, end in stretches)]
    ends = [*(start for start, _end in stretches), whole[1]]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]


def _choose_gaps(idle: Iterable[Stretch], worked: timedelta) -> list[Stretch]:
    """Return what to cut short, in the order of time: the long stretches, measured by what else is shown."""
    gaps: list[Stretch] = []
    shown = worked
    for start, end in sorted(idle, key=lambda each: each[1] - each[0]):
        if worked and end - start > SHARE * shown:
            gaps.append((start, end))
        else:
            shown += end - start
    return sorted(gaps)


def _lay(whole: Stretch, gaps: Sequence[Stretch], width: float) -> tuple[Piece, ...]:
    short = min(SHORT, width / 2 / len(gaps)) if gaps else 0.0
    to_scale = _between(gaps, whole)
    shown = _sum(to_scale) or timedelta(seconds=1)
    cuts = sorted([(*gap, True) for gap in gaps] + [(*each, False) for each in to_scale]) or [(*whole, False)]
    pieces: list[Piece] = []
    left = 0.0
    for number, (start, end, is_gap) in enumerate(cuts, 1):
        wide = short if is_gap else (width - short * len(gaps)) * ((end - start) / shown)
        right = width if number == len(cuts) else min(left + wide, width)
        pieces.append(Piece(start=start, end=end, left=left, right=right, is_gap=is_gap))
        left = right
    return tuple(pieces)


def _sum(stretches: Iterable[Stretch]) -> timedelta:
    return sum((end - start for start, end in stretches), timedelta())
