-- A closed month stays as it is: Postgres lets no entry into it, whoever asks.

-- From when on an entry may be effective, for whoever posts now: asked by journal.post, and once more by the guard below.  Holds the lock of
-- closing shared until the transaction ends, so that no month can be closed around an entry that is not committed.  It never waits: while
-- somebody closes a month, all that are over count as closed.  Whoever posts then holds no lock, and this one may be followed by another
-- close; the month that still runs cannot be closed by either.  A transaction that sees an older state than this moment's may not post.
CREATE FUNCTION ledger_open_since() RETURNS timestamptz LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    is_open boolean := pg_try_advisory_xact_lock_shared(hashtextextended('ledger.closing', 0));
    last date;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'entries are posted under READ COMMITTED, which sees what is closed by now' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    SELECT max(month) INTO last FROM ledger_closedmonth;
    IF is_open THEN
        RETURN coalesce((last + interval '1 month') AT TIME ZONE 'UTC', '-infinity');
    END IF;
    RETURN date_trunc('month', clock_timestamp(), 'UTC');
END $$;

CREATE FUNCTION entry_must_lie_in_an_open_month() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    since timestamptz := ledger_open_since();
BEGIN
    IF isfinite(since) AND EXISTS (SELECT FROM added WHERE effective_at < since) THEN
        RAISE EXCEPTION 'an entry lies in a month that is closed: book it from % on', since USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER entry_must_lie_in_an_open_month AFTER INSERT ON ledger_journalentry
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION entry_must_lie_in_an_open_month();

-- Only what was heard of too late has another time beside its effective date.  All rows that stand have none: nothing to look through.
ALTER TABLE ledger_journalentry ADD CONSTRAINT late_entry_happened_before CHECK (occurred_at < effective_at) NOT VALID;

-- Months are closed one after the other, by somebody who is alone, and when they are over by the clock of this machine.
CREATE FUNCTION month_must_be_the_next() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    last date := (SELECT max(month) FROM ledger_closedmonth);
BEGIN
    IF NEW.month <> date_trunc('month', NEW.month) OR NEW.month <> last + interval '1 month' THEN
        RAISE EXCEPTION 'months are closed one after the other: % is not the next', NEW.month USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF (NEW.month + interval '1 month') AT TIME ZONE 'UTC' > clock_timestamp() THEN
        RAISE EXCEPTION 'the month of % is not over', NEW.month USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('ledger.closing', 0)) THEN
        RAISE EXCEPTION 'entries are posted just now: a month is closed by somebody who is alone' USING ERRCODE = 'lock_not_available';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER month_must_be_the_next BEFORE INSERT ON ledger_closedmonth FOR EACH ROW EXECUTE FUNCTION month_must_be_the_next();

CREATE TRIGGER closed_months_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_closedmonth
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
CREATE TRIGGER closed_totals_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_closedtotal
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
