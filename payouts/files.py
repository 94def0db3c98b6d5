"""Payment files: payouts of the provider `bank_file` go to our bank in a file that a person takes there.

A file is made, approved by somebody else, fetched, and answered by the bank (file_answers.py).  What it says is kept as rows: its bytes are
made of them whenever they are needed, always the same, and never kept, since they hold every receiver's account.  The hash that was
approved is the hash of what leaves.  A payout is in one file at a time; one whose file was rejected goes into the next.  A file leaves
only if each of its payouts may still be paid: one that was paid meanwhile, whose account was replaced, or whose seller is on hold, stops it.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, F, Sum
from django.views.decorators.debug import sensitive_variables
from djmoney.money import Money

from ledger import money, transitions
from ledger.approvals import MakerMayNotApprove, require_reason
from ledger.errors import DomainError
from payouts import account_numbers, pain001, settlement, stops, vault
from payouts.models import PaymentFile, PaymentFileLine, Payout, new_file_id
from payouts.pain001 import CannotBeWritten, DoesNotAddUp, Transfer
from payouts.providers.bank_file import BankFile
from payouts.states import FileStatus, PayoutStatus

logger = logging.getLogger(__name__)

PROVIDER = BankFile.name
DEFAULT_FORMAT = "pain.001.001.09"
MOST_IN_A_FILE = 100_000
PAGE = 2000
MOST_NAMED = 5  # payouts, in one sentence

# Why a payout waits for a person: it is in no file until one has it tried again, which takes this away
UNREADABLE_ACCOUNT = (
    "Its bank details cannot be read, and its line in the payment file says why. Put that right and have it tried again, or give it up."
)

ONE_MAKER = "SELECT pg_advisory_xact_lock(hashtext('payouts.files'))"

# Every payout that waits for a file, in order; those that somebody holds, or that nobody can read, are left for another one, and those for
# an account that was replaced to the executor, which puts their money back.
CLAIM = """
WITH due AS MATERIALIZED (
    SELECT payout.id, concat_ws(' ', shop.name, 'payout', run.period, nullif(payout.reference, '')) AS text
    FROM payouts_payout AS payout
    JOIN wallet_shop AS shop ON shop.id = payout.shop_id
    JOIN payouts_bankaccount AS account ON account.id = payout.bank_account_id AND account.replaced_at IS NULL
    LEFT JOIN payouts_payoutrun AS run ON run.id = payout.run_id
    WHERE payout.status = 'EXECUTING' AND payout.provider = %(provider)s AND payout.currency = %(currency)s
      AND NOT EXISTS (SELECT FROM payouts_paymentfileline WHERE payout_id = payout.id AND dropped_at IS NULL)
      AND payout.failure_message <> %(unreadable)s
      AND NOT EXISTS (SELECT FROM wallet_sellerhold AS hold WHERE hold.seller_id = payout.seller_id
                      AND hold.lifted_at IS NULL AND (hold.until IS NULL OR hold.until > %(now)s))
    ORDER BY payout.id LIMIT %(most)s FOR NO KEY UPDATE OF payout SKIP LOCKED
)
INSERT INTO payouts_paymentfileline (file_id, number, payout_id, text)
SELECT %(file)s, row_number() OVER (ORDER BY id), id, text FROM due
"""

# The payouts of a file that may not be paid by it now, by whether a hold is all that is in the way: how many, and the first of them.
# All are locked, and so are their accounts: whoever learns that one was paid elsewhere, or replaces an account, does so before this, or finds
# the file gone.
IN_THE_WAY = """
WITH payout AS MATERIALIZED (
    SELECT payout.id, payout.public_id, payout.status, payout.seller_id, payout.bank_account_id
    FROM payouts_paymentfileline AS line JOIN payouts_payout AS payout ON payout.id = line.payout_id
    WHERE line.file_id = %(file)s AND line.dropped_at IS NULL ORDER BY payout.id FOR SHARE OF payout
), account AS MATERIALIZED (
    SELECT account.id, account.replaced_at FROM payouts_bankaccount AS account
    WHERE account.id IN (SELECT bank_account_id FROM payout) ORDER BY account.id FOR SHARE OF account
), checked AS (
    SELECT payout.*, status = 'EXECUTING' AND account.replaced_at IS NULL AS is_payable,
           EXISTS (SELECT FROM wallet_sellerhold AS hold WHERE hold.seller_id = payout.seller_id
                   AND hold.lifted_at IS NULL AND (hold.until IS NULL OR hold.until > %(now)s)) AS is_held
    FROM payout JOIN account ON account.id = payout.bank_account_id
)
SELECT is_payable, count(*), (array_agg(public_id ORDER BY id))[:%(most)s]
FROM checked WHERE is_held OR NOT is_payable GROUP BY 1 ORDER BY 1
"""


class NothingToFile(DomainError):
    """No payout waits for a file in this currency."""

    code = "nothing_to_file"


class NoAccountOfOurs(DomainError):
    """The settings name no account of ours, or a wrong one, from which this currency is paid out."""

    code = "no_account_to_pay_from"


class CannotMake(DomainError):
    code = "cannot_make_file"


class FileConflict(DomainError):
    """It was decided, fetched or answered before, or is not ready for that."""

    code = "file_conflict"


class FileHasChanged(RuntimeError):
    """The rows of a file do not make the bytes any more that were approved: it has no end, and must not be paid."""


@dataclass(frozen=True, slots=True)
class Unwritable:
    """A line that cannot stand in a file, and why: no bank would take it, or we cannot read its account."""

    line_id: int
    payout_id: int
    why: CannotBeWritten | vault.CannotOpen


# --- Made, approved, rejected -----------------------------------------------------------------------------------------


def make(currency: str, *, execute_on: date, made_by: str, now: datetime, version: str = DEFAULT_FORMAT) -> PaymentFile:
    """Put the payouts that wait for a file into one, MOST_IN_A_FILE at most; return it with its hash, to be approved.

    A file that was begun and not finished is finished and returned instead, so that a crash never makes a second one.  A payout that no
    bank would take fails: its seller has the money again, and is told why.  One whose account cannot be read waits for a person.  Payouts
    of sellers on hold wait.  Takes several transactions; locks the payouts.  Raises NothingToFile, NoAccountOfOurs, CannotMake (a day that is over, an unknown format).
    """
    if version not in pain001.DIALECTS:
        raise CannotMake(f"There is no format {version!r}; there are {', '.join(pain001.DIALECTS)}.", field="format")
    if execute_on < now.date():
        raise CannotMake(f"{execute_on} is over. Name today or a later day.", field="execute_on")
    begun = PaymentFile.objects.filter(provider=PROVIDER, currency=currency, sha256="", status=FileStatus.MADE).order_by("pk").first()
    file = begun or begin(currency, execute_on=execute_on, made_by=made_by, now=now, version=version)
    return finish(file, by=made_by, now=now)


@transaction.atomic(durable=True)
def begin(currency: str, *, execute_on: date, made_by: str, now: datetime, version: str) -> PaymentFile:
    """Write the file with its lines, in one transaction: one maker at a time."""
    money.minor_units(currency)
    debtor = account_of_ours(currency)
    public_id = new_file_id()
    file = PaymentFile(public_id=public_id, message_id=public_id.replace("_", "-"), provider=PROVIDER, format=version, count=0)
    file.execute_on, file.debtor, file.total = execute_on, debtor, money.zero(currency)
    file.created_by, file.created_at = made_by, now.replace(microsecond=0)
    terms: dict[str, Any] = {
        "provider": PROVIDER,
        "currency": currency,
        "now": now,
        "most": MOST_IN_A_FILE,
        "unreadable": UNREADABLE_ACCOUNT,
    }
    with connection.cursor() as cursor:
        cursor.execute(ONE_MAKER)
        file.save(force_insert=True)
        cursor.execute(CLAIM, terms | {"file": file.pk})
    file.count, file.total = count_and_total(file)
    if not file.count:
        raise NothingToFile(f"No payout in {currency} waits for a file.", field="currency")
    file.save(update_fields=["count", "total"])
    return file


def finish(file: PaymentFile, *, by: str, now: datetime) -> PaymentFile:
    """Give the file its hash, without what cannot stand in it.  May be repeated after a crash: what was done is done.

    Its bytes are made once, unless a line turns out to be one that no file can hold: then all such lines are dropped first.
    """
    file = recount(file)
    try:
        sha256 = sha256_of(file)
    except (CannotBeWritten, vault.CannotOpen):
        drop_unwritable(file, now=now)
        file = recount(file)
        sha256 = sha256_of(file)
    if not file.count:
        raise NothingToFile(f"No payout of {file.public_id} can stand in a file: each says why.", field="currency")
    PaymentFile.objects.filter(pk=file.pk, sha256="").update(sha256=sha256, finished_by=by)
    file.refresh_from_db()
    return file


def drop_unwritable(file: PaymentFile, *, now: datetime) -> None:
    """Drop every line of the file that cannot stand in it, a page at a time."""
    for page in pages(file):
        unwritable = [found for found in (problem_of(file, row) for row in page) if found]
        if unwritable:
            drop(file, unwritable, now=now)


def drop(file: PaymentFile, unwritable: Sequence[Unwritable], *, now: datetime) -> None:
    """Take lines out of a file that has no hash yet.  What no bank would take fails; what we cannot read is our fault, and waits."""
    for each in unwritable:
        lines = PaymentFileLine.objects.filter(pk=each.line_id, dropped_at=None)
        lines.update(dropped_at=now, dropped_why=str(each.why))
        match each.why:
            case CannotBeWritten() as why:
                settlement.fail_payout(each.payout_id, provider_reference="", code=why.code, message=why.detail, now=now)
            case vault.CannotOpen() as why:
                logger.error("a payout of %s waits for a person: %s", file.public_id, why)
                stop(each.payout_id)


def stop(payout_id: int) -> None:
    """Give the payout to a person; a worker that has it claimed loses it."""
    payouts = Payout.objects.filter(pk=payout_id, status=PayoutStatus.EXECUTING)
    payouts.update(next_attempt_at=None, failure_message=UNREADABLE_ACCOUNT, deaths=0, tries=F("tries") + 1)


@transaction.atomic(durable=True)
def recount(file: PaymentFile) -> PaymentFile:
    """Count the lines that are left, unless the file is complete; one that has none is rejected.  Locks the file."""
    file = PaymentFile.objects.select_for_update(no_key=True).get(pk=file.pk)
    if not file.sha256 and file.status == FileStatus.MADE:
        file.count, file.total = count_and_total(file)
        file.status = FileStatus.MADE if file.count else FileStatus.REJECTED
        file.reason = "" if file.count else "None of its payouts can stand in a file: each line says why."
        file.save(update_fields=["count", "total", "status", "reason"])
    return file


@transaction.atomic(durable=True)
def approve(file_id: int, *, actor: str, reason: str, now: datetime) -> PaymentFile:
    """Let the file go to the bank, as its hash says.  Locks it, then its payouts.

    Raises MakerMayNotApprove, PayoutsPaused, and FileConflict if it was decided before, or some of its payouts may not be paid by it any more.
    """
    file = lock_undecided(file_id)
    if not file.sha256:
        raise FileConflict(f"{file.public_id} is not finished. Make it again: what was begun is gone on with.")
    if any(transitions.is_same_person(actor, maker) for maker in (file.created_by, file.finished_by)):
        raise MakerMayNotApprove(f"You made {file.public_id} yourself, or finished it. Somebody else must approve it.")
    require_payable(file, now=now)
    transitions.by(actor, reason=reason)
    file.status, file.approved_by, file.approved_at, file.reason = FileStatus.APPROVED, actor, now, reason[:500]
    file.save(update_fields=["status", "approved_by", "approved_at", "reason"])
    return file


@transaction.atomic(durable=True)
def reject(file_id: int, *, actor: str, reason: str, now: datetime) -> PaymentFile:
    """Put the file aside, so that its payouts go into another one.  Locks it.

    Raises ReasonMissing, and FileConflict for a file that was fetched: it may be at the bank, and only the bank's answer frees its payouts.
    """
    file = lock_unfetched(file_id)
    require_reason(reason, field="reason")
    transitions.by(actor, reason=reason)
    file.status, file.reason = FileStatus.REJECTED, reason[:500]
    file.save(update_fields=["status", "reason"])
    file.lines.filter(dropped_at=None).update(dropped_at=now, dropped_why=reason[:500])
    return file


def lock_undecided(file_id: int) -> PaymentFile:
    file = PaymentFile.objects.select_for_update(no_key=True).get(pk=file_id)
    if file.status != FileStatus.MADE:
        raise FileConflict(f"{file.public_id} is {file.status} already.")
    return file


def lock_unfetched(file_id: int) -> PaymentFile:
    file = PaymentFile.objects.select_for_update(no_key=True).get(pk=file_id)
    if file.status not in (FileStatus.MADE, FileStatus.APPROVED):
        raise FileConflict(f"{file.public_id} is {file.status} already.")
    if file.downloaded_at is not None:
        said = "Wait for the bank's answer, or let somebody else say what the bank's statement shows."
        raise FileConflict(f"{file.public_id} was fetched and may be at the bank. {said}")
    return file


def require_payable(file: PaymentFile, *, now: datetime) -> None:
    """Raise FileConflict, naming them, unless every payout of the file still waits for it, to an account that its seller still has, and no
    seller is on hold.  Locks the payouts by id, then their accounts by id.  Raises PayoutsPaused while all payouts are stopped.
    """
    stops.require_none()
    with connection.cursor() as cursor:
        cursor.execute(IN_THE_WAY, {"file": file.pk, "now": now, "most": MOST_NAMED})
        found = cursor.fetchall()
    if found:
        hindrance = {True: "Their sellers are on hold", False: "Not to be paid any more"}
        whys = [f"{hindrance[is_payable]}: {named(count, some)}." for is_payable, count, some in found]
        raise FileConflict(f"{' '.join(whys)} Put {file.public_id} aside and make another file: it will be without them.")


def named(count: int, some: Sequence[str]) -> str:
    """Return the first of so many payouts, and how many more there are."""
    return ", ".join(some) + (f" and {count - len(some)} more" if count > len(some) else "")


# --- Its bytes --------------------------------------------------------------------------------------------------------


@transaction.atomic(durable=True)
def fetch(file_id: int, *, actor: str, now: datetime) -> PaymentFile:
    """Note who takes the file, for the first time; return it, for `stream`.  Locks it, then (the first time) its payouts and their accounts.

    Raises PayoutsPaused the first time, and FileConflict for a file that nobody approved, for one that the bank has answered, since it might be paid twice, and for one that
    somebody else has fetched: who says later that it never left (file_outcomes.py) has never held it.  The first time also if it makes other
    bytes than were approved, or if some of its payouts may not be paid by it any more; it can be rejected then.  That is why its bytes are
    made here once more than `stream` makes them: as soon as the file counts as fetched, only the bank's answer frees its payouts, and no
    byte of one that was changed has left before.
    """
    file = PaymentFile.objects.select_for_update(no_key=True).get(pk=file_id)
    if file.status != FileStatus.APPROVED:
        why = "somebody other than its maker must approve it first" if file.status == FileStatus.MADE else f"it is {file.status}"
        raise FileConflict(f"{file.public_id} cannot be fetched: {why}.")
    if file.downloaded_at is not None and not transitions.is_same_person(actor, file.downloaded_by):
        raise FileConflict(f"{file.public_id} was fetched by {file.downloaded_by}. Nobody else may have it.")
    if file.downloaded_at is None:
        require_unchanged(file)
        require_payable(file, now=now)
        file.downloaded_by, file.downloaded_at = actor, now
        file.save(update_fields=["downloaded_by", "downloaded_at"])
    logger.info("%s is fetched by %s", file.public_id, actor)
    return file


def require_unchanged(file: PaymentFile) -> None:
    """Raise FileConflict unless the rows of the file make the bytes that were approved, read once to the end."""
    try:
        why = "" if sha256_of(file) == file.sha256 else "its rows were changed"
    except (CannotBeWritten, DoesNotAddUp, vault.CannotOpen) as error:
        why = str(error)
    if why:
        logger.error("%s does not make the bytes that were approved: %s", file.public_id, why)
        said = f"{file.public_id} does not make the bytes any more that were approved ({why}). Put it aside and make another file."
        raise FileConflict(said)


def stream(file: PaymentFile) -> Iterator[bytes]:
    """Return the bytes of the file, a piece at a time.

    The last piece is held back until the hash of all of them is the one that was approved: what differs never has an end.  Raises
    FileHasChanged then.
    """
    digest = hashlib.sha256()
    held = b""
    for piece in written(file):
        digest.update(piece)
        if held:
            yield held
        held = piece
    if digest.hexdigest() != file.sha256:
        logger.error("%s does not make the bytes that were approved", file.public_id)
        raise FileHasChanged(f"{file.public_id} does not make the bytes that were approved. Undo what was changed in its rows.")
    yield held


def sha256_of(file: PaymentFile) -> str:
    """Return the hash of the bytes that the rows of the file make now.  Raises CannotBeWritten, DoesNotAddUp, vault.CannotOpen."""
    digest = hashlib.sha256()
    for piece in written(file):
        digest.update(piece)
    return digest.hexdigest()


def written(file: PaymentFile) -> Iterator[bytes]:
    """Return the bytes that the rows of the file make now."""
    debtor = pain001.Account(**file.debtor)
    heading = pain001.Heading(version=file.format, message_id=file.message_id, created_at=file.created_at, sender=debtor.holder)
    return pain001.write(heading, [(batch_of(file), transfers(file))])


def batch_of(file: PaymentFile) -> pain001.Batch:
    """Return the one batch of a file: one currency, one account of ours, one day."""
    debtor = pain001.Account(**file.debtor)
    return pain001.Batch(
        id=pain001.batch_id(file.message_id, 1), count=file.count, total=file.total, execute_on=file.execute_on, debtor=debtor
    )


def transfers(file: PaymentFile) -> Iterator[Transfer]:
    for page in pages(file):
        for row in page:
            yield transfer_of(row)


def pages(file: PaymentFile) -> Iterator[list[dict[str, Any]]]:
    """Return the lines of the file with what they pay, PAGE at a time, by number."""
    wanted = ("pk", "number", "text", "payout_id", "payout__public_id", "payout__amount", "payout__currency")
    account = tuple(f"payout__bank_account__{name}" for name in ("public_id", "holder", "country", "bic", "sealed", "fingerprint"))
    last = 0
    while page := list(file.lines.filter(number__gt=last, dropped_at=None).order_by("number").values(*wanted, *account)[:PAGE]):
        last = page[-1]["number"]
        yield page


@sensitive_variables()
def transfer_of(row: dict[str, Any]) -> Transfer:
    """Return the transfer of a line, its account decrypted.  Raises vault.CannotOpen."""
    sealed, owner, fingerprint = (row[f"payout__bank_account__{name}"] for name in ("sealed", "public_id", "fingerprint"))
    details = account_numbers.opened(sealed, owner=owner, fingerprint=fingerprint)
    known = {"holder": row["payout__bank_account__holder"], "country": row["payout__bank_account__country"]}
    number = {name: details.get(name, "") for name in ("iban", "account_number", "bank_code")}
    creditor = pain001.Account(**known, **number, bic=row["payout__bank_account__bic"])
    amount = Money(row["payout__amount"], row["payout__currency"])
    return Transfer(public_id=row["payout__public_id"], amount=amount, creditor=creditor, text=row["text"], number=row["number"])


def problem_of(file: PaymentFile, row: dict[str, Any]) -> Unwritable | None:
    """Return why a line cannot stand in the file; None if it can."""
    try:
        pain001.credit_transfer(transfer_of(row), batch_of(file), pain001.DIALECTS[file.format])
    except (CannotBeWritten, vault.CannotOpen) as error:
        return Unwritable(row["pk"], row["payout_id"], error)
    return None


def account_of_ours(currency: str) -> dict[str, str]:
    """Return the account from which the currency is paid out, as the settings name it.  Raises NoAccountOfOurs."""
    said = settings.BANK_FILE_ACCOUNTS.get(currency)
    if said is None:
        raise NoAccountOfOurs(f"BANK_FILE_ACCOUNTS names no account from which {currency} is paid out.", field="currency")
    try:
        account = pain001.Account(**said)
        pain001.plain(account.holder, longest=pain001.LONGEST_NAME, field="holder", whose=f"BANK_FILE_ACCOUNTS.{currency}")
        pain001.account_id(account, whose=f"BANK_FILE_ACCOUNTS.{currency}")
        pain001.bank(account, pain001.DIALECTS[DEFAULT_FORMAT], whose=f"BANK_FILE_ACCOUNTS.{currency}")
    except (TypeError, AttributeError, CannotBeWritten) as error:
        raise NoAccountOfOurs(f"The account for {currency} in BANK_FILE_ACCOUNTS is wrong: {error}", field="currency") from None
    return dict(said)


def count_and_total(file: PaymentFile) -> tuple[int, Money]:
    """Return how many lines the file has, and how much they pay."""
    found = file.lines.filter(dropped_at=None).aggregate(count=Count("pk"), total=Sum("payout__amount"))
    return found["count"], Money(found["total"] or 0, file.total.currency)
