-- The log of tries only grows; housekeeping alone takes out what is old, whole rows at a time.  (The function is the ledger's.)
CREATE TRIGGER attempts_are_never_changed BEFORE UPDATE OR TRUNCATE ON wallet_deliveryattempt
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
