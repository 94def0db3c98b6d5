"""What shops are told of a conversion: a message in the outbox, in the transaction that makes it."""

from djmoney.money import Money

from ledger.money import text
from wallet import rates
from wallet.models import Conversion
from wallet.notifications import Message


def made(conversion: Conversion) -> Message:
    """Say what became what, and at which rate."""
    payload = {
        "id": conversion.public_id,
        "object": "conversion",
        "seller": conversion.seller.public_id,
        "sold": on_the_wire(conversion.sold),
        "bought": on_the_wire(conversion.bought),
        "rate": rates.figures(conversion.rate),
        "source": conversion.source,
        "quoted_on": conversion.quoted_on.isoformat(),
    }
    return Message(conversion.seller.shop_id, "conversion.created", conversion.public_id, payload, sequence=1)


def on_the_wire(amount: Money) -> dict[str, str]:
    return {"amount": text(amount), "currency": amount.currency.code}
