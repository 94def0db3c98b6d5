"""Which providers there are, by name.  An adapter is made once per process, from the settings."""

from functools import cache

from django.conf import settings

from ledger.errors import DomainError
from payouts.providers.bank_file import BankFile
from payouts.providers.protocol import Provider
from payouts.providers.sandbox import SandboxBank


class UnknownProvider(DomainError):
    code = "unknown_payout_provider"


@cache
def provider_named(name: str) -> Provider:
    """Return the adapter.  Raises UnknownProvider for a name that is not configured (the sandbox never is in production)."""
    if name == SandboxBank.name and settings.PSP_SANDBOX_URL and not settings.PRODUCTION:
        return SandboxBank(
            url=settings.PSP_SANDBOX_URL,
            api_key=settings.PSP_SANDBOX_API_KEY,
            account=settings.PSP_SANDBOX_ACCOUNT,
            webhook_secrets=settings.PSP_SANDBOX_WEBHOOK_SECRETS,
        )
    if name == BankFile.name and settings.BANK_FILE_ACCOUNTS:
        return BankFile()
    raise UnknownProvider(f"Nobody named {name!r} pays out. Configure it, or set DEFAULT_PAYOUT_PROVIDER to one that is.")
