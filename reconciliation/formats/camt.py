"""What one statement of a camt.053 says: made of the texts of its leaves, and proved.

The leaves are those of the element that a thing is told in, by their path within it: a balance, an entry, a transfer within an entry.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from reconciliation.formats.cells import NOTHING, AmountsByCurrency, Unreadable, day
from reconciliation.formats.proof import Proof
from reconciliation.formats.records import BankLine, MalformedFile, StatementClosed, StatementOpened

OPENING, CLOSING, INTERIM = ("OPBD", "PRCD"), ("CLBD",), "ITBD"
SIGNS = {"CRDT": 1, "DBIT": -1}
TRUTHS = {"true": True, "1": True, "false": False, "0": False, "": False}
NO_REFERENCE = frozenset({"NOTPROVIDED", "NONREF"})
LONGEST_TEXT = 500  # what is kept of a text

Said = dict[str, str]  # what the leaves of one element say; the currency of an Amt stands beside it, as Amt@Ccy


class Balance(NamedTuple):
    line: int
    code: str
    amount: Decimal
    currency: str
    on: date | None
    is_intermediate: bool


def balance(line: int, said: Said, amounts: AmountsByCurrency) -> Balance | None:
    """Return a balance of what is booked; None for one of another kind, such as what is available.  Raises Unreadable."""
    code = said.get("Tp/CdOrPrtry/Cd", "")
    if code not in (*OPENING, *CLOSING, INTERIM):
        return None
    amount, currency = signed(amounts, said)
    return Balance(line, code, amount, currency, day_in(said, "Dt"), code == INTERIM or said.get("Tp/SubTp/Cd") == "INTM")


class Statement:
    """One statement, from its balances on.  `opened` is the record of its beginning."""

    def __init__(self, line: int, said: Said, balances: Sequence[Balance]) -> None:
        """Begin with what stands before the first entry.  Raises MalformedFile where the account or a balance is missing."""
        interim = [one for one in balances if one.code == INTERIM]
        opening = the_only("opening", OPENING, balances) or next(iter(interim), None)
        closing = the_only("closing", CLOSING, balances) or next((one for one in reversed(interim) if one is not opening), None)
        account = first(said.get("Acct/Id/IBAN"), said.get("Acct/Id/Othr/Id"))
        if not account:
            raise MalformedFile(line, "the statement names no account (Acct/Id)")
        if not opening or not closing:
            raise MalformedFile(line, f"the statement has no {'closing' if opening else 'opening'} balance, so that nothing can be proved")
        if said.get("Acct/Ccy", opening.currency) != opening.currency:
            raise MalformedFile(opening.line, f"the balance is in {opening.currency}, but the account in {said['Acct/Ccy']}")
        number = first(said.get("ElctrncSeqNb"), said.get("LglSeqNb"), said.get("Id"))
        self.opened = StatementOpened(
            line, account, opening.currency, number, opening.amount, opening.on, is_intermediate=opening.is_intermediate
        )
        self._closing, self._proof = closing, Proof(self.opened)
        self._entries = 0  # also those that are not booked

    def line(self, line: int, entry: Said, transfers: "Transfers", amounts: AmountsByCurrency) -> list[BankLine]:
        """Return the line of an entry if it is booked.  Raises Unreadable, MalformedFile."""
        self._entries += 1
        status = entry.get("Sts/Cd") or entry.get("Sts", "")
        if not status:
            raise Unreadable("the entry has no status (Sts)")
        if status != "BOOK":
            return []
        amount, currency = signed(amounts, entry)
        transfers.check(amount, currency, entry)
        return [self._proof.add(bank_line(line, amount, currency, entry, transfers))]

    def closed(self, line: int, said: Said) -> StatementClosed:
        """Return the record of the statement's end.  Raises MalformedFile where it does not add up."""
        told = said.get("TxsSummry/TtlNtries/NbOfNtries", "")
        if told and told.lstrip("0") not in (str(self._entries or ""), str(self._proof.lines or "")):
            raise MalformedFile(line, f"the statement has {self._entries} entries, and says that it has {told[:20]}")
        closing = self._closing
        return self._proof.closed(line, closing.amount, closing.currency, on=closing.on, is_intermediate=closing.is_intermediate)


def the_only(name: str, codes: Sequence[str], balances: Sequence[Balance]) -> Balance | None:
    """Return the balance of the first of these codes that is there.  Raises MalformedFile for a second one of it."""
    for code in codes:
        found = [one for one in balances if one.code == code]
        if len(found) > 1:
            raise MalformedFile(found[1].line, f"the statement has a second {name} balance ({code})")
        if found:
            return found[0]
    return None


class Transfers:
    """The transfers of one entry: how many, their sum, and what all of them say alike."""

    def __init__(self) -> None:
        self.alike: Said = {}
        self.count = 0
        self._sum: Decimal | None = NOTHING  # None once there is one without an amount that can be compared

    def add(self, said: Said, entry: Said, amounts: AmountsByCurrency) -> None:
        """Add a transfer of the entry.  Raises Unreadable."""
        self.alike = {leaf: text for leaf, text in self.alike.items() if said.get(leaf) == text} if self.count else said
        self.count += 1
        leaf = "Amt" if "Amt" in said else "AmtDtls/TxAmt/Amt"
        currency = said.get(f"{leaf}@Ccy")
        if self._sum is None or currency is None or currency != entry.get("Amt@Ccy") or has_charges(said):
            self._sum = None
        else:
            sign = SIGNS.get(said.get("CdtDbtInd") or entry.get("CdtDbtInd", ""), 0)
            self._sum += sign * amounts[currency][said.get(leaf, "")]

    def check(self, amount: Decimal, currency: str, entry: Said) -> None:
        """Check that several transfers that the bank booked in one sum are that sum, where all of them say theirs and none has charges."""
        if self.count > 1 and self._sum not in (None, amount) and not has_charges(entry):
            raise Unreadable(f"the entry is of {amount} {currency}, but its {self.count} transfers of together {self._sum}")


def has_charges(said: Said) -> bool:
    return "Chrgs/Amt" in said or "Chrgs/Rcrd/Amt" in said


def bank_line(line: int, amount: Decimal, currency: str, entry: Said, transfers: Transfers) -> BankLine:
    """Return the line of a booked entry.  Raises Unreadable."""
    is_reversal = TRUTHS.get(entry.get("RvslInd", ""))
    if is_reversal is None:
        raise Unreadable(f"RvslInd is {entry['RvslInd'][:20]!r}: true or false is expected")
    alike = transfers.alike
    near, far = ("Cdtr", "Dbtr") if (amount < 0) is not is_reversal else ("Dbtr", "Cdtr")
    parties = [
        (f"RltdPties/{who}/Nm", f"RltdPties/{who}/Pty/Nm", f"RltdPties/{who}Acct/Id/IBAN", f"RltdPties/{who}Acct/Id/Othr/Id")
        for who in (near, far)
    ]
    name, name_since_08, iban, other = next((leaves for leaves in parties if any(alike.get(leaf) for leaf in leaves)), parties[0])
    booked_in = [
        int(count) for count in entry.get("NtryDtls/Btch/NbOfTxs", "").split() if count.isascii() and count.isdigit() and len(count) <= 6
    ]
    code = "-".join(part for part in map(entry.get, ("BkTxCd/Domn/Cd", "BkTxCd/Domn/Fmly/Cd", "BkTxCd/Domn/Fmly/SubFmlyCd")) if part)
    end_to_end_id = alike.get("Refs/EndToEndId", "")
    return BankLine(
        line=line,
        amount=amount,
        currency=currency,
        booked_on=day_in(entry, "BookgDt"),
        valued_on=day_in(entry, "ValDt"),
        is_reversal=is_reversal,
        bank_reference=first(entry.get("AcctSvcrRef"), alike.get("Refs/AcctSvcrRef"), entry.get("NtryRef")),
        end_to_end_id="" if end_to_end_id in NO_REFERENCE else first(end_to_end_id),
        batch_reference=first(entry.get("NtryDtls/Btch/PmtInfId"), alike.get("Refs/PmtInfId")),
        counterparty=first(alike.get(name), alike.get(name_since_08)),
        counterparty_account=first(alike.get(iban), alike.get(other)),
        text=first(alike.get("RmtInf/Ustrd"), alike.get("RmtInf/Strd/CdtrRefInf/Ref"), alike.get("AddtlTxInf"), entry.get("AddtlNtryInf")),
        code=first(code, entry.get("BkTxCd/Prtry/Cd")),
        return_reason=first(alike.get("RtrInf/Rsn/Cd"), alike.get("RtrInf/Rsn/Prtry")),
        parts=max(transfers.count, sum(booked_in), 1),
    )


def first(*texts: str | None) -> str:
    """Return the first text that says something, on one line and not longer than what is kept."""
    return " ".join(next((text for text in texts if text), "").split())[:LONGEST_TEXT]


def signed(amounts: AmountsByCurrency, said: Said) -> tuple[Decimal, str]:
    """Return the amount of an entry or a balance as the account sees it, and its currency.  Raises Unreadable."""
    currency = said.get("Amt@Ccy", "")
    amount = amounts[currency][said.get("Amt", "")]
    if amount < 0:
        raise Unreadable(f"Amt is {said['Amt'][:40]!r}: CdtDbtInd is what says the direction")
    direction = said.get("CdtDbtInd", "")
    if direction not in SIGNS:
        raise Unreadable(f"CdtDbtInd is {direction[:20]!r}: CRDT or DBIT is expected")
    return SIGNS[direction] * amount + 0, currency  # + 0: there is no minus nothing


def day_in(said: Said, leaf: str) -> date | None:
    """Return the day that a date, or a date with time, is written with; None where there is neither.  Raises Unreadable."""
    text = said.get(f"{leaf}/Dt") or said.get(f"{leaf}/DtTm", "")
    return day(leaf, text[:10]) if text else None
