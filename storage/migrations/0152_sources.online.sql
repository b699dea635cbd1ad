-- The newest events of an account, of a type and of a platform, and the newest orders: the types are those of the view
-- `orders`.
CREATE INDEX CONCURRENTLY versions_account ON crossdock.versions (account, received_at);
CREATE INDEX CONCURRENTLY versions_type ON crossdock.versions (type, received_at);
CREATE INDEX CONCURRENTLY versions_platform ON crossdock.versions (platform, received_at);
CREATE INDEX CONCURRENTLY versions_orders ON crossdock.versions (received_at)
    WHERE type IN ('apicbase.purchase_order', 'ecomnow.new_order', 'ustore.manufacturer_allocation',
                   'ecomnow.order_cancellation');
