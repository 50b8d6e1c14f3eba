"""A pretended payment provider: it fails now and then, and knows the idempotency keys it has seen.

As with a real one, a charge is begun by a call, and a message of the provider says later how it went.
"""

from __future__ import annotations

import time
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypedDict

from django.conf import settings
from django.core import signing

from django_workflow import PermanentError

_SALT = "the provider and the shop share this secret"


class GatewayTimeout(Exception):
    """No answer in time: nobody knows whether the charge was begun, so ask again with the same key."""


class CardDeclined(PermanentError):
    """The card is not good for the amount; asking again does not help."""


class Message(TypedDict):
    """What the provider says of a charge. It may say it more than once, with the same id."""

    id: str
    reference: str
    verdict: Literal["paid", "declined"]


def charge(amount: Decimal, *, idempotency_key: str) -> str:
    """Begin to charge a card, and return the charge's id: the same for the same key, and begun once.

    Raises ``GatewayTimeout`` at the first call for an amount ending in .99.
    """
    charge_id = f"ch_{sha256(idempotency_key.encode()).hexdigest()[:12]}"
    if _is_new(charge_id):
        # The charge is begun by now. Whoever dies while the answer is on its way does not know.
        time.sleep(settings.GATEWAY_SECONDS)
        if str(amount).endswith(".99"):
            raise GatewayTimeout("no answer from the payment provider")
    return charge_id


def refund(charge_id: str) -> None:
    """Give the money of a charge back, or let go of one that was never paid; once, however often called."""
    _is_new(f"{charge_id}-refunded")


def sign(reference: str, verdict: Literal["paid", "declined"]) -> str:
    """Return the provider's signed message about the charge with that reference."""
    return signing.dumps(
        Message(id=f"{reference}-{verdict}", reference=reference, verdict=verdict), salt=_SALT
    )


def read(text: str) -> Message:
    """Return the message in a signed text. Raises ``BadSignature`` for what is not the provider's."""
    message: Message = signing.loads(text, salt=_SALT)
    return message


def _is_new(name: str) -> bool:
    folder = Path(settings.GATEWAY_FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        (folder / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
