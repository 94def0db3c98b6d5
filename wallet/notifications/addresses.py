"""Where a webhook may go: to public addresses of the internet over https, and nowhere near us (server-side request forgery, SEC-18).

A name is looked up each time it is used, every address it has must be public, and the connection goes to the very addresses that were
looked at (sending.py): a name that changes between check and use gains nothing.  Spelling is never trusted: 0x7f.1, 2130706433 and their
like are refused for not being names.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from ledger.errors import DomainError

LONGEST_URL = 2000
MOST_ADDRESSES = 3  # that are tried
READABLE = re.compile(r"[!#-;=?-Z_a-z~\[\]]+")  # printable ASCII without space, quotes, <, >, \, ^, `, {, | and }
NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])")
LOCAL_NAMES = (".localhost", ".local", ".internal", ".intranet", ".lan", ".home.arpa", ".onion")
WELL_KNOWN_PORTS = frozenset({443, 8443})
FIRST_USER_PORT = 1024

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Sequence[str]]

# IANA's registries of special-purpose addresses (RFC 6890 and later), multicast, and what clouds answer about themselves on.
NOT_PUBLIC_4 = [
    ipaddress.IPv4Network(network)
    for network in """
    0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24
    192.88.99.0/24 192.168.0.0/16 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3 168.63.129.16/32
    """.split()
]
# Of IPv6 only what is allotted as global unicast, and of that neither 6to4, Teredo nor documentation.  Mapped, translated (64:ff9b::/96),
# unique local, link-local and multicast addresses lie outside.
PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
NOT_PUBLIC_6 = [
    ipaddress.IPv6Network(network) for network in "2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3ffe::/16 3fff::/20".split()
]


class UrlRefused(DomainError):
    code = "webhook_url_refused"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, field="url")


@dataclass(frozen=True, slots=True)
class Target:
    """An address that was checked: the URL as it is asked for, and the addresses that its name has now."""

    url: str
    addresses: tuple[str, ...]


def look_up(name: str, port: int) -> Sequence[str]:
    """Return the addresses of the name, as this machine's resolver knows them."""
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(address[0]) for *_kind, address in found))


def checked(url: str, *, resolver: Resolver = look_up) -> Target:
    """Return where the URL leads.  Raises UrlRefused for what is no address of a webhook, or leads to anything that is not public."""
    parts = require_form(url)
    addresses = addresses_of(parts, resolver)
    if not settings.WEBHOOKS_ALLOW_PRIVATE and not all(is_public(address) for address in addresses):
        raise UrlRefused(f"{parts.hostname} leads to an address that is not public. Give one that the internet can reach.")
    return Target(url, tuple(str(address) for address in addresses[:MOST_ADDRESSES]))


def require_form(url: str) -> SplitResult:
    """Check all that can be seen without looking anything up.  Raises UrlRefused."""
    if not READABLE.fullmatch(url) or len(url) > LONGEST_URL:
        raise UrlRefused(f"A URL has up to {LONGEST_URL} visible ASCII characters; write others as %20 and the like.")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UrlRefused("This is not a URL. Send one such as https://shop.example/webhooks.") from error
    private = settings.WEBHOOKS_ALLOW_PRIVATE
    if parts.scheme != "https" and not (private and parts.scheme == "http"):
        raise UrlRefused("A webhook goes to an https:// address.")
    if "@" in parts.netloc or "#" in url or parts.netloc.endswith(":"):
        raise UrlRefused("A webhook's URL has no user name, no password, no empty port and no fragment.")
    if not private and port is not None and port not in WELL_KNOWN_PORTS and port < FIRST_USER_PORT:
        raise UrlRefused(f"A webhook goes to port 443, 8443, or one from {FIRST_USER_PORT} on.")
    host = parts.hostname or ""
    if literal(host) is None and not (private and host == "localhost"):
        require_name(host)
    return parts


def require_name(host: str) -> None:
    if len(host) > 253 or not NAME.fullmatch(host):
        raise UrlRefused("The URL's host is not a full name such as shop.example. Leave out a final dot; write other letters in Punycode.")
    if host.endswith(LOCAL_NAMES):
        raise UrlRefused(f"{host} is a name of private networks only.")


def literal(host: str) -> Address | None:
    """Return the address that the host is, written the one proper way; None for anything else."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return None if "%" in host else address


def addresses_of(parts: SplitResult, resolver: Resolver) -> list[Address]:
    host = parts.hostname or ""
    if (address := literal(host)) is not None:
        return [address]
    try:
        found = [ipaddress.ip_address(address) for address in resolver(host, parts.port or 443)]
    except (OSError, ValueError) as error:  # ValueError: with a scope, fe80::1%eth0, or a name that no resolver takes
        raise UrlRefused(f"{host} cannot be found. Check its spelling, and that it is known to public name servers.") from error
    if not found:
        raise UrlRefused(f"{host} has no address.")
    return found


def is_public(address: Address) -> bool:
    """Tell whether the address is one of the internet's, and of nobody's inside."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_4)
    return address in PUBLIC_6 and not any(address in network for network in NOT_PUBLIC_6)
