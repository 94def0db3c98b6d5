"""Settlement files as our sandbox writes them, in whatever size and with whatever is wrong with them."""

from collections.abc import Callable, Iterator
from decimal import Decimal

from reconciliation.formats import registry
from reconciliation.formats.registry import Format

HEADER = "batch,closed_on,line,type,id,charge,key,method,currency,gross,fee,net,occurred_at\n"


def lines_of(charges: int, *, batch: str = "sb-20261120-eur", day: str = "2026-11-20", currency: str = "EUR") -> Iterator[str]:
    """Yield the header, so many charges of 10.00 with a fee of 0.30, and the payout of all that is left."""
    yield HEADER
    for number in range(1, charges + 1):
        yield (
            f"{batch},{day},{number},charge,ch_{number:032x},ch_{number:032x},ord_{number:032x},visa,"
            f"{currency},10.00,0.30,9.70,{day}T{number % 24:02}:15:00Z\n"
        )
    total = charges * Decimal("9.70")
    yield f"{batch},{day},{charges + 1},payout,po_{batch},,,,{currency},-{total},0.00,-{total},{day}T23:59:59Z\n"


def batch_of(
    *lines: tuple[str, str, str, str, str], batch: str = "sb-20371120-eur", day: str = "2037-11-20", currency: str = "EUR"
) -> bytes:
    """Write a batch of these lines - type, the PSP's id, our key, gross, fee - and of the payout, or what is carried over, of their sum.

    Stories that have dates of their own are told in 2037, whose calendar is that of 2026, with Easter: what they leave waiting is still to
    come by the clock of Postgres, for invariants that say what has waited too long.
    """
    nets = [Decimal(gross) - Decimal(fee) for _type, _id, _key, gross, fee in lines]
    total = sum(nets, Decimal("0.00"))
    last = ("payout" if total > 0 else "carried_over", f"po_{batch}", "", str(-total), "0.00")
    rows = [
        f"{batch},{day},{number},{type_},{id_},,{key},visa,{currency},{gross},{fee},{net},{day}T12:15:00Z\n"
        for number, ((type_, id_, key, gross, fee), net) in enumerate(zip([*lines, last], [*nets, -total], strict=True), start=1)
    ]
    return (HEADER + "".join(rows)).encode()


def stumbling(head: bytes, recognise: Callable[[bytes], Format | None] = registry.recognise) -> Format | None:
    """Recognise a file's format, or stumble over it in a way that nobody foresaw."""
    if head == b"stumble":
        raise IndexError
    return recognise(head)


def settlement_file(charges: int = 3, **terms: str) -> bytes:
    return "".join(lines_of(charges, **terms)).encode()
