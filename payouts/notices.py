"""What is told of a change of bank details: the shop gets a message, and each person of the seller an e-mail.

Both are written by the transaction that makes the change, the e-mails to the addresses as they are then.  An e-mail is a row until the mail
server has taken it: it is claimed, sent with no transaction open, and tried again for three days.  Whoever dies in between sends it twice.
"""

import logging
from datetime import datetime, timedelta

from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import F, QuerySet
from django.template.loader import render_to_string
from django.utils import translation

from payouts.models import BankAccount, BankAccountNotice
from wallet import notifications
from wallet.notifications import Message

logger = logging.getLogger(__name__)

LEASE = timedelta(minutes=5)  # longer than the mail server takes for all of a batch
SENT_AT_ONCE = 5
RETRY_AFTER_S = (60, 300, 1800, 3600, 6 * 3600)  # the last one again and again
GIVE_UP_AFTER = timedelta(hours=72)
SUBJECT = "The bank account for your payouts has changed"


def tell(account: BankAccount, *, before: BankAccount | None, now: datetime) -> None:
    """Publish the message and keep the e-mails of a new current account, inside the caller's transaction."""
    notifications.publish([bank_account_news(account, before=before)])
    people = account.seller.users.filter(is_active=True).exclude(email="").order_by("email")
    addresses = people.values_list("email", flat=True).distinct()
    notices = [BankAccountNotice(bank_account=account, address=address, next_attempt_at=now) for address in addresses]
    BankAccountNotice.objects.bulk_create(notices)


def bank_account_news(account: BankAccount, *, before: BankAccount | None) -> Message:
    """What is told of an account that has become current; a bank account is told of once."""
    payload = {
        "id": account.public_id,
        "object": "bank_account",
        "seller": account.seller.public_id,
        "currency": account.currency,
        "kind": account.kind,
        "country": account.country,
        "masked": account.masked,
        "usable_from": account.usable_from.isoformat(),
        "replaces": before.public_id if before else None,
    }
    return Message(account.seller.shop_id, "bank_account.changed", account.public_id, payload, sequence=1)


def send_due(*, now: datetime) -> int:
    """Send the e-mails that are due, SENT_AT_ONCE at most; return how many were tried."""
    claimed = claim(now=now)
    for notice in claimed:
        send(notice, now=now)
    return len(claimed)


@transaction.atomic(durable=True)
def claim(*, now: datetime) -> list[BankAccountNotice]:
    """Take due e-mails for as long as LEASE and return them."""
    due = BankAccountNotice.objects.select_for_update(skip_locked=True, of=("self",)).filter(next_attempt_at__lte=now)
    claimed = list(due.select_related("bank_account__seller__shop").order_by("next_attempt_at")[:SENT_AT_ONCE])
    BankAccountNotice.objects.filter(pk__in=[notice.pk for notice in claimed]).update(next_attempt_at=now + LEASE, tries=F("tries") + 1)
    for notice in claimed:
        notice.tries += 1
    return claimed


def send(notice: BankAccountNotice, *, now: datetime) -> None:
    """Hand one e-mail to the mail server, and write down how that ended unless somebody else has claimed it meanwhile."""
    try:
        EmailMessage(SUBJECT, text_of(notice), to=[notice.address]).send()
    except OSError as error:  # smtplib's errors are among them; their words may hold the address
        logger.warning("notice %s of %s was not sent: %s", notice.pk, notice.bank_account.public_id, type(error).__name__)
        mine(notice).update(next_attempt_at=next_try(notice, now=now))
    else:
        mine(notice).update(next_attempt_at=None, sent_at=now)


def next_try(notice: BankAccountNotice, *, now: datetime) -> datetime | None:
    """Return when to try again; None, with an error in the log, when the time for it is up."""
    if now - notice.bank_account.added_at >= GIVE_UP_AFTER:
        logger.error("notice %s of %s is given up: its mail server takes no e-mail", notice.pk, notice.bank_account.public_id)
        return None
    return now + timedelta(seconds=RETRY_AFTER_S[min(notice.tries, len(RETRY_AFTER_S)) - 1])


def mine(notice: BankAccountNotice) -> QuerySet[BankAccountNotice]:
    return BankAccountNotice.objects.filter(pk=notice.pk, tries=notice.tries, sent_at=None)


def text_of(notice: BankAccountNotice) -> str:
    account = notice.bank_account
    before = BankAccount.objects.filter(seller=account.seller, currency=account.currency, replaced_at=account.added_at).first()
    with translation.override("en"):
        return render_to_string("payouts/bank_account_changed.txt", {"account": account, "before": before, "shop": account.seller.shop})
