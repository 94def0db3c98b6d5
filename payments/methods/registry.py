"""Which ways to pay there are, by name, and which of them can be offered: those that we and the PSP can both do for the amount."""

from collections.abc import Sequence

from django.utils.translation import gettext as _
from djmoney.money import Money

from ledger.errors import DomainError
from ledger.templatetags import written
from payments.methods.card import CARD
from payments.methods.digital_wallet import DIGITAL_WALLET
from payments.methods.gift_card import GIFT_CARD
from payments.methods.method import Cause, Method, why_not
from payments.methods.pay_later import PAY_LATER
from payments.methods.qr import QR
from payments.methods.wallet import WALLET
from payments.psp.protocol import Capability, Psp

METHODS = {
    method.name: method for method in (CARD, WALLET, GIFT_CARD, DIGITAL_WALLET, QR, PAY_LATER)
}  # in the order in which a page offers them


class UnknownMethod(DomainError):
    code = "unknown_method"


class MethodNotPossible(DomainError):
    """The way to pay cannot do this amount, or not for this buyer; the detail is fit for the buyer to read."""

    code = "method_not_possible"


def method_named(name: str) -> Method:
    """Return the way to pay.  Raises UnknownMethod."""
    try:
        return METHODS[name]
    except KeyError:
        raise UnknownMethod(f"There is no way to pay named {name[:40]!r}. Use one of {', '.join(METHODS)}.", field="method") from None


def offered(psp: Psp, amount: Money, country: str = "") -> Sequence[Method]:
    """Return the ways in which this amount can be paid; those that need no PSP are among them whatever the PSP offers."""
    return [method for method in METHODS.values() if refusal_of(method, psp, amount, country) is None]


def require_possible(name: str, psp: Psp, amount: Money, country: str = "") -> Method:
    """Return the way to pay if it can do this amount.  Raises UnknownMethod, MethodNotPossible."""
    method = method_named(name)
    refusal = refusal_of(method, psp, amount, country)
    if refusal:
        raise MethodNotPossible(refusal, field="method")
    return method


def refusal_of(method: Method, psp: Psp, amount: Money, country: str = "") -> str | None:
    """Return, for the buyer, why the amount cannot be paid in this way; None if it can."""
    if method.needs_psp and method.name not in psp.methods:
        return _("%(method)s is not offered here. Choose another way to pay.") % {"method": method.label}
    for capability in capabilities_of(method, psp):
        cause = why_not(capability, amount, country)
        if cause:
            return worded(cause, method, capability, amount, country)
    return None


def is_for(country: str, method: Method, psp: Psp) -> bool:
    """Tell whether buyers of this country can pay in this way, whatever the amount; where it is not known, all can."""
    return not country or all(country in (capability.countries or {country}) for capability in capabilities_of(method, psp))


def capabilities_of(method: Method, psp: Psp) -> Sequence[Capability]:
    """Return what the way to pay can do, and what the PSP can do of it, which offers it."""
    return [method.can_do, psp.methods[method.name]] if method.needs_psp else [method.can_do]


def worded(cause: Cause, method: Method, capability: Capability, amount: Money, country: str) -> str:
    currency = amount.currency.code
    said = {"method": method.label, "currency": currency, "country": country}
    match cause:
        case Cause.CURRENCY:
            return _("%(method)s cannot be paid in %(currency)s. Choose another way to pay.") % said
        case Cause.COUNTRY:
            return _("%(method)s is not offered in %(country)s. Choose another way to pay.") % said
        case Cause.TOO_SMALL:
            said["least"] = written.amount(Money(capability.smallest[currency], currency))
            return _("%(method)s is possible from %(least)s on. Choose another way to pay.") % said
        case Cause.TOO_LARGE:
            said["most"] = written.amount(Money(capability.largest[currency], currency))
            return _("%(method)s is possible up to %(most)s. Choose another way to pay.") % said
