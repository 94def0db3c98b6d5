"""The books over REST: accounts, entries, balances, statements, the trial balance, and manual entries.

The books are the whole installation's, not one shop's: the ledger scopes belong to keys of the operator's own finance back end alone.
"""

from typing import Any

from django.conf import settings
from django.http import Http404
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import approvals, chart, clock, manual, queries
from ledger.endpoint import Endpoint, operation
from ledger.errors import DomainError
from ledger.journal import Draft, Leg
from ledger.models import Account, JournalEntry, Posting
from ledger.serializers import (
    AccountSerializer,
    AccountsQuery,
    AsOfQuery,
    BalanceQuery,
    BalanceSerializer,
    EntriesQuery,
    JournalEntrySerializer,
    NewEntrySerializer,
    StatementQuery,
    StatementSerializer,
    TrialBalanceSerializer,
)

READ, WRITE = "ledger:read", "ledger:write"
MOST_LINES = 10_000


class StatementTooLong(DomainError):
    code = "statement_too_long"


class Ledger(Endpoint):
    @operation(READ, query=AsOfQuery, answers={200: TrialBalanceSerializer})
    def get(self, request: Request) -> Response:
        """Trial balance

        A line for each kind of account and currency: what was debited, what was credited, what stands.
        """
        as_of = self.query.get("as_of")
        lines = queries.trial_balance(as_of=as_of or queries.ALL_BOOKED)
        return self.answer({"as_of": as_of, "lines": lines})

    @operation(WRITE, body=NewEntrySerializer, answers={201: JournalEntrySerializer, 200: JournalEntrySerializer})
    def post(self, request: Request) -> Response:
        """Post a manual entry

        The entry must balance in every currency, and each account must be open.  A wallet's accounts (`seller_pending`,
        `seller_available`, `seller_reserved`) are refused: they move only together with the wallet; and so are `suspense`,
        `payouts_in_transit`, `disputed`, `gift_cards` and `buyer_wallet`, which open mismatches, payouts and disputes, gift cards and buyers'
        wallets account for.  Entries are never changed; correct one by posting its reverse.  The same reference with the same legs answers
        200 with the entry that stands.

        Where this installation lets a key post up to an amount only (`API_ENTRY_LIMITS`), an entry that moves more answers 409 with
        `approval_needed`: staff propose it in the admin, where a second person approves it.
        """
        draft = draft_of(self.read(request))
        approvals.require_within(draft, settings.API_ENTRY_LIMITS)
        entry, is_new = manual.post(draft)
        return self.answer(entry, status=201 if is_new else 200)


def draft_of(entry: dict[str, Any]) -> Draft:
    legs: dict[str, list[Leg]] = {"debit": [], "credit": []}
    for posting in entry["postings"]:
        legs[posting["side"]].append((posting["account"], posting["amount"]))
    return Draft(
        kind=JournalEntry.Kind.MANUAL,
        reference=entry["reference"],
        memo=entry["memo"],
        effective_at=entry.get("effective_at") or clock.now(),
        debits=legs["debit"],
        credits=legs["credit"],
    )


class Accounts(Endpoint):
    @operation(READ, query=AccountsQuery, answers={200: AccountSerializer})
    def get(self, request: Request) -> Response:
        """List accounts"""
        accounts = Account.objects.all()
        if kind := self.query.get("kind"):
            accounts = accounts.filter(code=kind) | accounts.filter(code__startswith=f"{kind}:")
        if currency := self.query.get("currency"):
            accounts = accounts.filter(currency=currency)
        return self.answer_page(accounts)


class Entries(Endpoint):
    @operation(READ, query=EntriesQuery, answers={200: JournalEntrySerializer})
    def get(self, request: Request) -> Response:
        """List journal entries

        Newest first, each with its postings.
        """
        entries = JournalEntry.objects.prefetch_related("postings__account")
        asked: dict[str, Any] = {name: self.query[name] for name in ("reference", "kind") if name in self.query}
        if account := self.query.get("account"):
            asked["id__in"] = Posting.objects.filter(account__code=account).values("entry_id")
        return self.answer_page(entries.filter(**asked))


class Entry(Endpoint):
    def locate(self, request: Request, *, entry: int) -> None:  # type: ignore[override]
        self.entry = JournalEntry.objects.prefetch_related("postings__account").filter(pk=entry).first()
        if self.entry is None:
            raise Http404

    @operation(READ, answers={200: JournalEntrySerializer})
    def get(self, request: Request, entry: int) -> Response:
        """Read a journal entry"""
        return self.answer(self.entry)


class OfAccount(Endpoint):
    """An address below one account; its currency comes as a parameter."""

    def locate(self, request: Request, *, account: str) -> None:  # type: ignore[override]
        if not Account.objects.filter(code=account).exists():
            raise Http404


class Balance(OfAccount):
    @operation(READ, query=BalanceQuery, answers={200: BalanceSerializer})
    def get(self, request: Request, account: str) -> Response:
        """Balance of an account

        In the direction in which the account grows, now or as of a moment.
        """
        as_of = self.query.get("as_of")
        balance = queries.balance_of(account, currency=self.query["currency"], as_of=as_of or queries.ALL_BOOKED)
        return self.answer({"account": account, "type": chart.type_of(account), "as_of": as_of, "balance": balance})


class Statement(OfAccount):
    @operation(READ, query=StatementQuery, answers={200: StatementSerializer})
    def get(self, request: Request, account: str) -> Response:
        """Statement of an account

        Each entry that touched the account in `since <= effective_at < until`, oldest first, with the balance before, after and between.
        A statement has 10,000 lines at most: ask for a shorter time where there are more.
        """
        currency, since, until = self.query["currency"], self.query["since"], self.query["until"]
        require_readable(account, **self.query)
        statement = queries.statement(account, currency=currency, since=since, until=until)
        return self.answer(
            {
                "account": account,
                "since": since,
                "until": until,
                "opening": statement.opening,
                "lines": statement.lines,
                "closing": statement.closing,
            }
        )


def require_readable(account: str, **asked: Any) -> None:
    """Raise StatementTooLong if the statement would have more than 10,000 lines."""
    touched = Posting.objects.filter(
        account__code=account,
        account__currency=asked["currency"],
        entry__effective_at__gte=asked["since"],
        entry__effective_at__lt=asked["until"],
    )
    if touched[MOST_LINES : MOST_LINES + 1].values_list("line"):
        raise StatementTooLong(f"More than {MOST_LINES} entries touched {account} in this time. Ask for a shorter one.", field="since")
