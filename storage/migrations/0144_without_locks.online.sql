-- Indexes of 0040 and 0120, which created them in one piece at first: nothing was stored meanwhile.

-- A subscription's deliveries that were not delivered: few, and just what its subscriber asks for.
CREATE INDEX CONCURRENTLY finished_unsuccessful ON crossdock.finished (subscription_id, status, created_at, id)
    WHERE status <> 'delivered';

-- Documents that name the warehouse's number alone: few, while any number of orders may share it. As a function, the
-- condition leads to no other index.
CREATE INDEX CONCURRENTLY documents_warehouse_ref_alone ON crossdock.documents (warehouse_ref, account)
    WHERE num_nulls(order_ref) = 1 AND warehouse_ref IS NOT NULL;
