"""Account numbers as people type them: checked, and written the one way that a bank takes them.

An IBAN carries two check digits, which find any one wrong digit and almost any two that changed places (ISO 13616); schwifty knows each
country's form and, from its own register, the bank behind the number.  Of other accounts we check what their country lets us check.  Nothing is asked
of a network.
"""

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pycountry
from django.views.decorators.debug import sensitive_variables
from schwifty import IBAN
from schwifty.exceptions import InvalidChecksumDigits, InvalidCountryCode, InvalidLength, SchwiftyException

from ledger.errors import DomainError
from payouts import vault
from payouts.models import BankAccount

Kind = BankAccount.Kind
LONG_ENOUGH_FOR_FOUR = 8  # of a shorter number the last two characters are shown: four would be half of it
ROUTING_WEIGHTS = (3, 7, 1) * 3  # of the ABA's check: the weighted sum of the nine digits ends in 0
JOINED_SEPA_LATELY = frozenset(
    {"AL", "MD", "ME", "MK", "RS"}
)  # since November 2024 (European Payments Council); schwifty's register is older


class BankDetailsRefused(DomainError):
    """The details cannot be those of an account.  The sentence says what to do, and never repeats a number."""

    code = "bank_details_refused"


@dataclass(frozen=True, slots=True)
class Checked:
    """Details that were checked: `details` is what is sealed, `text` what makes two accounts the same; the rest may be seen."""

    kind: BankAccount.Kind
    country: str
    details: dict[str, str] = field(repr=False)
    text: str = field(repr=False)
    last4: str
    bic: str = ""
    bank_name: str = ""
    is_sepa: bool = False


@sensitive_variables()
def checked(*, iban: str, country: str, account_number: str, bank_code: str) -> Checked:
    """Check an IBAN, or the details of an account that has none; spaces and hyphens do not count.  Raises BankDetailsRefused."""
    if iban and (country or account_number or bank_code):
        raise BankDetailsRefused("Give an IBAN, or country, account number and bank code, but not both.", field="iban")
    if iban:
        return checked_iban(iban)
    if country or account_number or bank_code:
        return checked_local(country.strip().upper(), plain(account_number), plain(bank_code))
    raise BankDetailsRefused("Give the account's IBAN, or its country, account number and bank code where there is no IBAN.", field="iban")


def require_currency(account: Checked, currency: str) -> None:
    """Refuse euros to an account that SEPA does not reach.  Raises BankDetailsRefused."""
    if currency == "EUR" and not account.is_sepa:
        at_fault = "iban" if account.kind == Kind.IBAN else "currency"
        raise BankDetailsRefused(
            "Euros go to an IBAN of a country of SEPA. Give such an account, or choose another currency.", field=at_fault
        )


@sensitive_variables()
def text_of(details: Mapping[str, str]) -> str:
    """Return what makes two accounts the same: of this the fingerprint is made."""
    if "iban" in details:
        return f"iban {details['iban']}"
    return f"local {details['country']} {details['bank_code']} {details['account_number']}"


@sensitive_variables()
def opened(sealed: str, *, owner: str, fingerprint: str) -> dict[str, str]:
    """Return the details of the bank account with the public id `owner`, to which money is about to go.

    Raises vault.CannotOpen, also if what was sealed is not what the account's fingerprint was made of.
    """
    details = vault.open_sealed(sealed, owner=owner)
    if not hmac.compare_digest(vault.fingerprint(text_of(details)), fingerprint):
        raise vault.CannotOpen(f"what is sealed for {owner} is not the account of its fingerprint")
    return details


@sensitive_variables()
def checked_iban(text: str) -> Checked:
    try:
        iban = IBAN(plain(text))
    except SchwiftyException as error:
        raise BankDetailsRefused(what_to_do(error), field="iban") from None
    number, country = str(iban.compact), str(iban.country_code)
    bic = str(iban.bic or "")
    return Checked(
        Kind.IBAN,
        country,
        {"iban": number},
        text_of({"iban": number}),
        number[-4:],
        bic,
        (iban.bank_name or "")[:140],
        iban.in_sepa_zone or country in JOINED_SEPA_LATELY,
    )


def what_to_do(error: SchwiftyException) -> str:
    """Say what is wrong with an IBAN without repeating it, which the library's own words do."""
    match error:
        case InvalidChecksumDigits():
            return "A digit of this IBAN is wrong, or two have changed places. Compare it with your bank's statement."
        case InvalidLength():
            return "This IBAN is too long or too short for its country. Compare it with your bank's statement."
        case InvalidCountryCode():
            return "No country with IBANs begins like this. For an account without an IBAN give country, account number and bank code."
        case _:
            return "This is not an IBAN. It begins with two letters and two digits, such as DE89, and holds letters and digits only."


@sensitive_variables()
def checked_local(country: str, number: str, bank_code: str) -> Checked:
    if not re.fullmatch("[A-Z]{2}", country) or pycountry.countries.get(alpha_2=country) is None:
        raise BankDetailsRefused("Give the country of the bank, in two letters such as US.", field="country")
    check = CHECKS.get(country, check_elsewhere)
    check(number, bank_code)
    details = {"country": country, "account_number": number, "bank_code": bank_code}
    shown = 4 if len(number) >= LONG_ENOUGH_FOR_FOUR else 2
    return Checked(Kind.LOCAL, country, details, text_of(details), number[-shown:])


@sensitive_variables()
def check_united_states(number: str, bank_code: str) -> None:
    """Routing number and account number, as the American Bankers Association has them."""
    digits = re.fullmatch("[0-9]{9}", bank_code) and bank_code != "0" * 9
    if not digits or sum(weight * int(digit) for weight, digit in zip(ROUTING_WEIGHTS, bank_code, strict=True)) % 10:
        raise BankDetailsRefused(
            "A routing number has nine digits, and one of these is wrong. Compare it with a cheque.", field="bank_code"
        )
    if not re.fullmatch("[0-9]{4,17}", number):
        raise BankDetailsRefused("An account number in the United States has 4 to 17 digits.", field="account_number")


@sensitive_variables()
def check_great_britain(number: str, bank_code: str) -> None:
    if not re.fullmatch("[0-9]{6}", bank_code):
        raise BankDetailsRefused("A sort code has six digits, such as 60-16-13.", field="bank_code")
    if not re.fullmatch("[0-9]{8}", number):
        raise BankDetailsRefused("A British account number has eight digits; put zeros before a shorter one.", field="account_number")


@sensitive_variables()
def check_elsewhere(number: str, bank_code: str) -> None:
    if not re.fullmatch("[0-9A-Z]{4,34}", number):
        raise BankDetailsRefused("An account number has 4 to 34 letters and digits.", field="account_number")
    if not re.fullmatch("[0-9A-Z]{2,20}", bank_code):
        raise BankDetailsRefused("Give the code by which the country's banks know this one: 2 to 20 letters and digits.", field="bank_code")


CHECKS: dict[str, Callable[[str, str], None]] = {"US": check_united_states, "GB": check_great_britain}


@sensitive_variables()
def plain(text: str) -> str:
    """Return the text without the spaces and hyphens that make it readable, in capitals."""
    return re.sub(r"[\s-]", "", text).upper()
