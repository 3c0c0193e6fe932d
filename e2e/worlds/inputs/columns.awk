BEGIN { FS = "," }
NR > 1 { sum[$2] += $3; n[$2]++; if ($3 > max[$2]) max[$2] = $3; print $1 > (out "/" $2 ".txt") }
END { for (k in sum) printf "%s %.6f %.3f %d\n", k, sum[k] / n[k], max[k], n[k] }
