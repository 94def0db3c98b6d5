"""Files of PSPs and banks over REST: one is sent as it is, and read soon after.

They are the whole installation's, not one shop's: the scopes of files belong to keys of the operator's own finance back end alone.
"""

from typing import Any

from django.http import Http404
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import clock
from ledger.endpoint import Endpoint, operation
from reconciliation import ingestion, tasks
from reconciliation.archives import LARGEST
from reconciliation.ingestion import EmptyFile, FileTooLarge
from reconciliation.models import SourceFile
from reconciliation.serializers import NewSettlementFileQuery, SettlementFileSerializer, SettlementFilesQuery

READ, WRITE = "files:read", "files:write"
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class SettlementFiles(Endpoint):
    @operation(READ, query=SettlementFilesQuery, answers={200: SettlementFileSerializer})
    def get(self, request: Request) -> Response:
        """List settlement files

        Bank statements are among them.
        """
        only = {name: self.query[name] for name in ("status", "source") if name in self.query}
        return self.answer_page(SourceFile.objects.filter(**only))

    @operation(
        WRITE,
        query=NewSettlementFileQuery,
        takes_file=True,
        answers={201: SettlementFileSerializer, 200: SettlementFileSerializer},
    )
    def post(self, request: Request) -> Response:
        """Send a settlement file

        A PSP's settlement file or a bank's statement is the body as it is, 200 MB at most; one in gzip or zip is unpacked.  Its format is
        told by its contents.  The same bytes again answer 200 with the file that is there: nothing happens twice.  It is read soon after;
        ask for it until its status is `STAGED` or `REFUSED`, which says line and reason.
        """
        file, is_new = ingestion.receive(
            body_of(request),
            self.query["name"],
            source=self.query["source"],
            received_by=f"key:{key_of(request)}",
            now=clock.now(),
        )
        tasks.nudge_staging()
        return self.answer(file, status=201 if is_new else 200)


class OneSettlementFile(Endpoint):
    def locate(self, request: Request, *, settlement_file: str) -> None:  # type: ignore[override]
        found = SourceFile.objects.filter(public_id=settlement_file).first()
        if found is None:
            raise Http404
        self.file = found

    @operation(READ, answers={200: SettlementFileSerializer})
    def get(self, request: Request, settlement_file: str) -> Response:
        """Read a settlement file"""
        return self.answer(self.file)


def body_of(request: Request) -> Any:
    """Return the body as a stream.  Raises UnsupportedMediaType for a form, EmptyFile, FileTooLarge before a byte of it is read."""
    if (request.content_type or "").partition(";")[0].strip().lower() in FORMS:
        raise UnsupportedMediaType(request.content_type, detail="Send the file itself as the body, and not a form with the file in it.")
    if int(request.META.get("CONTENT_LENGTH") or 0) > LARGEST:
        raise FileTooLarge(f"A file has {LARGEST:,} bytes at most. Ask for it in parts.", field="file")
    if request.stream is None:
        raise EmptyFile("The file is empty: send it as the body.", field="file")
    return request.stream


def key_of(request: Request) -> str:
    key: Any = request.auth
    return str(key.prefix)
