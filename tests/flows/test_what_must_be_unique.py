"""What happens once because Postgres says so: the unique indexes on which "at most once" rests, read from the database itself."""

import pytest
from django.db import connection

COLUMNS = """
SELECT string_agg(attribute.attname, ',' ORDER BY place.number), coalesce(pg_get_expr(indpred, indrelid), '')
FROM pg_index
CROSS JOIN LATERAL unnest(indkey) WITH ORDINALITY AS place (attnum, number)
JOIN pg_attribute AS attribute ON attribute.attrelid = indrelid AND attribute.attnum = place.attnum
WHERE indrelid = %s::regclass AND indisunique AND indisvalid GROUP BY indexrelid, indpred, indrelid
"""


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("table", "columns", "where"),
    [
        ("ledger_journalentry", "reference", ""),
        ("ledger_account", "code,currency", ""),
        ("ledger_approval", "kind,subject", "status"),
        ("wallet_wallet", "seller_id,currency", ""),
        ("wallet_idempotencyrecord", "shop_id,route,key", ""),
        ("wallet_outboxmessage", "public_id", ""),
        ("wallet_webhookdelivery", "message_id,endpoint_id", ""),
        ("payments_paymentevent", "shop_id,checkout_id", ""),
        ("payments_paymentevent", "token", ""),
        ("payments_paymentorder", "shop_id,reference", "reference"),
        ("payments_dueorder", "order_id", ""),
        ("payments_duerelease", "order_id", ""),
        ("payments_reserve", "order_id", ""),
        ("wallet_releaseterms", "shop_id,seller_id", ""),
        ("wallet_feeinvoice", "shop_id,series,year,sequence", ""),
        ("wallet_feeinvoice", "seller_id,currency,period,version", "corrects_id"),
        ("wallet_feeinvoice", "corrects_id", ""),
        ("wallet_invoiceseries", "shop_id,series,year", ""),
        ("wallet_noticedismissal", "user_id,key", ""),
        ("payments_pspattempt", "order_id,operation,number,refund_id", ""),
        ("payments_pspevent", "psp,event_id", ""),
        ("payments_latecharge", "psp,psp_reference", ""),
        ("payments_refund", "order_id,once", "once"),
        ("payments_refund", "order_id,reference", "reference"),
        ("payments_refund", "late_charge_id", "status"),
        ("payments_cancellation", "order_id", "status"),
        ("payments_dispute", "psp,psp_reference", ""),
        ("payments_deadletter", "order_id,refund_id", "decided_at"),
        ("payments_circuitbreaker", "psp,operation", ""),
        ("payouts_bankaccount", "seller_id,currency", "replaced_at"),
        ("payouts_payout", "seller_id,once", "once"),
        ("payouts_payout", "seller_id,reference", "reference"),
        ("payouts_payout", "run_id,seller_id", ""),
        ("payouts_payout", "journal_entry_id", ""),
        ("payouts_payout", "wallet_entry_id", ""),
        ("payouts_payoutattempt", "payout_id,operation,number", ""),
        ("payouts_paymentfile", "message_id", ""),
        ("payouts_paymentfileline", "payout_id", "dropped_at"),
        ("payouts_payoutrun", "shop_id,currency,interval,calendar,period", ""),
        ("payouts_payoutstop", "lifted_at", "lifted_at"),
    ],
)
def test_bug_29_what_may_happen_once_is_unique_in_postgres(table: str, columns: str, where: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(COLUMNS, [table])
        indexes = cursor.fetchall()
    assert any(found == columns and where in condition and bool(where) == bool(condition) for found, condition in indexes), indexes
