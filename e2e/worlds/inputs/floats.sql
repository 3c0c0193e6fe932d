WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
SELECT i, sin(i) * exp(-i / 40.0), pow(i, 1.7), ln(i), CAST(printf('%.15e', 1.0 / i) AS REAL) = 1.0 / i, i / 3.0, 1e300 * i, CAST('1.' || i || 'e-' || i AS REAL) FROM n;
