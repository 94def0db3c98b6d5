"""Bank accounts in the admin: who gave which, masked, whether money may go there, and the deed by which a second person verifies them.

The number is on no page, not even encrypted.
"""

from typing import Any

from django.contrib import admin
from django.db.models import Q
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ledger import clock
from ledger.admin import CurrencyFilter, Rows, by_state, id_column, link, time_column
from ledger.deeds import Deed, WithDeeds, leave_to_the_domain
from ledger.templatetags.written import moment
from payouts import bank_accounts
from payouts.models import BankAccount, BankAccountNotice
from wallet.admin import sellers_called
from wallet.models import Seller

STATES = {
    "to_verify": (_("To be verified"), Q(replaced_at=None, verified_at=None)),
    "current": (_("In use"), Q(replaced_at=None, verified_at__isnull=False)),
    "replaced": (_("Replaced"), Q(replaced_at__isnull=False)),
}


def verify(account: BankAccount, said: dict[str, Any], actor: str) -> BankAccount:
    return bank_accounts.verify(account.pk, by=actor, reason=said["note"], now=clock.now())


class NoticeRows(Rows):
    """How many e-mails told of the change, and when; not to whom."""

    model = BankAccountNotice
    fields = readonly_fields = (time_column("created_at", _("written")), time_column("sent_at", _("sent")), "tries")


@admin.register(BankAccount)
class BankAccountAdmin(WithDeeds):
    list_display = (id_column, "seller_link", "currency", "masked", "holder", "state", "added_by", time_column("added_at", _("given")))
    list_select_related = ("seller",)
    list_filter = (by_state(STATES), CurrencyFilter)
    search_help_text = _("The id of a bank account, its last four characters, or a seller's name, id or reference")
    fields = (
        "public_id",
        "seller_link",
        "currency",
        "masked",
        "holder",
        "country",
        "bank_name",
        "bic",
        "state",
        "added_by",
        time_column("added_at", _("given")),
        time_column("usable_from", _("used from")),
        "verified_by",
        time_column("verified_at", _("verified")),
        "verified_reason",
        time_column("replaced_at", _("replaced")),
    )
    readonly_fields = fields
    inlines = (NoticeRows,)
    deeds = (
        Deed(
            name="verify",
            title=_("Verify"),
            meaning=_(
                "From now on, or once its hold is over, the seller's money goes to this account. Make sure first that it is the seller's."
            ),
            done=_("Verified."),
            permissions=("payouts.change_bankaccount",),
            act=verify,
            is_possible=lambda account: account.verified_at is None and account.replaced_at is None,
            refuse=leave_to_the_domain,
        ),
    )

    def facts(self, row: BankAccount) -> list[tuple[Any, Any]]:
        return [
            (_("seller"), row.seller),
            (_("currency"), row.currency),
            (_("account"), row.masked),
            (_("bank"), row.bank_name),
            (_("holder"), row.holder),
            (_("given by"), row.added_by),
        ]

    def sought(self, term: str) -> Q:
        return Q(public_id=term) | Q(last4=term) | Q(seller_id__in=sellers_called(term))

    @admin.display(description=_("seller"))
    def seller_link(self, account: BankAccount) -> SafeString | str:
        return link(Seller, account.seller_id, account.seller)

    @admin.display(description=_("account"))
    def masked(self, account: BankAccount) -> str:
        return account.masked

    @admin.display(description=_("state"))
    def state(self, account: BankAccount) -> SafeString | str:
        if account.replaced_at is not None:
            return gettext("Replaced")
        if account.verified_at is None:
            return gettext("To be verified")
        if account.usable_from > clock.now():
            return format_html("{} {}", gettext("On hold until"), moment(account.usable_from))
        return gettext("In use")
