"""SEC-18: no spelling, name, change of a name or redirect lets a webhook reach us; what is public is reached where it was looked at."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.receivers import Receiver, receiver
from wallet.notifications import addresses, sending
from wallet.notifications.addresses import UrlRefused

PUBLIC = ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]
NAME = "hooks.shop.example"

# Each with PORT where the receiver inside listens; none may reach it.
SPELLINGS = """
http://127.0.0.1:PORT/ https://127.0.0.1:PORT/ https://127.1:PORT/ https://127.0.1:PORT/ https://127.255.255.254:PORT/
https://2130706433:PORT/ https://017700000001:PORT/ https://0x7f000001:PORT/ https://0x7f.0.0.1:PORT/ https://0177.0.0.1:PORT/
https://0x7f.1:PORT/ https://127.0.0.1.:PORT/ https://127.000.000.001:PORT/ https://00000177.0.0.1:PORT/ https://127.0.0.0x1:PORT/
https://0:PORT/ https://0.0.0.0:PORT/ https://0.0.0.1:PORT/ https://localhost:PORT/ https://localhost.:PORT/ https://LOCALHOST:PORT/
https://localhost.localdomain.:PORT/ https://app.localhost:PORT/ https://db.internal:PORT/ https://metadata.google.internal/
https://printer.local:PORT/ https://router.lan:PORT/ https://nas.home.arpa:PORT/ https://redis:PORT/ https://postgres/
https://[::1]:PORT/ https://[0:0:0:0:0:0:0:1]:PORT/ https://[::]:PORT/ https://[::ffff:127.0.0.1]:PORT/ https://[::ffff:7f00:1]:PORT/
https://[::127.0.0.1]:PORT/ https://[64:ff9b::127.0.0.1]:PORT/ https://[64:ff9b:1::7f00:1]:PORT/ https://[2002:7f00:1::]:PORT/
https://[2001:0:4136:e378:8000:63bf:80ff:fffe]:PORT/ https://[fe80::1]:PORT/ https://[fe80::1%25lo]:PORT/ https://[fc00::1]:PORT/
https://[fd00:ec2::254]/ https://[ff02::1]:PORT/ https://[2001:db8::1]:PORT/ https://[100::1]:PORT/ https://[::1:PORT/
https://10.0.0.1/ https://172.16.0.1/ https://172.31.255.255/ https://192.168.1.1/ https://100.64.0.1/ https://100.100.100.200/
https://169.254.169.254/ https://169.254.170.2/ https://192.0.0.192/ https://168.63.129.16/ https://198.18.0.1/ https://192.0.2.1/
https://224.0.0.1/ https://240.0.0.1/ https://255.255.255.255/ https://192.88.99.1/
https://public.example@127.0.0.1:PORT/ https://127.0.0.1:PORT@public.example/ https://public.example:80@127.0.0.1:PORT/
https://public.example#@127.0.0.1:PORT/ https://public.example\\@127.0.0.1:PORT/ https:\\\\127.0.0.1:PORT/ https:///127.0.0.1:PORT/
//127.0.0.1:PORT/ 127.0.0.1:PORT ftp://127.0.0.1:PORT/ file:///etc/passwd gopher://127.0.0.1:PORT/_x javascript:alert(1) https:// https
https://public.example:22/ https://public.example:25/ https://public.example:0/ https://public.example:65536/ https://public.example:/
https://public.example:-1/ https://ⓛocalhost:PORT/ https://１２７.0.0.1:PORT/ https://127。0。0。1:PORT/ https://ex_ample.example/
https://-a.example/ https://a..example/ https://public.example./ https://%31%32%37.0.0.1:PORT/ https://127.0.0.1%00.public.example:PORT/
https://*.example/ https://public.example/{x} https://public.example/<x>
""".split()
CONTROLS = ["https://public.example/\n", "https://127.0.0.1\t:PORT/", " https://public.example/", "https://public.example/\x00", ""]

# What a name may turn out to be.
INSIDE = """
127.0.0.1 127.9.9.9 10.1.2.3 172.20.0.1 192.168.0.10 169.254.169.254 100.64.0.1 100.100.100.200 0.0.0.0 192.0.0.192 168.63.129.16 198.19.0.1
224.0.0.251 255.255.255.255 ::1 :: ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: 2002:a00:1:: fe80::1
fe80::1%lo fc00::1 fd00:ec2::254 ff02::1 2001:db8::1 2001::1 100::1 5f00::1
""".split()


@pytest.fixture
def inside() -> Iterator[Receiver]:
    """Run a service of our own that nobody outside may reach; it must not have been asked for anything."""
    with receiver() as there:
        yield there
        assert there.received == []


@pytest.fixture
def strict(settings: Any) -> None:
    settings.WEBHOOKS_ALLOW_PRIVATE = False


class Names:
    """A name server of the test's: gives each answer in turn, the last one for ever, and counts how often it is asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self, name: str, port: int) -> Sequence[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def test_there_are_enough_spellings() -> None:
    assert len(SPELLINGS) + len(CONTROLS) >= 100
    assert len(set(SPELLINGS)) == len(SPELLINGS)


@pytest.mark.parametrize("url", [*SPELLINGS, *CONTROLS])
def test_sec_18_a_url_that_is_no_public_https_address_is_refused_and_reaches_nobody(strict: None, inside: Receiver, url: str) -> None:
    names = Names(["127.0.0.1"])
    asked = url.replace("PORT", str(inside.port))
    with pytest.raises(UrlRefused) as refused:
        addresses.checked(asked, resolver=names)
    assert (refused.value.code, refused.value.field) == ("webhook_url_refused", "url")
    assert sending.post(asked, b"{}", headers={}, resolver=names).status is None


@pytest.mark.parametrize("address", INSIDE)
def test_sec_18_a_name_that_leads_inside_is_refused_even_beside_a_public_address(strict: None, inside: Receiver, address: str) -> None:
    url = inside.url(host=NAME, scheme="https")
    for found in ([address], [*PUBLIC, address]):
        with pytest.raises(UrlRefused):
            addresses.checked(url, resolver=Names(found))
        assert sending.post(url, b"{}", headers={}, resolver=Names(found)).status is None


def test_sec_18_a_name_that_changes_after_it_was_checked_gains_nothing(strict: None, inside: Receiver) -> None:
    names = Names(PUBLIC, ["127.0.0.1"])
    url = inside.url(host=NAME, scheme="https")
    assert addresses.checked(url, resolver=names).addresses == tuple(PUBLIC)  # when the endpoint was added
    answer = sending.post(url, b"{}", headers={}, resolver=names)  # and when something is sent
    assert answer.error == f"{NAME} leads to an address that is not public. Give one that the internet can reach."
    assert names.asked == 2


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_let_through(strict: None, address: str) -> None:
    for port in ("", ":443", ":8443", ":1024", ":65535"):
        url = f"https://{NAME}{port}/webhooks?shop=1&x=%20y"
        assert addresses.checked(url, resolver=Names([address])).addresses == (address,)


def test_a_name_that_does_not_exist_is_refused_in_words(strict: None) -> None:
    def nobody(name: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    with pytest.raises(UrlRefused, match="cannot be found"):
        addresses.checked(f"https://{NAME}/", resolver=nobody)


def test_the_connection_goes_to_the_address_that_was_looked_at_under_the_urls_own_name() -> None:
    with receiver() as there:
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        answer = sending.post(there.url(host=NAME), b"{}", headers={}, resolver=names)  # a name that no name server knows
        assert (answer.status, names.asked) == (204, 1)
        assert there.received[0].headers["host"] == f"{NAME}:{there.port}"


def test_over_tls_the_certificate_must_be_the_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, authority, asked_for = certificate(tmp_path, NAME)
    monkeypatch.setattr(sending, "trusted", lambda: ssl.create_default_context(cafile=authority))
    with receiver(tls=ours) as there:
        assert sending.post(there.url(host=NAME, scheme="https"), b"{}", headers={}, resolver=Names(["127.0.0.1"])).status == 204
        other = sending.post(there.url(host="other.example", scheme="https"), b"{}", headers={}, resolver=Names(["127.0.0.1"]))
        assert (other.status, "certificate verify failed" in other.error) == (None, True)
        assert asked_for == [NAME, "other.example"]
        assert len(there.received) == 1


def test_over_tls_an_unknown_authority_is_not_believed(tmp_path: Path) -> None:
    ours, _authority, _asked_for = certificate(tmp_path, NAME)
    with receiver(tls=ours) as there:
        answer = sending.post(there.url(host=NAME, scheme="https"), b"{}", headers={}, resolver=Names(["127.0.0.1"]))
        assert (answer.status, "certificate verify failed" in answer.error) == (None, True)
        assert there.received == []


def certificate(directory: Path, name: str) -> tuple[ssl.SSLContext, str, list[str | None]]:
    """Make a certificate that vouches for itself; return a server's context, the certificate's file, and the names that clients ask for."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make a certificate with")
    key, file = directory / "key.pem", directory / "certificate.pem"
    said = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    named = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out", str(file)]
    subprocess.run([openssl, *said, *named], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    asked_for: list[str | None] = []
    context.sni_callback = lambda _line, asked, _context: asked_for.append(asked)
    return context, str(file), asked_for
