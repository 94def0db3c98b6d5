-- Invoices and their lines only grow: a mistake is taken back by a credit note.  (The function is the ledger's.)
CREATE TRIGGER invoices_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_feeinvoice
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
CREATE TRIGGER invoice_lines_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_feeinvoiceline
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();

-- A number, once given, stays given: the counter goes up only, and its row stays.
CREATE FUNCTION invoice_series_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the numbers of invoices only go up' USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER invoice_series_only_grows BEFORE UPDATE ON wallet_invoiceseries
    FOR EACH ROW WHEN ((NEW.shop_id, NEW.series, NEW.year) IS DISTINCT FROM (OLD.shop_id, OLD.series, OLD.year) OR NEW.last < OLD.last)
    EXECUTE FUNCTION invoice_series_only_grows();
CREATE TRIGGER invoice_series_stays BEFORE DELETE OR TRUNCATE ON wallet_invoiceseries
    FOR EACH STATEMENT EXECUTE FUNCTION invoice_series_only_grows();
