-- What the shop's applications do all day: see src/workload.rs for the form. Every table is written to.

-- writer customers
INSERT INTO shop.customers (name, email, home, score)
VALUES ('New', 'n' || gen_random_uuid() || '@example.org', ROW('Way', 'Town', 'FR')::shop.address, random());

UPDATE shop.customers SET name = name || '!', score = random() WHERE id = 1 + :{500} AND length(name) < 60;

DELETE FROM shop.customers WHERE id = (SELECT max(id) FROM shop.customers WHERE id > 500);

-- writer products
UPDATE shop.products SET price = :{900} + 0.5 WHERE id = 1 + :{200};

UPDATE shop.products SET description = repeat(md5(random()::text), 200 + :{200}) WHERE id = 1 + :{200};

UPDATE shop.products SET attributes = attributes || jsonb_build_object('n', :{100000}) WHERE id = 1 + :{200};

INSERT INTO shop.products (sku, title, price) VALUES ('N-' || gen_random_uuid(), 'New', 1);

-- writer orders
WITH placed AS (INSERT INTO shop.orders (customer_id, placed_at, total)
                VALUES (1 + :{400}, '2026-01-01 00:00+00'::timestamptz + :{8000} * interval '1 hour', :{500}) RETURNING id, placed_at)
INSERT INTO shop.order_items (order_id, placed_at, line, product_id, quantity, price)
SELECT id, placed_at, n, 1 + :{200}, n, 9.99 FROM placed, generate_series(1, 1 + :{4}) n;

UPDATE shop.orders SET state = (ARRAY['new', 'paid', 'packed', 'sent', 'returned'])[1 + :{5}]::shop.order_state WHERE id = 1 + :{2000};

UPDATE shop.orders SET placed_at = '2026-01-01 00:00+00'::timestamptz + :{8000} * interval '1 hour' WHERE id = 1 + :{2000};

DELETE FROM shop.orders WHERE id = 1 + :{2000};

-- writer order_items
UPDATE shop.order_items SET quantity = 1 + :{20} WHERE order_id = 1 + :{2000};

DELETE FROM shop.order_items WHERE order_id = 1 + :{2000} AND line = 3;

-- writer carts
INSERT INTO shop.carts (contents) SELECT jsonb_agg(n) FROM generate_series(0, :{30}) n;

UPDATE shop.carts SET state = 'ordered', seen_at = clock_timestamp() WHERE id = 1 + :{500};

DELETE FROM shop.carts WHERE id = 1 + :{500};

-- writer baskets
UPDATE shop.baskets SET state = CASE state WHEN 'open' THEN 'ordered' ELSE 'open' END WHERE id = 1 + :{500};

UPDATE shop.baskets SET contents = jsonb_build_object('n', :{100000}), state = 'abandoned' WHERE id = 1 + :{500};

INSERT INTO shop.baskets SELECT 1000000000 + :{1000000000}, 'open', NULL;

DELETE FROM shop.baskets WHERE id = 1 + :{500};

-- writer payments
INSERT INTO shop.payments (order_id, amount, details) VALUES (1 + :{2000}, :{100}, '{"method": "cash"}');

UPDATE shop.payments SET amount = amount + 1 WHERE order_id = 1 + :{1800};

DELETE FROM shop.payments WHERE order_id = 1 + :{1800};

-- writer inventory
UPDATE inventory.stock SET quantity = quantity + 1 WHERE warehouse = 'W01' AND product_id = 1 + :{200};
INSERT INTO inventory.movements (warehouse, product_id, delta) VALUES ('W01', 1 + :{200}, 1);

UPDATE inventory.movements SET note = 'corrected ' || :{1000} WHERE product_id = 1 + :{200} AND delta = 5;

DELETE FROM inventory.movements WHERE product_id = 1 + :{200} AND delta = -5;

UPDATE inventory.warehouses SET name = 'Warehouse ' || :{1000}, location = point(random(), random()) WHERE code = 'W02';

-- writer crm
INSERT INTO crm.contacts (customer_id, channel, value) VALUES (1 + :{500}, 'mail', :{100000});

UPDATE crm.contacts SET value = :{100000} WHERE id = 1 + :{500};

INSERT INTO crm.notes VALUES (1 + :{500}, repeat(md5(random()::text), :{150}), random(), decode(md5(random()::text), 'hex'));

UPDATE crm.notes SET mood = random(), body = NULL WHERE customer_id = 1 + :{300};

UPDATE crm.notes SET secret = NULL WHERE customer_id = 1 + :{300};

DELETE FROM crm.notes WHERE customer_id = 1 + :{300};

UPDATE crm.files SET name = 'file ' || :{100000} WHERE id = 1 + :{20};

UPDATE crm.files SET content = content || decode(md5(random()::text), 'hex') WHERE id = 1 + :{20};

-- writer billing
INSERT INTO billing.invoices (amount, covers) VALUES (:{1000}::numeric::money, '[2026-03-01,2026-04-01)');

UPDATE billing.invoices SET amount = :{1000}::numeric::money, xmlbody = NULL WHERE number = 'R-' || 1 + :{300};

DELETE FROM billing.invoices WHERE number = 'R-' || 1 + :{300};

UPDATE billing.reminders SET level = :{4} WHERE id = 1 + :{100};

UPDATE ONLY billing.base SET entered_at = clock_timestamp() WHERE entered_by = 'shop_owner' AND :{5} = 0;

SELECT nextval('billing.invoice_number'), nextval('shop.order_number');

-- writer audit
DELETE FROM audit.log WHERE at < '2026-01-01 00:00+00'::timestamptz + :{7000} * interval '1 second';

INSERT INTO audit.log (who, what, new) VALUES ('writer', 'NOTE', jsonb_build_object('text', repeat('x', :{3000})));

-- writer batches
UPDATE inventory.stock SET quantity = quantity + 1 WHERE product_id BETWEEN :{100} AND 50 + :{100};
SELECT pg_sleep(0.2);
INSERT INTO audit.log (who, what, new) SELECT 'batch', 'NOTE', jsonb_build_object('n', n, 'text', md5(n::text)) FROM generate_series(1, 300) n;

DO $$
BEGIN
    UPDATE shop.carts SET contents = '["never seen"]' WHERE id BETWEEN 1 AND 50 + :{100};
    RAISE EXCEPTION 'taken back';
EXCEPTION WHEN raise_exception THEN
    INSERT INTO shop.carts (contents) VALUES ('["second thoughts"]');
END $$;
