"""pain.002: what our bank answers to a pain.001 (ISO 20022 CustomerPaymentStatusReport), version 03 and later.

Bytes in, records out; nothing is decided here.  The file comes from outside: a document type or entities, and what is too deep, too long
or has too many elements, is refused while it is read, before anything is built of it.  So is what says two things where it may say one, since
nobody knows which of them counts.  Elements that we do not know are passed over.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, auto
from xml.parsers import expat

from djmoney.money import Money

from ledger import money
from ledger.errors import DomainError
from ledger.line import without_numbers

LARGEST = 100_000_000  # bytes; the answer to 100,000 transfers, each named, has some 40 million
MOST_ELEMENTS = 950_000
MOST_TRANSFERS = 200_000  # twice what one file of ours holds
DEEPEST = 24
LONGEST_TEXT = 500
LONGEST_TAG = 64 * 1024  # bytes; expat reads a tag that has not ended from its beginning again with each piece
ENCODINGS = frozenset({"UTF-8", "UTF-16", "ISO-8859-1", "US-ASCII"})  # that expat knows by itself; Python's own codecs do anything at all
NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.002.001."
ROOT = "Document/CstmrPmtStsRpt/"
GROUP, BATCH, TRANSFER = "OrgnlGrpInfAndSts", "OrgnlPmtInfAndSts", "OrgnlPmtInfAndSts/TxInfAndSts"


class UnreadableAnswer(DomainError):
    """The file is no pain.002, or one that no bank would send.  Says the line."""

    code = "unreadable_answer"


class Meaning(Enum):
    """What a status says about the money."""

    PAID = auto()  # it left our account
    PENDING = auto()  # the bank is at it
    REFUSED = auto()  # it did not leave our account, and will not
    PARTLY = auto()  # some of them: each says for itself


REFUSED_CODE = "RJCT"
MEANINGS = {
    "ACSC": Meaning.PAID,  # settled on our account
    "ACCC": Meaning.PAID,  # settled on the receiver's account
    "RCVD": Meaning.PENDING,
    "ACTC": Meaning.PENDING,  # it can be read
    "ACFC": Meaning.PENDING,
    "ACCP": Meaning.PENDING,  # we may
    "ACSP": Meaning.PENDING,  # it is being settled
    "ACWC": Meaning.PENDING,
    "ACWP": Meaning.PENDING,
    "PDNG": Meaning.PENDING,
    "PATC": Meaning.PENDING,
    "PART": Meaning.PARTLY,
    REFUSED_CODE: Meaning.REFUSED,
}

DUPLICATES = frozenset({"AM05", "DUPL", "DU01", "DU02", "DU03", "DU04", "DU05"})  # the bank had it before, and may well have paid it then


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason of ISO 20022 in our own code and in words that say what to do."""

    code: str
    words: str


REASONS = {
    "AC01": Reason("no_account", "There is no account with this number. Check the bank details."),
    "AC03": Reason("no_account", "There is no account with this number. Check the bank details."),
    "AC04": Reason("account_closed", "The account is closed. Give another one."),
    "AC06": Reason("account_blocked", "The account is blocked. Ask its bank, or give another one."),
    "AC13": Reason("wrong_kind_of_account", "Accounts of this kind take no such payment. Give another one."),
    "AC14": Reason("wrong_kind_of_account", "Accounts of this kind take no such payment. Give another one."),
    "AC09": Reason("invalid_currency", "The account does not take this currency. Give another one."),
    "AM03": Reason("invalid_currency", "The account does not take this currency. Give another one."),
    "AG01": Reason("debit_not_authorized", "Payments to this account are not allowed. Give another one."),
    "AG03": Reason("debit_not_authorized", "Payments to this account are not allowed. Give another one."),
    "AM02": Reason("amount_not_allowed", "The bank does not pay such an amount in one payment."),
    "AM04": Reason("insufficient_funds", "The account that pays does not hold enough."),
    "AM05": Reason("duplicate", "The bank has had this payment before."),
    "DUPL": Reason("duplicate", "The bank has had this payment before."),
    "BE01": Reason("wrong_holder", "The name is not that of the account's holder. Check the bank details."),
    "BE04": Reason("missing_address", "The bank needs the holder's address."),
    "CUST": Reason("cancelled", "It was called back."),
    "DT01": Reason("invalid_date", "The bank does not pay on that day."),
    "FF01": Reason("invalid_file", "The bank cannot read the file."),
    "MD07": Reason("holder_deceased", "The account's holder has died."),
    "MS02": Reason("declined", "The receiver declined the payment, and does not say why."),
    "MS03": Reason("declined", "The bank declined the payment and does not say why."),
    "RC01": Reason("unknown_bank", "There is no such bank. Check the bank details."),
    "RC03": Reason("unknown_bank", "There is no such bank. Check the bank details."),
    "RC04": Reason("unknown_bank", "There is no such bank. Check the bank details."),
    "RR04": Reason("not_permitted", "The bank may not make this payment for legal reasons."),
}


@dataclass(slots=True)
class Status:
    """A status with its reason, as the bank gave it: codes of ISO 20022, or the bank's own, and what it says beside them.

    `reason` is the first that it gives; `is_duplicate` if any of them says that the bank had it before.
    """

    code: str = ""
    reason: str = ""
    info: str = ""
    line: int = 0
    is_duplicate: bool = False

    @property
    def meaning(self) -> Meaning | None:
        """What it says about the money; None for a code that we do not know."""
        return MEANINGS.get(self.code)


@dataclass(slots=True)
class BatchAnswer:
    """What the bank says of one of our batches; `status` has no code if it says nothing of the batch as a whole."""

    id: str = ""
    status: Status = field(default_factory=Status)


@dataclass(slots=True)
class TransferAnswer:
    """What the bank says of one transfer, in which batch; `amount` and `at` only if it says them."""

    batch: BatchAnswer = field(default_factory=BatchAnswer)
    instruction_id: str = ""
    end_to_end_id: str = ""
    status: Status = field(default_factory=Status)
    amount: Money | None = None
    at: datetime | None = None


@dataclass(slots=True)
class Answer:
    """One pain.002: its own id, the id of the file that it answers, and what it says of the whole, of batches and of transfers."""

    message_id: str = ""
    created_at: datetime | None = None
    about: str = ""
    count: int | None = None
    total: Decimal | None = None
    status: Status = field(default_factory=Status)
    batches: list[BatchAnswer] = field(default_factory=list)
    transfers: list[TransferAnswer] = field(default_factory=list)


def reason_of(status: Status) -> Reason:
    """Return why, in our own code and in words; what we do not know is `declined`, in the bank's words, without numbers of accounts."""
    told = plain(status.info)
    known = REASONS.get(status.reason) or Reason("declined", told or "The bank declined the payment and does not say why.")
    return Reason(known.code, without_numbers(f"{known.words} ({plain(status.reason or status.code)})"))


def read(pieces: Iterable[bytes]) -> Answer:
    """Read an answer, a piece at a time.  Raises UnreadableAnswer, naming the line; then nothing of it counts."""
    reader = _Reader()
    size = elements = 0
    try:
        for piece in pieces:
            size += len(piece)
            elements += piece.count(b"<") - piece.count(
                b"</"
            )  # before anything is made of them, since counting bytes costs next to nothing
            if size > LARGEST or elements > MOST_ELEMENTS:
                most = f"{LARGEST:,} bytes" if size > LARGEST else f"{MOST_ELEMENTS:,} elements"
                raise UnreadableAnswer(f"The answer has more than {most}. Ask the bank to send it in parts.", field="file")
            reader.parser.Parse(piece, False)
            if size - reader.parser.CurrentByteIndex > LONGEST_TAG:
                raise reader.refusal(f"has a tag or a comment of more than {LONGEST_TAG:,} bytes.")
        reader.parser.Parse(b"", True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise reader.refusal(f"is no XML that we can read: {str(error).partition(':')[0]}.") from error
    return reader.answer_read()


class _Reader:
    """What expat tells, made into an Answer.  Only the leaves in `_LEAVES` have their text kept."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.XmlDeclHandler = self._require_encoding
        self.parser.StartDoctypeDeclHandler = self._refuse_document_type
        self.parser.EntityDeclHandler = self._refuse_document_type
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._say
        self._answer = Answer()
        self._namespace = ""
        self._paths: list[str] = []
        self._said: set[str] = set()  # leaves that may stand once, in what is being read
        self._leaf: Callable[[_Reader, str], None] | None = None
        self._text = ""
        self._currency = ""

    def answer_read(self) -> Answer:
        """Return what was read.  Raises UnreadableAnswer without the ids, without which nobody knows what it answers."""
        if not self._answer.message_id or not self._answer.about:
            missing = "OrgnlGrpInfAndSts/OrgnlMsgId" if self._answer.message_id else "GrpHdr/MsgId"
            raise UnreadableAnswer(f"The answer has no {missing}: it does not say what it is about.", field=missing)
        return self._answer

    def refusal(self, what: str, *, field: str = "file") -> UnreadableAnswer:
        return UnreadableAnswer(f"Line {self.parser.CurrentLineNumber} of the answer {what}", field=field)

    def _require_encoding(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.upper() not in ENCODINGS:
            raise self.refusal(f"says that it is in {plain(encoding)[:20]!r}. A bank's answer is in UTF-8.")

    def _refuse_document_type(self, *_declared: object) -> None:
        raise self.refusal("declares a document type or an entity. No bank's answer does: it is refused unread.")

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        depth = len(self._paths)
        if depth >= DEEPEST:
            raise self.refusal(f"is nested more than {DEEPEST} deep.")
        if self._leaf is not None:
            raise self.refusal("has elements where there must be text.")
        namespace, _space, tag = name.rpartition(" ")
        if depth == 0:
            self._open(namespace, tag)
        path = f"{self._paths[-1]}/{tag if namespace == self._namespace else '?'}" if self._paths else tag
        self._paths.append(path)
        if path in (_TRANSFER_PATH, _BATCH_PATH):
            self._said = {leaf for leaf in self._said if not leaf.startswith(f"{path}/")}
        if path == _TRANSFER_PATH:
            if len(self._answer.transfers) == MOST_TRANSFERS:
                raise self.refusal(f"speaks of more than {MOST_TRANSFERS:,} transfers.")
            status = Status(line=self.parser.CurrentLineNumber)
            self._answer.transfers.append(TransferAnswer(batch=self._answer.batches[-1], status=status))
        elif path == _BATCH_PATH:
            self._answer.batches.append(BatchAnswer(status=Status(line=self.parser.CurrentLineNumber)))
        elif path in _LEAVES:
            if path in self._said:
                raise self.refusal(f"has a second {self._here()} where there must be one.", field=self._here())
            if not path.endswith(_MANY):
                self._said.add(path)
            self._leaf, self._text = _LEAVES[path], ""
            self._currency = attributes.get("Ccy", "")[:8]

    def _open(self, namespace: str, tag: str) -> None:
        if tag != "Document" or not namespace.startswith(NAMESPACE):
            raise self.refusal(f"does not begin as a pain.002 does, with Document of {NAMESPACE}…")
        self._namespace = namespace

    def _say(self, text: str) -> None:
        if self._leaf is not None:
            self._text += text
            if len(self._text) > LONGEST_TEXT:
                raise self.refusal(f"has more than {LONGEST_TEXT} characters in {self._here()}.", field=self._here())

    def _end(self, _name: str) -> None:
        if self._leaf is not None:
            leaf, self._leaf = self._leaf, None
            leaf(self, self._text.strip())
        self._paths.pop()

    def _here(self) -> str:
        return self._paths[-1].rpartition("/")[2]

    # The leaves

    def _moment(self, text: str) -> datetime:
        """Read a moment; one without a zone is UTC."""
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise self.refusal(f"has no date and time in {self._here()}: {text[:40]!r}.", field=self._here()) from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def set_message_id(self, text: str) -> None:
        self._answer.message_id = text

    def set_created_at(self, text: str) -> None:
        self._answer.created_at = self._moment(text)

    def set_about(self, text: str) -> None:
        self._answer.about = text

    def set_count(self, text: str) -> None:
        if not (text.isascii() and text.isdigit() and len(text) <= 15):
            raise self.refusal(f"has no count in OrgnlNbOfTxs: {text[:40]!r}.", field="OrgnlNbOfTxs")
        self._answer.count = int(text)

    def set_total(self, text: str) -> None:
        self._answer.total = self._decimal(text)

    def set_batch_id(self, text: str) -> None:
        self._answer.batches[-1].id = text

    def set_end_to_end_id(self, text: str) -> None:
        self._answer.transfers[-1].end_to_end_id = text

    def set_instruction_id(self, text: str) -> None:
        self._answer.transfers[-1].instruction_id = text

    def set_at(self, text: str) -> None:
        self._answer.transfers[-1].at = self._moment(text)

    def set_amount(self, text: str) -> None:
        try:
            self._answer.transfers[-1].amount = money.exact(text, self._currency)
        except DomainError as error:
            raise self.refusal(f"has no amount in InstdAmt: {error.detail}", field="InstdAmt") from None

    def _decimal(self, text: str) -> Decimal:
        digits = text.replace(".", "", 1)
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 40):
            raise self.refusal(f"has no number in {self._here()}: {text[:40]!r}.", field=self._here())
        return Decimal(text)

    def status(self, level: str) -> Status:
        """Return the status of the group, or of the batch or transfer that is being read."""
        match level:
            case "OrgnlGrpInfAndSts":
                return self._answer.status
            case "OrgnlPmtInfAndSts":
                return self._answer.batches[-1].status
            case _:
                return self._answer.transfers[-1].status


def _status_leaves(level: str, element: str) -> dict[str, Callable[[_Reader, str], None]]:
    """Return the leaves of the status that stands in `element` at that level.  The first reason is kept; informations add up."""

    def set_code(reader: _Reader, text: str) -> None:
        reader.status(level).code = text
        reader.status(level).line = reader.parser.CurrentLineNumber

    def set_reason(reader: _Reader, text: str) -> None:
        reader.status(level).reason = reader.status(level).reason or text
        reader.status(level).is_duplicate |= text in DUPLICATES

    def add_info(reader: _Reader, text: str) -> None:
        reader.status(level).info = f"{reader.status(level).info} {text}".strip()[:LONGEST_TEXT]

    place = f"{ROOT}{level}/"
    return {
        f"{place}{element}": set_code,
        f"{place}StsRsnInf/Rsn/Cd": set_reason,
        f"{place}StsRsnInf/Rsn/Prtry": set_reason,
        f"{place}StsRsnInf/AddtlInf": add_info,
    }


_MANY = ("/Rsn/Cd", "/Rsn/Prtry", "/AddtlInf")  # ISO 20022 lets a bank give several reasons
_BATCH_PATH, _TRANSFER_PATH = f"{ROOT}{BATCH}", f"{ROOT}{TRANSFER}"
_LEAVES: dict[str, Callable[[_Reader, str], None]] = {
    f"{ROOT}GrpHdr/MsgId": _Reader.set_message_id,
    f"{ROOT}GrpHdr/CreDtTm": _Reader.set_created_at,
    f"{ROOT}{GROUP}/OrgnlMsgId": _Reader.set_about,
    f"{ROOT}{GROUP}/OrgnlNbOfTxs": _Reader.set_count,
    f"{ROOT}{GROUP}/OrgnlCtrlSum": _Reader.set_total,
    f"{ROOT}{BATCH}/OrgnlPmtInfId": _Reader.set_batch_id,
    f"{ROOT}{TRANSFER}/OrgnlInstrId": _Reader.set_instruction_id,
    f"{ROOT}{TRANSFER}/OrgnlEndToEndId": _Reader.set_end_to_end_id,
    f"{ROOT}{TRANSFER}/AccptncDtTm": _Reader.set_at,
    f"{ROOT}{TRANSFER}/OrgnlTxRef/Amt/InstdAmt": _Reader.set_amount,
    **_status_leaves(GROUP, "GrpSts"),
    **_status_leaves(BATCH, "PmtInfSts"),
    **_status_leaves(TRANSFER, "TxSts"),
}


def plain(text: str) -> str:
    """Return the text without what cannot be stored or shown: control characters, NUL, lone surrogates."""
    return "".join(sign for sign in text if sign.isprintable())
