"""The published test cards and what each of them does.

Only these numbers are accepted, so that nobody's real card can end up here. A number never leaves this module and the
page that reads it: what is stored is the name of the card's behaviour, its last four digits, brand, funding, country
and a keyed fingerprint. Numbers are those that the large PSPs publish; the 4000 0000 0000 9nnn range is our own.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Literal

from payments.sandbox import courses
from payments.sandbox.faults import Fault

Authentication = Literal["none", "challenge", "broken"]


@dataclass(frozen=True)
class Failure:
    """Why a charge or refund failed, and what the bank advises."""

    code: str
    message: str
    advice: Literal["try_again_later", "do_not_try_again"] | None = None

    def as_wire(self) -> dict[str, str | None]:
        return {"code": self.code, "message": self.message, "advice": self.advice}


DECLINED = Failure("card_declined", "The bank declined the card.")
INSUFFICIENT = Failure("insufficient_funds", "The card has insufficient funds.", "try_again_later")
LOST = Failure("lost_card", "The card was reported lost.", "do_not_try_again")
STOLEN = Failure("stolen_card", "The card was reported stolen.", "do_not_try_again")
VELOCITY = Failure("card_velocity_exceeded", "The card exceeded its limit for now.", "try_again_later")
EXPIRED = Failure("expired_card", "The card has expired.", "do_not_try_again")
WRONG_CVC = Failure("incorrect_cvc", "The security code is wrong.")
PROCESSING = Failure("processing_error", "The card's bank could not answer.", "try_again_later")
FRAUDULENT = Failure("fraudulent", "The charge was blocked as too risky.", "do_not_try_again")
REFUND_FAILED = Failure("refund_failed", "The bank returned the refund.")


@dataclass(frozen=True)
class Disputed:
    """That the card's bank disputes the charge later, why, and how it decides; "" when somebody else has to decide."""

    reason: Literal["fraudulent", "product_not_received"] = "fraudulent"
    then: Literal["", "won", "lost"] = ""


@dataclass(frozen=True)
class TestCard:
    """One published number. `says` is what the list of test cards tells about it.

    `kept` is why it is declined when it is charged again as a card that was kept for the buyer.
    """

    __test__ = False  # a card, not a test class

    number: str
    says: str
    brand: str = "visa"
    funding: str = "credit"
    country: str = "US"
    group: str = "It works"
    failure: Failure | None = None
    authentication: Authentication = "none"
    charge: courses.Name = "succeeds"
    refund: courses.Name = "succeeds"
    disputed: Disputed | None = None
    fault: Fault | None = None
    kept: Failure | None = None

    @property
    def last4(self) -> str:
        return self.number[-4:]

    @property
    def name(self) -> str:
        """The behaviour's name, as it is stored; unique, and without the number."""
        return f"{self.brand}_{self.country}_{self.last4}".lower()


def _declining(number: str, failure: Failure) -> TestCard:
    return TestCard(number, f"Declined when charged: {failure.code}", group="It is declined", failure=failure)


def _challenged(number: str, says: str, *, country: str = "US", failure: Failure | None = None, broken: bool = False) -> TestCard:
    authentication: Authentication = "broken" if broken else "challenge"
    return TestCard(number, says, country=country, group="3-D Secure", failure=failure, authentication=authentication)


def _disputed(number: str, says: str, disputed: Disputed) -> TestCard:
    return TestCard(number, says, group="Later events", disputed=disputed)


def _faulty(number: str, says: str, fault: Fault) -> TestCard:
    return TestCard(number, says, group="The PSP misbehaves", fault=fault)


TEST_CARDS = (
    TestCard("4242424242424242", "Visa"),
    TestCard("5555555555554444", "Mastercard", brand="mastercard"),
    TestCard("378282246310005", "American Express (four-digit security code)", brand="amex"),
    TestCard("6011111111111117", "Discover", brand="discover"),
    TestCard("4000056655665556", "Visa debit from Germany", funding="debit", country="DE"),
    TestCard("5200828282828210", "Mastercard debit from France", brand="mastercard", funding="debit", country="FR"),
    TestCard("5105105105105100", "Mastercard prepaid from the Netherlands", brand="mastercard", funding="prepaid", country="NL"),
    TestCard("4111111111111111", "Visa", country="NL"),
    TestCard("5500000000000004", "Mastercard", brand="mastercard", country="NL"),
    TestCard("370000000000002", "American Express", brand="amex", country="NL"),
    TestCard("4000000000009235", "Elevated risk, accepted"),
    TestCard("4000000000000077", "Visa, funds available at once"),
    TestCard("4000003720000278", "Visa from Ireland, funds available at once", country="IE"),
    _declining("4000000000000002", DECLINED),
    _declining("4000000000000341", DECLINED),
    _declining("4000000000009995", INSUFFICIENT),
    _declining("4000000000009987", LOST),
    _declining("4000000000009979", STOLEN),
    _declining("4000000000006975", VELOCITY),
    _declining("4000000000000069", EXPIRED),
    _declining("4000000000000127", WRONG_CVC),
    _declining("4000000000000119", PROCESSING),
    _declining("4100000000000019", FRAUDULENT),
    _declining("4000000000004954", FRAUDULENT),
    _challenged("4000002760003184", "Asks every time, then succeeds", country="DE"),
    _challenged("4000002500003155", "Asks, then succeeds", country="FR"),
    _challenged("4000003800000446", "Asks, then succeeds", country="IT"),
    _challenged("4000000000003220", "Asks, then succeeds"),
    _challenged("4000008400000027", "Asks, then succeeds"),
    _challenged("4000008400001629", "Asks, then declined: card_declined", failure=DECLINED),
    _challenged("4000008260003178", "Asks, then declined: insufficient_funds", country="GB", failure=INSUFFICIENT),
    _challenged("4000008400001280", "The bank's 3-D Secure server is broken", broken=True),
    TestCard("4000000000009169", "Declined as stolen when it is charged again as a saved card", group="Saved cards", kept=STOLEN),
    TestCard("4000000000003055", "3-D Secure possible, not asked", group="3-D Secure"),
    TestCard("4000000000003097", "3-D Secure possible but broken, not asked", group="3-D Secure"),
    TestCard("4000000032200000", "3-D Secure without a question", group="3-D Secure"),
    TestCard("4000000000007726", "Refund pending, then succeeds", group="Later events", refund="pending_then_succeeds"),
    TestCard("4000000000005126", "Refund succeeds, then fails", group="Later events", refund="succeeds_then_fails"),
    TestCard("4000000000009151", "Refund pending, then fails", group="Later events", refund="pending_then_fails"),
    TestCard("4000000000009110", "Charge pending, then succeeds", group="Later events", charge="pending_then_succeeds"),
    TestCard("4000000000009128", "Charge pending, then fails", group="Later events", charge="pending_then_fails"),
    _disputed("4000000000000259", "Disputed as fraudulent", Disputed()),
    _disputed("4000000000002685", "Disputed: product not received", Disputed("product_not_received")),
    _disputed("4000000000009136", "Disputed, then won", Disputed(then="won")),
    _disputed("4000000000009144", "Disputed, then lost", Disputed(then="lost")),
    _faulty("4000000000009011", "Answers after 3 seconds", Fault("slow", delay_s=3)),
    _faulty("4000000000009029", "Charges, then says nothing for 60 seconds", Fault("execute_then_silence", delay_s=60)),
    _faulty("4000000000009037", "Charges, then answers HTTP 500", Fault("execute_then_500")),
    _faulty("4000000000009045", "Does not charge, answers HTTP 500", Fault("refuse_500")),
    _faulty("4000000000009052", "Webhook never comes", Fault("webhook_lost")),
    _faulty("4000000000009060", "Webhook comes twice", Fault("webhook_doubled")),
    _faulty("4000000000009078", "Webhook comes 30 seconds late", Fault("webhook_late", delay_s=30)),
)
NO_CARD = TestCard("", "What stands behind a way to pay that needs no card: it works", brand="")
MISTYPED_NUMBER = "4242424242424241"  # fails the check digit: shown in the list, refused by the form

_BY_NUMBER: Mapping[str, TestCard] = {card.number: card for card in TEST_CARDS}
_BY_NAME: Mapping[str, TestCard] = {card.name: card for card in TEST_CARDS} | {"": NO_CARD}
CVC_DIGITS = {"amex": 4}


def named(name: str) -> TestCard:
    """Return the card whose behaviour was stored under `name`; NO_CARD under no name."""
    return _BY_NAME[name]


def numbered(number: str) -> TestCard | None:
    """Return the published test card with this number; None for any other number in the world."""
    return _BY_NUMBER.get(number)


def passes_check_digit(number: str) -> bool:
    """Tell whether the last digit fits the others (ISO/IEC 7812-1, Luhn)."""
    total = 0
    for place, digit in enumerate(reversed(number)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def fingerprint(number: str, *, secret: str) -> str:
    """Return a keyed hash that is equal for equal cards and says nothing else about the number."""
    key = hashlib.sha256(f"card-fingerprint:{secret}".encode()).digest()
    return "fp_" + hmac.new(key, number.encode(), hashlib.sha256).hexdigest()[:24]


@dataclass(frozen=True)
class EnteredCard:
    """What the buyer typed, before anybody believed it. Never stored and never logged."""

    number: str
    expiry: str
    cvc: str

    def __repr__(self) -> str:
        return "EnteredCard(hidden)"


@dataclass(frozen=True)
class Expiry:
    month: int
    year: int


def is_past(expiry: Expiry, *, today: date) -> bool:
    """Tell whether the card's last month is over."""
    return (expiry.year, expiry.month) < (today.year, today.month)


def expiry_of(text: str) -> Expiry | None:
    """Read "12/30", "1/30", "12 / 2030", "1230" or "122030"; None when it is no month of a year."""
    written = re.fullmatch(r"\s*(\d{1,2})\s*[/. -]\s*(\d{4}|\d{2})\s*|\s*(\d{2})(\d{4}|\d{2})\s*", text, re.ASCII)
    if written is None:
        return None
    month, year = (int(part) for part in written.groups() if part is not None)
    if not 1 <= month <= 12:
        return None
    return Expiry(month, year if year >= 100 else 2000 + year)


def complaints(entered: EnteredCard, *, today: date) -> dict[str, str]:
    """Return what is wrong, by field, as keys of words.py; empty when the card can be used."""
    wrong: dict[str, str] = {}
    number = digits_of(entered.number)
    card = numbered(number)
    if not number:
        wrong["number"] = "number_missing"
    elif len(number) < 13:
        wrong["number"] = "number_incomplete"
    elif not passes_check_digit(number):
        wrong["number"] = "number_wrong"
    elif card is None:
        wrong["number"] = "test_cards_only"
    expiry = expiry_of(entered.expiry)
    if not entered.expiry.strip():
        wrong["expiry"] = "expiry_missing"
    elif expiry is None or expiry.year > today.year + 50:
        wrong["expiry"] = "expiry_wrong"
    elif is_past(expiry, today=today):
        wrong["expiry"] = "expiry_past"
    cvc = entered.cvc.strip()
    wanted = CVC_DIGITS.get(brand_of(number), 3)
    if not cvc:
        wrong["cvc"] = "cvc_missing"
    elif not (cvc.isascii() and cvc.isdigit() and len(cvc) == wanted):
        wrong["cvc"] = "cvc_incomplete_amex" if wanted == 4 else "cvc_incomplete"
    return wrong


def digits_of(number: str) -> str:
    """Return the digits of what was typed; letters among them make it no card number."""
    squeezed = re.sub(r"[\s-]", "", number)
    return squeezed if re.fullmatch(r"\d*", squeezed, re.ASCII) else "0"


def brand_of(number: str) -> str:
    """Return the brand that the first digits announce, or "unknown"."""
    if number.startswith("4"):
        return "visa"
    if number.startswith(("34", "37")):
        return "amex"
    if re.match(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", number):
        return "mastercard"
    if number.startswith(("6011", "65", "644", "645", "646", "647", "648", "649")):
        return "discover"
    return "unknown"
