"""The files of the sandbox PSP and of its bank, over HTTP: what is new in its lists is received.  The sandbox is never there in production.

Nothing is remembered but the files themselves: its lists say the checksum of each, and a file that we have is not fetched again.
"""

import io
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
from django.conf import settings

from ledger.errors import DomainError
from reconciliation import ingestion
from reconciliation.models import SourceFile

logger = logging.getLogger(__name__)

LISTS = (("sandbox", "/v1/settlement_files"), ("sandbox_bank", "/v1/bank_statements"))
PAGE = 1000
TIMEOUT = httpx.Timeout(30, connect=1)
UNREADABLE = (httpx.HTTPError, ValueError, KeyError, TypeError)


def fetch(*, now: datetime) -> list[SourceFile]:
    """Receive what is new at the sandbox; return it.  No transaction may be open.  If the sandbox does not answer, the next time will do."""
    if not settings.PSP_SANDBOX_URL or settings.PRODUCTION:
        return []
    headers = {"Authorization": f"Bearer {settings.PSP_SANDBOX_API_KEY}"}
    fetched = []
    with httpx.Client(base_url=settings.PSP_SANDBOX_URL, headers=headers, timeout=TIMEOUT, trust_env=False) as line:
        for source, address in LISTS:
            if source in settings.FILE_SOURCES:
                try:
                    fetched += [fetch_one(line, address, said, source=source, now=now) for said in new_in(line, address)]
                except UNREADABLE as error:
                    logger.warning("the sandbox's files cannot be fetched: %s", type(error).__name__)
                except DomainError as error:
                    logger.error("a file of the sandbox is not received: %s", error)
    return fetched


def new_in(line: httpx.Client, address: str) -> Iterator[dict[str, Any]]:
    """Yield what the sandbox's list says of each file that we do not have."""
    after, is_more = 0, True
    while is_more:
        answer = line.get(address, params={"after": after, "limit": PAGE}).raise_for_status().json()
        listed, is_more = answer["data"], answer["has_more"]
        known = set(SourceFile.objects.filter(sha256__in=[said["sha256"] for said in listed]).values_list("sha256", flat=True))
        yield from (said for said in listed if said["sha256"] not in known)
        after = listed[-1]["id"] if listed else after


def fetch_one(line: httpx.Client, address: str, said: dict[str, Any], *, source: str, now: datetime) -> SourceFile:
    with line.stream("GET", f"{address}/{int(said['id'])}") as response:
        response.raise_for_status()
        name = str(said.get("batch") or said.get("statement"))
        body = io.BufferedReader(Body(response.iter_bytes()))
        file, _is_new = ingestion.receive(body, name, source=source, received_by=ingestion.FROM_THE_SANDBOX, now=now)
    return file


class Body(io.RawIOBase):
    """The pieces of an answer as a stream."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview[int]") -> int:  # type: ignore[override]
        self._rest = self._rest or next(self._pieces, b"")
        piece, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)
