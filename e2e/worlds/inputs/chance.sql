SELECT random(), hex(randomblob(16)), abs(random() % 1000);
SELECT datetime('now'), julianday('now'), strftime('%s', 'now'), datetime('now', 'localtime'), date('2024-02-29', '+1 year', 'weekday 0');
CREATE TABLE t(a); INSERT INTO t SELECT random() FROM (VALUES (1), (2), (3), (4)); SELECT a FROM t ORDER BY random();
