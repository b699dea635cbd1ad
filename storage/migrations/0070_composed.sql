-- Identifiers are compared in Unicode's form NFC from now on: an article number that one system writes as one code point,
-- another writes as a letter and an accent.

-- The lines of a version, numbered as sent. What older releases stored has its blanks, and its own form, still.
CREATE OR REPLACE FUNCTION crossdock.lines(lines jsonb) RETURNS TABLE (
    place bigint, id text, article text, name text, quantity numeric, received numeric, damaged numeric,
    unit_price numeric, total numeric
) LANGUAGE sql STABLE AS $$
    SELECT line.ordinality, normalize(crossdock.trimmed(line.id)), normalize(crossdock.trimmed(line.article)), line.name,
           line.quantity, line.received, line.damaged, line.unit_price, line.total
    FROM ROWS FROM (jsonb_to_recordset(lines) AS (
        id text, article text, name text, quantity numeric, received numeric, damaged numeric,
        unit_price numeric, total numeric
    )) WITH ORDINALITY AS line
$$;

-- A key whose form NFC another document has already stays as it is.
UPDATE crossdock.documents
SET order_number = normalize(order_number), order_ref = normalize(order_ref), warehouse_ref = normalize(warehouse_ref),
    ship_from = normalize(ship_from), ship_to = normalize(ship_to)
WHERE order_number IS NOT NORMALIZED OR order_ref IS NOT NORMALIZED OR warehouse_ref IS NOT NORMALIZED
   OR ship_from IS NOT NORMALIZED OR ship_to IS NOT NORMALIZED;
UPDATE crossdock.documents d
SET key = normalize(d.key)
WHERE d.key IS NOT NORMALIZED
  AND NOT EXISTS (SELECT FROM crossdock.documents other
                  WHERE normalize(other.key) = normalize(d.key) AND other.account = d.account
                    AND other.type = d.type AND other.platform = d.platform AND other.id <> d.id);
