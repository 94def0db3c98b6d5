"""The judge of `./run faults`: what the sandbox says that it planted, against the mismatches that we found; then two people resolve it all.

A fault is found if there is one mismatch about what it struck, and rightly classed if that says what happened, with its amounts.  What came a
day late is found in the file of another day, and resolved itself.  Every other mismatch is a false alarm.  Once all is resolved, suspense is
empty, and what the PSP owes us and what the bank holds differ from their own words by just what they did wrong.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from djmoney.money import Money

from ledger import chart, clock, money, queries
from reconciliation import invariants, resolution
from reconciliation.models import BankLineMatch, LineMatch, Mismatch, SettlementBatch
from tests.programmes.house import House

SEEN_AS = {
    "line_missing": "missing_there",
    "line_extra": "missing_here",
    "line_doubled": "duplicate",
    "line_amount": "amount",
    "line_currency": "currency",
    "line_fee": "fee",
    "line_late": "late",
    "line_batch": "wrong_batch",
}
MAKER, CHECKER = "user:mia", "user:carl"
ELSE = chart.paid_twice()  # what explains a booking of the bank's that nobody ordered, until it calls it back
PAGE = 1000

Planted = dict[str, Any]
Say = Callable[[str], None]


@dataclass
class Findings:
    """What was planted and what was found, by operation and kind, and what is wrong with it."""

    rows: int
    planted: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    false_alarms: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def are_perfect(self) -> bool:
        return self.planted == self.found == self.right and not self.false_alarms and not self.failures

    def table(self) -> list[str]:
        return [
            f"  {name:<26} planted {count:>3}  found {self.found[name]:>3}  rightly classed {self.right[name]:>3}"
            for name, count in sorted(self.planted.items())
        ]

    def __str__(self) -> str:
        sums = [each.total() for each in (self.planted, self.found, self.right)]
        return "rows {:,} planted {} found {} rightly classed {} false alarms {}".format(self.rows, *sums, self.false_alarms)


@dataclass(frozen=True, slots=True)
class Truth:
    """What the story knows: what was held back and for how many seconds, what our bank account began with, and how much was played."""

    late: Mapping[str, int]
    given: Money
    rows: int
    faults: int


def judge(house: House, truth: Truth, *, say: Say) -> Findings:
    """Compare what was planted with what was found; then resolve it, and compare the books with the sandbox's own."""
    findings, planted = Findings(truth.rows), list(listed(house, "/control/planted"))
    if len(planted) != truth.faults:
        findings.failures.append(f"{truth.faults} faults were to be planted, and the sandbox has planted {len(planted)}")
    compare(planted, findings, late=truth.late)
    say(str(findings))
    house.journal.read_on()
    findings.failures += [str(each) for each in in_order(house)]
    say("the invariants are checked")
    resolve_all()
    say("two people have resolved what is open")
    findings.failures += [*left_open(), *[str(each) for each in in_order(house)]]
    findings.failures += [*settled_wrongly(planted), *booked_wrongly(house, planted, given=truth.given)]
    return findings


def listed(house: House, path: str, **query: str) -> Iterator[dict[str, Any]]:
    """Yield all that a list of the sandbox has."""
    after, is_more = 0, True
    while is_more:
        page = house.sandbox.client.get(path, params={"after": after, "limit": PAGE, **query}, timeout=120).raise_for_status().json()
        yield from page["data"]
        after, is_more = page["data"][-1]["id"] if page["data"] else 0, page["has_more"]


# --- What was found -------------------------------------------------------------------------------------------------


def compare(planted: Sequence[Planted], findings: Findings, *, late: Mapping[str, int]) -> None:
    """Count what was found of it, and what was found beside it."""
    names = {batch.public_id: batch.name for batch in SettlementBatch.objects.all()}
    about = defaultdict[str, list[Mismatch]](list)
    for mismatch in Mismatch.objects.select_related("line", "bank_line").order_by("pk"):
        about[subject_of(mismatch, names)].append(mismatch)
    for fault in planted:
        kind = f"{fault['operation']} {fault['kind']}"
        findings.planted[kind] += 1
        found = about.pop(struck_by(fault), [])
        if fault["kind"] == "line_late" and not late[fault["reference"]]:
            is_found = is_right = not found and came_with_another_day(fault, names)
        else:
            is_found, is_right = len(found) == 1, [terms_of(each) for each in found] == [expected_of(fault)]
        findings.found[kind] += is_found
        findings.right[kind] += is_right
        findings.false_alarms += max(len(found) - 1, 0)
        if not is_right:
            findings.failures.append(f"{fault} is found as {[(str(each), *terms_of(each)) for each in found]}")
    for mismatches in about.values():
        findings.false_alarms += len(mismatches)
        findings.failures += [f"false alarm: {mismatch} {terms_of(mismatch)}" for mismatch in mismatches[:10]]


def struck_by(fault: Planted) -> str:
    """Return by what name a mismatch is about this: ours, the batch's, or one that was invented."""
    return str(fault["invented"] or (fault["object_id"] if fault["object_id"].startswith("sb-") else fault["reference"]))


def subject_of(mismatch: Mismatch, names: Mapping[str, str]) -> str:
    if mismatch.kind == Mismatch.Kind.WRONG_BATCH:  # it names another batch; which one it pays, its amount tells
        return SettlementBatch.objects.get(currency=mismatch.currency, paid_out=mismatch.found or 0).name
    if mismatch.subject:
        return names.get(mismatch.subject, mismatch.subject)
    return mismatch.line.psp_reference if mismatch.line else mismatch.bank_line.end_to_end_id if mismatch.bank_line else ""


Terms = tuple[str, str, Decimal | None, Decimal | None, Decimal, bool]


def terms_of(mismatch: Mismatch) -> Terms:
    is_open = mismatch.resolved_at is None
    return mismatch.kind, mismatch.currency, mismatch.expected, mismatch.found, mismatch.suspended, is_open


def expected_of(fault: Planted) -> Terms:
    """Return what a mismatch must say of this fault: kind, currency, expected, found, in suspense, open."""
    kind, currency = fault["kind"], fault["currency"]
    unit = 1 if fault["gross"] > 0 else -1
    stands_in = ("EUR" if currency == "USD" else "USD") if kind == "line_currency" else currency

    def major(minor: int) -> Decimal:
        return money.from_minor(minor, stands_in).amount

    gross, net = major(fault["gross"]), major(fault["gross"] - fault["fee"])
    is_payout = fault["operation"] == "statement" and not fault["object_id"].startswith("sb-")
    larger = major(fault["gross"] + unit)
    terms: dict[str, tuple[Decimal | None, Decimal | None, Decimal]] = {
        "line_missing": (gross, None, Decimal(0)),
        "line_late": (gross, None, Decimal(0)),
        "line_extra": (None, gross, net),
        "line_doubled": (gross, gross, net),
        "line_amount": (gross, larger, major(unit) if is_payout else larger - gross + net),
        "line_currency": (gross, gross, net),
        "line_fee": (major(fault["fee"]), major(fault["fee"] + 1), major(-1)),
        "line_batch": (paid_before(fault), gross, net),
    }
    seen_as = "missing_at_bank" if kind == "line_missing" and fault["operation"] == "statement" else SEEN_AS[kind]
    return seen_as, stands_in, *terms[kind], kind != "line_late"


def paid_before(fault: Planted) -> Decimal | None:
    """Return what the batch that the booking names has paid out: the one before."""
    if fault["kind"] != "line_batch":
        return None
    earlier = SettlementBatch.objects.filter(currency=fault["currency"], name__lt=fault["object_id"], paid_out__gt=0)
    return earlier.order_by("-name")[0].paid_out


def came_with_another_day(fault: Planted, names: Mapping[str, str]) -> bool:
    """Tell whether a line that was held back for a day was matched, in a later file than the one that it was struck in."""
    reference, file = fault["reference"], str(fault["file"])
    if fault["operation"] == "settlement":
        of_lines = LineMatch.objects.filter(order__public_id=reference, kind="capture") | LineMatch.objects.filter(
            refund__public_id=reference, kind="refund"
        )
        came_in = [str(match.batch.name) for match in of_lines.select_related("batch")]
    else:
        batch_ids = [public_id for public_id, name in names.items() if name == fault["object_id"]]
        of_bookings = BankLineMatch.objects.filter(batch__public_id__in=batch_ids) | BankLineMatch.objects.filter(
            payout__public_id=reference, kind="payout"
        )
        came_in = [f"st-{match.line.booked_on:%Y%m%d}-{fault['currency'].lower()}" for match in of_bookings.select_related("line")]
    return [later > file for later in came_in] == [True]


# --- What becomes of it ---------------------------------------------------------------------------------------------


def in_order(house: House) -> list[invariants.Violation]:
    """Return what is not in order in the books, by themselves and by the PSP's journal."""
    rows = house.journal.rows
    return [
        *invariants.violations(),
        *invariants.differences_from(rows, psp="sandbox"),
        *invariants.receivable_differs_from(rows, psp="sandbox"),
    ]


def resolve_all() -> None:
    """Let one person propose what explains each mismatch, and another one approve it."""
    for mismatch in Mismatch.objects.filter(resolved_at=None).order_by("pk"):
        account = account_for(mismatch)
        proposal = resolution.propose(mismatch.pk, account, f"It is {mismatch.kind}", actor=MAKER, now=clock.now())
        resolution.approve(proposal.pk, actor=CHECKER, reason="So it is", now=clock.now())


def account_for(mismatch: Mismatch) -> str:
    """Return what explains it: what is suggested; else what the PSP owes us, or the bank."""
    if not mismatch.suspended:
        return ""
    return resolution.suggested_account(mismatch) or (chart.psp_receivable(mismatch.psp) if mismatch.line_id else ELSE)


def left_open() -> list[str]:
    open_ = [f"{mismatch} is still open" for mismatch in Mismatch.objects.filter(resolved_at=None)[:10]]
    return open_ + differences("what stands in suspense", chart.suspense(), Counter())


def settled_wrongly(planted: Sequence[Planted]) -> list[str]:
    """Compare what the PSP owes us, now that its files are settled, with what it settled wrongly: all else it has paid."""
    owed = Counter[str]()
    for fault in planted:
        if fault["operation"] == "settlement":
            gross, currency = fault["gross"], fault["currency"]
            match fault["kind"]:
                case "line_missing":
                    owed[currency] += gross
                case "line_extra" | "line_doubled":
                    owed[currency] -= gross
                case "line_amount":
                    owed[currency] -= 1 if gross > 0 else -1
                case "line_currency":
                    owed[currency] += gross
                    owed["EUR" if currency == "USD" else "USD"] -= gross
                case _:
                    pass  # what came late has come, and another fee is a fee
    return differences("what the PSP owes us", chart.psp_receivable("sandbox"), owed)


def booked_wrongly(house: House, planted: Sequence[Planted], *, given: Money) -> list[str]:
    """Compare our bank account with the bank's last statements, and what is on its way with what the PSP has paid and no statement shows."""
    held, on_its_way = Counter[str](), Counter[str]()
    for statement in listed(house, "/v1/bank_statements"):
        held[statement["currency"]] = statement["closing"]
    held[given.currency.code] += money.to_minor(given)
    batches = list(listed(house, "/v1/settlement_files"))
    last_day = max(batch["closed_on"] for batch in batches)
    for batch in batches:
        on_its_way[batch["currency"]] += batch["paid_out"] if batch["closed_on"] == last_day else 0  # booked tomorrow
    for fault in planted:
        if fault["operation"] == "statement":
            amount, currency = fault["gross"], fault["currency"]
            account = on_its_way if fault["object_id"].startswith("sb-") else held
            if fault["kind"] in ("line_missing", "line_currency"):
                account[currency] += amount
            elif fault["kind"] == "line_amount" and account is on_its_way:
                account[currency] -= 1
    return [
        *differences("what the bank holds", chart.operating_bank(), held),
        *differences("what is on its way to the bank", chart.bank_in_transit(), on_its_way),
    ]


def differences(what: str, account: str, expected: Mapping[str, int]) -> list[str]:
    """Compare an account with what it should have, in minor units, in each currency."""
    found = {code: money.to_minor(queries.balance_of(account, currency=code)) for code in currencies()}
    return [f"{what} is {amount} {code}, and not {expected[code]}" for code, amount in found.items() if amount != expected[code]]


def currencies() -> list[str]:
    return sorted(set(SettlementBatch.objects.values_list("currency", flat=True)))
