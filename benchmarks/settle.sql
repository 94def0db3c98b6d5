-- The limit of settlement.settle: the same rows, under the same constraints and triggers, written by ONE statement per batch.  Run by pgbench:
-- client k of :clients takes batches k, k + :clients, ... of the orders after number :settled.
\set turn :turn + 1
\set first :settled + ((:turn - 1) * :clients + :client_id) * :batch + 1
WITH sold AS MATERIALIZED (
    SELECT id, event_id, shop_id, seller_id, public_id, reference, psp, amount, fee, net, currency FROM payments_paymentorder
    WHERE id = ANY (ARRAY(SELECT generate_series(:first::bigint, :first::bigint + :batch - 1))) AND status = 'EXECUTING'
    ORDER BY id FOR NO KEY UPDATE
), attempt AS (
    UPDATE payments_pspattempt AS attempt SET status = 'SUCCEEDED', psp_reference = 'ch_' || attempt.id, finished_at = now()
    FROM sold WHERE attempt.id = sold.id
), done AS (
    DELETE FROM payments_dueorder USING sold WHERE order_id = sold.id
), due AS (
    INSERT INTO payments_duerelease (order_id, due_at) SELECT id, now() + interval '14 days' FROM sold
), entry AS MATERIALIZED (
    INSERT INTO ledger_journalentry (kind, reference, memo, effective_at)
    SELECT 'sale', public_id, '', now() FROM sold
    RETURNING id, reference
), sale AS MATERIALIZED (
    SELECT sold.*, entry.id AS entry_id FROM sold JOIN entry ON entry.reference = sold.public_id
), posting AS (
    INSERT INTO ledger_posting (entry_id, line, account_id, amount, currency)
    SELECT entry_id, line, account.id, leg.amount, leg.currency
    FROM (
        SELECT entry_id, line, code, side.amount, currency
        FROM sale, LATERAL (VALUES
            (1, 'psp_receivable:' || psp, amount), (2, 'seller_pending:' || seller_id, -net), (3, 'fee_revenue', -fee)
        ) AS side (line, code, amount)
    ) AS leg LEFT JOIN ledger_account AS account USING (code, currency)
), locked AS MATERIALIZED (
    SELECT id, seller_id, currency FROM wallet_wallet
    WHERE (seller_id, currency) IN (SELECT seller_id, currency FROM sold)
    ORDER BY id FOR NO KEY UPDATE
), movement AS MATERIALIZED (
    INSERT INTO wallet_walletentry (wallet_id, kind, source, journal_entry_id, gross, fee, net, pending, available, reserved, currency)
    SELECT locked.id, 'sale', public_id, entry_id, amount, fee, net, net, 0, 0, currency FROM sale JOIN locked USING (seller_id, currency)
    RETURNING id, wallet_id, journal_entry_id, pending
), moved AS (
    UPDATE wallet_wallet SET pending = wallet_wallet.pending + total
    FROM (SELECT wallet_id, sum(pending) AS total FROM movement GROUP BY wallet_id) AS brought WHERE id = wallet_id
), standing AS MATERIALIZED (
    SELECT payment.event_id, bool_and(sold.id IS NOT NULL OR status = 'SUCCESS') AS all_paid
    FROM payments_paymentorder AS payment LEFT JOIN sold ON sold.id = payment.id
    WHERE payment.event_id IN (SELECT event_id FROM sold) GROUP BY payment.event_id
), closed AS MATERIALIZED (
    UPDATE payments_paymentevent AS event SET is_payment_done = all_paid, status = CASE WHEN all_paid THEN 'paid' ELSE 'partly_paid' END
    FROM standing WHERE event.id = event_id
    RETURNING event.id, event.shop_id, event.public_id, event.status, event.amount, event.currency, event.is_payment_done
), unlisted AS (
    DELETE FROM payments_opencheckout USING closed WHERE event_id = closed.id AND is_payment_done
), message AS (
    INSERT INTO wallet_outboxmessage (public_id, shop_id, topic, about, payload)
    SELECT 'evt_' || replace(gen_random_uuid()::text, '-', ''), shop_id, topic, about, payload
    FROM (
        SELECT shop_id, 'payment_order.succeeded' AS topic, public_id AS about, jsonb_build_object(
            'id', public_id, 'object', 'payment_order', 'reference', reference, 'status', 'SUCCESS', 'failure_code', NULL,
            'amount', jsonb_build_object('amount', round(amount, 2)::text, 'currency', currency),
            'fee', jsonb_build_object('amount', round(fee, 2)::text, 'currency', currency),
            'net', jsonb_build_object('amount', round(net, 2)::text, 'currency', currency)) AS payload
        FROM sale
        UNION ALL
        SELECT shop_id, 'payment.' || status, public_id, jsonb_build_object(
            'id', public_id, 'object', 'payment', 'status', status,
            'amount', jsonb_build_object('amount', round(amount, 2)::text, 'currency', currency))
        FROM closed WHERE is_payment_done
    ) AS news
)
UPDATE payments_paymentorder AS payment SET status = 'SUCCESS', failure_code = '', journal_entry_id = entry_id, wallet_entry_id = movement.id,
    unreleased = sale.net
FROM sale JOIN movement ON movement.journal_entry_id = sale.entry_id WHERE payment.id = sale.id;
