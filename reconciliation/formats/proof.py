"""The proof of a bank statement: what stood on the account, and all booked lines, make what stands on it."""

from datetime import date
from decimal import Decimal

from reconciliation.formats.records import BankLine, MalformedFile, StatementClosed, StatementOpened


class Proof:
    """One statement while it is read: its balance and its lines so far."""

    def __init__(self, opened: StatementOpened) -> None:
        self.opened, self.balance, self.lines = opened, opened.opening, 0

    def add(self, line: BankLine) -> BankLine:
        """Count a line.  Raises MalformedFile for one in another currency than the account's."""
        if line.currency != self.opened.currency:
            raise MalformedFile(line.line, f"is in {line.currency}, but the account in {self.opened.currency}")
        self.balance += line.amount
        self.lines += 1
        return line

    def closed(self, line: int, closing: Decimal, currency: str, *, on: date | None, is_intermediate: bool) -> StatementClosed:
        """Close the statement.  Raises MalformedFile where the opening balance and the lines make another closing balance."""
        if currency != self.opened.currency:
            raise MalformedFile(line, f"the closing balance is in {currency}, but the opening one in {self.opened.currency}")
        if self.balance != closing:
            raise MalformedFile(
                line,
                f"the closing balance is {closing}, but the opening {self.opened.opening} and {self.lines} lines of together "
                f"{self.balance - self.opened.opening} make {self.balance}: a line is missing, doubled or wrong",
            )
        return StatementClosed(line, closing, on, self.lines, is_intermediate)
