"""What pay-out brings to finance's first page: what waits for a person, what came to nothing, what is under way."""

from datetime import timedelta

from django import template
from django.utils import timezone
from django.utils.translation import gettext as _

from ledger.figures import Figure, figure
from payouts import queries
from payouts.models import BankAccount, PaymentFile, PayoutRun
from payouts.states import FileStatus, RunStatus

register = template.Library()

LATELY = timedelta(days=7)


@register.simple_tag
def payout_troubles() -> list[Figure]:
    """Return what somebody must decide, and what came to nothing."""
    runs = PayoutRun.objects.filter(status=RunStatus.WAITING)
    files = PaymentFile.objects.filter(status=FileStatus.MADE)
    accounts = BankAccount.objects.filter(replaced_at=None, verified_at=None)
    lately = queries.came_to_nothing_since(timezone.now() - LATELY)
    return [
        figure(queries.waiting_for_approval(), _("payouts to approve"), "payouts_payout", "waits=approval"),
        figure(runs, _("payout runs to approve"), "payouts_payoutrun", "status__exact=WAITING"),
        figure(files, _("payment files to approve"), "payouts_paymentfile", "status__exact=MADE"),
        figure(accounts, _("bank accounts to verify"), "payouts_bankaccount", "state=to_verify"),
        figure(queries.waiting_for_a_person(), _("payouts that the machine gave up"), "payouts_payout", "waits=person"),
        figure(lately, _("payouts failed or sent back in the past seven days"), "payouts_payout", "came_to_nothing=7"),
    ]


@register.simple_tag
def payout_work() -> list[Figure]:
    """Return what is under way."""
    unanswered = PaymentFile.objects.filter(status=FileStatus.APPROVED)
    return [
        figure(queries.on_their_way(), _("payouts on their way to the bank"), "payouts_payout", "waits=bank"),
        figure(unanswered, _("payment files approved, and not answered by the bank yet"), "payouts_paymentfile", "status__exact=APPROVED"),
    ]
