-- Rates and conversions only grow: a wrong rate is followed by a right one, and a conversion by another one.  (The function is the ledger's.)
CREATE TRIGGER exchange_rates_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_exchangerate
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();
CREATE TRIGGER conversions_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_conversion
    FOR EACH STATEMENT EXECUTE FUNCTION rows_are_append_only();

-- Nobody gets more than the rates say; multiplied, not divided, so that nothing is rounded here.
ALTER TABLE wallet_conversion ADD CONSTRAINT conversion_gives_no_more_than_its_rates
    CHECK (sold_per_euro > 0 AND bought * sold_per_euro <= sold * bought_per_euro);
