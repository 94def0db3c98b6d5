"""Debts: what a seller owes in one currency is kept back in the others, so that nobody is paid out what covers it.

A wallet goes below zero by refunds and disputes of what has left it: it was paid out, or converted into another currency.  Until that is paid
back - by sales in that currency, a conversion into it, or a write-off - as much as it is worth at the newest rates, rounded up, stays in each
other wallet.  Where there is no rate at all, everything stays.
"""

from datetime import datetime
from typing import Any

from django.db import connection
from djmoney.money import Money

from ledger import queries as books
from ledger.money import minor_units
from wallet import rates

PER_EURO = """
    CASE {0} WHEN 'EUR' THEN 1 ELSE (
        SELECT rate FROM wallet_exchangerate WHERE base = 'EUR' AND quote = {0} AND quoted_on <= %(today)s ORDER BY quoted_on DESC, id DESC LIMIT 1
    ) END"""

# Of the seller {seller}, in %(currency)s; in minor units, so that the amount is rounded once.
OWED_ELSEWHERE = f"""
    SELECT coalesce(round(sum(coalesce(
        ceil(-debt.available * {PER_EURO.format("%(currency)s")} * power(10::numeric, %(places)s) / {PER_EURO.format("debt.currency")}), 'Infinity'
    )) / power(10::numeric, %(places)s), %(places)s), 0) AS amount
    FROM wallet_wallet AS debt WHERE debt.seller_id = {{seller}} AND debt.currency <> %(currency)s AND debt.available < 0
"""  # noqa: S608 (constants)

OWED = OWED_ELSEWHERE.format(seller="%(seller)s")


def asked_of(currency: str, *, now: datetime) -> dict[str, Any]:
    """Return what OWED_ELSEWHERE asks for, but for the seller."""
    return {"currency": currency, "places": minor_units(currency), "today": rates.today(now)}


def covered_by(spare: Money, *, seller_id: int, now: datetime) -> Money:
    """Return what of it is kept back for what the seller owes in other currencies: all of it at most.  No lock."""
    with connection.cursor() as cursor:
        cursor.execute(OWED, asked_of(spare.currency.code, now=now) | {"seller": seller_id})
        [owed] = cursor.fetchone()
    return books.money(max(min(owed, spare.amount), spare.amount * 0), spare.currency.code)
