CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL, kind INTEGER);
CREATE INDEX by_kind ON item(kind, price DESC);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 260)
INSERT INTO item SELECT i, printf('item %05d', (i * 7919) % 260), (i * 31 % 977) / 7.0, i % 23 FROM n;
UPDATE item SET price = price * 1.07 WHERE kind % 2;
DELETE FROM item WHERE id % 13 = 0;
SELECT kind, count(*), round(sum(price), 6), avg(price), min(name), max(name) FROM item GROUP BY kind ORDER BY 3 DESC;
SELECT a.id, b.id, a.price - b.price FROM item a JOIN item b ON a.kind = b.kind AND b.id = a.id + 23 ORDER BY abs(a.price - b.price), 1 LIMIT 10;
SELECT name, rank() OVER (PARTITION BY kind ORDER BY price DESC) r, lag(price) OVER w, sum(price) OVER w FROM item WINDOW w AS (ORDER BY id ROWS 3 PRECEDING) ORDER BY id LIMIT 12;
VACUUM;
PRAGMA integrity_check;
