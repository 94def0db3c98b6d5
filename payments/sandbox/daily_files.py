"""The files of the days that are over: lists of settlement batches and bank statements, and each of them as a file.

Asking closes the days that are over. A file is written as it is sent, from pages of its lines, so that one of a million
lines needs no more memory than one of ten; its size and checksum are counted once, when it is first asked for.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.conf import settings
from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from payments.sandbox import camt053, clock, closing, mt940, planting, settlement_files, wire
from payments.sandbox.bank_files import IBAN, Entry, Statement
from payments.sandbox.endpoint import number
from payments.sandbox.errors import Refusal
from payments.sandbox.models import BankEntry, BankStatement, SettlementBatch, SettlementLine
from payments.sandbox.settlement_files import Batch, Line

PAGE_LINES = 2000
LONGEST_LIST = 1000
Content = Callable[[], Iterator[bytes]]


def list_settlement_files(request: HttpRequest) -> HttpResponse:
    """The batches behind ?after=<id>, oldest first, with size and checksum of the file in ?format=."""
    closing.close_days(now=clock.now())
    name, limit = _choice(request, "format", settlement_files.FORMATS), _limit(request)
    found = closing.closed_batches(_after(request), limit=limit + 1)
    return wire.answer({"data": [_batch_as_wire(batch, name) for batch in found[:limit]], "has_more": len(found) > limit})


def show_settlement_file(request: HttpRequest, file_id: int) -> StreamingHttpResponse:
    """The bytes of one batch in ?format=."""
    name = _choice(request, "format", settlement_files.FORMATS)
    batch = SettlementBatch.objects.filter(id=file_id).first()
    if batch is None:
        raise Refusal(404, "unknown_file", "There is no such settlement file.")
    size, checksum = _digest(batch, name, lambda: _batch_content(batch, name))
    return _sent(_batch_content(batch, name), name=f"{batch.name}-{name}.csv", kind="text/csv", size=size, checksum=checksum)


def list_bank_statements(request: HttpRequest) -> HttpResponse:
    """The statements behind ?after=<id>, oldest first, with size and checksum of the file in ?format=."""
    closing.close_days(now=clock.now())
    name, limit = _statement_form(request), _limit(request)
    found = closing.made_statements(_after(request), limit=limit + 1)
    return wire.answer({"data": [_statement_as_wire(one, name) for one in found[:limit]], "has_more": len(found) > limit})


def show_bank_statement(request: HttpRequest, file_id: int) -> StreamingHttpResponse:
    """The bytes of one statement in ?format=, and of camt.053 in ?version=."""
    name = _statement_form(request)
    statement = BankStatement.objects.filter(id=file_id).first()
    if statement is None:
        raise Refusal(404, "unknown_file", "There is no such bank statement.")
    size, checksum = _digest(statement, name, lambda: _statement_content(statement, name))
    suffix, kind = ("sta", "text/plain; charset=iso-8859-1") if name == "mt940" else ("xml", "application/xml")
    return _sent(_statement_content(statement, name), name=f"{statement.name}.{suffix}", kind=kind, size=size, checksum=checksum)


def end_day(request: HttpRequest) -> HttpResponse:
    """Put the clock forward to the end of the day and close it."""
    day = closing.end_day(now=clock.now())
    return wire.answer({"day": day.isoformat(), "now": wire.moment(clock.now())})


def show_planted(request: HttpRequest) -> HttpResponse:
    """The faults that were planted in files, behind ?after=<id>, oldest first."""
    closing.close_days(now=clock.now())
    limit = _limit(request)
    found = planting.planted_after(_after(request), limit=limit + 1)
    return wire.answer({"data": [planting.as_wire(planted) for planted in found[:limit]], "has_more": len(found) > limit})


def _after(request: HttpRequest) -> int:
    return number(request.GET, "after", default=0, at_most=2**62)


def _limit(request: HttpRequest) -> int:
    return number(request.GET, "limit", default=100, at_most=LONGEST_LIST)


def _choice(request: HttpRequest, name: str, choices: Iterable[str]) -> str:
    """Return what the query chooses; the first of the choices where it says nothing."""
    known = list(choices)
    given = request.GET.get(name, known[0])
    if given not in known:
        raise Refusal(400, "invalid_field", f"{name} must be one of {', '.join(known)}.", field=name)
    return given


def _statement_form(request: HttpRequest) -> str:
    """Return "mt940", "camt053.08" or "camt053.02"."""
    name, version = _choice(request, "format", ("camt053", "mt940")), _choice(request, "version", camt053.DIALECTS)
    return name if name == "mt940" else f"{name}.{version}"


def _digest(row: SettlementBatch | BankStatement, name: str, content: Content) -> tuple[int, str]:
    """Return size and SHA-256 of the row's file in this form, counted when nobody did so before."""
    if name not in row.digests:
        size, checksum = 0, hashlib.sha256()
        for piece in content():
            size += len(piece)
            checksum.update(piece)
        row.digests[name] = [size, checksum.hexdigest()]
        row.save(update_fields=["digests"])
    size, hexdigest = row.digests[name]
    return size, hexdigest


def _sent(content: Iterator[bytes], *, name: str, kind: str, size: int, checksum: str) -> StreamingHttpResponse:
    headers = {
        "Content-Length": str(size),
        "Content-Disposition": f'attachment; filename="{name}"',
        "ETag": f'"{checksum}"',
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingHttpResponse(content, content_type=kind, headers=headers)


def _batch_content(batch: SettlementBatch, name: str) -> Iterator[bytes]:
    about = Batch(batch.name, batch.day, batch.currency, settings.SANDBOX_ACCOUNT, batch.carried_in)
    columns = ("type", "object_id", "charge", "key", "reference", "charge_reference", "method", "gross", "fee", "occurred_at")
    lines = (Line(*row) for row in _rows(SettlementLine, {"batch": batch}, columns))
    return settlement_files.written(about, lines, form=settlement_files.FORMATS[name])


def _statement_content(statement: BankStatement, name: str) -> Iterator[bytes]:
    came_in, went_out = Q(amount__gt=0), Q(amount__lt=0)
    sums = BankEntry.objects.filter(statement=statement).aggregate(
        credits=Count("id", filter=came_in),
        credited=Sum("amount", filter=came_in, default=0),
        debited=Sum("amount", filter=went_out, default=0),
    )
    about = Statement(
        statement.name,
        statement.number,
        statement.day,
        statement.currency,
        settings.SANDBOX_ACCOUNT,
        statement.opening,
        statement.closing,
        statement.lines,
        sums["credits"],
        sums["credited"],
        -sums["debited"],
    )
    columns = ("kind", "amount", "object_id", "end_to_end_id", "account_last4", "reason")
    entries = (Entry(*row) for row in _rows(BankEntry, {"statement": statement}, ("id", *columns)))
    if name == "mt940":
        return mt940.written(about, entries)
    return camt053.written(about, entries, dialect=camt053.DIALECTS[name.partition(".")[2]])


def _rows(model: type[SettlementLine] | type[BankEntry], whose: Mapping[str, Any], columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the columns of all rows by id, read in pages."""
    last = 0
    while page := list(model.objects.filter(**whose, id__gt=last).order_by("id").values_list("id", *columns)[:PAGE_LINES]):
        for row in page:
            yield row[1:]
        last = page[-1][0]


def _batch_as_wire(batch: SettlementBatch, name: str) -> dict[str, object]:
    size, checksum = _digest(batch, name, lambda: _batch_content(batch, name))
    return {
        "id": batch.id,
        "batch": batch.name,
        "closed_on": batch.day.isoformat(),
        "currency": batch.currency,
        "lines": batch.lines,
        "paid_out": batch.paid_out,
        "format": name,
        "size": size,
        "sha256": checksum,
    }


def _statement_as_wire(statement: BankStatement, name: str) -> dict[str, object]:
    size, checksum = _digest(statement, name, lambda: _statement_content(statement, name))
    return {
        "id": statement.id,
        "statement": statement.name,
        "number": statement.number,
        "day": statement.day.isoformat(),
        "currency": statement.currency,
        "account": IBAN,
        "opening": statement.opening,
        "closing": statement.closing,
        "entries": statement.lines,
        "format": name,
        "size": size,
        "sha256": checksum,
    }
