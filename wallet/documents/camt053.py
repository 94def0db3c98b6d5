"""A statement as ISO 20022 camt.053.001.08, for bookkeeping programs: the wallet is the account, and each movement an entry.

Written piece by piece, so that a million entries take no memory.  The elements stand in the order of the official schema; a character that
XML cannot hold becomes a question mark, and texts are cut to the length that the schema allows.

A wallet has no IBAN, so that the account is known by the seller's id (its 32 digits: the field has no room for the prefix).  A month that is
not over closes with an interim balance (ITBD).  A release has the amount 0: it moves money inside of the wallet.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import chain
from xml.sax.saxutils import escape

from django.utils import timezone
from djmoney.money import Money

from ledger.money import text
from wallet import statements
from wallet.models import WalletEntry
from wallet.statements import Row, Statement

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
LONGEST_ID, LONGEST_TEXT, LONGEST_INFORMATION = 35, 140, 500


def written(statement: Statement, *, now: datetime) -> Iterator[str]:
    """Return the file piece by piece, to be encoded as UTF-8; its few words in the language that is active now."""
    names = {kind.value: str(kind.label) for kind in WalletEntry.Kind}
    entries = (entry(row, name=names[row.kind]) for row in statements.rows(statement))
    return chain([DECLARATION, head(statement, now=now)], entries, ["</Stmt>\n</BkToCstmrStmt>\n</Document>\n"])


def head(statement: Statement, *, now: datetime) -> str:
    """Return all that comes before the first entry: who, when, what the account held and holds, and the sums."""
    name = f"W{statement.wallet_id}-{statement.period}"
    currency = statement.currency
    closing = "CLBD" if statement.is_final else "ITBD"
    available = "CLAV" if statement.is_final else "ITAV"
    first, last = statement.month.first_day, timezone.localtime(statement.until) if not statement.is_final else statement.month.last_day
    return (
        f'<Document xmlns="{NAMESPACE}">\n<BkToCstmrStmt>\n'
        f"<GrpHdr>{tag('MsgId', f'{name}-{now:%y%m%d%H%M%S}', LONGEST_ID)}<CreDtTm>{moment(now)}</CreDtTm>"
        "<MsgPgntn><PgNb>1</PgNb><LastPgInd>true</LastPgInd></MsgPgntn></GrpHdr>\n"
        f"<Stmt>{tag('Id', name, LONGEST_ID)}<ElctrncSeqNb>{statement.number}</ElctrncSeqNb>"
        f"<LglSeqNb>{statement.number}</LglSeqNb><CreDtTm>{moment(now)}</CreDtTm>"
        f"<FrToDt><FrDtTm>{moment(statement.since)}</FrDtTm><ToDtTm>{moment(statement.until)}</ToDtTm></FrToDt>\n"
        f"<Acct><Id><Othr>{tag('Id', statement.seller.public_id.partition('_')[2], 34)}</Othr></Id><Ccy>{currency}</Ccy>"
        f"<Ownr>{tag('Nm', statement.seller.name)}</Ownr>"
        f"<Svcr><FinInstnId>{tag('Nm', statement.seller.shop.name)}</FinInstnId></Svcr></Acct>\n"
        f"{balance('OPBD', statement.opening.total, day(first))}{balance(closing, statement.closing.total, day(last))}"
        f"{balance('OPAV', statement.opening.available, day(first))}{balance(available, statement.closing.available, day(last))}"
        f"{summary(statement)}"
    )


def summary(statement: Statement) -> str:
    debits = statement.count - statement.credits
    both = Decimal(text(statement.credited)) + Decimal(text(statement.debited))
    net = statement.changed
    return (
        f"<TxsSummry><TtlNtries><NbOfNtries>{statement.count}</NbOfNtries><Sum>{both}</Sum>"
        f"<TtlNetNtry><Amt>{text(abs(net))}</Amt>{direction(net)}</TtlNetNtry></TtlNtries>"
        f"<TtlCdtNtries><NbOfNtries>{statement.credits}</NbOfNtries><Sum>{text(statement.credited)}</Sum></TtlCdtNtries>"
        f"<TtlDbtNtries><NbOfNtries>{debits}</NbOfNtries><Sum>{text(statement.debited)}</Sum></TtlDbtNtries></TxsSummry>\n"
    )


def entry(row: Row, *, name: str) -> str:
    """Return one movement: what the wallet changed by, and within it the fee; its order, refund or payout is the remittance information."""
    when = timezone.localtime(row.at)
    gross = f"<AmtDtls><InstdAmt>{amount(row.gross)}</InstdAmt></AmtDtls>"
    fee = f"<Chrgs><Rcrd>{amount(row.fee)}{direction(-row.fee)}<ChrgInclInd>true</ChrgInclInd></Rcrd></Chrgs>" if row.fee.amount else ""
    more = "" if row.net.amount or not row.available.amount else f": {text(row.available)} {row.available.currency.code}"
    return (
        f"<Ntry><NtryRef>{row.public_id}</NtryRef>{amount(row.net)}{direction(row.net)}<Sts><Cd>BOOK</Cd></Sts>"
        f"<BookgDt><DtTm>{moment(when)}</DtTm></BookgDt><ValDt>{day(when)}</ValDt><AcctSvcrRef>{row.journal_entry}</AcctSvcrRef>"
        f"<BkTxCd><Prtry>{tag('Cd', row.kind, LONGEST_ID)}</Prtry></BkTxCd>{gross if row.fee.amount else ''}{fee}"
        f"<NtryDtls><TxDtls><Refs><AcctSvcrRef>{row.journal_entry}</AcctSvcrRef></Refs>{amount(row.net)}{direction(row.net)}"
        f"<RmtInf>{tag('Ustrd', row.source)}</RmtInf></TxDtls></NtryDtls>"
        f"{tag('AddtlNtryInf', name + more, LONGEST_INFORMATION)}</Ntry>\n"
    )


def balance(code: str, money: Money, date: str) -> str:
    return f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{amount(money)}{direction(money)}<Dt>{date}</Dt></Bal>\n"


def amount(money: Money) -> str:
    return f'<Amt Ccy="{money.currency.code}">{text(abs(money))}</Amt>'


def direction(money: Money) -> str:
    return f"<CdtDbtInd>{'DBIT' if money.amount < 0 else 'CRDT'}</CdtDbtInd>"


def tag(name: str, words: str, most: int = LONGEST_TEXT) -> str:
    """Return the element with the words in it, as XML can hold them."""
    return f"<{name}>{escape(NOT_XML.sub('?', words)[:most] or '?')}</{name}>"


def moment(when: datetime) -> str:
    return timezone.localtime(when).isoformat(timespec="milliseconds")


def day(when: object) -> str:
    return f"<Dt>{when:%Y-%m-%d}</Dt>"
