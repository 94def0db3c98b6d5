"""The cases of files: what a buyer paid is settled and booked, the files say so, and somebody dies on the way from their bytes to their entries.

They come over HTTP from the sandbox, out of a folder, or from an SFTP server, and are read a line at a time, each in a transaction of its own.
"""

from collections.abc import Sequence

from ledger.models import JournalEntry
from reconciliation.models import (
    BankLineMatch,
    ComparedStatement,
    LineMatch,
    Mismatch,
    SettlementBatch,
    SourceFile,
    StagedBankLine,
    StagedLine,
)
from tests.programmes.flows import MOST_TRIES, VISA, Case
from tests.programmes.house import PaperFile
from tests.programmes.points import Point
from tests.programmes.verdicts import Verdicts

SANDBOX, FOLDER, SFTP = "sandbox", "folder", "sftp"
ALL_AT_ONCE, ONE_BY_ONE = 50_000, 1
SEEN_TWICE_S = 31  # an SFTP server's file is fetched once it has looked the same for so long


def files(case: Case) -> None:
    """A sale is settled on its day and paid to the bank on the next; the files of both days are taken in, read, compared and posted."""
    take_away_what_was_before(case)
    case.pay_before(case.open(), VISA)
    for _day in ("the one of the sale", "the one on which the bank books it"):
        case.house.end_day()
    case.files = case.house.new_files()
    way = way_for(case.point, otherwise=case.chance.choice((SANDBOX, FOLDER, SFTP)))
    case.house.put_down(case.files, way)
    for _try in range(MOST_TRIES):
        for _look in range(2):
            case.step("take_files", way=way)
            case.house.advance(SEEN_TWICE_S)
        case.step("work_on_files", at_once=ONE_BY_ONE)
        if not waiting(case.files):
            break


def take_away_what_was_before(case: Case) -> None:
    """Take in the files of earlier days, so that the case has those of its own days alone; what strangers did at the PSP is in none of these."""
    if not case.house.has_seen_files:
        case.house.end_day()
    case.before("take_files", way=SANDBOX)
    case.before("work_on_files", at_once=ALL_AT_ONCE)
    case.house.pass_over_files()


def way_for(point: Point, *, otherwise: str) -> str:
    """Return the way in on which this point is passed."""
    ways = {"folder": FOLDER, "sftp": SFTP, "SFTP": SFTP, "sandbox_files": SANDBOX}
    return next((way for name, way in ways.items() if name in point.place), otherwise)


def waiting(expected: Sequence[PaperFile]) -> list[str]:
    """Return the files that are not received, read and compared to their end."""
    shas = [file.sha256 for file in expected]
    read = {file.sha256: file for file in SourceFile.objects.filter(sha256__in=shas, status=SourceFile.Status.STAGED)}
    compared = set(SettlementBatch.objects.filter(matched_at__isnull=False, orders_settled_at__isnull=False).values_list("file", flat=True))
    compared |= set(ComparedStatement.objects.values_list("statement__file", flat=True))
    return [file.name for file in expected if file.sha256 not in read or read[file.sha256].pk not in compared]


# --- The verdict ----------------------------------------------------------------------------------------------------


def verdict(case: Case) -> Verdicts:
    """Compare what the files of the case say, line by line and entry by entry, with what has become of it."""
    found = Verdicts(stuck=[f"{name} is not received, read and compared" for name in waiting(case.files)])
    for expected in case.files:
        for file in SourceFile.objects.filter(sha256=expected.sha256):
            judge_file(found, file, expected)
    for order in case.orders():
        matches = LineMatch.objects.filter(order=order, kind="capture").count()
        judge_count(found, f"the line of {order.public_id}", matches, 1)
        if order.settled_at is None:
            found.lost.append(f"{order.public_id} was never told that it is settled")
    return found


def judge_file(found: Verdicts, file: SourceFile, expected: PaperFile) -> None:
    rows = (StagedLine if file.kind == SourceFile.Kind.SETTLEMENT else StagedBankLine).objects.filter(file=file)
    judge_count(found, f"lines of {file.name}", rows.count(), expected.lines)
    if file.kind == SourceFile.Kind.SETTLEMENT:
        batches = list(SettlementBatch.objects.filter(file=file))
        judge_count(found, f"batches of {file.name}", len(batches), 1)
        references = [batch.public_id for batch in batches]
        arrived = BankLineMatch.objects.filter(batch__in=batches).count()
        is_on_a_statement = any(batch.paid_out for batch in batches) and not expected.is_of_the_last_day
        judge_count(found, f"payments of {file.name} at the bank", arrived, int(is_on_a_statement))
    else:
        references = list(ComparedStatement.objects.filter(statement__file=file).values_list("public_id", flat=True))
        judge_count(found, f"comparisons of {file.name}", len(references), 1)
    for reference in references:
        entries = JournalEntry.objects.filter(reference=reference).count()
        judge_count(found, f"entries of {file.name}", entries, 1)
    doubled = Mismatch.objects.filter(kind=Mismatch.Kind.DUPLICATE, line__file=file).count()
    judge_count(found, f"lines of {file.name} that count as doubled", doubled, 0)


def judge_count(found: Verdicts, what: str, count: int, expected: int) -> None:
    if count < expected:
        found.lost.append(f"{what}: {count}, and {expected} were to be")
    elif count > expected:
        found.doubled.append(f"{what}: {count}, and {expected} were to be")
