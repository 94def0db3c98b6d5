-- Whoever changes a status: it is written down, with the actor that the transaction names (ledger/transitions.py), and must be lawful.
CREATE FUNCTION status_has_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    unlawful text;
BEGIN
    SELECT string_agg(format('%s %s: %s to %s', TG_ARGV[0], earlier.public_id, earlier.status, later.status), ', ') INTO unlawful
    FROM earlier JOIN later ON later.id = earlier.id
    WHERE later.status <> earlier.status AND (TG_ARGV[0], earlier.status, later.status) NOT IN (VALUES
        ('order', 'NOT_STARTED', 'EXECUTING'), ('order', 'NOT_STARTED', 'FAILED'), ('order', 'NOT_STARTED', 'CANCELLED'),
        ('order', 'EXECUTING', 'SUCCESS'), ('order', 'EXECUTING', 'FAILED'), ('order', 'EXECUTING', 'CANCELLED'),
        ('order', 'FAILED', 'EXECUTING'), ('order', 'FAILED', 'CANCELLED'),
        ('event', 'open', 'partly_paid'), ('event', 'open', 'paid'), ('event', 'open', 'failed'), ('event', 'open', 'cancelled'),
        ('event', 'open', 'expired'), ('event', 'partly_paid', 'paid'),
        ('refund', 'EXECUTING', 'SUCCESS'), ('refund', 'EXECUTING', 'FAILED'), ('refund', 'SUCCESS', 'FAILED'),
        ('refund', 'FAILED', 'SUCCESS'), ('refund', 'FAILED', 'EXECUTING'),
        ('cancellation', 'EXECUTING', 'SUCCESS'), ('cancellation', 'EXECUTING', 'FAILED'),
        ('dispute', 'open', 'won'), ('dispute', 'open', 'lost'), ('dispute', 'open', 'partial'));
    IF unlawful IS NOT NULL THEN
        RAISE EXCEPTION 'no such transition: %', unlawful USING ERRCODE = 'integrity_constraint_violation';
    END IF;

    INSERT INTO payments_transition (kind, object_id, before, after, actor, reason)
    SELECT TG_ARGV[0], later.id, earlier.status, later.status,
           coalesce(current_setting('onebook.actor', true), ''), coalesce(current_setting('onebook.reason', true), '')
    FROM earlier JOIN later ON later.id = earlier.id WHERE later.status <> earlier.status;
    RETURN NULL;
END $$;

CREATE TRIGGER status_has_changed AFTER UPDATE ON payments_paymentorder
    REFERENCING OLD TABLE AS earlier NEW TABLE AS later FOR EACH STATEMENT EXECUTE FUNCTION status_has_changed('order');
CREATE TRIGGER status_has_changed AFTER UPDATE ON payments_paymentevent
    REFERENCING OLD TABLE AS earlier NEW TABLE AS later FOR EACH STATEMENT EXECUTE FUNCTION status_has_changed('event');
CREATE TRIGGER status_has_changed AFTER UPDATE ON payments_refund
    REFERENCING OLD TABLE AS earlier NEW TABLE AS later FOR EACH STATEMENT EXECUTE FUNCTION status_has_changed('refund');
CREATE TRIGGER status_has_changed AFTER UPDATE ON payments_cancellation
    REFERENCING OLD TABLE AS earlier NEW TABLE AS later FOR EACH STATEMENT EXECUTE FUNCTION status_has_changed('cancellation');
CREATE TRIGGER status_has_changed AFTER UPDATE ON payments_dispute
    REFERENCING OLD TABLE AS earlier NEW TABLE AS later FOR EACH STATEMENT EXECUTE FUNCTION status_has_changed('dispute');

CREATE TRIGGER transitions_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON payments_transition
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
