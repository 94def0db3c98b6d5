"""Guessing codes of gift cards ends soon: wrong ones are counted in Postgres, for the checkout, the buyer, the address and the key they came by.

A try is counted before its code is looked up, and given back when the code was right: so of many at the same moment no more are looked up
than are allowed.  Once a place has tried too many within a window, every code is refused until its window ends, the right one too.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from django.db import transaction

from ledger.errors import DomainError
from ledger.statements import execute
from wallet import gift_card_codes
from wallet.models import CodeTries, Shop

WINDOW = timedelta(hours=1)
MOST = {"checkout": 20, "buyer": 20, "address": 60, "key": 600}  # many people may share an address, and all of a shop's buyers its key


class TooManyCodesTried(DomainError):
    """`until` says when codes are looked up again, `wait` in how many seconds that is."""

    code = "too_many_codes_tried"

    def __init__(self, *, until: datetime, now: datetime) -> None:
        super().__init__(f"Too many gift card codes were tried. Try again after {until:%H:%M} UTC.", field="code")
        self.until, self.wait = until, (until - now).total_seconds()


@dataclass(frozen=True, slots=True)
class Who:
    """By whom a shop's code is tried, as far as is known: a checkout's id, the shop's reference of the buyer, an IP address, an API key's id."""

    checkout: str = ""
    buyer: str = ""
    address: str = ""
    key: str = ""

    def places(self, shop: Shop) -> dict[str, int]:
        """Return under which hashes tries are counted, and how many may be wrong.  One address is the same in each shop."""
        names = {kind: name if kind == "address" else f"{shop.pk} {name}" for kind, name in asdict(self).items() if name}
        return {gift_card_codes.hash_of(f"{kind} {name}"): MOST[kind] for kind, name in names.items()}


# What is excluded is the row as it would be new: an hour before its end is now.
COUNT = """
INSERT INTO wallet_codetries AS standing (subject, tries, ends_at)
SELECT subject, 1, ends_at FROM json_to_recordset(%s) AS tried (subject text, ends_at timestamptz) ORDER BY subject
ON CONFLICT (subject) DO UPDATE SET
    tries = CASE WHEN standing.ends_at <= excluded.ends_at - interval '1 hour' THEN 1 ELSE standing.tries + 1 END,
    ends_at = CASE WHEN standing.ends_at <= excluded.ends_at - interval '1 hour' THEN excluded.ends_at ELSE standing.ends_at END
RETURNING subject, tries, ends_at
"""

GIVE_BACK = """
WITH locked AS MATERIALIZED (
    SELECT subject FROM wallet_codetries WHERE subject IN (SELECT subject FROM json_to_recordset(%s) AS tried (subject text))
    ORDER BY subject FOR NO KEY UPDATE
)
UPDATE wallet_codetries AS standing SET tries = tries - 1 FROM locked WHERE standing.subject = locked.subject AND tries > 0
"""


@transaction.atomic(durable=True)
def count(shop: Shop, who: Who, *, now: datetime) -> None:
    """Count one try, before its code is looked up.  Commits by itself.  Raises TooManyCodesTried, and then counts nothing."""
    places = who.places(shop)
    if not places:
        raise ValueError("nobody says who tries a code: it could be tried for ever")
    for subject, tries, ends_at in execute(COUNT, [{"subject": place, "ends_at": now + WINDOW} for place in places]):
        if tries > places[subject]:
            raise TooManyCodesTried(until=ends_at, now=now)


@transaction.atomic(durable=True)
def give_back(shop: Shop, who: Who) -> None:
    """Take back one try, since its code was right.  Commits by itself."""
    execute(GIVE_BACK, [{"subject": place} for place in who.places(shop)])


def purge(*, now: datetime) -> int:
    """Delete the counts whose window is over; return how many.  Called by beat."""
    deleted, _by_model = CodeTries.objects.filter(ends_at__lte=now).delete()
    return deleted
