"""camt.053: a bank's statement in XML (ISO 20022 BankToCustomerStatement), versions 02 to 08.

The file comes from outside: a document type or entities, and what is too deep or has too many elements, is refused while it is read, before
anything is built of it.  Elements that we do not know are passed over.  Only booked entries count; each is one line, also where the bank
booked many transfers in one sum.  Every statement proves its closing balance, and its count of entries where it says one.
"""

from collections.abc import Iterator
from typing import BinaryIO
from xml.parsers import expat

from reconciliation.formats import camt
from reconciliation.formats.camt import Said
from reconciliation.formats.cells import AmountsByCurrency, Unreadable
from reconciliation.formats.records import BankRecord, MalformedFile

NAME = "camt053"
NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001."
VERSIONS = frozenset({"02", "03", "04", "05", "06", "07", "08"})
PIECE = 1 << 16
DEEPEST = 24
LONGEST_LEAF = 4_000  # what a bank sends
LONGEST_TAG = 1 << 20  # bytes that expat may hold back before it tells of them

STATEMENT = "Document/BkToCstmrStmt/Stmt"
BALANCE, ENTRY = f"{STATEMENT}/Bal", f"{STATEMENT}/Ntry"
TRANSFER = f"{ENTRY}/NtryDtls/TxDtls"
LEAVES = {
    f"{container}/{leaf}": leaf
    for container, leaves in {
        STATEMENT: "Id ElctrncSeqNb LglSeqNb Acct/Id/IBAN Acct/Id/Othr/Id Acct/Ccy TxsSummry/TtlNtries/NbOfNtries",
        BALANCE: "Tp/CdOrPrtry/Cd Tp/SubTp/Cd Amt CdtDbtInd Dt/Dt Dt/DtTm",
        ENTRY: "NtryRef Amt CdtDbtInd RvslInd Sts Sts/Cd BookgDt/Dt BookgDt/DtTm ValDt/Dt ValDt/DtTm AcctSvcrRef BkTxCd/Domn/Cd "
        "BkTxCd/Domn/Fmly/Cd BkTxCd/Domn/Fmly/SubFmlyCd BkTxCd/Prtry/Cd NtryDtls/Btch/PmtInfId NtryDtls/Btch/NbOfTxs AddtlNtryInf "
        "Chrgs/Amt Chrgs/Rcrd/Amt",
        TRANSFER: "Refs/EndToEndId Refs/PmtInfId Refs/AcctSvcrRef Amt CdtDbtInd AmtDtls/TxAmt/Amt RltdPties/Dbtr/Nm RltdPties/Dbtr/Pty/Nm "
        "RltdPties/DbtrAcct/Id/IBAN RltdPties/DbtrAcct/Id/Othr/Id RltdPties/Cdtr/Nm RltdPties/Cdtr/Pty/Nm RltdPties/CdtrAcct/Id/IBAN "
        "RltdPties/CdtrAcct/Id/Othr/Id RmtInf/Ustrd RmtInf/Strd/CdtrRefInf/Ref RtrInf/Rsn/Cd RtrInf/Rsn/Prtry AddtlTxInf "
        "Chrgs/Amt Chrgs/Rcrd/Amt",
    }.items()
    for leaf in leaves.split()
}
CONTAINERS = frozenset({STATEMENT, BALANCE, ENTRY, TRANSFER})
MOST_ELEMENTS = {"": 1_000, STATEMENT: 20_000, ENTRY: 2_000, TRANSFER: 500}  # of each, those below it not counted
MOST_TRANSFERS = 110_000  # that a bank books in one sum: one of our payment files has 100,000
MAY_COME_AGAIN = frozenset(
    "RmtInf/Ustrd RmtInf/Strd/CdtrRefInf/Ref NtryDtls/Btch/PmtInfId NtryDtls/Btch/NbOfTxs Chrgs/Amt Chrgs/Rcrd/Amt".split()
)


def looks_like(head: bytes) -> bool:
    """Say whether the file names the format's namespace, of whatever version, in whatever encoding."""
    return NAMESPACE.encode() in head.replace(b"\0", b"")


def read(stream: BinaryIO) -> Iterator[BankRecord]:
    """Yield the statements with their lines.  Raises MalformedFile."""
    reader = _Reader()
    fed = 0
    try:
        for piece in iter(lambda: stream.read(PIECE), b""):
            reader.parser.Parse(piece, False)
            yield from reader.taken()
            fed += len(piece)
            if fed - reader.parser.CurrentByteIndex > LONGEST_TAG:
                raise reader.refusal(f"a tag is longer than {LONGEST_TAG:,} bytes")
        reader.parser.Parse(b"", True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise reader.refusal(f"is no XML that can be read: {str(error).partition(':')[0]}") from None
    yield from reader.taken()
    if not reader.statements:
        raise reader.refusal("the file has no statement (Stmt)")


class _Reader:
    """What expat tells, made into records.  Only the leaves in LEAVES have their text kept, each within what contains it."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse_document_type
        self.parser.EntityDeclHandler = self._refuse_document_type
        self.parser.StartElementHandler = self._begin
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._say
        self.statements = 0
        self._records: list[BankRecord] = []
        self._namespace = ""
        self._paths: list[str] = []
        self._containers: list[tuple[int, Said]] = []
        self._leaf, self._text = "", ""
        self._left = [MOST_ELEMENTS[""]]  # how many elements may still come, in each element that has a limit
        self._amounts = AmountsByCurrency("Amt")
        self._balances: list[camt.Balance] = []
        self._statement: camt.Statement | None = None
        self._transfers = camt.Transfers()

    def taken(self) -> list[BankRecord]:
        """Return the records that are ready, once."""
        records, self._records = self._records, []
        return records

    def refusal(self, reason: str) -> MalformedFile:
        return MalformedFile(self.parser.CurrentLineNumber, reason)

    def _refuse_document_type(self, *_: object) -> None:
        raise self.refusal("has a document type or an entity, which no bank sends")

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        namespace, _, tag = name.rpartition(" ")
        if not self._paths:
            self._open(namespace, tag)
        if len(self._paths) >= DEEPEST:
            raise self.refusal(f"has more than {DEEPEST} levels")
        path = tag if not self._paths else f"{self._paths[-1]}/{tag if namespace == self._namespace else '?'}"
        self._paths.append(path)
        self._count(path)
        self._leaf, self._text = LEAVES.get(path, ""), ""
        if self._leaf.endswith("Amt"):
            self._containers[-1][1][f"{self._leaf}@Ccy"] = attributes.get("Ccy", "")
        if path in CONTAINERS:
            self._containers.append((self.parser.CurrentLineNumber, {}))
            self._begin_container(path)

    def _count(self, path: str) -> None:
        if path in MOST_ELEMENTS:
            self._left.append(MOST_ELEMENTS[path])
        self._left[-1] -= 1
        if self._left[-1] < 0 or self._transfers.count > MOST_TRANSFERS:
            raise self.refusal("has more elements here than any bank sends")

    def _open(self, namespace: str, tag: str) -> None:
        version = namespace.removeprefix(NAMESPACE)
        if tag != "Document" or version == namespace:
            raise self.refusal(f"does not begin as a camt.053 does, with Document of {NAMESPACE}02 to 08")
        if version not in VERSIONS:
            raise self.refusal(f"is camt.053.001.{version[:10]}: versions 02 to 08 are read")
        self._namespace = namespace

    def _begin_container(self, path: str) -> None:
        if path == STATEMENT:
            self._statement, self._balances = None, []
        elif path == ENTRY:
            self._transfers = camt.Transfers()

    def _say(self, text: str) -> None:
        if self._leaf:
            self._text += text
            if len(self._text) > LONGEST_LEAF:
                raise self.refusal(f"has more than {LONGEST_LEAF:,} characters in {self._leaf}")

    def _end(self, _name: str) -> None:
        path = self._paths.pop()
        if self._leaf:
            self._keep(self._leaf, self._text.strip())
            self._leaf = ""
        elif path in CONTAINERS:
            line, said = self._containers.pop()
            if path in MOST_ELEMENTS:
                self._left.pop()
            try:
                self._end_container(path, line, said)
            except Unreadable as error:
                raise MalformedFile(line, str(error)) from None

    def _keep(self, leaf: str, text: str) -> None:
        said = self._containers[-1][1]
        if leaf not in said:
            said[leaf] = text
        elif leaf in MAY_COME_AGAIN:
            said[leaf] = f"{said[leaf]} {text}"[:LONGEST_LEAF]
        else:
            raise self.refusal(f"has {leaf} a second time")

    def _end_container(self, path: str, line: int, said: Said) -> None:
        if path == TRANSFER:
            self._transfers.add(said, self._containers[-1][1], self._amounts)
        elif path == ENTRY:
            self._records += self._begun(*self._containers[0]).line(line, said, self._transfers, self._amounts)
        elif path == BALANCE:
            if self._statement:
                raise Unreadable("a balance comes after the first entry")
            balance = camt.balance(line, said, self._amounts)
            self._balances += [balance] if balance else []
        else:
            self._records.append(self._begun(line, said).closed(self.parser.CurrentLineNumber, said))
            self.statements += 1

    def _begun(self, line: int, said: Said) -> camt.Statement:
        """Return the statement that is being read; it begins with its first entry, or ends without any."""
        if not self._statement:
            self._statement = camt.Statement(line, said, self._balances)
            self._records.append(self._statement.opened)
        return self._statement
