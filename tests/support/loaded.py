"""What every process of the tests imports, before it is forked: see :mod:`tests.support.processes`.

Step types are not among it: which of them a worker knows is a test's matter.
"""

from importlib import import_module

import django

django.setup()
for name in (
    "django_rq.management.commands.rqworker",
    "django_workflow.management.commands.workflow_clock",
    "django_workflow.worker",
):
    import_module(name)
