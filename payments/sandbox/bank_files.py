"""What a bank statement says, whatever its form: the merchant's account, one day and one currency of it, and the day's bookings.

The bank is the sandbox's own. The account is the merchant's, and the money on it his: the PSP pays settlement batches into
it, and payouts to sellers go out of it. Amounts are whole minor units, signed as he sees them. Needs no database.
"""

from datetime import date
from typing import Literal, NamedTuple

IBAN = "AT341904300234573299"
BIC = "SBOXATWWXXX"
BANK = "Sandbox Bank"
PSP = "Sandbox Payments"

Kind = Literal["settlement", "payout", "return"]


class Statement(NamedTuple):
    """One day of the account in one currency. `number` counts the statements of the currency."""

    name: str
    number: int
    day: date
    currency: str
    owner: str
    opening: int
    closing: int
    entries: int
    credits: int
    credited: int
    debited: int


class Entry(NamedTuple):
    """One booking: a settlement paid in by the PSP, a payout to a seller, or one that his bank returned, with ISO 20022's reason."""

    id: int
    kind: Kind
    amount: int
    object_id: str
    end_to_end_id: str
    account_last4: str
    reason: str

    @property
    def bank_reference(self) -> str:
        """The bank's own number of the booking."""
        return f"BK{self.id:012}"

    @property
    def counterparty(self) -> str:
        """Who paid or was paid. The bank does not keep the names and numbers of sellers, but for the number's end."""
        return PSP if self.kind == "settlement" else f"Account ending in {self.account_last4}"

    @property
    def text(self) -> str:
        """What the statement's owner reads."""
        if self.kind == "settlement":
            return f"{PSP} settlement batch {self.end_to_end_id}"
        return f"Returned {self.reason} payout {self.object_id}" if self.kind == "return" else f"Payout {self.object_id}"
