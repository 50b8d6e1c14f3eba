"""A pretended payment provider: it fails now and then, and knows the idempotency keys it has seen."""

from __future__ import annotations

import time
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

from django.conf import settings

from django_workflow import PermanentError

LIMIT = Decimal(500)


class GatewayTimeout(Exception):
    """No answer in time: nobody knows whether the card was charged, so ask again with the same key."""


class CardDeclined(PermanentError):
    """The card is not good for the amount; asking again does not help."""


def charge(amount: Decimal, *, idempotency_key: str) -> str:
    """Charge the card and return the charge's id: the same for the same key, and charged once.

    Raises ``CardDeclined`` above 500, and ``GatewayTimeout`` at the first call for an amount ending in .99.
    """
    if amount > LIMIT:
        raise CardDeclined(f"the card is not good for {amount}")
    charge_id = f"ch_{sha256(idempotency_key.encode()).hexdigest()[:12]}"
    if _is_new(charge_id):
        # The card is charged by now. Whoever dies while the answer is on its way does not know.
        time.sleep(settings.GATEWAY_SECONDS)
        if str(amount).endswith(".99"):
            raise GatewayTimeout("no answer from the payment provider")
    return charge_id


def _is_new(charge_id: str) -> bool:
    folder = Path(settings.GATEWAY_FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        (folder / charge_id).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
