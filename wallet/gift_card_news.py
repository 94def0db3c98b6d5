"""What everyone who follows gift cards is told: a card was given away, or what was left on it expired.  Of sold ones their payments tell."""

from djmoney.money import Money

from ledger.money import text
from wallet.models import GiftCard
from wallet.notifications import Message


def issued(card: GiftCard) -> Message:
    """What is told of a card that was given away; it is the first message about it."""
    return message("gift_card.issued", card, left=card.amount)


def expired(card: GiftCard, *, left: Money) -> Message:
    """What is told of a card of which something expired: how much.  `told` counts this message in."""
    return message("gift_card.expired", card, left=left)


def message(topic: str, card: GiftCard, *, left: Money) -> Message:
    payload = {
        "id": card.public_id,
        "object": "gift_card",
        "reference": card.reference,
        "origin": card.origin,
        "amount": wire(card.amount),
        "balance" if topic == "gift_card.issued" else "expired": wire(left),
        "expires_at": card.value.expires_at.isoformat() if card.value.expires_at else None,
    }
    return Message(card.shop_id, topic, card.public_id, payload, sequence=card.told)


def wire(amount: Money) -> dict[str, str]:
    return {"amount": text(amount), "currency": amount.currency.code}
