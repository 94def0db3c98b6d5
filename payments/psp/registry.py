"""Which PSPs there are, by name.  An adapter is made once per process, from the settings."""

from functools import cache

from django.conf import settings

from ledger.errors import DomainError
from payments.psp.protocol import Psp
from payments.psp.sandbox import SandboxPsp


class UnknownPsp(DomainError):
    code = "unknown_psp"


@cache
def psp_named(name: str) -> Psp:
    """Return the adapter.  Raises UnknownPsp for a name that is not configured (the sandbox never is in production)."""
    if name == SandboxPsp.name and settings.PSP_SANDBOX_URL and not settings.PRODUCTION:
        return SandboxPsp(
            url=settings.PSP_SANDBOX_URL,
            api_key=settings.PSP_SANDBOX_API_KEY,
            account=settings.PSP_SANDBOX_ACCOUNT,
            webhook_secrets=settings.PSP_SANDBOX_WEBHOOK_SECRETS,
        )
    raise UnknownPsp(f"There is no PSP named {name!r}. Configure it, or set DEFAULT_PSP to one that is.")
