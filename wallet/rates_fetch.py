"""Fetches the file of rates from where the European Central Bank has it (`settings.RATES_URL`).  No transaction is open meanwhile."""

import httpx

from wallet.rates_ecb import LARGEST

TIMEOUT_S = 20.0


class RatesNotFetched(RuntimeError):
    """The file could not be fetched: whoever asks again later may have more luck."""


def fetch(url: str) -> bytes:
    """Return the bytes of the file.  Follows no redirect.  Raises RatesNotFetched."""
    content = b""
    try:
        with httpx.stream("GET", url, timeout=TIMEOUT_S) as response:
            if response.status_code != httpx.codes.OK:
                raise RatesNotFetched(f"The bank answered with status {response.status_code}.")
            for piece in response.iter_bytes():
                content += piece
                if len(content) > LARGEST:
                    raise RatesNotFetched(f"The bank sent more than {LARGEST:,} bytes.")
    except httpx.HTTPError as error:
        raise RatesNotFetched(f"The bank could not be asked: {type(error).__name__}.") from error
    return content
