CREATE VIRTUAL TABLE doc USING fts5(title, body);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 70)
INSERT INTO doc SELECT 'number ' || i, printf('%s and %s %s with %d words', char(97 + i % 26), hex(i * 7919), CASE i % 3 WHEN 0 THEN 'quick fox' WHEN 1 THEN 'lazy dog' ELSE 'old hen' END, i) FROM n;
SELECT title, snippet(doc, 1, '[', ']', '...', 5), bm25(doc) FROM doc WHERE doc MATCH 'fox OR hen' ORDER BY rank, rowid LIMIT 15;
CREATE VIRTUAL TABLE box USING rtree(id, x0, x1, y0, y1);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 80)
INSERT INTO box SELECT i, sin(i) * 10, sin(i) * 10 + 1, cos(i) * 10, cos(i) * 10 + 1 FROM n;
SELECT count(*), sum(id), min(x0), max(y1) FROM box WHERE x0 > 2 AND y1 < 5;
SELECT json_group_array(value * 2), json_extract('{"a":[1,2,{"b":3.25e10}]}', '$.a[2].b') FROM json_each('[1,2.5,1e3]');
