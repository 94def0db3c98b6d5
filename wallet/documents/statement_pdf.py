"""A statement on paper: what the wallet held, what came and went by kind, what it holds, and the movements with the balance after each.

Up to two thousand movements are listed one by one; of more, each day's are added up by kind, and the CSV has them all.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime

from babel.dates import format_skeleton
from django.utils import timezone
from django.utils.translation import gettext as _
from djmoney.money import Money

from ledger.templatetags.written import amount, day, digits, negated, reader
from wallet import statements
from wallet.documents.paper import FIGURE, MUTED, ROW, SMALL, TITLE, Paper
from wallet.documents.wording import kind_of, month_of
from wallet.statements import Statement

MOST_LINES = 2000
SUMS = (62.0, 22.0, 30.0, 28.0, 32.0)
LINES = (25.0, 37.0, 19.0, 19.0, 17.0, 19.0, 19.0, 19.0)


def written(statement: Statement, *, now: datetime) -> bytes:
    """Return the statement as PDF, in the language that is active now."""
    title = _("Statement of %(month)s") % {"month": month_of(statement.month)}
    seller, shop = statement.seller.name, statement.seller.shop.name
    paper = Paper(title=f"{title} – {seller}", issuer=shop, foot=f"{seller} · {statement.currency} · {title}")
    paper.set_creation_date(now)
    paper.line_of(shop, colour=MUTED)
    paper.gap(3)
    paper.line_of(title, TITLE, style="B")
    paper.gap(1)
    paper.line_of(seller, FIGURE)
    paper.gap(1)
    paper.line_of(told_of(statement), SMALL, MUTED)
    paper.gap(6)
    write_sums(paper, statement)
    paper.gap(8)
    write_lines(paper, statement)
    return bytes(paper.output())


def told_of(statement: Statement) -> str:
    """Return which account and which days this is about, and how far a month is told that is not over."""
    month, last = statement.month, statement.month.last_day
    days = _("%(first)s to %(last)s") % {"first": day(month.first_day), "last": day(last)}
    until = timezone.localtime(statement.until)
    if not statement.is_final:
        days = _("%(first)s to %(last)s: so far") % {"first": day(month.first_day), "last": f"{day(until)}, {until:%H:%M} {until.tzname()}"}
    number = _("No. %(number)s") % {"number": statement.number}
    return f"{statement.seller.public_id} · {statement.currency} · {number} · {days}"


def write_sums(paper: Paper, statement: Statement) -> None:
    """Write the statement as a sum, read from top to bottom: the opening, what each kind of movement came to, the closing."""
    paper.head_row(["", _("Movements"), _("Buyers paid"), _("Fees"), _("Your balance")], SUMS, numbers=4)
    opened = _("At the beginning")
    paper.row([opened, "", "", "", digits(statement.opening.total)], SUMS, numbers=4, style="B")
    for each in statement.sums:
        cells = [kind_of(each.kind), str(each.count), digits(each.gross), digits(negated(each.fee)), digits(each.net)]
        paper.row(cells, SUMS, numbers=4)
    closed = _("At the end") if statement.is_final else _("So far")
    cells = [closed, str(statement.count), digits(statement.gross), digits(negated(statement.fee)), amount(statement.closing.total)]
    paper.row(cells, SUMS, numbers=4, style="B")
    paper.gap(3)
    opening, closing = statement.opening, statement.closing
    checked = _("Checked: %(opening)s and movements of %(changed)s make %(closing)s.")
    paper.paragraph(checked % {name: amount(money) for name, money in figures_of(statement).items()}, SMALL, MUTED)
    free = _("Of this, free to be paid out: %(opening)s at the beginning, %(closing)s at the end.")
    paper.paragraph(free % {"opening": amount(opening.available), "closing": amount(closing.available)}, SMALL, MUTED)


def figures_of(statement: Statement) -> dict[str, Money]:
    return {"opening": statement.opening.total, "changed": statement.changed, "closing": statement.closing.total}


def write_lines(paper: Paper, statement: Statement) -> None:
    """Write the movements, with the titles of their columns on each page."""
    if not statement.count:
        paper.paragraph(_("Nothing moved in this time."), colour=MUTED)
        return
    titles = [_("Date"), _("What"), _("About"), _("Buyer paid"), _("Fee"), _("You get"), _("Balance"), _("Available")]
    paper.head_row(titles, LINES, numbers=5)
    for cells in lines_of(statement):
        if not paper.has_room_for(ROW):
            paper.add_page()
            paper.head_row(titles, LINES, numbers=5)
        paper.row(cells, LINES, numbers=5)
    paper.gap(3)
    if statement.count > MOST_LINES:
        paper.paragraph(_("Movements of a day are added up here. The CSV file lists each of them."), SMALL, MUTED)
    zone = timezone.localtime(statement.until).tzname()
    paper.paragraph(
        _("Balance is all that is yours; Available is the part that is free to be paid out. Times are in %s.") % zone, SMALL, MUTED
    )


def lines_of(statement: Statement) -> Iterator[Sequence[str]]:
    if statement.count > MOST_LINES:
        for each in statements.days(statement):
            money = (each.gross, negated(each.fee), each.net, each.balance, each.available_balance)
            yield [short(each.day), kind_of(each.kind), f"{each.count} ×", *map(digits, money)]
        return
    for row in statements.rows(statement):
        when = timezone.localtime(row.at)
        money = (row.gross, negated(row.fee), row.net, row.balance, row.available_balance)
        yield [f"{short(when)}, {when:%H:%M}", kind_of(row.kind), f"…{row.source[-8:]}", *map(digits, money)]


def short(when: date) -> str:
    """Write the day without its year."""
    return str(format_skeleton("MMMd", when, locale=reader()))
