"""Files of exchange rates as the European Central Bank writes them, for tests."""

from datetime import date, datetime

from wallet import rates
from wallet.rates import Loaded


def daily_csv(day: date, **per_euro: str) -> bytes:
    """Return the daily file: `Date, USD, JPY, ` with a comma at the end of each line, and the day in words."""
    head, figures = (", ".join(cells) for cells in (per_euro, per_euro.values()))
    return f"Date, {head}, \n{day:%d %B %Y}, {figures}, \n".encode()


def xml(*days: tuple[str, dict[str, str]]) -> bytes:
    """Return the file as XML, with a Cube for each day."""
    cubes = "".join(
        f"\t\t<Cube time='{day}'>\n"
        + "".join(f"\t\t\t<Cube currency='{code}' rate='{rate}'/>\n" for code, rate in of_day.items())
        + "\t\t</Cube>\n"
        for day, of_day in days
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">\n'
        "\t<gesmes:subject>Reference rates</gesmes:subject>\n\t<gesmes:Sender>\n\t\t<gesmes:name>European Central Bank</gesmes:name>\n"
        f"\t</gesmes:Sender>\n\t<Cube>\n{cubes}\t</Cube>\n</gesmes:Envelope>"
    ).encode()


def quote_euro(now: datetime, **per_euro: str) -> Loaded:
    """Let the bank say what a euro costs on that day."""
    return rates.load(daily_csv(now.date(), **per_euro), by="test", now=now)
