-- The limit of a payout run: the same rows, under the same constraints and triggers, written by ONE statement.
WITH seen AS MATERIALIZED (
    SELECT wallet.id AS wallet_id, seller_id, seller.public_id AS seller, available
    FROM wallet_wallet AS wallet JOIN wallet_seller AS seller ON seller.id = seller_id
    WHERE shop_id = 1 AND currency = 'EUR' AND available > 0 ORDER BY wallet.id FOR NO KEY UPDATE OF wallet
), chosen AS MATERIALIZED (
    SELECT seen.*, account.id AS account_id, row_number() OVER (ORDER BY seen.seller_id) AS number,
           'po_' || lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
               || substr(replace(gen_random_uuid()::text, '-', ''), 14) AS public_id
    FROM seen JOIN payouts_bankaccount AS account ON account.seller_id = seen.seller_id AND account.currency = 'EUR' AND replaced_at IS NULL
    WHERE available >= 1 AND verified_at IS NOT NULL AND usable_from <= %(now)s AND NOT EXISTS (
        SELECT FROM wallet_sellerhold AS hold WHERE hold.seller_id = seen.seller_id AND lifted_at IS NULL AND (until IS NULL OR until > %(now)s))
), run AS MATERIALIZED (
    INSERT INTO payouts_payoutrun (public_id, shop_id, currency, interval, calendar, period, ends_at, status, total, count, made_by, decided_by,
        decided_at, reason)
    SELECT 'run_1', 1, 'EUR', 'monthly', '1 00:00:00 UTC -', '2026-11', %(now)s, 'APPROVED', sum(available), count(*), 'calendar', '', %(now)s, ''
    FROM chosen
    RETURNING id
), entry AS MATERIALIZED (
    INSERT INTO ledger_journalentry (kind, reference, memo, effective_at)
    SELECT 'payout', public_id, '', %(now)s FROM chosen
    RETURNING id, reference
), made AS MATERIALIZED (
    SELECT chosen.*, entry.id AS entry_id FROM chosen JOIN entry ON entry.reference = chosen.public_id
), posting AS (
    INSERT INTO ledger_posting (entry_id, line, account_id, amount, currency)
    SELECT entry_id, line, account.id, leg.amount, 'EUR'
    FROM (
        SELECT entry_id, line, code, side.amount
        FROM made, LATERAL (VALUES (1, 'seller_available:' || seller_id, available), (2, 'payouts_in_transit', -available)) AS side (line, code, amount)
    ) AS leg LEFT JOIN ledger_account AS account ON account.code = leg.code AND account.currency = 'EUR'
), movement AS MATERIALIZED (
    INSERT INTO wallet_walletentry (wallet_id, kind, source, journal_entry_id, gross, fee, net, pending, available, reserved, currency)
    SELECT wallet_id, 'payout', public_id, entry_id, -available, 0, -available, 0, -available, 0, 'EUR' FROM made
    RETURNING id, wallet_id, journal_entry_id, available
), moved AS (
    UPDATE wallet_wallet AS wallet SET available = wallet.available + movement.available FROM movement WHERE wallet.id = wallet_id
), message AS (
    INSERT INTO wallet_outboxmessage (public_id, shop_id, topic, about, sequence, payload)
    SELECT 'evt_' || replace(gen_random_uuid()::text, '-', ''), 1, 'payout.created', public_id, 1, jsonb_build_object(
        'id', public_id, 'object', 'payout', 'seller', seller, 'reference', NULL, 'cause', 'run', 'status', 'EXECUTING',
        'amount', jsonb_build_object('amount', round(available, 2)::text, 'currency', 'EUR'), 'failure_code', NULL, 'failure_message', NULL)
    FROM made
)
INSERT INTO payouts_payout (public_id, shop_id, seller_id, bank_account_id, run_id, cause, amount, currency, status, requested_by, provider,
    next_attempt_at, journal_entry_id, wallet_entry_id, told)
SELECT public_id, 1, seller_id, account_id, run.id, 'run', made.available, 'EUR', 'EXECUTING', 'calendar', 'sandbox',
       %(now)s + number * interval '20 milliseconds', entry_id, movement.id, 1
FROM run, made JOIN movement ON movement.journal_entry_id = made.entry_id
