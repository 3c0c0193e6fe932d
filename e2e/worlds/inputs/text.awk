# strings: what is cut, put together, matched and replaced
{ s = $0; gsub(/a+/, "<&>", s); n += length(s); if (match(s, /<a>[b-m]*/)) hit[substr(s, RSTART, RLENGTH)]++; all = all substr(s, 1, 3) toupper(substr(s, 4, 2)) }
END { print n, length(all), all; for (h in hit) print h, hit[h]; if (ENVIRON["WHO"] != "") print "for " ENVIRON["WHO"]; exit 3 }
