"""What the files of PSPs and banks say, whatever their format: settlement lines, bank statements, and why a file is refused.

Tuples, because a file may have a million lines.  Amounts are exact decimals in major units of their currency (ISO 4217); text is as the file
has it, without the blanks around it.
"""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple


class MalformedFile(Exception):
    """The file is not what it claims to be.  `line` is where (from 1; 0 where that is not known), the message says what was expected."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}" if line else reason)
        self.line, self.reason = line, reason


class LineKind(StrEnum):
    """What a line of a settlement file is about."""

    CAPTURE = "capture"
    REFUND = "refund"
    REFUND_FAILED = "refund_failed"
    DISPUTE = "dispute"
    DISPUTE_REVERSED = "dispute_reversed"
    FEE = "fee"  # of no single payment, or taken apart from it
    PAYOUT = "payout"  # from the PSP to our bank
    PAYOUT_RETURNED = "payout_returned"
    SELLER_PAYOUT = "seller_payout"  # from our balance there to a seller's bank
    SELLER_PAYOUT_RETURNED = "seller_payout_returned"
    RESERVE = "reserve"  # withheld by the PSP, or let go again
    CARRIED_OVER = "carried_over"  # from the batch before, or to the next
    OTHER = "other"


class SettlementLine(NamedTuple):
    """One line of a PSP's settlement file.

    `gross`, `fee` and `net` are signed as our balance at the PSP sees them: a capture's gross is above zero, a refund's below, a fee that is
    taken is above zero, and `net = gross * rate - fee`.  `gross` is in `currency`; `fee` and `net` are in `net_currency`.
    """

    line: int  # from 1, the header counted
    kind: LineKind
    type: str  # the PSP's own word
    batch: str  # what is paid to our bank in one sum; empty where the PSP has none yet
    psp_reference: str  # the PSP's id of what the line is about: the charge, the refund, the dispute, the payout
    charge_reference: str  # the PSP's id of the charge it belongs to; empty where there is none
    our_reference: str  # the key that we sent: an order's or a refund's public id; empty where the PSP has none
    currency: str
    gross: Decimal
    net_currency: str
    fee: Decimal
    net: Decimal
    rate: Decimal  # from `currency` to `net_currency`, 1 where they are the same
    occurred_at: datetime | None  # aware
    method: str = ""
    text: str = ""
    settled_on: date | None = None  # when the batch was closed, or its payout ordered; None where the PSP does not say


class StatementOpened(NamedTuple):
    """A bank statement begins: whose account, and what stood on it before."""

    line: int
    account: str  # IBAN, or what the bank calls the account
    currency: str
    number: str  # the bank's number of the statement; empty where it has none
    opening: Decimal  # signed
    opened_on: date | None
    is_intermediate: bool = False  # goes on where another part of the same statement ended
    has_balances: bool = True  # False: a report within the day, whose `opening` and `closing` say nothing and whose lines come again


class BankLine(NamedTuple):
    """One booked line of a bank statement.  `amount` is signed as the account sees it: what came in is above zero.

    `line` is where it begins; in XML many may stand on one.
    """

    line: int
    amount: Decimal
    currency: str
    booked_on: date | None
    valued_on: date | None
    is_reversal: bool
    bank_reference: str  # the bank's own, the best key there is
    end_to_end_id: str  # ours, where we ordered the transfer
    batch_reference: str  # of the payment file (pain.001) that it came of
    counterparty: str
    counterparty_account: str
    text: str  # what the sender wrote
    code: str  # the bank's code of the kind of booking
    return_reason: str = ""  # ISO 20022, where money came back
    parts: int = 1  # transfers that the bank booked in one sum


class StatementClosed(NamedTuple):
    """A bank statement ends; the parser has checked that `closing` is the opening balance and all lines together."""

    line: int
    closing: Decimal  # signed
    closed_on: date | None
    lines: int
    is_intermediate: bool = False


BankRecord = StatementOpened | BankLine | StatementClosed
