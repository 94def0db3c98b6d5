"""Exchange rates for the demo: made up, near to what they were, in the daily file's form of the European Central Bank."""

from datetime import date

PER_EURO = {
    "USD": "1.1523",
    "JPY": "178.40",
    "CZK": "24.215",
    "DKK": "7.4682",
    "GBP": "0.87950",
    "HUF": "382.60",
    "PLN": "4.2310",
    "SEK": "10.9840",
    "CHF": "0.92870",
    "NOK": "11.7450",
    "AUD": "1.7710",
    "BRL": "6.1480",
    "CAD": "1.6205",
    "CNY": "8.1920",
    "INR": "102.3650",
    "KRW": "1684.20",
    "MXN": "21.1430",
    "SGD": "1.5022",
    "ZAR": "19.8260",
}


def file_of(day: date) -> bytes:
    """Return the file that would say these rates of that day."""
    head, figures = ", ".join(PER_EURO), ", ".join(PER_EURO.values())
    return f"Date, {head}, \n{day:%d %B %Y}, {figures}, \n".encode()
