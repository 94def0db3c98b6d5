"""Faults in the files of a day: when it is closed, switches strike the lines of its batches and the bookings of its statements.

The PSP settles wrongly, or the bank books wrongly, and stands by it: what is paid is what the file says, so the file adds up
and only who compares it with his own books finds out. A switch is narrowed by `reference` to a file (sb-20261121-eur), an
object, a key or what the merchant calls it. Only lines about charges and refunds are struck in a batch, each once. What was
planted is kept, for whoever wants to know whether all of it was found.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from payments.sandbox.fault_kinds import Kind
from payments.sandbox.faults import Fault, switchboard
from payments.sandbox.models import BankEntry, BankStatement, PlantedFault, SettlementBatch, SettlementLine

STRUCK = ("charge", "refund")
A_DAY = timedelta(days=1)


def strike_batch(batch: SettlementBatch) -> None:
    """Let the switches for `settlement` strike the lines of the batch, before it is summed up."""
    if not switchboard.concerns("settlement"):
        return
    lines = SettlementLine.objects.filter(batch=batch, type__in=STRUCK).order_by("id")
    hits = [
        (line_id, fault)
        for line_id, *names in lines.values_list("id", "object_id", "key", "reference").iterator()
        if (fault := switchboard.fire("settlement", card=None, references=[batch.name, *names]))
    ]
    for line_id, fault in hits:
        _strike_line(SettlementLine.objects.get(id=line_id), fault, batch=batch)


def _strike_line(line: SettlementLine, fault: Fault, *, batch: SettlementBatch) -> None:
    planted = PlantedFault(
        operation="settlement",
        file=batch.name,
        kind=fault.kind,
        object_id=line.object_id,
        key=line.key,
        reference=line.reference,
        currency=line.currency,
        gross=line.gross,
        fee=line.fee,
    )
    if fault.kind == "line_late":
        line.waits_until = batch.day + timedelta(seconds=fault.delay_s)
    LINE_STRIKES[fault.kind](line)
    planted.invented = line.object_id if fault.kind == "line_extra" else ""
    planted.save()


def _remove(row: SettlementLine | BankEntry) -> None:
    row.delete()


def _add_again(row: SettlementLine | BankEntry) -> None:
    row.pk = None
    row.save(force_insert=True)


def _invent_beside(line: SettlementLine) -> None:
    """Add a line like this one about something that never happened."""
    line.object_id, line.key = _invented(line.object_id), _invented(line.key)
    line.reference = _invented(line.reference)
    if line.type == "charge":
        line.charge, line.charge_reference = line.object_id, line.reference
    _add_again(line)


def _invented(name: str) -> str:
    """Return a name like this one that nothing has."""
    digits = hashlib.sha256(name.encode()).hexdigest()[:32]
    prefix, separator, _rest = name.partition("_")
    return f"{prefix}_{digits}"[:255] if separator else digits


def _enlarge_gross(line: SettlementLine) -> None:
    line.gross = _larger(line.gross)
    line.save()


def _enlarge_fee(line: SettlementLine) -> None:
    line.fee += 1
    line.save()


def _change_currency(line: SettlementLine) -> None:
    """Let the line wait for the next batch of another currency."""
    line.batch, line.currency = None, _other(line.currency)
    line.save()


def _hold_back(line: SettlementLine) -> None:
    line.batch = None
    line.save()


def _other(currency: str) -> str:
    return "EUR" if currency == "USD" else "USD"


def _larger(amount: int) -> int:
    return amount + (1 if amount > 0 else -1)


LINE_STRIKES: Mapping[Kind, Callable[[SettlementLine], None]] = {
    "line_missing": _remove,
    "line_extra": _invent_beside,
    "line_doubled": _add_again,
    "line_amount": _enlarge_gross,
    "line_currency": _change_currency,
    "line_fee": _enlarge_fee,
    "line_late": _hold_back,
}


def strike_statement(statement: BankStatement) -> None:
    """Let the switches for `statement` strike the bookings, before they are summed up."""
    if not switchboard.concerns("statement"):
        return
    entries = BankEntry.objects.filter(statement=statement).order_by("id")
    for entry in list(entries):
        fault = switchboard.fire("statement", card=None, references=[statement.name, entry.object_id, entry.end_to_end_id])
        if fault and (fault.kind != "line_batch" or _batch_before(entry)):
            _strike_entry(entry, fault, statement=statement)


def _strike_entry(entry: BankEntry, fault: Fault, *, statement: BankStatement) -> None:
    planted = PlantedFault(
        operation="statement",
        file=statement.name,
        kind=fault.kind,
        object_id=entry.object_id,
        key="",
        reference=entry.end_to_end_id,
        currency=entry.currency,
        gross=entry.amount,
        fee=0,
    )
    if fault.kind == "line_late":
        entry.booked_on = statement.day + max(A_DAY, timedelta(seconds=fault.delay_s))
    ENTRY_STRIKES[fault.kind](entry)
    planted.invented = entry.end_to_end_id if fault.kind == "line_extra" else ""
    planted.save()


def _invent_booking_beside(entry: BankEntry) -> None:
    """Add a booking like this one about something that never happened."""
    entry.object_id = _invented(entry.object_id)[:64]
    entry.end_to_end_id = _invented(entry.end_to_end_id)
    _add_again(entry)


def _enlarge_amount(entry: BankEntry) -> None:
    entry.amount = _larger(entry.amount)
    entry.save()


def _book_in_another_currency(entry: BankEntry) -> None:
    """Let the booking wait for the next day's statement of another currency."""
    entry.statement, entry.currency, entry.booked_on = None, _other(entry.currency), entry.booked_on + A_DAY
    entry.save()


def _book_later(entry: BankEntry) -> None:
    entry.statement = None
    entry.save()


def _name_another_batch(entry: BankEntry) -> None:
    entry.end_to_end_id = _batch_before(entry)
    entry.save()


def _batch_before(entry: BankEntry) -> str:
    """Return the batch that was paid before the one that this is the payment of; empty where there is none, or it is no payment of a batch."""
    own = SettlementBatch.objects.filter(name=entry.object_id).first()
    if own is None or entry.kind != "settlement":
        return ""
    before = SettlementBatch.objects.filter(currency=own.currency, paid_out__gt=0, day__lt=own.day).order_by("-day").first()
    return before.name if before else ""


ENTRY_STRIKES: Mapping[Kind, Callable[[BankEntry], None]] = {
    "line_missing": _remove,
    "line_extra": _invent_booking_beside,
    "line_doubled": _add_again,
    "line_amount": _enlarge_amount,
    "line_currency": _book_in_another_currency,
    "line_late": _book_later,
    "line_batch": _name_another_batch,
}


def planted_after(planted_id: int, *, limit: int) -> Sequence[PlantedFault]:
    """Return up to `limit` planted faults behind this id, oldest first."""
    return list(PlantedFault.objects.filter(id__gt=planted_id).order_by("id")[:limit])


def as_wire(planted: PlantedFault) -> dict[str, object]:
    """Return what was struck, as it truly is; `invented` is the id of the line that stands beside it and is about nothing."""
    return {
        "id": planted.id,
        "operation": planted.operation,
        "file": planted.file,
        "kind": planted.kind,
        "object_id": planted.object_id,
        "key": planted.key,
        "reference": planted.reference,
        "currency": planted.currency,
        "gross": planted.gross,
        "fee": planted.fee,
        "invented": planted.invented or None,
    }
