-- A marketplace in use: 50 shops with 10,000 sellers; payment orders that were settled before, and orders that wait for their capture.
--
--     %(settled)s   orders settled before, three postings each: plans and indexes as of a ledger in use
--     %(waiting)s   orders that are executing, numbered after the settled ones
--     %(sellers)s   over how many sellers those that wait are spread: 10000, or 1 for the busiest seller there can be
--
-- Ten orders make five checkouts, of 1, 2, 3, 1 and 3 orders.  An order's attempt and entries have the order's own number.
-- Loaded without firing triggers, for speed; the invariants are checked before anything is measured.
CREATE EXTENSION IF NOT EXISTS pg_prewarm;
SET session_replication_role = replica;
SELECT setseed(0.42);

CREATE FUNCTION pg_temp.public_id(prefix text, n bigint) RETURNS text LANGUAGE sql AS $$ SELECT prefix || '_' || lpad(to_hex(n), 32, '0') $$;
CREATE FUNCTION pg_temp.event_of(n bigint) RETURNS bigint LANGUAGE sql AS $$
    SELECT (n - 1) / 10 * 5 + (ARRAY[1, 2, 2, 3, 3, 3, 4, 5, 5, 5])[1 + mod(n - 1, 10)]
$$;

CREATE TEMPORARY TABLE sale AS
SELECT n, event, is_settled, shop, (shop - 1) * 200 + 1 + floor(random() * least(200, sellers))::bigint AS seller, amount,
       round(amount / 10, 2) AS fee, amount - round(amount / 10, 2) AS net, pg_temp.public_id('ord', n) AS public_id
FROM (
    SELECT n, event, is_settled, sellers, 1 + mod(event, greatest(1, sellers / 200)) AS shop, round((5 + random() * 300)::numeric, 2) AS amount
    FROM (
        SELECT n, pg_temp.event_of(n) AS event, n <= %(settled)s AS is_settled, CASE WHEN n <= %(settled)s THEN 10000 ELSE %(sellers)s END AS sellers
        FROM generate_series(1::bigint, %(settled)s + %(waiting)s) AS n
    ) AS numbered
) AS drawn;
ANALYZE sale;

-- Who there is
INSERT INTO wallet_shop (id, public_id, name, signing_secret, return_origins, fee_basis_points)
SELECT n, pg_temp.public_id('shop', n), 'Shop ' || n, md5(n::text), '[]', 1000 FROM generate_series(1, 50) AS n;
INSERT INTO wallet_buyer (id, public_id, shop_id, reference, name, email)
SELECT n, pg_temp.public_id('buy', n), n, 'buyer-' || n, '', '' FROM generate_series(1, 50) AS n;
INSERT INTO wallet_seller (id, public_id, shop_id, reference, name)
SELECT n, pg_temp.public_id('sel', n), 1 + (n - 1) / 200, 'seller-' || n, 'Seller ' || n FROM generate_series(1, 10000) AS n;
INSERT INTO ledger_account (code, currency) VALUES ('psp_receivable:sandbox', 'EUR'), ('fee_revenue', 'EUR');
INSERT INTO ledger_account (code, currency)
SELECT kind || ':' || n, 'EUR' FROM generate_series(1, 10000) AS n, unnest(ARRAY['seller_pending', 'seller_available', 'seller_reserved']) AS kind;
INSERT INTO wallet_wallet (id, seller_id, currency, pending, available, reserved)
SELECT wallet, wallet, 'EUR', coalesce(sum(net), 0), 0, 0
FROM generate_series(1, 10000) AS wallet LEFT JOIN sale ON seller = wallet AND is_settled GROUP BY wallet ORDER BY wallet;

-- What was ordered
INSERT INTO payments_paymentevent (id, public_id, token, shop_id, checkout_id, buyer_id, currency, amount, psp, status, is_payment_done, return_url,
    locale, metadata, psp_session, confirmed_session, confirmations, card_brand, card_last4, expires_at)
SELECT event, pg_temp.public_id('pay', event), md5(event::text), min(shop), 'checkout-' || event, min(shop), 'EUR', sum(amount), 'sandbox',
       CASE WHEN bool_and(is_settled) THEN 'paid' ELSE 'open' END, bool_and(is_settled), 'https://shop.example/thanks',
       'en', '{}', 'cs_' || md5(event::text), 'cs_' || md5(event::text), 1, 'visa', '4242', now() + interval '1 day'
FROM sale GROUP BY event ORDER BY event;
INSERT INTO payments_opencheckout (event_id, expires_at) SELECT id, expires_at FROM payments_paymentevent WHERE NOT is_payment_done ORDER BY id;
INSERT INTO payments_paymentorder (id, public_id, event_id, shop_id, seller_id, reference, description, items, currency, amount, fee, net, psp,
    status, failure_code, journal_entry_id, wallet_entry_id, refunded, unreleased)
SELECT n, public_id, event, shop, seller, 'order-' || n, 'One article', '[{"sku": "A-100", "quantity": 1}]', 'EUR', amount, fee, net, 'sandbox',
       CASE WHEN is_settled THEN 'SUCCESS' ELSE 'EXECUTING' END, '', CASE WHEN is_settled THEN n END, CASE WHEN is_settled THEN n END, 0,
       CASE WHEN is_settled THEN net ELSE 0 END
FROM sale ORDER BY n;
INSERT INTO payments_pspattempt (id, order_id, number, psp, psp_key, status, psp_reference, error_code, error_message, finished_at)
SELECT n, n, 1, 'sandbox', public_id || ':1', CASE WHEN is_settled THEN 'SUCCEEDED' ELSE 'SENDING' END, CASE WHEN is_settled THEN 'ch_' || n ELSE '' END,
       '', '', CASE WHEN is_settled THEN now() END
FROM sale ORDER BY n;
INSERT INTO payments_dueorder (order_id, psp_key, payment_token, tries, next_attempt_at, claimed_until)
SELECT n, public_id || ':1', 'tok_' || md5(event::text), 1, now(), now() + interval '1 minute' FROM sale WHERE NOT is_settled ORDER BY n;

-- What was settled
INSERT INTO payments_duerelease (order_id, due_at) SELECT n, now() + interval '14 days' FROM sale WHERE is_settled ORDER BY n;
INSERT INTO ledger_journalentry (id, kind, reference, memo, effective_at) SELECT n, 'sale', public_id, '', now() FROM sale WHERE is_settled ORDER BY n;
INSERT INTO ledger_posting (entry_id, line, account_id, amount, currency)
SELECT n, line, account.id, leg.amount, 'EUR'
FROM sale, LATERAL (VALUES (1, 'psp_receivable:sandbox', amount), (2, 'seller_pending:' || seller, -net), (3, 'fee_revenue', -fee)) AS leg (line, code, amount)
JOIN ledger_account AS account ON account.code = leg.code AND account.currency = 'EUR'
WHERE is_settled ORDER BY n, line;
INSERT INTO wallet_walletentry (id, wallet_id, kind, source, journal_entry_id, currency, gross, fee, net, pending, available, reserved)
SELECT n, seller, 'sale', public_id, n, 'EUR', amount, fee, net, net, 0, 0 FROM sale WHERE is_settled ORDER BY n;
INSERT INTO wallet_outboxmessage (public_id, shop_id, topic, about, payload)
SELECT pg_temp.public_id('evt', n), shop, 'payment_order.succeeded', public_id,
       jsonb_build_object('id', public_id, 'object', 'payment_order', 'status', 'SUCCESS', 'amount', amount::text, 'fee', fee::text, 'net', net::text)
FROM sale WHERE is_settled ORDER BY n;

SELECT setval(pg_get_serial_sequence(name, 'id'), %(settled)s + %(waiting)s)
FROM unnest(ARRAY['wallet_shop', 'wallet_buyer', 'wallet_seller', 'wallet_wallet', 'payments_paymentevent', 'payments_paymentorder',
    'payments_pspattempt', 'ledger_journalentry', 'wallet_walletentry']) AS name;
RESET session_replication_role;
DROP TABLE sale;
