"""A bank statement as ISO 20022 camt.053, in version 08, or 02 for those who ask for it; elements in the order of the schema."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple
from xml.sax.saxutils import escape

from payments.sandbox.amounts import digits_of, plain
from payments.sandbox.bank_files import BANK, BIC, IBAN, Entry, Kind, Statement

LONGEST_ID = 35
CODES: Mapping[Kind, tuple[str, str]] = {"settlement": ("RCDT", "ESCT"), "payout": ("ICDT", "ESCT"), "return": ("ICDT", "RRTN")}


class Dialect(NamedTuple):
    """In what the versions differ: how a bank is called, and in what a booking's status, its transfer's amount and a party's name stand."""

    namespace: str
    bic: str
    status: str
    transfer: str
    party: str


DIALECTS = {
    "08": Dialect(
        namespace="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08",
        bic="BICFI",
        status="<Sts><Cd>BOOK</Cd></Sts>",
        transfer="{amount}{direction}",
        party="<Pty><Nm>{name}</Nm></Pty>",
    ),
    "02": Dialect(
        namespace="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02",
        bic="BIC",
        status="<Sts>BOOK</Sts>",
        transfer="<AmtDtls><TxAmt>{amount}</TxAmt></AmtDtls>",
        party="<Nm>{name}</Nm>",
    ),
}


def written(statement: Statement, entries: Iterable[Entry], *, dialect: Dialect) -> Iterator[bytes]:
    """Yield the file, a piece at a time. The same entries always make the same bytes."""
    yield _head(statement, dialect=dialect).encode()
    for entry in entries:
        yield _entry(entry, statement, dialect=dialect).encode()
    yield b"</Stmt>\n</BkToCstmrStmt>\n</Document>\n"


def _head(statement: Statement, *, dialect: Dialect) -> str:
    begin = datetime.combine(statement.day, time(), tzinfo=UTC)
    end = begin + timedelta(days=1)
    made_at = f"<CreDtTm>{end:%Y-%m-%dT%H:%M:%SZ}</CreDtTm>"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{dialect.namespace}">\n<BkToCstmrStmt>\n'
        f"<GrpHdr><MsgId>{statement.name}</MsgId>{made_at}<MsgPgntn><PgNb>1</PgNb><LastPgInd>true</LastPgInd></MsgPgntn></GrpHdr>\n"
        f"<Stmt><Id>{statement.name}</Id><ElctrncSeqNb>{statement.number}</ElctrncSeqNb><LglSeqNb>{statement.number}</LglSeqNb>{made_at}"
        f"<FrToDt><FrDtTm>{begin:%Y-%m-%dT%H:%M:%SZ}</FrDtTm><ToDtTm>{end:%Y-%m-%dT%H:%M:%SZ}</ToDtTm></FrToDt>\n"
        f"<Acct><Id><IBAN>{IBAN}</IBAN></Id><Ccy>{statement.currency}</Ccy><Ownr><Nm>{escape(statement.owner)}</Nm></Ownr>"
        f"<Svcr><FinInstnId><{dialect.bic}>{BIC}</{dialect.bic}><Nm>{BANK}</Nm></FinInstnId></Svcr></Acct>\n"
        f"{_balance('OPBD', statement.opening, statement)}{_balance('CLBD', statement.closing, statement)}{_summary(statement)}"
    )


def _balance(code: str, amount: int, statement: Statement) -> str:
    figures = f"{_amount(amount, statement.currency)}{_direction(amount)}<Dt><Dt>{statement.day}</Dt></Dt>"
    return f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{figures}</Bal>\n"


def _summary(statement: Statement) -> str:
    def count(name: str, number: int, amount: int) -> str:
        return f"<{name}><NbOfNtries>{number}</NbOfNtries><Sum>{plain(amount, digits_of(statement.currency))}</Sum></{name}>"

    debits = statement.entries - statement.credits
    return (
        f"<TxsSummry>{count('TtlNtries', statement.entries, statement.credited + statement.debited)}"
        f"{count('TtlCdtNtries', statement.credits, statement.credited)}{count('TtlDbtNtries', debits, statement.debited)}</TxsSummry>\n"
    )


def _entry(entry: Entry, statement: Statement, *, dialect: Dialect) -> str:
    amount, direction = _amount(entry.amount, statement.currency), _direction(entry.amount)
    transfer = dialect.transfer.format(amount=amount, direction=direction)
    day = f"<Dt>{statement.day}</Dt>"
    family, sub_family = CODES[entry.kind]
    code = f"<Domn><Cd>PMNT</Cd><Fmly><Cd>{family}</Cd><SubFmlyCd>{sub_family}</SubFmlyCd></Fmly></Domn>"
    references = f"<AcctSvcrRef>{entry.bank_reference}</AcctSvcrRef><EndToEndId>{_id(entry.end_to_end_id)}</EndToEndId>"
    return (
        f"<Ntry><NtryRef>{entry.id}</NtryRef>{amount}{direction}<RvslInd>{str(entry.kind == 'return').lower()}</RvslInd>{dialect.status}"
        f"<BookgDt>{day}</BookgDt><ValDt>{day}</ValDt><AcctSvcrRef>{entry.bank_reference}</AcctSvcrRef><BkTxCd>{code}</BkTxCd>"
        f"<NtryDtls><TxDtls><Refs>{references}<TxId>{_id(entry.object_id)}</TxId></Refs>{transfer}{_parties(entry, dialect=dialect)}"
        f"<RmtInf><Ustrd>{escape(entry.text)}</Ustrd></RmtInf>{_return(entry)}</TxDtls></NtryDtls></Ntry>\n"
    )


def _parties(entry: Entry, *, dialect: Dialect) -> str:
    """Name who paid on what came in, and who was paid on what went out; what was returned had gone out."""
    role = "Dbtr" if entry.kind == "settlement" else "Cdtr"
    account = f"<{role}Acct><Id><Othr><Id>{entry.account_last4}</Id></Othr></Id></{role}Acct>" if entry.account_last4 else ""
    return f"<RltdPties><{role}>{dialect.party.format(name=escape(entry.counterparty))}</{role}>{account}</RltdPties>"


def _return(entry: Entry) -> str:
    return f"<RtrInf><Rsn><Cd>{entry.reason}</Cd></Rsn></RtrInf>" if entry.kind == "return" else ""


def _id(given: str) -> str:
    return escape(given[:LONGEST_ID])


def _amount(amount: int, currency: str) -> str:
    return f'<Amt Ccy="{currency}">{plain(abs(amount), digits_of(currency))}</Amt>'


def _direction(amount: int) -> str:
    return f"<CdtDbtInd>{'DBIT' if amount < 0 else 'CRDT'}</CdtDbtInd>"
