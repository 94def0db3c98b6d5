"""Bank accounts that payouts go to: how they are given and checked, and the published test accounts with what each does.

Any account that is written correctly is accepted, so somebody's real one may come along. Its number never leaves the call
that brought it: what is stored is the name of the account's behaviour and its last four digits, and a keyed fingerprint
goes into the hash of the request. The Austrian and US test accounts are those that the large PSPs publish; the numbers that
end in 3206 and 9991 are our own.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from payments.sandbox import courses
from payments.sandbox.errors import Refusal

IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
NUMBER = re.compile(r"[A-Z0-9]{5,34}")
BANK_CODE = re.compile(r"[A-Z0-9]{1,20}")
ROUTING_NUMBER = re.compile(r"[0-9]{9}")
COUNTRY = re.compile(r"[A-Z]{2}")


@dataclass(frozen=True)
class BankAccount:
    """An account as it was given, in one spelling; `bank_code` is empty when the number is an IBAN. Never stored, never logged."""

    country: str
    number: str
    bank_code: str = ""

    def __repr__(self) -> str:
        return "BankAccount(hidden)"

    @property
    def last4(self) -> str:
        return self.number[-4:]


@dataclass(frozen=True)
class Failure:
    """Why a bank did not take a payout, or gave it back; the message ends with the reason code of ISO 20022, such as (AC04)."""

    code: str
    message: str

    def as_wire(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message}


ACCOUNT_CLOSED = Failure("account_closed", "The account is closed (AC04).")
NO_ACCOUNT = Failure("no_account", "There is no account with this number (AC01).")
NOT_SAID = Failure("declined", "The account's bank declined the payout and does not say why (MS03).")
INSUFFICIENT_FUNDS = Failure("insufficient_funds", "Your balance does not cover the payout (AM04).")
NOT_AUTHORIZED = Failure("debit_not_authorized", "Payouts to this account are not allowed (AG01).")
INVALID_CURRENCY = Failure("invalid_currency", "The account does not take this currency (AC09).")


@dataclass(frozen=True)
class TestAccount:
    """One published account. `says` is what the list of test accounts tells about it; `failure`, why it goes wrong if it does."""

    __test__ = False  # an account, not a test class

    account: BankAccount
    says: str
    payout: courses.PayoutName
    failure: Failure | None = None

    @property
    def name(self) -> str:
        """The behaviour's name, as it is stored; unique, and without the number."""
        return f"{self.account.country}_{self.account.last4}".lower()


def _iban(number: str, says: str, payout: courses.PayoutName, failure: Failure | None = None) -> TestAccount:
    return TestAccount(BankAccount(number[:2], number), says, payout, failure)


def _failing_in_the_us(number: str, failure: Failure) -> TestAccount:
    return TestAccount(BankAccount("US", number, "110000000"), f"Failed at once: {failure.code}", "fails", failure)


TEST_ACCOUNTS = (
    _iban("AT611904300234573201", "Paid at once", "paid"),
    _iban("AT321904300235473204", "Pending, then paid", "pending_then_paid"),
    _iban("AT861904300235473202", "Failed at once: account_closed", "fails", ACCOUNT_CLOSED),
    _iban("AT751904300235473206", "Failed at once: no_account", "fails", NO_ACCOUNT),
    _iban("AT051904300235473205", "Pending, then failed: declined", "pending_then_fails", NOT_SAID),
    _iban("AT591904300235473203", "Paid, and returned after three days: account_closed", "paid_then_returned", ACCOUNT_CLOSED),
    TestAccount(BankAccount("US", "000123456789", "110000000"), "Paid at once", "paid"),
    TestAccount(
        BankAccount("US", "000999999991", "110000000"),
        "Paid, and returned after three days: account_closed",
        "paid_then_returned",
        ACCOUNT_CLOSED,
    ),
    _failing_in_the_us("000111111116", NO_ACCOUNT),
    _failing_in_the_us("000111111113", ACCOUNT_CLOSED),
    _failing_in_the_us("000222222227", INSUFFICIENT_FUNDS),
    _failing_in_the_us("000333333335", NOT_AUTHORIZED),
    _failing_in_the_us("000444444440", INVALID_CURRENCY),
)
ANY_OTHER = TestAccount(BankAccount("any", "other"), "Any other account: pending, then paid", "pending_then_paid")

_BY_ACCOUNT: Mapping[BankAccount, TestAccount] = {known.account: known for known in TEST_ACCOUNTS}
_BY_NAME: Mapping[str, TestAccount] = {known.name: known for known in (*TEST_ACCOUNTS, ANY_OTHER)}


def named(name: str) -> TestAccount:
    """Return the test account whose behaviour was stored under `name`."""
    return _BY_NAME[name]


def behaviour_of(account: BankAccount) -> TestAccount:
    """Return the published test account that this is; ANY_OTHER for every other account in the world."""
    return _BY_ACCOUNT.get(account, ANY_OTHER)


def read(given: Any) -> BankAccount:
    """Read {"iban"} or {"country", "account_number", "bank_code"} of a request.

    Raises ValueError when it is neither, and Refusal invalid_account (400) naming the part that is not written correctly.
    """
    parts = {name: _squeezed(value) for name, value in given.items()} if isinstance(given, dict) else {}
    if parts.keys() == {"iban"}:
        return _by_iban(parts["iban"])
    if parts.keys() == {"country", "account_number", "bank_code"}:
        return _local(**parts)
    raise ValueError("an object with iban, or with country, account_number and bank_code")


def _squeezed(value: Any) -> str:
    """Return what was typed without spaces and hyphens, in capitals; "" when it is no text."""
    return re.sub(r"[\s-]", "", value).upper() if isinstance(value, str) else ""


def _by_iban(iban: str) -> BankAccount:
    if not passes_check_digits(iban):
        raise _invalid("iban", "This is no IBAN: its check digits do not fit, or it is not written as one.")
    return BankAccount(iban[:2], iban)


def passes_check_digits(iban: str) -> bool:
    """Tell whether this is written as an IBAN and its check digits fit the rest (ISO 13616: modulo 97 leaves 1)."""
    if not IBAN.fullmatch(iban):
        return False
    digits = "".join(str(int(sign, 36)) for sign in iban[4:] + iban[:4])
    return int(digits) % 97 == 1


def _local(*, country: str, account_number: str, bank_code: str) -> BankAccount:
    if not COUNTRY.fullmatch(country):
        raise _invalid("country", "country must be two letters, such as US.")
    if not NUMBER.fullmatch(account_number):
        raise _invalid("account_number", "account_number must be 5 to 34 digits or letters.")
    if not BANK_CODE.fullmatch(bank_code):
        raise _invalid("bank_code", "bank_code must be 1 to 20 digits or letters.")
    if country == "US" and not passes_routing_check(bank_code):
        raise _invalid("bank_code", "This is no routing number of nine digits: its check digit does not fit.")
    return BankAccount(country, account_number, bank_code)


def passes_routing_check(code: str) -> bool:
    """Tell whether this is a US routing number whose last digit fits the others (weights 3, 7, 1)."""
    weighed = sum(int(digit) * weight for digit, weight in zip(code, [3, 7, 1] * 3, strict=True)) if ROUTING_NUMBER.fullmatch(code) else 1
    return weighed % 10 == 0


def _invalid(part: str, message: str) -> Refusal:
    return Refusal(400, "invalid_account", message, field=f"account.{part}")


def fingerprint(account: BankAccount, *, secret: str) -> str:
    """Return a keyed hash that is equal for equal accounts and says nothing else about the number."""
    key = hashlib.sha256(f"account-fingerprint:{secret}".encode()).digest()
    told = f"{account.country} {account.bank_code} {account.number}"
    return "fp_" + hmac.new(key, told.encode(), hashlib.sha256).hexdigest()[:24]


def as_wire(known: TestAccount) -> dict[str, object]:
    """Return a test account; its `account` is what a payout to it is asked with."""
    country, number, bank_code = known.account.country, known.account.number, known.account.bank_code
    local = {"country": country, "account_number": number, "bank_code": bank_code}
    return {
        "account": local if bank_code else {"iban": number},
        "says": known.says,
        "payout": known.payout,
        "failure": known.failure.as_wire() if known.failure else None,
    }
