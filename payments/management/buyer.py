"""A buyer without a browser: fills in the PSP's own page over HTTP, as a person without JavaScript would.

For the demo's story, the self-check and the tests.  The card number goes to the PSP's page and nowhere else.
"""

import ssl
from functools import cache
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx

MOST_PAGES = 5


class FormReader(HTMLParser):
    """Reads the forms of a page: where each goes, and the values that its hidden fields and buttons carry."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((given.get("action", ""), {}))
        elif tag in ("input", "button") and given.get("name") and self.forms:
            self.forms[-1][1].setdefault(given["name"], given.get("value", ""))


def forms_of(page: httpx.Response) -> list[tuple[str, dict[str, str]]]:
    """Return the page's forms, each as its absolute address and its fields."""
    reader = FormReader()
    reader.feed(page.text)
    return [(urljoin(str(page.url), action), fields) for action, fields in reader.forms]


@cache
def certificates() -> ssl.SSLContext:
    """Return whom a buyer trusts, read once: a client that reads it for itself spends more time on it than on paying."""
    return httpx.create_ssl_context()


def give_card(hosted_url: str, *, number: str) -> str:
    """Pay on the PSP's hosted page with a test card, and pass its 3-D Secure question; return where the PSP sends the buyer then.

    Raises ValueError if the PSP's page does not lead back, with what it says.
    """
    with httpx.Client(timeout=20, trust_env=False, verify=certificates()) as browser:
        page = browser.get(hosted_url)
        for _page in range(MOST_PAGES):
            answers = {"number": number, "expiry": "12 / 34", "cvc": "1234" if number.startswith("3") else "123", "outcome": "succeed"}
            [(address, fields), *_others] = forms_of(page) or [("", {})]
            page = browser.post(address or str(page.url), data={name: answers.get(name, value) for name, value in fields.items()})
            while page.is_redirect:
                target = urljoin(str(page.url), page.headers["Location"])
                if httpx.URL(target).netloc != httpx.URL(hosted_url).netloc:
                    return target
                page = browser.get(target)
        raise ValueError(f"the PSP's page does not lead back to us: {page.status_code} {page.text[:300]}")


def approve(url: str, **answers: str) -> str:
    """Answer the first form of the PSP's page for another way to pay (wallet, pay later, phone); what is not given stays as it was.

    Such as `answer="cancel"`, `card="visa_us_0002"`, `person="dan@declined.example"`, `answer="decline"`.  Return where the PSP sends the
    buyer then; "" if its page stays.  Raises ValueError if there is nothing to answer, with what the page says.
    """
    with httpx.Client(timeout=20, trust_env=False, verify=certificates()) as browser:
        page = browser.get(url, follow_redirects=True)
        [(address, fields), *_others] = forms_of(page) or [("", {})]
        if not address:
            raise ValueError(f"the PSP's page asks nothing: {page.status_code} {page.text[:300]}")
        page = browser.post(address, data=fields | answers)
        return urljoin(address, page.headers["Location"]) if page.is_redirect else ""
