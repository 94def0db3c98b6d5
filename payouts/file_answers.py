"""What the bank answers to a payment file (pain.002), applied: payouts are paid, fail, or go into another file.

An answer may come twice, late or in any order: what is known already changes nothing.  A transfer speaks for itself; of those that are not
named, the batch and then the whole file say what became of them.  A file that is refused as a whole is our fault or the bank's and no
seller's: its payouts wait for the next one.  Whatever makes no sense - a transfer that we do not know, another amount, a status that
contradicts what was said before - is kept as a problem of the answer, for a person, and nothing is done about it.

A payout may be in one file after the other, of which the bank may pay two: the second payment is booked as such (paid_twice.py).
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from django.db import transaction
from django.db.models import Q
from djmoney.money import Money

from ledger import money, transitions
from ledger.errors import DomainError
from ledger.line import without_numbers
from payouts import paid_twice, pain001, pain002, settlement
from payouts.models import PaymentFile, PaymentFileAnswer, PaymentFileLine, Payout
from payouts.pain002 import REFUSED_CODE, Answer, Meaning, Status, TransferAnswer
from payouts.states import NEXT_FILE_STATUS, FileStatus, PayoutStatus

logger = logging.getLogger(__name__)

PAGE = 1000
PAID_CODES = tuple(code for code, meaning in pain002.MEANINGS.items() if meaning == Meaning.PAID)
FINAL_CODES = (*PAID_CODES, REFUSED_CODE)
SENT = Q(dropped_at=None) | Q(bank_status=REFUSED_CODE) | ~Q(freed_by="")  # lines that left with the file; the others were dropped before
NOT_PAID = Q(bank_status=REFUSED_CODE) | ~Q(freed_by="") & ~Q(bank_status__in=PAID_CODES)
HAD_BEFORE = "The bank has had it before, and may have paid it then. Look at the account's statement before anything else."


class UnknownFile(DomainError):
    """It answers no payment file of ours."""

    code = "unknown_payment_file"


class AnswerDoesNotFit(DomainError):
    """It answers a file of another size, or one that never left."""

    code = "answer_does_not_fit"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in an answer that a person must look at: the line, the transfer or batch, and what is the matter."""

    line: int
    about: str
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the bank says of one payout of the file.  `is_named` tells whether the answer names the transfer itself."""

    line_id: int
    payout_id: int
    public_id: str
    status: Status
    meaning: Meaning
    at: datetime
    is_named: bool


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of an answer: how many payouts it calls paid, refused, pending, or free for another file, and its problems."""

    file: PaymentFile
    counts: Mapping[str, int]
    problems: Sequence[Problem]


def apply(pieces: Iterable[bytes], *, actor: str, now: datetime) -> Applied:
    """Read an answer of the bank and do what it says; twice is once.

    The whole answer is read before anything is done.  Then each payout is settled in a transaction of its own: after a crash, the same
    answer is applied again, and goes on.  Raises UnreadableAnswer, UnknownFile and AnswerDoesNotFit, having done nothing.
    """
    digest = hashlib.sha256()
    answer = pain002.read(hashed(pieces, digest))
    file = file_of(answer)
    work = _Work(file, answer, now=now)
    work.hear_transfers()
    work.hear_the_rest()
    work.carry_out()
    return work.close(sha256=digest.hexdigest(), actor=actor)


def hashed(pieces: Iterable[bytes], digest: Any) -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece


def file_of(answer: Answer) -> PaymentFile:
    """Return the file that is answered.  Raises UnknownFile, AnswerDoesNotFit."""
    file = PaymentFile.objects.filter(message_id=answer.about).first()
    if file is None:
        raise UnknownFile(f"No payment file of ours has the message id {answer.about[:35]!r}.", field="OrgnlMsgId")
    if file.downloaded_at is None:
        raise AnswerDoesNotFit(f"{file.public_id} was never fetched, so that no bank can answer it.", field="OrgnlMsgId")
    if answer.count not in (None, file.count):
        raise AnswerDoesNotFit(f"It answers {answer.count} transfers, and {file.public_id} has {file.count}.", field="OrgnlNbOfTxs")
    if answer.total not in (None, file.total.amount):
        said = f"It answers transfers of {answer.total} in all, and those of {file.public_id} are {money.text(file.total)}."
        raise AnswerDoesNotFit(said, field="OrgnlCtrlSum")
    return file


class _Work:
    """One answer on its way: first everything is heard, then it is carried out, then it is written down."""

    def __init__(self, file: PaymentFile, answer: Answer, *, now: datetime) -> None:
        self.file, self.answer, self.now = file, answer, now
        self.batch_id = pain001.batch_id(file.message_id, 1)
        self.verdicts: dict[int, Verdict] = {}
        self.unclear: set[int] = set()  # lines of which nothing is believed
        self.problems: list[Problem] = []
        self.counts: Counter[str] = Counter(paid=0, refused=0, pending=0, free=0)
        self.at = self.within_reach(answer.created_at or now)
        self.rest = self.status_of_the_rest()

    def status_of_the_rest(self) -> Status:
        """Return what holds for transfers that are not named: what is said of our one batch, else of the whole file; nothing if in doubt."""
        whole = self.answer.status
        found = [batch.status for batch in self.answer.batches if batch.id == self.batch_id and batch.status.code]
        for batch in self.answer.batches:
            if batch.id != self.batch_id:
                self.report(batch.status.line, batch.id, "We sent no such batch in this file.")
        said = found[0] if found else whole
        if said.code and said.meaning is None:
            self.report(said.line, self.file.public_id, f"We do not know what the status {said.code!r} means.")
        codes = {status.code for status in found}
        refusals = {status.meaning == Meaning.REFUSED for status in (whole, *found) if status.code}
        if len(refusals) > 1:
            both = " and ".join(sorted({status.code for status in (whole, *found) if status.code}))
            self.report(said.line, self.file.public_id, f"The answer says both {both} of the file and its one batch.")
        return Status() if len(codes) > 1 or len(refusals) > 1 else said

    def within_reach(self, moment: datetime) -> datetime:
        """Return the moment if the file was there and it is not ahead; else the nearest one that may be."""
        return max(self.file.created_at, min(moment, self.now))

    def report(self, line: int, about: str, what: str) -> None:
        self.problems.append(Problem(line, pain002.plain(about)[:60], what))

    # Hearing

    def hear_transfers(self) -> None:
        """Take down what the answer says of each transfer that it names."""
        told = iter(self.answer.transfers)
        while page := list(islice(told, PAGE)):
            lines = self.lines_of(page)
            for transfer in page:
                about = transfer.end_to_end_id or transfer.instruction_id
                line = lines.get(about)
                if line is None:
                    self.report(transfer.status.line, about, "We sent no such transfer in this file.")
                else:
                    self.hear(transfer, line)

    def lines_of(self, page: Sequence[TransferAnswer]) -> dict[str, PaymentFileLine]:
        """Return the lines that these transfers are about, by the end-to-end id and by the instruction id: the bank may give either."""
        payouts = {pain001.public_id_of(transfer.end_to_end_id or transfer.instruction_id) for transfer in page}
        numbers = {pain001.number_of(transfer.instruction_id) for transfer in page if not transfer.end_to_end_id}
        concerned = Q(payout__public_id__in=payouts) | Q(number__in=numbers - {None})
        found: dict[str, PaymentFileLine] = {}
        for line in self.file.lines.filter(SENT, concerned).select_related("payout"):
            found[pain001.end_to_end_id(line.payout.public_id)] = line
            found[pain001.instruction_id(self.batch_id, line.number)] = line
        return found

    def hear(self, transfer: TransferAnswer, line: PaymentFileLine) -> None:
        is_named = bool(transfer.status.code)
        of_batch = transfer.batch.status if transfer.batch.id == self.batch_id else Status()
        status = transfer.status if is_named else of_batch if of_batch.code and self.rest.code else self.rest
        problem = self.objection_to(transfer, status, line)
        if problem:
            self.report(transfer.status.line, line.payout.public_id, problem)
            self.unclear.add(line.pk)
        elif line.pk not in self.unclear:
            self.believe(line, status, at=self.within_reach(transfer.at or self.at), is_named=is_named)

    def objection_to(self, transfer: TransferAnswer, status: Status, line: PaymentFileLine) -> str:
        """Return why this is not believed; nothing if it is."""
        amount = line.payout.amount
        before = self.verdicts.get(line.pk)
        if transfer.amount is not None and transfer.amount != amount:
            return f"The bank speaks of {shown(transfer.amount)}, and the payout is {shown(amount)}."
        if before is not None and before.meaning != status.meaning:
            self.verdicts.pop(line.pk)
            return f"The answer says both {before.status.code} and {status.code or 'nothing'} of it."
        if transfer.status.code and status.meaning in (None, Meaning.PARTLY):
            return f"We do not know what the status {status.code!r} means for one transfer."
        return HAD_BEFORE if was_had_before(status, transfer.batch.status, self.answer.status) else ""

    def believe(self, line: PaymentFileLine, status: Status, *, at: datetime, is_named: bool) -> None:
        """Take a status down.  One of a refused file holds for what is not done yet; what was paid before contradicts it."""
        meaning, stands = status.meaning, line.payout.status
        if meaning in (None, Meaning.PARTLY):
            return
        if is_named or meaning != Meaning.REFUSED or stands == PayoutStatus.EXECUTING:
            self.verdicts[line.pk] = Verdict(line.pk, line.payout_id, line.payout.public_id, status, meaning, at, is_named)
        elif stands != PayoutStatus.FAILED:
            self.report(status.line, line.payout.public_id, f"The bank refuses the file now, and it is {stands} already.")

    def hear_the_rest(self) -> None:
        """Take down what the answer says of all transfers that it does not name.

        What is paid is heard of those, too, that a refusal had freed: the bank took it back.
        """
        status = self.rest
        if was_had_before(status, self.answer.status, *(batch.status for batch in self.answer.batches)):
            self.report(status.line, self.file.public_id, HAD_BEFORE)
        elif status.meaning not in (None, Meaning.PARTLY):
            concerned = SENT if status.meaning == Meaning.PAID else Q(dropped_at=None)
            for line in self.file.lines.filter(concerned).select_related("payout").order_by("number").iterator(PAGE):
                if line.pk not in self.verdicts and line.pk not in self.unclear:
                    self.believe(line, status, at=self.at, is_named=False)

    # Carrying out

    def carry_out(self) -> None:
        """Settle or fail what was named; what is to be free is freed at the end, with the file."""
        for verdict in self.verdicts.values():
            match verdict.meaning:
                case Meaning.PAID:
                    self.counts["paid"] += 1
                    self.book(verdict)
                case Meaning.REFUSED if verdict.is_named:
                    self.counts["refused"] += 1
                    self.book(verdict)
                case Meaning.REFUSED:
                    self.counts["free"] += 1
                case _:
                    self.counts["pending"] += 1

    def book(self, verdict: Verdict) -> None:
        """Settle or fail one payout, in a transaction of its own.  What cannot be booked is a problem, and hinders no other."""
        wanted = PayoutStatus.SUCCESS if verdict.meaning == Meaning.PAID else PayoutStatus.FAILED
        try:
            is_new = self.pay(verdict) if wanted == PayoutStatus.SUCCESS else self.refuse(verdict)
        except settlement.CANNOT_BOOK as error:
            logger.exception("what the bank says of %s cannot be booked", verdict.public_id)
            self.report(verdict.status.line, verdict.public_id, f"It cannot be booked: {error}")
            return
        if not is_new:
            self.compare(verdict, wanted)
        if wanted == PayoutStatus.SUCCESS:
            self.warn(verdict)

    @transaction.atomic(durable=True)
    def pay(self, verdict: Verdict) -> bool:
        """Settle one payout; one that something else had paid was paid again, which is booked as such.  Locks the payout, then the wallet."""
        payout = settlement.lock(verdict.payout_id)
        is_new = settlement.paid(payout, provider_reference=self.file.message_id, paid_at=verdict.at)
        if not is_new:
            paid_twice.pay_again(payout, self.file, at=verdict.at)
        return is_new

    @transaction.atomic(durable=True)
    def refuse(self, verdict: Verdict) -> bool:
        """Fail one payout.  Locks it, then the wallet.  Raises NotBookable for one that is at the bank in another file by now."""
        payout = settlement.lock(verdict.payout_id)
        other = paid_twice.other_file_of(payout, than=self.file) if payout.status == PayoutStatus.EXECUTING else None
        if other is not None and other.downloaded_at is not None:
            said = f"it is at the bank in {other.public_id} now, and only the answer to that tells how it ends."
            raise settlement.NotBookable(said)
        why, reference = pain002.reason_of(verdict.status), self.file.message_id
        return settlement.failed(payout, provider_reference=reference, code=why.code, message=why.words, now=self.now)

    def compare(self, verdict: Verdict, wanted: PayoutStatus) -> None:
        """Report a verdict that came to nothing because something else is known already."""
        stands = Payout.objects.values_list("status", flat=True).get(pk=verdict.payout_id)
        if stands != wanted and (wanted, stands) != (PayoutStatus.SUCCESS, PayoutStatus.RETURNED):
            logger.error("the bank says %s of %s, which is %s", verdict.status.code, verdict.public_id, stands)
            self.report(verdict.status.line, verdict.public_id, f"The bank says {verdict.status.code} now, and it is {stands} already.")

    def warn(self, verdict: Verdict) -> None:
        """Report a payout that this file paid and another one pays, too."""
        warning = paid_twice.warning_of(PaymentFileLine.objects.select_related("file", "payout").get(pk=verdict.line_id))
        if warning:
            logger.error("%s: %s", verdict.public_id, warning)
            self.report(verdict.status.line, verdict.public_id, warning)

    # Writing down

    @transaction.atomic(durable=True)
    def close(self, *, sha256: str, actor: str) -> Applied:
        """Write what the bank said to the lines, the file and its list of answers.  Locks the file."""
        file = PaymentFile.objects.select_for_update(no_key=True).get(pk=self.file.pk)
        transitions.by(actor, reason=f"The bank's answer {pain002.plain(self.answer.message_id)[:35]}")
        self.write_to_lines()
        self.advance(file)
        kept = {
            "file": file,
            "message_id": pain002.plain(self.answer.message_id)[:35],
            "said": pain002.plain(self.answer.status.code)[:35],
            "counts": dict(self.counts),
            "problems": [asdict(problem) for problem in self.problems],
            "received_by": actor,
            "received_at": self.now,
        }
        PaymentFileAnswer.objects.get_or_create(sha256=sha256, defaults=kept)
        return Applied(file, dict(self.counts), tuple(self.problems))

    def write_to_lines(self) -> None:
        """Write each status to its lines; what is final stays, whatever comes later."""
        by_status: dict[tuple[str, str], list[int]] = {}
        for verdict in self.verdicts.values():
            by_status.setdefault((verdict.status.code, verdict.status.reason), []).append(verdict.line_id)
        for (code, reason), line_ids in by_status.items():
            for some in parts_of(line_ids):
                lines = PaymentFileLine.objects.filter(pk__in=some).exclude(bank_status__in=FINAL_CODES)
                lines.update(bank_status=code, bank_reason=without_numbers(pain002.plain(reason))[:35])

    def advance(self, file: PaymentFile) -> None:
        """Move the file on to what its lines say, and free those that were refused with the whole of it: the next file has them."""
        unpaid = file.lines.filter(NOT_PAID).count()
        if self.verdicts:
            whole = self.rest.meaning == Meaning.REFUSED
            why = pain002.reason_of(self.rest).words if whole else f"{unpaid} of {file.count} were not paid." if unpaid else ""
            move_on(file, unpaid=unpaid, reason=why)
        unnamed = [verdict.line_id for verdict in self.verdicts.values() if verdict.meaning == Meaning.REFUSED and not verdict.is_named]
        for some in parts_of(unnamed):
            lines = file.lines.filter(pk__in=some, dropped_at=None, bank_status=REFUSED_CODE, payout__status=PayoutStatus.EXECUTING)
            lines.update(dropped_at=self.now, dropped_why=pain002.reason_of(self.rest).words)


def move_on(file: PaymentFile, *, unpaid: int, reason: str) -> None:
    """Give a locked file that was told of the status that so many unpaid lines make, if that is a step on: it is not fetched again."""
    status = FileStatus.REJECTED if unpaid == file.count else FileStatus.PARTLY if unpaid else FileStatus.ACCEPTED
    if status in NEXT_FILE_STATUS[FileStatus(file.status)]:
        file.status, file.reason = status, reason[:500]
        file.save(update_fields=["status", "reason"])


def was_had_before(status: Status, *above: Status) -> bool:
    """Is this a refusal because the bank had it before, as it says here or of what stands above it, whatever else it says?"""
    return status.meaning == Meaning.REFUSED and any(each.is_duplicate for each in (status, *above))


def parts_of(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Return the ids, PAGE at a time."""
    return (ids[start : start + PAGE] for start in range(0, len(ids), PAGE))


def shown(amount: Money) -> str:
    return f"{money.text(amount)} {amount.currency}"
