package jobfile

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/mustermesh/muster/proto"
)

// fuelUnits are the suffixes of fuel: powers of ten, the largest first.
var fuelUnits = []struct {
	suffix string
	zeros  int
}{{"T", 12}, {"G", 9}, {"M", 6}, {"k", 3}}

// ParseFuel reads units of fuel: 2000000, "500M", "1.5G". It is a whole number, at
// most proto.MaxFuel; 0 is the default.
func ParseFuel(s string) (uint64, error) {
	digits, zeros := s, 0
	for _, u := range fuelUnits {
		if d, ok := strings.CutSuffix(s, u.suffix); ok {
			digits, zeros = strings.TrimSpace(d), u.zeros
			break
		}
	}
	n, ok := scaled(digits, zeros)
	switch {
	case !ok:
		return 0, fmt.Errorf("%.40q is not a whole number of units of fuel, such as 2000000, 500M or 1.5G (k, M, G and T are powers of ten)", s)
	case n.Cmp(new(big.Int).SetUint64(proto.MaxFuel)) > 0:
		return 0, fmt.Errorf("%.40q is more than %d units of fuel", s, uint64(proto.MaxFuel))
	}
	return n.Uint64(), nil
}

// scaled reads digits, with a point among them or not, times ten to the power of
// zeros, exactly; it must be whole.
func scaled(s string, zeros int) (*big.Int, bool) {
	whole, rest, pointed := strings.Cut(s, ".")
	if whole == "" || pointed && rest == "" || len(s) > 40 || strings.Trim(whole+rest, "0123456789") != "" {
		return nil, false
	}
	rest = strings.TrimRight(rest, "0")
	if len(rest) > zeros {
		return nil, false
	}
	return new(big.Int).SetString(whole+rest+strings.Repeat("0", zeros-len(rest)), 10)
}

// FormatFuel gives units of fuel exactly: 500M, or a plain number.
func FormatFuel(n uint64) string {
	for _, u := range fuelUnits {
		if digits, ok := strings.CutSuffix(strconv.FormatUint(n, 10), strings.Repeat("0", u.zeros)); ok && digits != "" {
			return digits + u.suffix
		}
	}
	return strconv.FormatUint(n, 10)
}
