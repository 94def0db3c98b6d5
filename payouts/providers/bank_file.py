"""Our own bank, reached by files that a person takes there (payouts/files.py): whatever is paid out waits for a file, and for its answer.

Nothing is sent from here, and nobody is asked: a payout is pending until the bank's answer to its file says what became of it.
"""

from collections.abc import Mapping
from datetime import datetime

from payouts.providers.protocol import PayoutPending, PayoutRequest, PayoutTerms, ReturnNotice, Ring, WebhookRefused


class BankFile:
    """The bank that reads files."""

    name = "bank_file"

    def pay_out(self, request: PayoutRequest) -> PayoutPending:
        """Let the payout wait for the next file."""
        return PayoutPending(provider_reference="")

    def find_payout(self, terms: PayoutTerms) -> PayoutPending:
        """Say that it is on its way: whether a file has it, only our rows know (requests.give_up_unfiled looks there)."""
        return PayoutPending(provider_reference="")

    def returned_since(self, moment: datetime) -> list[ReturnNotice]:
        """Tell of none: what comes back stands in the bank's statement, and a person records it (file_returns.py)."""
        return []

    def verify_webhook(self, body: bytes, headers: Mapping[str, str], *, now: datetime) -> Ring:
        """Refuse every webhook: the bank sends none."""
        raise WebhookRefused("The bank answers with files; it sends no webhooks.")
