"""Pay-out in the admin.  What was paid or said is changed by no form: what a person may decide is a deed with a page of its own."""

from payouts import bank_account_admin, conversion_admin, payment_file_admin, payout_admin, schedule_admin

__all__ = [
    "bank_account_admin",
    "conversion_admin",
    "payment_file_admin",
    "payout_admin",
    "schedule_admin",
]  # Django looks for an app's pages here
