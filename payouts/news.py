"""What everyone who follows pay-out is told: one message for each thing that became true, published by the transaction that made it so.

Whoever publishes a message about a payout holds its row and counts the message in `told`, so that the messages about one payout are numbered
1, 2, 3, ... in the order in which they became true.
"""

from typing import Any

from ledger.money import text
from payouts.models import Payout
from payouts.states import PUT_BACK, PayoutStatus
from wallet.notifications import Message

TOPICS: dict[str, str] = {
    PayoutStatus.WAITING: "payout.created",
    PayoutStatus.EXECUTING: "payout.created",
    PayoutStatus.SUCCESS: "payout.succeeded",
    PayoutStatus.FAILED: "payout.failed",
    PayoutStatus.RETURNED: "payout.returned",
    PayoutStatus.CANCELLED: "payout.cancelled",
}


def payout_news(payout: Payout) -> Message:
    """What is told of a payout as it stands; `told` counts this message in."""
    failed = payout.status in PUT_BACK
    payload: dict[str, Any] = {
        "id": payout.public_id,
        "object": "payout",
        "seller": payout.seller.public_id,
        "reference": payout.reference or None,
        "cause": payout.cause,
        "status": payout.status,
        "amount": {"amount": text(payout.amount), "currency": payout.amount.currency.code},
        "failure_code": (payout.failure_code or None) if failed else None,
        "failure_message": (payout.failure_message or None) if failed else None,
    }
    return Message(payout.shop_id, TOPICS[payout.status], payout.public_id, payload, sequence=payout.told)
