"""Signals, sent after the commit that they tell of, by ``send_robust``.

A receiver's error is logged and changes nothing.

Each is sent with the Run class as sender, and ``run``; ``step_finished`` also with ``step_run``. Both are the
rows as recorded, without a query of their own: read fields, do not save them.
"""

from __future__ import annotations

from django.dispatch import Signal

run_started = Signal()
run_finished = Signal()
step_finished = Signal()
