-- One seller of one shop, with %(movements)s movements over the past two years in one wallet, 24 payouts, and somebody who acts for the seller.
--
-- Loaded without firing triggers, for speed.  All movements name one journal entry: the home never reads it.
CREATE EXTENSION IF NOT EXISTS pg_prewarm;
SET session_replication_role = replica;

CREATE FUNCTION pg_temp.public_id(prefix text, n bigint) RETURNS text LANGUAGE sql AS $$ SELECT prefix || '_' || lpad(to_hex(n), 32, '0') $$;

INSERT INTO wallet_shop (id, public_id, name, signing_secret, return_origins, fee_basis_points)
VALUES (1, pg_temp.public_id('shop', 1), 'Shop', 'secret', '[]', 1000);
INSERT INTO wallet_seller (id, public_id, shop_id, reference, name) VALUES (1, pg_temp.public_id('sel', 1), 1, 'seller-1', 'Seller 1');
INSERT INTO auth_user (id, username, password, is_superuser, is_staff, is_active, first_name, last_name, email, date_joined)
VALUES (1, 'seller', '!', false, false, true, '', '', '', now());
INSERT INTO wallet_seller_users (seller_id, user_id) VALUES (1, 1);
INSERT INTO payouts_bankaccount (id, public_id, seller_id, currency, kind, country, holder, sealed, fingerprint, last4, bic, bank_name,
    added_by, added_at, usable_from, verified_at, verified_by)
VALUES (1, pg_temp.public_id('ba', 1), 1, 'EUR', 'iban', 'AT', 'Seller 1', 'sealed', md5('1'), '3201', '', '', 'api', '2020-01-01', '2020-01-01', now(), 'finance');
INSERT INTO ledger_journalentry (id, kind, reference, memo, effective_at) VALUES (1, 'manual', 'all', '', now());
INSERT INTO wallet_wallet (id, seller_id, currency, pending, available, reserved) VALUES (1, 1, 'EUR', 1000, 2000, 0);
INSERT INTO wallet_walletentry (id, wallet_id, kind, source, journal_entry_id, currency, gross, fee, net, pending, available, reserved, created_at)
SELECT n, 1, CASE WHEN mod(n, 20) = 0 THEN 'refund' ELSE 'sale' END, pg_temp.public_id('ord', n), 1, 'EUR', gross, gross / 10, gross * 9 / 10, gross * 9 / 10, 0, 0,
       now() - interval '1 hour' - interval '2 years' * (1 - n / %(movements)s::numeric)::double precision
FROM (SELECT n, CASE WHEN mod(n, 20) = 0 THEN -1 ELSE 1 END * (50 + mod(n * 7919, 3000)) / 10 * 1.0 AS gross FROM generate_series(1::bigint, %(movements)s) AS n) AS drawn
ORDER BY n;
INSERT INTO payouts_payout (id, public_id, shop_id, seller_id, bank_account_id, cause, currency, amount, status, provider, paid_at, journal_entry_id, wallet_entry_id,
    paid_entry_id, created_at)
SELECT n, pg_temp.public_id('po', n), 1, 1, 1, 'request', 'EUR', 100, CASE WHEN n = 24 THEN 'EXECUTING' ELSE 'SUCCESS' END, 'sandbox', CASE WHEN n < 24 THEN now() END,
       n, n, CASE WHEN n < 24 THEN 1 END, now() - interval '1 month' * (24 - n)
FROM generate_series(1, 24) AS n;

SELECT setval(pg_get_serial_sequence(name, 'id'), %(movements)s)
FROM unnest(ARRAY['wallet_shop', 'wallet_seller', 'wallet_wallet', 'payouts_bankaccount', 'payouts_payout', 'ledger_journalentry', 'wallet_walletentry', 'auth_user']) AS name;
RESET session_replication_role;
