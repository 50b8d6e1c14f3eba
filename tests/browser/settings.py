"""The tests' settings with a Content Security Policy.

WORKFLOW_TEST_CSP is ``self`` (default: everything from the site itself) or, from Django 6.1 on, ``nonce``
(only scripts and styles that carry the response's nonce, and what they load). Where the admin cannot keep
to the policy that is asked for, these settings refuse it.
"""

import os

import django
from django.core.exceptions import ImproperlyConfigured

from tests.settings import *  # noqa: F403
from tests.settings import MIDDLEWARE, TEMPLATES

LANGUAGE_CODE = os.environ.get("WORKFLOW_TEST_LANGUAGE", "en-us")
CSP = os.environ.get("WORKFLOW_TEST_CSP", "self")
_SELF = {"default-src": ["'self'"]}
if CSP not in (("self", "nonce") if django.VERSION >= (6, 1) else ("self",)):
    raise ImproperlyConfigured(f"WORKFLOW_TEST_CSP={CSP} is not for Django {django.__version__}")

if django.VERSION >= (6, 0):
    from django.utils import csp

    MIDDLEWARE = ["django.middleware.csp.ContentSecurityPolicyMiddleware", *MIDDLEWARE]
    if CSP == "nonce":
        _NONCE = {"script-src": [csp.CSP.NONCE, csp.CSP.STRICT_DYNAMIC], "style-src": [csp.CSP.NONCE]}
        SECURE_CSP = {**_SELF, **_NONCE}
        _OPTIONS = TEMPLATES[0]["OPTIONS"]
        _NAMES = [*_OPTIONS["context_processors"], "django.template.context_processors.csp"]
        TEMPLATES = [{**TEMPLATES[0], "OPTIONS": {**_OPTIONS, "context_processors": _NAMES}}]
    else:
        SECURE_CSP = _SELF
else:
    MIDDLEWARE = ["tests.browser.policy.add_policy", *MIDDLEWARE]
