-- A marketplace on the last day of its month: one shop with %(sellers)s sellers, each with a verified bank account, and %(entries)s movements
-- that are available, each with its entry in the books.
--
-- One seller in a hundred is on hold, and one in a hundred has another bank account that is not verified yet: a run passes them over.
-- Loaded without firing triggers, for speed; the invariants are checked after the run that is measured.
CREATE EXTENSION IF NOT EXISTS pg_prewarm;
SET session_replication_role = replica;

CREATE FUNCTION pg_temp.public_id(prefix text, n bigint) RETURNS text LANGUAGE sql AS $$ SELECT prefix || '_' || lpad(to_hex(n), 32, '0') $$;

-- Who there is
INSERT INTO wallet_shop (id, public_id, name, signing_secret, return_origins, fee_basis_points, created_at)
VALUES (1, pg_temp.public_id('shop', 1), 'Shop', 'secret', '[]', 1000, '2026-01-01');
INSERT INTO wallet_seller (id, public_id, shop_id, reference, name)
SELECT n, pg_temp.public_id('sel', n), 1, 'seller-' || n, 'Seller ' || n FROM generate_series(1, %(sellers)s) AS n;
INSERT INTO payouts_payoutschedule (shop_id, interval, weekday, month_day, cut_off, zone, holidays, minimum, keep_back, currency, provider)
VALUES (1, 'monthly', 1, 1, '00:00', 'UTC', '', 1, 0, 'EUR', 'sandbox');
INSERT INTO payouts_bankaccount (id, public_id, seller_id, currency, kind, country, holder, sealed, fingerprint, last4, bic, bank_name,
    added_by, added_at, usable_from, verified_at, verified_by)
SELECT n, pg_temp.public_id('ba', n), n, 'EUR', 'iban', 'AT', 'Seller ' || n, 'sealed', md5(n::text), '3201', '', '', 'api', now(), now(),
       CASE WHEN mod(n, 100) <> 1 THEN now() END, CASE WHEN mod(n, 100) <> 1 THEN 'finance' ELSE '' END
FROM generate_series(1, %(sellers)s) AS n;
INSERT INTO wallet_sellerhold (public_id, seller_id, reason, placed_by, placed_at)
SELECT pg_temp.public_id('hold', n), n, 'Looked into', 'staff', now() FROM generate_series(2, %(sellers)s, 100) AS n;

-- What they have available: the movements take turns through the sellers
INSERT INTO ledger_account (code, currency) VALUES ('operating_bank', 'EUR'), ('payouts_in_transit', 'EUR');
INSERT INTO ledger_account (code, currency)
SELECT kind || ':' || n, 'EUR' FROM generate_series(1, %(sellers)s) AS n, unnest(ARRAY['seller_pending', 'seller_available', 'seller_reserved']) AS kind;
CREATE TEMPORARY TABLE movement AS
SELECT n, 1 + mod(n, %(sellers)s) AS seller, 5 + mod(n * 7919, 30000) / 100.0 AS amount FROM generate_series(1::bigint, %(entries)s) AS n;
INSERT INTO wallet_wallet (id, seller_id, currency, pending, available, reserved)
SELECT seller, seller, 'EUR', 0, sum(amount), 0 FROM movement GROUP BY seller ORDER BY seller;
INSERT INTO ledger_journalentry (id, kind, reference, memo, effective_at) SELECT n, 'manual', 'movement-' || n, '', '2026-11-20' FROM movement ORDER BY n;
INSERT INTO ledger_posting (entry_id, line, account_id, amount, currency)
SELECT n, 1, (SELECT id FROM ledger_account WHERE code = 'operating_bank'), amount, 'EUR' FROM movement
UNION ALL
SELECT n, 2, account.id, -amount, 'EUR' FROM movement JOIN ledger_account AS account ON account.code = 'seller_available:' || seller
ORDER BY 1, 2;
INSERT INTO wallet_walletentry (id, wallet_id, kind, source, journal_entry_id, currency, gross, fee, net, pending, available, reserved)
SELECT n, seller, 'release', 'movement-' || n, n, 'EUR', amount, 0, amount, 0, amount, 0 FROM movement ORDER BY n;

SELECT setval(pg_get_serial_sequence(name, 'id'), greatest(%(sellers)s, %(entries)s))
FROM unnest(ARRAY['wallet_shop', 'wallet_seller', 'wallet_wallet', 'payouts_bankaccount', 'ledger_journalentry', 'wallet_walletentry']) AS name;
RESET session_replication_role;
DROP TABLE movement;
