"""`./run bench payout_file [--json FILE] [--payouts N]`: how long the payment file of a monthly run takes to make and to stream to disk.

The payouts come of a real run over sellers with sealed IBANs.  Measured are `files.make` (claim, check of each transfer, hash) and
`files.stream` to a file on disk with fsync, and the memory of the process.  The file is then found valid by the XSD of ISO 20022, or there is
no figure; and the bank's answer to it, which names each transfer, is read, timed as well.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import django
import orjson
import sepaxml
from django.db import connection
from lxml import etree

from benchmarks.harness import figures
from benchmarks.harness.databases import Server
from benchmarks.harness.figures import Figure

SERVER = Server()
os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE_URL": SERVER.measured_url}
django.setup()

from payouts import account_numbers, files, pain001, pain002, scheduling, vault  # noqa: E402 - these need the settings
from payouts.calendars import Calendar  # noqa: E402
from payouts.choice import Which  # noqa: E402
from payouts.models import BankAccount, PaymentFile, PayoutSchedule  # noqa: E402

SEED, TEMPLATE = Path(__file__).with_name("payouts_seed.sql"), "onebook_payout_file"
NOW = datetime(2026, 12, 1, 0, 5, tzinfo=UTC)
NOVEMBER = Which(1, "EUR", Calendar(), "2026-11")
SEALED_AT_ONCE = 5000
RESEAL = """
SET session_replication_role = replica;
UPDATE payouts_bankaccount AS account SET sealed = given.sealed, fingerprint = given.fingerprint
FROM json_to_recordset(%(rows)s) AS given (id bigint, sealed text, fingerprint text) WHERE account.id = given.id
"""
MOST_S, MOST_MB = 60, 300


class NotAFile(RuntimeError):
    """What was written is not valid, or not what was to be paid: its time is worth nothing."""


def main() -> None:
    options = parse(sys.argv[1:])
    sellers = options.payouts * 100 // 98 + 2  # two in a hundred cannot be paid out
    settings = figures.machine() | SERVER.settings() | {"command": f"./run bench payout_file --payouts {options.payouts}"}
    say(f"seeding {sellers:,} sellers, and paying them out")
    SERVER.make_template(TEMPLATE, SEED, {"sellers": sellers, "entries": sellers})
    SERVER.fresh_copy_of(TEMPLATE)
    connection.close()
    seal_ibans()
    PayoutSchedule.objects.update(provider=files.PROVIDER)
    scheduling.run(NOVEMBER, now=NOW, made_by="calendar")
    before_mb = peak_mb()
    files.MOST_IN_A_FILE = options.payouts

    measured: dict[str, float] = {}
    file = timed("make", measured, lambda: files.make("EUR", execute_on=date(2026, 12, 1), made_by="staff:ada", now=NOW))
    files.approve(file.pk, actor="staff:ben", reason="benchmark", now=NOW)
    file = files.fetch(file.pk, actor="staff:ben", now=NOW)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "payouts.xml"
        timed("stream", measured, lambda: write(files.stream(file), path))
        size, peak = path.stat().st_size, peak_mb()
        found = timed("validate", measured, lambda: validated(path, file))
        answer = answer_to(file, found)
    read = timed("read the answer", measured, lambda: pain002.read(answer))
    if len(read.transfers) != file.count:
        raise NotAFile(f"{file.count} transfers were answered, and {len(read.transfers)} read")
    told = list_figures(
        file, size, measured, settings=settings | {"before_mb": before_mb, "peak_mb": peak, "load_after": round(os.getloadavg()[0], 1)}
    )
    say("\n" + figures.table([figure.as_json() for figure in told]))
    if options.json:
        figures.write(told, options.json)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./run bench payout_file", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--payouts", type=int, default=100_000, metavar="N", help="payouts in the file (default: 100000)")
    return parser.parse_args(arguments)


def say(line: str) -> None:
    print(line, flush=True)


def timed(name: str, measured: dict[str, float], work: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    done = work()
    measured[name] = time.perf_counter() - began
    say(f"{name.ljust(15)} {measured[name]:6.1f} s, {peak_mb()} MB")
    return done


def seal_ibans() -> None:
    """Give every seller an IBAN of its own, sealed as ever: as the administrator, for whom the trigger that fixes an account does not fire."""
    accounts = list(BankAccount.objects.order_by("pk").values_list("pk", "public_id"))
    for start in range(0, len(accounts), SEALED_AT_ONCE):
        rows = [sealed_row(pk, owner) for pk, owner in accounts[start : start + SEALED_AT_ONCE]]
        SERVER.administer([RESEAL], parameters={"rows": orjson.dumps(rows).decode()})


def sealed_row(pk: int, owner: str) -> dict[str, Any]:
    details = {"iban": iban_of(pk)}
    mark = vault.fingerprint(account_numbers.text_of(details))
    return {"id": pk, "sealed": vault.seal(details, owner=owner), "fingerprint": mark}


def iban_of(number: int) -> str:
    """Return an Austrian IBAN with that account number (ISO 13616)."""
    bban = f"19043{number:011d}"
    return f"AT{98 - int(bban + '102900') % 97:02d}{bban}"


def write(pieces: Iterable[bytes], path: Path) -> None:
    with path.open("wb") as place:
        for piece in pieces:
            place.write(piece)
        place.flush()
        os.fsync(place.fileno())


def validated(path: Path, file: PaymentFile) -> Sequence[str]:
    """Return the end-to-end ids of a file that the schema of its version accepts."""
    found = etree.parse(path)
    etree.XMLSchema(etree.parse(Path(sepaxml.__file__).parent / "schemas" / f"{file.format}.xsd")).assertValid(found)
    ids = [element.text or "" for element in found.iterfind(".//{*}EndToEndId")]
    if len(set(ids)) != file.count:
        raise NotAFile(f"{file.count} transfers were to be written, and {len(set(ids))} are there")
    return ids


def answer_to(file: PaymentFile, ids: Sequence[str]) -> Sequence[bytes]:
    """Return what a bank says that has paid all of it, and names each."""
    head = (
        f'<Document xmlns="{pain002.NAMESPACE}10"><CstmrPmtStsRpt><GrpHdr><MsgId>B</MsgId></GrpHdr><OrgnlGrpInfAndSts><OrgnlMsgId>'
        f"{file.message_id}</OrgnlMsgId></OrgnlGrpInfAndSts><OrgnlPmtInfAndSts><OrgnlPmtInfId>{pain001.batch_id(file.message_id, 1)}</OrgnlPmtInfId>"
    )
    named = [f"<TxInfAndSts><OrgnlEndToEndId>{each}</OrgnlEndToEndId><TxSts>ACSC</TxSts></TxInfAndSts>\n".encode() for each in ids]
    return [head.encode(), *named, b"</OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>"]


def peak_mb() -> int:
    """Return the most memory that this process has ever held."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def list_figures(file: PaymentFile, size: int, measured: dict[str, float], *, settings: dict[str, object]) -> list[Figure]:
    what = f"{file.format} of {file.count:,} transfers, {size / 1e6:.0f} MB"
    taken = {name: round(seconds, 1) for name, seconds in measured.items()}
    return [
        Figure(
            "payout_file", round(measured["stream"], 1), MOST_S, "s",
            {"what": f"{what}, streamed to disk", "against": "allowed", "aim": "<= 60 s"} | settings | {"seconds": taken},
        ),
        Figure(
            "payout_file_memory", int(str(settings["peak_mb"])), MOST_MB, "MB",
            {"what": f"memory while it is made and streamed, {settings['before_mb']} MB before", "against": "allowed", "aim": "<= 300 MB"} | settings,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
