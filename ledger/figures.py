"""Figures of finance's first page: how many rows there are of something, each a link to where they are listed.

Each app brings its own by template tags (`payments.templatetags.desk`, `payouts.templatetags.payout_desk`).  They ask narrow tables and small
indexes only, and count no further than a list shows.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import QuerySet
from django.urls import reverse

from ledger import seek
from ledger.admin import MOST_SHOWN


@dataclass(frozen=True, slots=True)
class Figure:
    """How many rows there are of something, and where they are listed."""

    count: int
    what: str
    address: str

    @property
    def shown(self) -> str:
        return f"{self.count}" if self.count < MOST_SHOWN else f"{MOST_SHOWN}+"


def figure(rows: QuerySet[Any], what: str, listed: str, query: str = "") -> Figure:
    """Count the rows, up to as many as their list shows; `listed` names that (`payments_refund`), and `query` its filters."""
    address = reverse(f"admin:{listed}_changelist")
    return Figure(len(rows.values_list("pk")[:MOST_SHOWN]), what, f"{address}?{query}" if query else address)


def since(model: type[models.Model], column: str, moment: datetime) -> QuerySet[Any]:
    """Return the rows written since then, found without an index on the time."""
    return model._default_manager.filter(**{"pk__gte": seek.first_id_since(model, column, moment), f"{column}__gte": moment})
