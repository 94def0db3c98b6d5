"""Days of the sandbox for tests: end one, and read what its PSP settled and its bank booked in it."""

import csv
import io
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx

Row = dict[str, str]


@dataclass(frozen=True)
class Days:
    """The sandbox's days. They only ever go on, whatever other tests did to the clock."""

    http: httpx.Client
    _known: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def begin(self) -> None:
        """Begin a day in which nothing has happened yet, and forget what was listed before."""
        self.end()
        self.end()  # what was late in the first is in the second
        for path in ("/v1/settlement_files", "/v1/bank_statements", "/control/planted"):
            if listed := self._listed(path):
                self._known[path] = listed[-1]["id"]

    def end(self) -> str:
        """End the day that has begun, or the next one that is not closed; return it."""
        answer = self.http.post("/control/end_day")
        answer.raise_for_status()
        return str(answer.json()["day"])

    def batches(self, day: str, **query: str) -> dict[str, dict[str, Any]]:
        """Return the settlement batches of the day by their currency."""
        return {one["currency"]: one for one in self._listed("/v1/settlement_files", **query) if one["closed_on"] == day}

    def statements(self, day: str, **query: str) -> dict[str, dict[str, Any]]:
        return {one["currency"]: one for one in self._listed("/v1/bank_statements", **query) if one["day"] == day}

    def file_of(self, listed: dict[str, Any], **query: str) -> bytes:
        """Download what is listed."""
        place = "settlement_files" if "batch" in listed else "bank_statements"
        answer = self.http.get(f"/v1/{place}/{listed['id']}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.content

    def settled(self, day: str, *, currency: str = "EUR", form: str = "sandbox") -> list[Row]:
        """Return the rows of the day's batch."""
        return rows_of(self.file_of(self.batches(day)[currency], format=form))

    def planted(self) -> list[dict[str, Any]]:
        return self._listed("/control/planted")

    def _listed(self, path: str, **query: str) -> list[dict[str, Any]]:
        page = self.http.get(path, params={"after": self._known[path], "limit": 1000, **query}).json()
        assert not page["has_more"]
        return list(page["data"])


def rows_of(content: bytes) -> list[Row]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def about(row: Row, *names: str) -> tuple[str, ...]:
    return tuple(row[name] for name in names)


def total(rows: list[Row], name: str = "net") -> Decimal:
    return sum((Decimal(row[name]) for row in rows), Decimal(0))
