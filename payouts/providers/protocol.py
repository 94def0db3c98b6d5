"""What we ask of whoever pays out - a bank, or a PSP - and how it may answer.

Expected outcomes are values: PaidOut, PayoutPending, PayoutFailed, PayoutReturned.  Accidents are exceptions, named by what the caller must
do.  A provider never runs inside a database transaction, sends no money without a key that was stored first, and trusts no answer about
another key, amount or reference than it asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from djmoney.money import Money

from ledger.answers import WebhookRefused
from ledger.line import PspError, PspOutcomeUnknown, PspRejectedRequest, PspUnavailable

__all__ = ["PspError", "PspOutcomeUnknown", "PspRejectedRequest", "PspUnavailable", "WebhookRefused"]  # what goes wrong on the line


@dataclass(frozen=True, slots=True)
class Account:
    """Where the money goes: an IBAN, or a country's own account number and bank code.  Never shown, never logged."""

    iban: str = field(default="", repr=False)
    country: str = field(default="", repr=False)
    account_number: str = field(default="", repr=False)
    bank_code: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class PayoutTerms:
    """What the provider knows a payout by: our stored key, the exact amount, and our payout's id."""

    key: str
    amount: Money
    reference: str


@dataclass(frozen=True, slots=True)
class PayoutRequest(PayoutTerms):
    """One payout: its terms, whose account it goes to, and what the holder reads on the statement."""

    holder: str
    account: Account
    statement_text: str


@dataclass(frozen=True, slots=True)
class PaidOut:
    """The money has left for the account."""

    provider_reference: str
    at: datetime


@dataclass(frozen=True, slots=True)
class PayoutPending:
    """The provider has accepted it and does not know the end yet; `arrives_on` if it says so."""

    provider_reference: str
    arrives_on: date | None = None


@dataclass(frozen=True, slots=True)
class PayoutFailed:
    """The money did not leave, and never will under this key.  `code` is plain: account_closed, no_account, ..."""

    provider_reference: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class PayoutReturned:
    """The money had left, and the account's bank sent it back."""

    provider_reference: str
    code: str
    message: str
    at: datetime


Result = PaidOut | PayoutPending | PayoutFailed | PayoutReturned


@dataclass(frozen=True, slots=True)
class ReturnNotice:
    """One payout of ours that came back, as the provider lists it."""

    key: str
    amount: Money
    returned: PayoutReturned


@dataclass(frozen=True, slots=True)
class Ring:
    """One webhook, verified: something became of the payout under this key.  It is a doorbell, no witness.

    `came_back`: it says that money which had left was sent back, of which only `returned_since` tells for certain.
    """

    key: str
    came_back: bool = False


class Provider(Protocol):
    """A provider's adapter.  Every verb may raise the PspErrors; none may be called inside a transaction."""

    name: str

    def pay_out(self, request: PayoutRequest) -> Result:
        """Send the money, at most once per key."""

    def find_payout(self, terms: PayoutTerms) -> Result | None:
        """Ask what became of the payout under this key; None if the provider never saw it."""

    def returned_since(self, moment: datetime) -> list[ReturnNotice]:
        """Ask for the payouts that came back at that moment or later, oldest first."""

    def verify_webhook(self, body: bytes, headers: Mapping[str, str], *, now: datetime) -> Ring:
        """Read a webhook.  Raises WebhookRefused."""
