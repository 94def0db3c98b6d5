"""The tables of the page "Figures": what reports.py found, in cells that people and programs read, with links to the rows behind them.

Each table has a name, by which its CSV file is asked for; TABLES says who makes it.  A link stands only before whoever may follow it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from babel.numbers import format_decimal
from django.urls import reverse
from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from djmoney.money import Money

from ledger.admin import NOTHING
from ledger.money import text
from ledger.templatetags.written import NO_BREAK_SPACE, day, digits, reader
from payments.models import PaymentOrder, PspAttempt
from reconciliation import explain_questions, reports
from reconciliation.reports import Asked, By, Declines, DeclinesBy, Sales
from wallet.sheets import harmless, written

KINDS = {
    "psp_receivable": _("To come from PSPs"),
    "seller_pending": _("Sellers: pending"),
    "seller_available": _("Sellers: available"),
    "seller_reserved": _("Sellers: held back"),
    "payouts_in_transit": _("On its way to sellers' banks"),
    "fee_revenue": _("Our fees"),
    "tax_payable": _("Tax in our fees"),
    "operating_bank": _("Our bank account"),
    "paid_twice": _("Paid out twice"),
    "bank_in_transit": _("On its way to our bank account"),
    "psp_fees": _("Fees of PSPs"),
    "bank_charges": _("Charges of banks"),
    "suspense": _("Not explained yet"),
    "owed_to_buyers": _("Owed to buyers"),
    "disputed": _("In open disputes"),
    "dispute_costs": _("Fees for disputes"),
    "dispute_losses": _("Lost in disputes"),
    "write_offs": _("Written off"),
    "gift_cards": _("On gift cards"),
    "buyer_wallet": _("In buyers' wallets"),
    "breakage_revenue": _("Left on gift cards that expired"),
    "gift_card_grants": _("Gift cards given away"),
    "fx_position": _("Positions in currencies"),
}
MOST_ROWS = 20  # of a table that has one for each country
TYPES = {"asset": _("Asset"), "liability": _("Liability"), "revenue": _("Revenue"), "expense": _("Expense")}


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure or a word: as people read it, as a program does, and (`address`) where the rows behind it are listed."""

    shown: str
    plain: str
    is_number: bool = True
    address: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the page, whose `name` is in the address of its CSV file.  `columns` are the names in that file and the titles for people.

    `has_total`: its last row sums up the others.  `most` of the rows are on the page, the largest come first; the file has all of them.
    """

    name: str
    title: Any
    note: Any
    columns: Sequence[tuple[str, Any]]
    rows: Sequence[Sequence[Cell]]
    has_total: bool = False
    most: int | None = None

    @property
    def heads(self) -> list[tuple[Any, bool]]:
        """The titles, and whether numbers stand below."""
        return [(title, cell.is_number) for (_name, title), cell in zip(self.columns, self.rows[0], strict=True)]

    @property
    def titled_rows(self) -> list[list[tuple[Any, Cell]]]:
        titles = [title for _name, title in self.columns]
        return [list(zip(titles, row, strict=True)) for row in self.rows[: self.most]]

    @property
    def is_cut(self) -> bool:
        return self.most is not None and len(self.rows) > self.most

    def as_csv(self, currency: str) -> str:
        head = [*(name for name, _title in self.columns), "currency"]
        return written([head, *([*(cell.plain for cell in row), currency] for row in self.rows)])


# --- Cells ----------------------------------------------------------------------------------------------------------


def word(shown: Any, plain: str, address: str = "") -> Cell:
    return Cell(str(shown), harmless(plain), is_number=False, address=address)


def count(number: int, address: str = "") -> Cell:
    return Cell(format_decimal(number, locale=reader()), str(number), address=address if number else "")


def sum_of(money: Money, address: str = "") -> Cell:
    return Cell(digits(money), text(money), address=address if money.amount else "")


def percent(share: Decimal | None) -> Cell:
    """Return the share in percent for people, and as it is for programs."""
    if share is None:
        return Cell(NOTHING, "")
    return Cell(f"{format_decimal(share * 100, format='#,##0.0', locale=reader())}{NO_BREAK_SPACE}%", str(share))


def in_days(number: Decimal | None) -> Cell:
    if number is None:
        return Cell(NOTHING, "")
    return Cell(format_decimal(number, format="#,##0.0", locale=reader()), f"{number:.1f}")


def kind(code: str, currency: str, user: Any) -> Cell:
    """Return the name of a kind of account, which leads to the accounts of that kind."""
    return word(KINDS.get(code, code), code, listed(user, "ledger", "account", {"q": code, "currency": currency}))


def listed(user: Any, app: str, model: str, lookups: dict[str, Any]) -> str:
    """Return where the admin lists rows like these, or nothing to whom may not see them."""
    if not user.has_perm(f"{app}.view_{model}"):
        return ""
    return f"{reverse(f'admin:{app}_{model}_changelist')}?{urlencode(lookups)}"


def explained(user: Any, name: str, asked: Asked, **group: str) -> str:
    """Return where that figure is explained down to its rows, or nothing to whom may not see them."""
    if not user.has_perms(explain_questions.FIGURES[name]):
        return ""
    return f"{reverse('explain_figure', args=[name])}?{urlencode({**days_of(asked), 'currency': asked.currency, **group})}"


def explained_kind(user: Any, code: str, asked: Asked, *days: str) -> str:
    """Return where a figure of a kind of account is explained: of these days (`since`, `until`), or at the end of the last one."""
    if not user.has_perms(("ledger.view_account", "ledger.view_journalentry")):
        return ""
    chosen = {name: day for name, day in days_of(asked).items() if name in days}
    return f"{reverse('explain_kind', args=[code, asked.currency])}?{urlencode(chosen)}"


def days_of(asked: Asked) -> dict[str, str]:
    return {"since": asked.first_day.isoformat(), "until": asked.last_day.isoformat()}


def made_within(model: Any, asked: Asked) -> dict[str, Any]:
    """Return the lookups of the rows that were made on the days, by id too: no list reads a large table by its times alone."""
    ids = reports.ids_of(model, asked)
    return {"id__gte": ids["first_id"], "id__lt": ids["end_id"]} | between("created_at", asked)


def between(column: str, asked: Asked) -> dict[str, str]:
    return {f"{column}__gte": asked.since.isoformat(), f"{column}__lt": asked.until.isoformat()}


# --- Tables ---------------------------------------------------------------------------------------------------------

SALES_COLUMNS = (
    ("orders", _("Orders")),
    ("paid", _("Paid")),
    ("success_rate", _("Success")),
    ("volume", _("Volume")),
    ("fees", _("Our fees")),
    ("take_rate", _("Take rate")),
    ("refunded", _("Refunded")),
    ("refund_rate", _("Refund rate")),
    ("disputed", _("Disputed")),
    ("dispute_rate", _("Dispute rate")),
)
LAG_COLUMNS = (
    ("paid", _("Paid")),
    ("settled", _("Paid to us")),
    ("not_yet_settled", _("Not yet")),
    ("days_until_settled", _("Days on average")),
    ("within_1", _("Within 1 day")),
    ("within_2", _("Within 2 days")),
    ("within_3", _("Within 3 days")),
    ("within_7", _("Within 7 days")),
)
METHODS = {"card": _("Card"), "card credit": _("Credit card"), "card debit": _("Debit card"), "card prepaid": _("Prepaid card")}
NOT_KNOWN = _("Not known")


def sales_cells(group: Sales, first: Cell, lookups: dict[str, Any], rows: str, user: Any) -> list[Cell]:
    """Return the cells of one group: its numbers lead to its orders, its amounts to `rows`, where they are explained."""

    def orders(**more: str) -> str:
        return listed(user, "payments", "paymentorder", lookups | more)

    return [
        first,
        count(group.opened, orders()),
        count(group.paid, orders(status__exact="SUCCESS")),
        percent(group.success_rate),
        sum_of(group.volume, rows),
        sum_of(group.fees, rows),
        percent(group.take_rate),
        sum_of(group.refunded, rows),
        percent(group.refund_rate),
        sum_of(group.disputed, rows),
        percent(group.dispute_rate),
    ]


def sales_tables(asked: Asked, user: Any) -> list[Table]:
    return tables_of(reports.sales(asked), asked, user)


def tables_of(sold: dict[By, list[Sales]], asked: Asked, user: Any) -> list[Table]:
    """Return the sales by day, PSP, method, card and country, and how long PSPs take to pay us; each row leads to its orders."""
    all_of_them = made_within(PaymentOrder, asked) | {"currency": asked.currency}

    def of(by: By, lookups_of: Callable[[str], dict[str, str]]) -> list[list[Cell]]:
        return [
            sales_cells(
                group,
                word(METHODS.get(group.key, group.key) or NOT_KNOWN, group.key),
                all_of_them | lookups_of(group.key),
                explained(user, "sales", asked, by=by.value, group=group.key),
                user,
            )
            for group in sold.get(by, [])
        ]

    days = []
    for group in sold.get(By.DAY, []):
        that = date.fromisoformat(group.key)
        alone = Asked(that, that, asked.currency)
        lookups = all_of_them | between("created_at", alone)
        days.append(sales_cells(group, word(day(that), group.key), lookups, explained(user, "sales", alone), user))
    note = _("Orders that were opened on these days, as they stand now.")
    return [
        Table("days", _("Day by day"), note, (("day", _("Day")), *SALES_COLUMNS), days),
        Table("psps", _("By PSP"), note, (("psp", _("PSP")), *SALES_COLUMNS), of(By.PSP, lambda key: {"psp": key})),
        Table("methods", _("By method"), note, (("method", _("Method")), *SALES_COLUMNS), of(By.METHOD, method_looked_up)),
        Table("cards", _("By card"), note, (("card", _("Card")), *SALES_COLUMNS), of(By.CARD, lambda key: {"event__card_brand": key})),
        Table(
            "card_countries",
            _("By country of the card"),
            note,
            (("card_country", _("Country")), *SALES_COLUMNS),
            of(By.CARD_COUNTRY, lambda key: {"event__card_country": key}),
            most=MOST_ROWS,
        ),
        Table(
            "countries",
            _("By country of the seller"),
            note,
            (("country", _("Country")), *SALES_COLUMNS),
            of(By.COUNTRY, lambda key: {"seller__country": key}),
            most=MOST_ROWS,
        ),
        lag_table(sold, asked, user),
    ]


def method_looked_up(key: str) -> dict[str, str]:
    method, _space, funding = key.partition(" ")
    return {"event__method": method} | ({"event__card_funding": funding} if method else {})


def lag_table(sold: dict[By, list[Sales]], asked: Asked, user: Any) -> Table:
    """Return how long each PSP took to pay us, and for how many orders it has not paid yet."""
    paid = made_within(PaymentOrder, asked) | {"currency": asked.currency, "status__exact": "SUCCESS"}

    def orders(psp: str, **more: str) -> str:
        return listed(user, "payments", "paymentorder", paid | {"psp": psp} | more)

    rows = [
        [
            word(group.key, group.key),
            count(group.paid, orders(group.key)),
            count(group.settled, orders(group.key, settled_at__isnull="False")),
            count(group.paid - group.settled, orders(group.key, settled_at__isnull="True")),
            in_days(group.settled_after),
            *(percent(rate) for rate in group.settled_rates),
        ]
        for group in sold.get(By.PSP, [])
    ]
    note = _("Orders that were opened on these days: of those that the PSP has paid to us, how many within so many days of the opening.")
    return Table("settlement_lag", _("Days until paid to us"), note, (("psp", _("PSP")), *LAG_COLUMNS), rows)


DECLINE_COLUMNS = (
    ("charges", _("Charges")),
    ("orders", _("Orders")),
    ("amount", _("Amount of the orders")),
    ("paid_after_all", _("Paid after all")),
)


def decline_tables(asked: Asked, user: Any) -> list[Table]:
    """Return why charges were declined: all of them, by PSP, and by the country of the card."""
    found = reports.declines(asked)
    declined = {"operation__exact": "charge", "status__exact": "DECLINED", "order__currency": asked.currency}
    all_of_them = made_within(PspAttempt, asked) | declined

    def cells(each: Declines, by: DeclinesBy, lookups: dict[str, str]) -> list[Cell]:
        def rows(**more: str) -> str:
            within = {"by": by.value, "within": each.key} if by else {}
            return explained(user, "declines", asked, group=each.reason, **within, **more)

        return [
            word(each.reason.replace("_", " ") or NOT_KNOWN, each.reason),
            *([word(each.key or NOT_KNOWN, each.key)] if by else []),
            count(each.calls, listed(user, "payments", "pspattempt", all_of_them | {"error_code": each.reason} | lookups)),
            count(each.orders, rows()),
            sum_of(each.amount, rows()),
            count(each.paid_after_all, rows(kind="SUCCESS")),
        ]

    note, reason = _("Charges on these days, by the reason that the PSP gave."), ("reason", _("Reason"))
    return [
        Table(
            "declines",
            _("Declined charges"),
            note,
            (reason, *DECLINE_COLUMNS),
            [cells(each, DeclinesBy.NOTHING, {}) for each in found[DeclinesBy.NOTHING]],
        ),
        Table(
            "declines_psps",
            _("Declined charges by PSP"),
            note,
            (reason, ("psp", _("PSP")), *DECLINE_COLUMNS),
            [cells(each, DeclinesBy.PSP, {"order__psp": each.key}) for each in found[DeclinesBy.PSP]],
        ),
        Table(
            "declines_countries",
            _("Declined charges by country of the card"),
            note,
            (reason, ("card_country", _("Country")), *DECLINE_COLUMNS),
            [cells(each, DeclinesBy.CARD_COUNTRY, {"order__event__card_country": each.key}) for each in found[DeclinesBy.CARD_COUNTRY]],
            most=MOST_ROWS,
        ),
    ]


def fee_tables(asked: Asked, user: Any) -> list[Table]:
    rows = [
        [
            word(each.psp or _("Other entries"), each.psp),
            count(each.entries, explained(user, "psp_fees", asked, group=each.psp)),
            sum_of(each.fees, explained(user, "psp_fees", asked, group=each.psp)),
        ]
        for each in reports.psp_fees(asked)
    ]
    columns = (("psp", _("PSP")), ("entries", _("Entries")), ("fees", _("Fees")))
    return [
        Table(
            "psp_fees",
            _("Fees of PSPs"),
            _("Booked on these days: from their settlement files, and as what differed in them was explained."),
            columns,
            rows,
        )
    ]


def payable_tables(asked: Asked, user: Any) -> list[Table]:
    found = reports.payables(asked.currency, now=timezone.now())
    named = (
        ("pending", _("Pending"), found.pending, {"pending__gt": "0"}),
        ("available", _("Available"), found.available, {"available__gt": "0"}),
        ("reserved", _("Held back"), found.reserved, {"reserved__gt": "0"}),
        ("overdrawn", _("Below zero: owed to us"), found.overdrawn, {"available__lt": "0"}),
    )
    owed = [
        [
            word(title, name),
            count(each.sellers, listed(user, "wallet", "wallet", {"currency": asked.currency} | lookup)),
            sum_of(each.amount, explained(user, name, asked)),
        ]
        for name, title, each, lookup in named
    ]
    ages = [word(title, name) for name, title in aged()]
    now = _("As it is now, whatever the days above.")
    return [
        Table("payables", _("What we owe sellers"), now, (("what", _("What")), ("sellers", _("Sellers")), ("amount", _("Amount"))), owed),
        Table(
            "ageing",
            _("Available for how long"),
            format_lazy("{} {}", now, _("What became available first is taken to be paid out first.")),
            (("days", _("Days")), ("amount", _("Amount"))),
            [
                [age, sum_of(each, explained(user, "ageing", asked, group=str(place)))]
                for place, (age, each) in enumerate(zip(ages, found.by_age, strict=True))
            ],
        ),
    ]


def aged() -> list[tuple[str, str]]:
    """Return what the ages of what is available are called, in the file and for people."""
    begins = [0, *(days + 1 for days in reports.AGES)]
    spans = [(f"{begin}-{end}", f"{begin}–{end}") for begin, end in zip(begins, reports.AGES, strict=False)]
    return [*spans, (f"{begins[-1]}-", gettext("%(days)s and more") % {"days": begins[-1]})]


def result_tables(asked: Asked, user: Any) -> list[Table]:
    results = reports.profit_and_loss(asked)
    rows = [
        [
            kind(each.kind, asked.currency, user),
            word(TYPES[each.type], each.type),
            sum_of(each.amount, explained_kind(user, each.kind, asked, "since", "until")),
        ]
        for each in results
    ]
    if rows:
        rows.append([word(_("Profit"), "profit"), word("", ""), sum_of(reports.profit(results, asked.currency))])
    columns = (("accounts", _("Accounts")), ("type", _("Type")), ("amount", _("Amount")))
    return [Table("profit_and_loss", _("Profit and loss"), _("What was booked for these days."), columns, rows, has_total=True)]


def book_tables(asked: Asked, user: Any) -> list[Table]:
    lines = reports.trial_balance(asked)
    cash = reports.cash_position(lines)
    cash_rows = [[kind(code, asked.currency, user), sum_of(each, explained_kind(user, code, asked, "until"))] for code, each in cash]
    if cash:
        cash_rows.append([word(_("Together"), "together"), sum_of(sum((each for _code, each in cash[1:]), start=cash[0][1]))])
    balance = [
        [
            kind(line.kind, asked.currency, user),
            word(TYPES[line.type], line.type),
            *(sum_of(each, explained_kind(user, line.kind, asked, "until")) for each in (line.debits, line.credits, line.balance)),
        ]
        for line in lines
    ]
    note = _("At the end of the last day (UTC).")
    columns = (
        ("accounts", _("Accounts")),
        ("type", _("Type")),
        ("debits", _("Debits")),
        ("credits", _("Credits")),
        ("balance", _("Balance")),
    )
    return [
        Table("cash", _("Cash position"), note, (("accounts", _("Where")), ("amount", _("Amount"))), cash_rows, has_total=True),
        Table("trial_balance", _("Trial balance"), note, columns, balance),
    ]


Maker = Callable[[Asked, Any], list[Table]]
BESIDE_SALES: tuple[tuple[Any, Maker], ...] = (
    (_("Declined charges"), decline_tables),
    (_("Fees of PSPs"), fee_tables),
    (_("What we owe sellers"), payable_tables),
    (_("Profit and loss"), result_tables),
    (_("Cash position and trial balance"), book_tables),
)
TABLES: dict[str, Maker] = {
    **dict.fromkeys(("days", "psps", "methods", "cards", "card_countries", "countries", "settlement_lag"), sales_tables),
    **dict.fromkeys(("declines", "declines_psps", "declines_countries"), decline_tables),
    "psp_fees": fee_tables,
    **dict.fromkeys(("payables", "ageing"), payable_tables),
    "profit_and_loss": result_tables,
    **dict.fromkeys(("cash", "trial_balance"), book_tables),
}
