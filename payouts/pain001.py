"""pain.001: the file that tells our bank whom to pay (ISO 20022 CustomerCreditTransferInitiation), in versions 03 and 09.

Rows in, bytes out, a piece at a time: a file of any length needs the memory of one piece.  The counts and sums that head the file and
each batch must be known before its first transfer; what is written is counted again, and a batch that does not add up has no end.
Everything written is either of the few characters that every SEPA bank reads (EPC217-08) or of a checked form, so nothing needs escaping.
The same rows always make the same bytes.
"""

import hashlib
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from anyascii import anyascii
from django.views.decorators.debug import sensitive_variables
from djmoney.money import Money

from ledger import money
from ledger.errors import DomainError


@dataclass(frozen=True, slots=True)
class Dialect:
    """In what the versions differ: how a bank is named, how the day is written, whether each transfer has a UETR."""

    bic: str
    day: str
    has_uetr: bool


DIALECTS = {
    "pain.001.001.03": Dialect(bic="BIC", day="{}", has_uetr=False),
    "pain.001.001.09": Dialect(bic="BICFI", day="<Dt>{}</Dt>", has_uetr=True),
}
NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:"
PIECE = 64 * 1024
LONGEST_ID, LONGEST_NAME, LONGEST_TEXT = 35, 70, 140  # characters that every bank takes
LONGEST_NUMBER = 6  # digits
LARGEST_SEPA = Decimal("999999999.99")
CLEARING_SYSTEMS = {"US": "USABA", "GB": "GBDSC", "CA": "CACPA", "AU": "AUBSB", "NZ": "NZNCC", "IN": "INFSC", "HK": "HKNCC", "ZA": "ZANCC"}

ALLOWED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/-?:().,'+ ")
INSTEAD = str.maketrans({"&": "+", "_": "-", '"': "'", "`": "'", "*": ".", "<": "(", ">": ")", "[": "(", "]": ")", "{": "(", "}": ")"})
ID = re.compile(r"[A-Za-z0-9?:().,'+-]([A-Za-z0-9?:().,'+-]|/(?!/)){0,33}[A-Za-z0-9?:().,'+-]?")
IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
BIC = re.compile(r"[A-Z]{6}[A-Z2-9][A-NP-Z0-9]([A-Z0-9]{3})?")
NUMBER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 -]{0,32}[A-Za-z0-9])?")
BANK_CODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,33}[A-Za-z0-9])?")


class CannotBeWritten(DomainError):
    """Something of one transfer, or of the account that pays, that no bank would take.  Never says an account's number."""

    code = "not_for_a_bank_file"


class DoesNotAddUp(RuntimeError):
    """The transfers of a batch are not those that it was announced with."""


@dataclass(frozen=True, slots=True, repr=False)
class Account:
    """An account at a bank, decrypted: an IBAN, or a number with the country's bank code.  Never shown, logged or stored."""

    holder: str
    iban: str = ""
    country: str = ""
    account_number: str = ""
    bank_code: str = ""
    bic: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """What the whole file says: its version, its id (the bank knows each once), when it was made, and who sends it."""

    version: str
    message_id: str
    created_at: datetime
    sender: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Transfers of one currency from one account of ours on one day: so many, and so much in all."""

    id: str
    count: int
    total: Money
    execute_on: date
    debtor: Account


@dataclass(frozen=True, slots=True)
class Transfer:
    """One payment: the public id of what is paid, the exact amount, to whom, what stands on the receiver's statement, and its place."""

    public_id: str
    amount: Money
    creditor: Account
    text: str
    number: int


Batches = Sequence[tuple[Batch, Iterable[Transfer]]]


def write(heading: Heading, batches: Batches) -> Iterator[bytes]:
    """Return the file in pieces of some 64 KiB.  Each batch's transfers are read once, in order.

    Raises CannotBeWritten, which names the transfer and the field, and DoesNotAddUp for a batch whose transfers are not as many, or not as
    much, as it says.  Either comes before the end of the file, so that what was written until then is no file to any bank.
    """
    gathered = bytearray()
    for element in elements(heading, batches):
        gathered += element.encode("ascii")
        if len(gathered) >= PIECE:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


def elements(heading: Heading, batches: Batches) -> Iterator[str]:
    dialect = DIALECTS[heading.version]
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{NAMESPACE}{heading.version}"><CstmrCdtTrfInitn>\n'
    yield group_header(heading, [batch for batch, _transfers in batches])
    for batch, transfers in batches:
        yield batch_header(batch, dialect)
        count, total = 0, Decimal(0)
        for transfer in transfers:
            yield credit_transfer(transfer, batch, dialect)
            count, total = count + 1, total + transfer.amount.amount
        if (count, total) != (batch.count, batch.total.amount):
            said = f"{batch.count} transfers of {money.text(batch.total)} in all"
            raise DoesNotAddUp(f"batch {batch.id} was announced with {said}, and has {count} of {total}")
        yield "</PmtInf>\n"
    yield "</CstmrCdtTrfInitn></Document>\n"


def group_header(heading: Heading, batches: Sequence[Batch]) -> str:
    """Return the header of the group; its sum adds up all batches, whatever their currencies, as ISO 20022 has it."""
    total = sum((batch.total.amount for batch in batches), Decimal(0))
    return (
        f"<GrpHdr><MsgId>{identifier(heading.message_id, field='message_id')}</MsgId>"
        f"<CreDtTm>{heading.created_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}</CreDtTm>"
        f"<NbOfTxs>{sum(batch.count for batch in batches)}</NbOfTxs><CtrlSum>{sum_text(total)}</CtrlSum>"
        f"<InitgPty><Nm>{plain(heading.sender, longest=LONGEST_NAME, field='sender', whose=heading.message_id)}</Nm></InitgPty></GrpHdr>\n"
    )


@sensitive_variables()
def batch_header(batch: Batch, dialect: Dialect) -> str:
    service, charges = ("<PmtTpInf><SvcLvl><Cd>SEPA</Cd></SvcLvl></PmtTpInf>", "SLEV") if is_sepa(batch) else ("", "SHAR")
    debtor = batch.debtor
    return (
        f"<PmtInf><PmtInfId>{identifier(batch.id, field='batch')}</PmtInfId><PmtMtd>TRF</PmtMtd><BtchBookg>true</BtchBookg>"
        f"<NbOfTxs>{batch.count}</NbOfTxs><CtrlSum>{sum_text(batch.total.amount)}</CtrlSum>{service}"
        f"<ReqdExctnDt>{dialect.day.format(batch.execute_on.isoformat())}</ReqdExctnDt>"
        f"<Dbtr><Nm>{plain(debtor.holder, longest=LONGEST_NAME, field='holder', whose=batch.id)}</Nm></Dbtr>"
        f"<DbtrAcct><Id>{account_id(debtor, whose=batch.id)}</Id><Ccy>{batch.total.currency}</Ccy></DbtrAcct>"
        f"<DbtrAgt><FinInstnId>{bank(debtor, dialect, whose=batch.id) or NOT_PROVIDED}</FinInstnId></DbtrAgt><ChrgBr>{charges}</ChrgBr>\n"
    )


@sensitive_variables()
def credit_transfer(transfer: Transfer, batch: Batch, dialect: Dialect) -> str:
    """Return one transfer.  A bank is named where it is known; one who has an IBAN needs no other name."""
    creditor, where = transfer.creditor, transfer.public_id
    require_payable(transfer, batch)
    instruction, end_to_end = instruction_id(batch.id, transfer.number), end_to_end_id(transfer.public_id)
    uetr = f"<UETR>{uetr_of(batch.id, transfer.public_id)}</UETR>" if dialect.has_uetr else ""
    named = bank(creditor, dialect, whose=where) or ("" if creditor.iban else NOT_PROVIDED)
    agent = f"<CdtrAgt><FinInstnId>{named}</FinInstnId></CdtrAgt>" if named else ""
    return (
        f"<CdtTrfTxInf><PmtId><InstrId>{instruction}</InstrId><EndToEndId>{end_to_end}</EndToEndId>{uetr}</PmtId>"
        f'<Amt><InstdAmt Ccy="{transfer.amount.currency}">{money.text(transfer.amount)}</InstdAmt></Amt>{agent}'
        f"<Cdtr><Nm>{plain(creditor.holder, longest=LONGEST_NAME, field='holder', whose=where)}</Nm></Cdtr>"
        f"<CdtrAcct><Id>{account_id(creditor, whose=where)}</Id></CdtrAcct>"
        f"<RmtInf><Ustrd>{plain(transfer.text, longest=LONGEST_TEXT, field='text', whose=where)}</Ustrd></RmtInf></CdtTrfTxInf>\n"
    )


def require_payable(transfer: Transfer, batch: Batch) -> None:
    """Raise CannotBeWritten for an amount that no bank would take in this batch."""
    amount, currency = transfer.amount.amount, batch.total.currency
    if transfer.amount.currency != currency:
        raise CannotBeWritten(f"{transfer.public_id} is in {transfer.amount.currency}, and its batch in {currency}.", field="currency")
    if amount <= 0:
        raise CannotBeWritten(
            f"{transfer.public_id} pays {money.text(transfer.amount)} {currency}: it must be more than 0.", field="amount"
        )
    if is_sepa(batch) and amount > LARGEST_SEPA:
        raise CannotBeWritten(f"{transfer.public_id} pays more than {LARGEST_SEPA} EUR, the most of a SEPA transfer.", field="amount")
    if is_sepa(batch) and not transfer.creditor.iban:
        raise CannotBeWritten(f"{transfer.public_id} goes to an account without an IBAN, and SEPA needs one.", field="iban")


def is_sepa(batch: Batch) -> bool:
    """SEPA is euros from an account with an IBAN; whatever else is a plain transfer, whose charges both sides share."""
    return batch.total.currency.code == "EUR" and bool(batch.debtor.iban)


# --- Ids: what the bank will answer about -----------------------------------------------------------------------------


def end_to_end_id(public_id: str) -> str:
    """Return the id that follows a transfer to the receiver's statement: the public id, with a hyphen for its `_`, which SEPA does not know.

    `po_0199f3...` is `po-0199f3...`, 35 characters, the most that there may be.  CannotBeWritten if it would be longer.
    """
    return identifier(public_id.replace("_", "-"), field="public_id")


def public_id_of(end_to_end: str) -> str:
    """Return the public id whose transfer has this end-to-end id."""
    return end_to_end.strip().replace("-", "_", 1)


def instruction_id(batch: str, number: int) -> str:
    """Return the id of one transfer of one batch, which no other file repeats: the end of the batch's id, and its number there."""
    return identifier(f"{batch}-{number}"[-LONGEST_ID:], field="number")


def number_of(instruction: str) -> int | None:
    """Return the number in its batch of the transfer that may have this instruction id; None if none can."""
    number = instruction.rpartition("-")[2]
    return int(number) if number.isascii() and number.isdigit() and len(number) <= LONGEST_NUMBER else None


def uetr_of(batch: str, public_id: str) -> str:
    """Return the Unique End-to-end Transaction Reference, a UUID of version 4: always the same for the same id in the same batch."""
    return str(uuid.UUID(bytes=hashlib.sha256(f"uetr {batch} {public_id}".encode()).digest()[:16], version=4))


def batch_id(message_id: str, number: int) -> str:
    """Return the id of a file's batch: that of the file without its prefix, and the batch's number."""
    return identifier(f"{message_id.rpartition('-')[2]}-{number}", field="batch")


def identifier(text: str, *, field: str) -> str:
    """Return the text if it may be an id in a bank file (EPC: 35 characters, no slash at an end, nor two in a row)."""
    if not ID.fullmatch(text):
        raise CannotBeWritten(f"{text[:60]!r} cannot be an id in a bank file: 1 to {LONGEST_ID} letters, digits and hyphens.", field=field)
    return text


# --- Accounts ---------------------------------------------------------------------------------------------------------

NOT_PROVIDED = "<Othr><Id>NOTPROVIDED</Id></Othr>"


@sensitive_variables()
def account_id(account: Account, *, whose: str) -> str:
    """Return how the account is named.  Raises CannotBeWritten, naming whose it is and what is wrong, not the number."""
    if account.iban:
        if not is_iban(account.iban):
            raise CannotBeWritten(f"The IBAN of {whose} is not one: its check digits or its form are wrong.", field="iban")
        return f"<IBAN>{account.iban}</IBAN>"
    if not NUMBER.fullmatch(account.account_number):
        raise CannotBeWritten(f"The account number of {whose} is missing, or has other than letters and digits.", field="account_number")
    return f"<Othr><Id>{account.account_number}</Id></Othr>"


@sensitive_variables()
def bank(account: Account, dialect: Dialect, *, whose: str) -> str:
    """Return how the account's bank is named, by its BIC or its code in the country's clearing; empty if it is not known."""
    if account.bic:
        if not BIC.fullmatch(account.bic):
            raise CannotBeWritten(f"The BIC of {whose} is not one: {account.bic[:20]!r}.", field="bic")
        return f"<{dialect.bic}>{account.bic}</{dialect.bic}>"
    if not account.bank_code or account.iban:
        return ""
    if not BANK_CODE.fullmatch(account.bank_code):
        raise CannotBeWritten(f"The bank code of {whose} has other than letters and digits.", field="bank_code")
    system = CLEARING_SYSTEMS.get(account.country)
    named = f"<ClrSysId><Cd>{system}</Cd></ClrSysId>" if system else ""
    return f"<ClrSysMmbId>{named}<MmbId>{account.bank_code}</MmbId></ClrSysMmbId>"


@sensitive_variables()
def is_iban(text: str) -> bool:
    """Is it written as an IBAN, and do its check digits fit (ISO 13616: modulo 97 leaves 1)?"""
    return bool(IBAN.fullmatch(text)) and int("".join(str(int(sign, 36)) for sign in text[4:] + text[:4])) % 97 == 1


# --- Words and figures ------------------------------------------------------------------------------------------------


def plain(text: str, *, longest: int, field: str, whose: str) -> str:
    """Return the text in the characters of SEPA, cut to `longest`: "Søren & Łukasz" is "Soren + Lukasz".

    What no letter stands for is a full stop.  Raises CannotBeWritten if no letter or digit is left.
    """
    latin = text if text.isascii() else anyascii(text)
    known = "".join(sign if sign in ALLOWED else " " if sign.isspace() else "." for sign in latin.translate(INSTEAD))
    cut = " ".join(known.split())[:longest].strip()
    if not any(sign.isalnum() for sign in cut):
        raise CannotBeWritten(f"The {field} of {whose} has no letter or digit that a bank can read.", field=field)
    return cut


def sum_text(total: Decimal) -> str:
    """Return the digits of a sum, with two decimals at least."""
    return f"{total:.2f}" if total == round(total, 2) else f"{total.normalize():f}"
