"""What the app adds to the start of a project's processes."""

from __future__ import annotations

import statistics
import subprocess
import sys

_SCRIPT = """
import time
begun = time.perf_counter()
import django
from django.conf import settings
names = ["admin", "auth", "contenttypes", "messages"]
apps = [f"django.contrib.{{name}}" for name in names]
more = dict(USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
settings.configure(INSTALLED_APPS=[*apps, *{more}], **more)
django.setup()
print(time.perf_counter() - begun)
"""


def describe(rounds: int) -> str:
    """Return the median time of import and ``django.setup()`` without and with the app, in milliseconds."""
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(rounds):
        for with_app, values in times.items():
            script = _SCRIPT.format(more=["django_workflow"] if with_app else [])
            done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
            values.append(float(done.stdout) * 1000)
    before, after = (statistics.median(times[with_app]) for with_app in (False, True))
    return (
        f"import and setup: {before:.0f} ms without the app, {after:.0f} ms with it, {after - before:+.0f} ms"
    )
