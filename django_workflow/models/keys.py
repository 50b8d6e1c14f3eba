"""Time-ordered UUIDs (RFC 9562, version 7): new rows go to the end of the index."""

from __future__ import annotations

import os
import time
from uuid import UUID


def uuid7() -> UUID:
    """Return a version 7 UUID.

    48 bits of milliseconds, 12 bits of their fraction (method 3 of the RFC), 62 random bits.
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = nanoseconds * 4096 // 1_000_000
    high = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | 7 << 76 | fraction << 64
    return UUID(int=high | 2 << 62 | int.from_bytes(os.urandom(8)) >> 2)
