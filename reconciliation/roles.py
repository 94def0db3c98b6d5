"""The five roles of the staff: who sees what, who proposes, who approves, who audits, and who administers without touching money.

A role is a group of Django's, and its rights are this table: `keep` makes the groups so after each `migrate`, and takes nobody out of one.  A
right that stands in no role's list is nobody's but a superuser's; a test finds those that anything in the house asks for.  docs/roles.md
shows the table.
"""

from collections.abc import Iterable
from enum import StrEnum

from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import Value
from django.db.models.functions import Concat


class Role(StrEnum):
    """A role, by the name of its group."""

    VIEWER = "Viewer"
    MAKER = "Maker"
    CHECKER = "Checker"
    AUDITOR = "Auditor"
    ADMINISTRATOR = "Administrator"


HOUSE = ("ledger", "wallet", "payments", "payouts", "reconciliation")
FINANCE = (Role.VIEWER, Role.MAKER, Role.CHECKER)

# Pages that say nothing of money, or more of people than finance needs
NOT_OF_FINANCE = frozenset(
    {
        "wallet.view_apikey",
        "wallet.view_idempotencyrecord",
        "wallet.view_secondfactor",
        "wallet.view_secondfactorchange",
        "wallet.view_webhookendpoint",
        "reconciliation.view_audittrail",
    }
)

# Pages that an administrator works on, or looks at to see whether what was set works
OF_ADMINISTRATION = frozenset(
    {
        "auth.view_group",
        "auth.view_user",
        "payments.view_circuitbreaker",
        "payments.view_retrypolicy",
        "payouts.view_payoutcurrency",
        "payouts.view_payoutschedule",
        "reconciliation.view_expectedfee",
        "reconciliation.view_expectedfile",
        "reconciliation.view_invariantrun",
        "reconciliation.view_queueheartbeat",
        "reconciliation.view_sftpentry",
        "reconciliation.view_sftpsource",
        "reconciliation.view_sourcefile",
        "wallet.view_apikey",
        "wallet.view_idempotencyrecord",
        "wallet.view_outboxmessage",
        "wallet.view_releaseterms",
        "wallet.view_secondfactor",
        "wallet.view_secondfactorchange",
        "wallet.view_seller",
        "wallet.view_shop",
        "wallet.view_taxrate",
        "wallet.view_webhookdelivery",
        "wallet.view_webhookendpoint",
    }
)

MAKES = (
    "ledger.propose_entry",
    "ledger.propose_write_off",
    "payments.add_cancellation",
    "payments.add_feeschedule",
    "payments.add_refund",
    "payments.change_deadletter",
    "payments.change_feeschedule",
    "payments.change_latecharge",
    "payments.change_paymentorder",
    "payments.change_pspevent",
    "payments.change_refund",
    "payouts.add_payoutrun",
    "payouts.answer_paymentfile",
    "payouts.download_paymentfile",
    "payouts.make_paymentfile",
    "reconciliation.add_insidelook",
    "reconciliation.add_tolerancerule",
    "reconciliation.annotate_mismatch",
    "reconciliation.change_tolerancerule",
    "reconciliation.download_sourcefile",
    "reconciliation.prepare_close",
    "reconciliation.propose_resolution",
    "reconciliation.reread_sourcefile",
    "reconciliation.upload_sourcefile",
    "wallet.add_exchangerate",
    "wallet.add_giftcard",
    "wallet.add_sellerhold",
    "wallet.propose_thaw",
    "wallet.upload_exchangerate",
)
CHECKS = (
    "ledger.approve_entry",
    "ledger.approve_write_off",
    "payments.approve_deadletter",
    "payments.approve_feeschedule",
    "payments.approve_refund",
    "payouts.add_payoutstop",
    "payouts.approve_paymentfile",
    "payouts.change_bankaccount",
    "payouts.change_payout",
    "payouts.change_payoutrun",
    "payouts.lift_payoutstop",
    "reconciliation.add_insidelook",
    "reconciliation.annotate_mismatch",
    "reconciliation.approve_close",
    "reconciliation.approve_resolution",
    "reconciliation.approve_tolerancerule",
    "reconciliation.download_sourcefile",
    "wallet.approve_exchangerate",
    "wallet.approve_giftcard",
    "wallet.approve_thaw",
    "wallet.change_giftcard",
    "wallet.change_sellerhold",
)
AUDITS = ("auth.view_group", "auth.view_user", "reconciliation.download_sourcefile")
ADMINISTERS = (
    "auth.add_user",
    "auth.change_user",
    "payments.add_retrypolicy",
    "payments.change_retrypolicy",
    "payments.delete_retrypolicy",
    "payouts.add_payoutcurrency",
    "payouts.add_payoutschedule",
    "payouts.change_payoutcurrency",
    "payouts.change_payoutschedule",
    "payouts.delete_payoutschedule",
    "reconciliation.add_expectedfee",
    "reconciliation.add_expectedfile",
    "reconciliation.change_expectedfee",
    "reconciliation.change_expectedfile",
    "reconciliation.delete_expectedfee",
    "reconciliation.delete_expectedfile",
    "wallet.add_apikey",
    "wallet.add_releaseterms",
    "wallet.add_seller",
    "wallet.add_shop",
    "wallet.add_taxrate",
    "wallet.add_webhookendpoint",
    "wallet.change_apikey",
    "wallet.change_releaseterms",
    "wallet.change_secondfactor",
    "wallet.change_seller",
    "wallet.change_shop",
    "wallet.change_taxrate",
    "wallet.change_webhookdelivery",
    "wallet.change_webhookendpoint",
    "wallet.delete_releaseterms",
    "wallet.delete_taxrate",
)


def rights_of(role: Role) -> frozenset[str]:
    """Return the permissions that the role has, as `payments.add_refund`."""
    match role:
        case Role.VIEWER:
            return views_of_finance()
        case Role.MAKER:
            return views_of_finance().union(MAKES)
        case Role.CHECKER:
            return views_of_finance().union(CHECKS)
        case Role.AUDITOR:
            return views().union(AUDITS)
        case Role.ADMINISTRATOR:
            return OF_ADMINISTRATION.union(ADMINISTERS)


def roles_with(right: str) -> list[Role]:
    """Return the roles that have the permission."""
    return [role for role in Role if right in rights_of(role)]


def views() -> frozenset[str]:
    """Return the right to look at each table of the house."""
    models = (model._meta for name in HOUSE for model in apps.get_app_config(name).get_models())
    return frozenset(f"{meta.app_label}.view_{meta.model_name}" for meta in models if "view" in meta.default_permissions)


def views_of_finance() -> frozenset[str]:
    return views() - NOT_OF_FINANCE


@transaction.atomic
def keep() -> None:
    """Make the five groups what the table says: their rights, no more and no fewer.  Whoever is in a group stays in it."""
    for role in Role:
        group, _is_new = Group.objects.get_or_create(name=role.value)
        group.permissions.set(permissions_called(rights_of(role)))


def permissions_called(names: Iterable[str]) -> list[Permission]:
    """Return the permissions with these names."""
    named = Permission.objects.annotate(called=Concat("content_type__app_label", Value("."), "codename"))
    return list(named.filter(called__in=list(names)))
