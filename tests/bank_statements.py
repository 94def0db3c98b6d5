"""Bank statements (MT940, with the narrative as German banks write it) of whatever lines a test wants."""

from decimal import Decimal

Line = tuple[str, str, str, str]


def mt940(*lines: Line, opening: str = "0.00", currency: str = "EUR", day: str = "371121", number: int = 1) -> bytes:
    """Write a day's statement of these lines: amount, the bank's reference, end-to-end id, text."""
    closing = Decimal(opening) + sum(Decimal(amount) for amount, *_rest in lines)
    booked = [line for each in lines for line in booking(*each, day=day)]
    head = [":20:S", ":25:AT341904300234573299", f":28C:{number}/1", f":60F:{balance(Decimal(opening), currency=currency, day=day)}"]
    return "\r\n".join([*head, *booked, f":62F:{balance(closing, currency=currency, day=day)}", "-", ""]).encode()


def balance(amount: Decimal, *, currency: str, day: str) -> str:
    return f"{'D' if amount < 0 else 'C'}{day}{currency}{abs(amount):.2f}".replace(".", ",")


def booking(amount: str, reference: str, end_to_end: str, text: str, *, day: str) -> list[str]:
    mark, figure = ("D" if amount.startswith("-") else "C"), amount.lstrip("-").replace(".", ",")
    said = f"EREF+{end_to_end}SVWZ+{text}" if end_to_end else f"SVWZ+{text}"
    parts = [said[start : start + 27] for start in range(0, len(said), 27)]
    told = "".join(f"?2{place}{part}" for place, part in enumerate(parts))
    return [f":61:{day}{day[2:]}{mark}{figure}NTRFNONREF" + (f"//{reference}" if reference else ""), f":86:166{told}"]
