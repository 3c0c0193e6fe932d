function down(n) { return down(n + 1) }
BEGIN { down(0) }
