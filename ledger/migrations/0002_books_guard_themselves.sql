-- What Postgres itself refuses, whoever asks.  Every check looks at the whole statement at once (its transition table), so that a batch of
-- a hundred entries pays for it once.
-- search_path: whoever posts cannot put a temporary table in the place of the books.
-- enable_seqscan = off: a plan made while the tables were empty is kept by the session, and would read all of a ledger that has grown.

CREATE FUNCTION postings_must_balance() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off SET search_path = public, pg_temp AS $$
DECLARE
    wrong text;
BEGIN
    SELECT string_agg(DISTINCT leg.entry_id::text, ', ') INTO wrong
    FROM (SELECT entry_id, sum(amount) AS total FROM added GROUP BY entry_id, currency) AS leg
    LEFT JOIN ledger_journalentry AS entry ON entry.id = leg.entry_id
    WHERE leg.total <> 0 OR entry.id IS NULL;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'entry % does not balance in every currency, or does not exist', wrong USING ERRCODE = 'integrity_constraint_violation';
    END IF;

    SELECT string_agg(leg.entry_id::text, ', ') INTO wrong
    FROM (SELECT entry_id, count(*) AS legs FROM added GROUP BY entry_id) AS leg
    WHERE leg.legs < 2 OR leg.legs <> (SELECT count(*) FROM ledger_posting AS posting WHERE posting.entry_id = leg.entry_id);
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'entry % stands already, or has fewer than two legs: post a new entry', wrong USING ERRCODE = 'integrity_constraint_violation';
    END IF;

    SELECT string_agg(leg.account_id::text || ' ' || leg.currency, ', ') INTO wrong
    FROM (SELECT DISTINCT account_id, currency FROM added) AS leg
    LEFT JOIN ledger_account AS account ON account.id = leg.account_id AND account.currency = leg.currency
    WHERE account.id IS NULL;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'there is no account % of that currency', wrong USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER postings_must_balance AFTER INSERT ON ledger_posting
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION postings_must_balance();

CREATE FUNCTION entry_must_have_postings() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM added WHERE NOT EXISTS (SELECT FROM ledger_posting AS posting WHERE posting.entry_id = added.id)) THEN
        RAISE EXCEPTION 'an entry and its postings must be written by one statement' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER entry_must_have_postings AFTER INSERT ON ledger_journalentry
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION entry_must_have_postings();

-- For every table that only grows, here and in the apps above.
CREATE FUNCTION rows_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: correct it with a new row', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER books_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_journalentry
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
CREATE TRIGGER books_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_posting
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
CREATE TRIGGER books_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_account
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
CREATE TRIGGER books_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_balancesnapshot
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();

-- The id below which every entry is committed.  A writer holds its lock on the table before it draws an id, so that once SHARE is granted
-- no lower id can still appear.  Runs as its owner: the role of the application may not lock the books.
CREATE FUNCTION ledger_quiet_horizon() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    LOCK TABLE ledger_journalentry IN SHARE MODE;
    RETURN (SELECT coalesce(max(id), 0) FROM ledger_journalentry);
END $$;
