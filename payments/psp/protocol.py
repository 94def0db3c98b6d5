"""What we ask of a payment service provider, and how it may answer.

Expected outcomes are values: Charged, Pending, Declined.  Accidents are exceptions, named by what the caller must do.  An adapter never
runs inside a database transaction, sends no money-moving call without a key that was stored first, and trusts no answer about another
amount than it asked for.

Whatever the way to pay, the buyer's approval makes a session complete, with a token for one total; the token is then charged once per
seller's order.  A way to pay decides only how a session gets complete.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

from djmoney.money import Money

from ledger.answers import WebhookRefused
from ledger.line import PspError, PspOutcomeUnknown, PspRejectedRequest, PspUnavailable

__all__ = ["PspError", "PspOutcomeUnknown", "PspRejectedRequest", "PspUnavailable", "WebhookRefused"]  # what goes wrong on the line


@dataclass(frozen=True, slots=True)
class Capability:
    """What a way to pay can do: currencies and buyers' countries (none named: all), and from which amount up to which.

    Bounds are in major units, by currency; a currency that is not among them has none.
    """

    currencies: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()
    smallest: Mapping[str, Decimal] = field(default_factory=dict)
    largest: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What the buyer is about to confirm.  The nonce is ours: the same nonce opens the same session.

    `method` is card, digital_wallet, qr or pay_later.  `buyer` is our public id of the buyer, under which the PSP keeps a card if `save_card`
    says that the buyer wants it; `saved_card` is the PSP's token of one that it keeps: then nothing is typed.  `country` is the buyer's
    (ISO 3166; empty: not known).
    """

    nonce: str
    amount: Money
    parent_origin: str
    return_url: str
    locale: str
    description: str
    method: str = "card"
    save_card: bool = False
    saved_card: str = ""
    buyer: str = ""
    country: str = ""


@dataclass(frozen=True, slots=True)
class SavedCardNotice:
    """A card that the PSP keeps for the buyer: its token, and what may be shown of it."""

    token: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    funding: str


@dataclass(frozen=True, slots=True)
class Instalment:
    """What the buyer will pay to the provider of pay later, and when."""

    due_date: date
    amount: Money


@dataclass(frozen=True, slots=True)
class Session:
    """The PSP's side of one payment page.  `payment_token` is empty until the buyer has given (and authenticated) a way to pay.

    `status` is open, requires_action (3-D Secure, on `hosted_url`), in_review (a person at the provider decides), complete, failed or expired;
    `failure_code` says why it failed.  `method` is the way to pay that it was opened for; of a card, `card_funding` is
    credit, debit or prepaid, and `card_country` is where it was issued (ISO 3166).  `code_text` is what a QR code says (EMVCo, merchant-presented);
    `saved_card`, the card that the buyer asked to be kept; `schedule`, what the buyer of pay later pays to the provider, and when.
    Empty is what the PSP does not tell.
    """

    id: str
    nonce: str
    status: str
    amount: Money
    fields_url: str
    hosted_url: str
    payment_token: str = ""
    card_brand: str = ""
    card_last4: str = ""
    method: str = ""
    card_funding: str = ""
    card_country: str = ""
    expires_at: datetime | None = None
    code_text: str = ""
    failure_code: str = ""
    saved_card: SavedCardNotice | None = None
    schedule: Sequence[Instalment] = ()


@dataclass(frozen=True, slots=True)
class ChargeRequest:
    """One charge: our stored key, the token that the buyer's confirmation gave, the exact amount, and our order's id.

    `statement_name` is how the buyer's statement shall name the shop; empty: as the PSP has it.  It never changes under a key, for a PSP
    compares what it is asked for.  An answer is not refused for another one: banks write it as they like.
    """

    key: str
    payment_token: str
    amount: Money
    reference: str
    statement_name: str = ""


@dataclass(frozen=True, slots=True)
class RefundRequest:
    """Money of one charge that goes back: our stored key, the PSP's id of the charge, the exact amount, and our refund's id."""

    key: str
    charge: str
    amount: Money
    reference: str


@dataclass(frozen=True, slots=True)
class Charged:
    """The PSP took (or, for a refund, gave back) the money."""

    psp_reference: str
    amount: Money
    at: datetime


@dataclass(frozen=True, slots=True)
class Pending:
    """The PSP has accepted it and does not know the end yet."""

    psp_reference: str


@dataclass(frozen=True, slots=True)
class Declined:
    """The money was not taken.  `code` is the PSP's, in Stripe's words: insufficient_funds, expired_card, ..."""

    psp_reference: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Voided:
    """Nothing was taken under the key, or it was given back, and nothing will ever be taken under it."""


Result = Charged | Pending | Declined


@dataclass(frozen=True, slots=True)
class DisputeNotice:
    """How a dispute of one of our charges stands at the PSP: `key` and `reference` are the charge's, ours; `charge` is the PSP's id of it.

    `status` is open, won, lost or partial; `lost` is what the buyer's bank keeps of `amount`; `fee` is what the PSP charges for it.
    """

    psp_reference: str
    key: str
    reference: str
    charge: str
    status: str
    amount: Money
    fee: Money
    lost: Money
    reason: str
    opened_at: datetime
    updated_at: datetime
    evidence_due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Notice:
    """One webhook, verified: what the PSP says became of the charge or refund under our key."""

    event_id: str
    type: str
    key: str
    result: Result | None


class Psp(Protocol):
    """A PSP's adapter.  Every verb may raise the PspErrors; none may be called inside a transaction."""

    name: str

    @property
    def origin(self) -> str:
        """Where the PSP's card fields live, for the page's Content-Security-Policy."""

    @property
    def methods(self) -> Mapping[str, Capability]:
        """Which ways to pay the PSP offers, by name, and what each can do: declared, not asked for."""

    def open_session(self, request: SessionRequest) -> Session:
        """Open the session of a payment page, or give the one that this nonce opened."""

    def session(self, session_id: str) -> Session:
        """Ask how a session stands."""

    def forget_card(self, token: str) -> None:
        """Let the PSP forget a card that it keeps; one that it does not know is forgotten."""

    def charge(self, request: ChargeRequest) -> Result:
        """Take the money, at most once per key."""

    def find_charge(self, request: ChargeRequest) -> Result | None:
        """Ask what became of the charge under this key; None if the PSP never saw it."""

    def void(self, request: ChargeRequest) -> Voided | Charged | Declined:
        """Let the charge under this key not have been, now and for ever; if it is too late for that, say what it came to."""

    def refund(self, request: RefundRequest) -> Result:
        """Give the money back, at most once per key."""

    def find_refund(self, request: RefundRequest) -> Result | None:
        """Ask what became of the refund under this key; None if the PSP never saw it."""

    def disputes_since(self, moment: datetime) -> list[DisputeNotice]:
        """Ask for the disputes that changed at that moment or later, oldest change first."""

    def taken(self, *, since: datetime, until: datetime) -> list[Money] | None:
        """Ask what the PSP took for us from then on and before that, less what it gave back and what disputes took and cost, per currency.

        Whether it has paid that out since makes no difference, and what it charges us for charges is not taken off.  None: it cannot tell.
        """

    def verify_webhook(self, body: bytes, headers: Mapping[str, str], *, now: datetime) -> Notice:
        """Read a webhook.  Raises WebhookRefused."""
