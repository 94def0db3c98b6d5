"""Faults in the files of a day: when it is closed, switches strike the lines of its batches and the bookings of its statements.

The PSP settles wrongly, or the bank books wrongly, and stands by it: what is paid is what the file says, so the file adds up
and only who compares it with his own books finds out. A switch is narrowed by `reference` to a file (sb-20261121-eur), an
object, a key or what the merchant calls it. Only lines about charges and refunds are struck in a batch, each once. What was
planted is kept, for whoever wants to know whether all of it was found.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence

from payments.sandbox.fault_kinds import Kind
from payments.sandbox.faults import switchboard
from payments.sandbox.models import BankEntry, BankStatement, PlantedFault, SettlementBatch, SettlementLine

STRUCK = ("charge", "refund")


def strike_batch(batch: SettlementBatch) -> None:
    """Let the switches for `settlement` strike the lines of the batch, before it is summed up."""
    if not switchboard.concerns("settlement"):
        return
    lines = SettlementLine.objects.filter(batch=batch, type__in=STRUCK).order_by("id")
    hits = [
        (line_id, fault.kind)
        for line_id, *names in lines.values_list("id", "object_id", "key", "reference").iterator()
        if (fault := switchboard.fire("settlement", card=None, references=[batch.name, *names]))
    ]
    for line_id, kind in hits:
        _strike_line(SettlementLine.objects.get(id=line_id), kind, batch=batch)


def _strike_line(line: SettlementLine, kind: Kind, *, batch: SettlementBatch) -> None:
    planted = PlantedFault(
        operation="settlement",
        file=batch.name,
        kind=kind,
        object_id=line.object_id,
        key=line.key,
        reference=line.reference,
        currency=line.currency,
        gross=line.gross,
        fee=line.fee,
    )
    LINE_STRIKES[kind](line)
    planted.invented = line.object_id if kind == "line_extra" else ""
    planted.save()


def _remove(row: SettlementLine | BankEntry) -> None:
    row.delete()


def _add_again(row: SettlementLine | BankEntry) -> None:
    row.pk = None
    row.save(force_insert=True)


def _invent_beside(line: SettlementLine) -> None:
    """Add a line like this one about something that never happened."""
    digits = hashlib.sha256(line.object_id.encode()).hexdigest()[:32]
    line.object_id, line.key = f"{line.object_id.partition('_')[0]}_{digits}", digits
    line.reference = f"{line.reference.partition('_')[0]}_{digits}"[:255]
    if line.type == "charge":
        line.charge, line.charge_reference = line.object_id, line.reference
    _add_again(line)


def _enlarge_gross(line: SettlementLine) -> None:
    line.gross = _larger(line.gross)
    line.save()


def _enlarge_fee(line: SettlementLine) -> None:
    line.fee += 1
    line.save()


def _change_currency(line: SettlementLine) -> None:
    """Let the line wait for the next batch of another currency."""
    line.batch, line.currency = None, "EUR" if line.currency == "USD" else "USD"
    line.save()


def _hold_back(line: SettlementLine) -> None:
    line.batch = None
    line.save()


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
        if fault:
            _strike_entry(entry, fault.kind, statement=statement)


def _strike_entry(entry: BankEntry, kind: Kind, *, statement: BankStatement) -> None:
    PlantedFault.objects.create(
        operation="statement",
        file=statement.name,
        kind=kind,
        object_id=entry.object_id,
        key="",
        reference=entry.end_to_end_id,
        currency=entry.currency,
        gross=entry.amount,
        fee=0,
    )
    ENTRY_STRIKES[kind](entry)


def _enlarge_amount(entry: BankEntry) -> None:
    entry.amount = _larger(entry.amount)
    entry.save()


ENTRY_STRIKES: Mapping[Kind, Callable[[BankEntry], None]] = {
    "line_missing": _remove,
    "line_doubled": _add_again,
    "line_amount": _enlarge_amount,
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
