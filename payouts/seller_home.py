"""What pay-out brings to the seller's home (wallet/home.py): money on its way, the next payout, and what is wrong with bank details or payouts.

Named by `settings.SELLER_HOME`: the wallet does not know pay-out.  Nothing here writes or locks.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from django.db.models import Sum
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from djmoney.money import Money

from ledger.money import zero
from ledger.templatetags.written import amount, day, moment
from payouts import conversions, queries, stops, wording
from payouts.conversions import Waiting
from payouts.models import BankAccount, Payout
from payouts.states import LIVE, PayoutStatus
from payouts.views import Outlook, came_to_nothing, outlooks
from wallet import queries as wallets
from wallet.home import NOTICED_FOR, Ahead, Notice, Part, Task
from wallet.models import Seller
from wallet.views import Desk

STOPS = (stops.PayoutsPaused.code, queries.SellerOnHold.code, queries.NoBankAccount.code, queries.BankAccountNotVerified.code)


def part(seller: Seller, *, now: datetime) -> Part:
    """Return pay-out's part of the seller's home."""
    expected = outlooks(Desk([seller], seller), now=now)
    under_way = on_their_way(seller)
    broken = came_to_nothing(seller, now=now)
    return Part(
        tasks=[
            *paused(expected),
            *(mend(payout) for payout, must_mend in broken if must_mend),
            *account_tasks(expected, now=now),
            *(waiting(each) for outlook in expected for each in outlook.converted.waiting),
        ],
        notices=[*(told(payout) for payout, must_mend in broken if not must_mend), *changed_details(seller, now=now)],
        ahead=to_be_converted(seller, under_way) | {each.currency: ahead(each, under_way.get(each.currency)) for each in expected},
    )


def on_their_way(seller: Seller) -> dict[str, Money]:
    """Return what is on its way to the seller's bank, by currency."""
    live = Payout.objects.filter(seller=seller, status__in=LIVE).order_by("currency").values_list("currency").annotate(Sum("amount"))
    return {currency: Money(figure, currency) for currency, figure in live}


def ahead(outlook: Outlook, on_its_way: Money | None) -> Ahead:
    """Say when the next payout is, and how much it will be of what is available now: nothing below the least that is paid out."""
    currency, most = outlook.currency, outlook.most
    is_enough = most.amount > 0 and most >= outlook.able.minimum
    return Ahead(
        on_its_way=on_its_way or zero(currency),
        next_date=outlook.days[0] if outlook.days else None,
        next_amount=most if is_enough else zero(currency),
        is_stopped=outlook.able.why_not is not None and outlook.able.why_not.code in STOPS,
    )


def to_be_converted(seller: Seller, under_way: dict[str, Money]) -> dict[str, Ahead]:
    """Say of each other wallet of a seller with a payout currency that it is converted into that one."""
    chosen = conversions.chosen_by(seller)
    others = [wallet.available.currency.code for wallet in wallets.wallets_of(seller)] if chosen else []
    return {
        code: Ahead(under_way.get(code) or zero(code), next_date=None, next_amount=zero(code), is_stopped=False, becomes=chosen)
        for code in others
        if code != chosen
    }


# --- What needs doing -----------------------------------------------------------------------------------------------


def paused(expected: Sequence[Outlook]) -> Iterator[Task]:
    """Yield that nobody is paid at present, if that is so and there is anything to be paid."""
    if any(each.able.why_not is not None and each.able.why_not.code == stops.PayoutsPaused.code for each in expected):
        yield Task(_("Payouts are paused"), str(wording.PAUSED), tone="info")


def account_tasks(expected: Sequence[Outlook], *, now: datetime) -> Iterator[Task]:
    """Yield what is missing before money can go to the bank: an account, its verification, or the end of the time to object."""
    if not expected:
        said = _("Then you are paid as soon as your first sale is delivered.")
        yield Task(_("Give us your bank account"), said, reverse("seller-bank-accounts"), _("Give a bank account"), tone="info")
    for each in expected:
        place = reverse("seller-bank-account", args=[each.currency])
        if each.account is None:
            said = _("We do not know where to send your money. Give us a bank account for %s.") % each.currency
            button = _("Give a bank account for %(currency)s") % {"currency": each.currency}
            yield Task(_("Give us your bank account"), said, place, button)
        elif each.account.verified_at is None:
            said = _("%s is being checked. We pay as soon as that is done; there is nothing you need to do.") % each.account.masked
            yield Task(_("Your bank account is being checked"), said, tone="info")
        elif each.account.usable_from > now:
            said = _("Your bank account was changed. To protect you, we pay to it from {moment} on.")
            yield Task(_("Payouts to your new account wait"), format_html(said, moment=moment(each.account.usable_from)), tone="info")


def waiting(each: Waiting) -> Task:
    """Say that money waits for an exchange rate."""
    title = _("%s waits for an exchange rate") % amount(each.amount)
    said = _("There is none of these days. It is converted with the first payout after there is one; there is nothing you need to do.")
    return Task(title, said, tone="info")


def mend(payout: Payout) -> Task:
    why, _is_account = wording.why_it_came_to_nothing(payout)
    currency = payout.amount.currency.code
    title = _("Your payout of %s did not arrive") % amount(payout.amount)
    return Task(title, why, reverse("seller-bank-account", args=[currency]), _("Give another bank account"), tone="bad")


# --- What was noticed -----------------------------------------------------------------------------------------------


def told(payout: Payout) -> Notice:
    """Say that a payout came to nothing, and that its money is in the wallet again."""
    said = _("The payout of %s came back. The money is in your wallet again.")
    if payout.status == PayoutStatus.FAILED:
        said = _("The payout of %s could not be made. The money is in your wallet again.")
    return Notice(
        key=f"payout:{payout.public_id}:{payout.status}",
        at=payout.created_at,
        title=_("A payout did not arrive"),
        words=said % amount(payout.amount),
        url=reverse("seller-payout", args=[payout.public_id]),
        link=_("Look at it"),
        tone="bad",
    )


def changed_details(seller: Seller, *, now: datetime) -> list[Notice]:
    """Say of each account of late that took another one's place: whoever did not do that must be able to object."""
    recent = BankAccount.objects.filter(seller=seller, added_at__gt=now - NOTICED_FOR).order_by("-pk")[:5]
    before = {(account.pk, account.currency) for account in BankAccount.objects.filter(seller=seller, replaced_at__gt=now - NOTICED_FOR)}
    return [changed(account) for account in recent if any(pk < account.pk and code == account.currency for pk, code in before)]


def changed(account: BankAccount) -> Notice:
    said = _("Since %(day)s your %(currency)s goes to %(account)s. If that was not you, tell the shop at once.")
    return Notice(
        key=f"bank_account:{account.public_id}",
        at=account.added_at,
        title=_("Your bank details were changed"),
        words=said % {"day": day(account.added_at), "currency": account.currency, "account": account.masked},
        url=reverse("seller-bank-accounts"),
        link=_("Look at them"),
        tone="warn",
    )
