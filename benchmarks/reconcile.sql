-- The limit of reconciling: the staged lines against the orders that they are about.  First ONE bare join that only counts, then the same join
-- that writes the matches under the same constraints; then ONE bare UPDATE that tells the orders.
SELECT count(*)
FROM reconciliation_stagedline AS line
LEFT JOIN payments_pspattempt AS attempt ON attempt.psp_key = line.our_reference
LEFT JOIN payments_paymentorder AS payment ON payment.id = attempt.order_id AND payment.amount = line.gross AND payment.currency = line.currency;
INSERT INTO reconciliation_linematch (line_id, batch_id, kind, order_id)
SELECT line.id, 1, line.kind, payment.id
FROM reconciliation_stagedline AS line
LEFT JOIN payments_pspattempt AS attempt ON attempt.psp_key = line.our_reference
LEFT JOIN payments_paymentorder AS payment ON payment.id = attempt.order_id AND payment.amount = line.gross AND payment.currency = line.currency;
UPDATE payments_paymentorder AS payment SET settled_at = '2026-11-20 23:59:59+00'
FROM reconciliation_linematch AS its WHERE its.order_id = payment.id AND its.kind = 'capture';
