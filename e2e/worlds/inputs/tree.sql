WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 900), f(n, a, b) AS (SELECT 1, 0, 1 UNION ALL SELECT n + 1, b, a + b FROM f WHERE n < 80)
SELECT sum(x), avg(x * x), (SELECT group_concat(a, ' ') FROM f) FROM c;
WITH RECURSIVE x(v) AS (SELECT -2.0 UNION ALL SELECT v + 0.2 FROM x WHERE v < 0.6), y(v) AS (SELECT -1.0 UNION ALL SELECT v + 0.4 FROM y WHERE v < 1.0),
m(i, cx, cy, x, y) AS (SELECT 0, x.v, y.v, 0.0, 0.0 FROM x, y UNION ALL SELECT i + 1, cx, cy, x * x - y * y + cx, 2.0 * x * y + cy FROM m WHERE x * x + y * y < 4.0 AND i < 20),
g(i, cx, cy) AS (SELECT max(i), cx, cy FROM m GROUP BY cx, cy)
SELECT group_concat(substr(' .+*#', 1 + min(i / 5, 4), 1), '') FROM g GROUP BY cy;
