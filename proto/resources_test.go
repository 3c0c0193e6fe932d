package proto

import (
	"math"
	"testing"
)

func TestResourcesNeverOverflow(t *testing.T) {
	most := Resources{math.MaxUint32, math.MaxUint64, math.MaxUint64, math.MaxUint32}
	one := Resources{1, 1, 1, 1}
	for name, c := range map[string]struct{ got, want Resources }{
		"adding to the most":             {most.Add(one), most},
		"the most twice":                 {most.Times(2), most},
		"what a message may ask, 4096×":  {Resources{CPU: maxCPU}.Times(MaxSlots), Resources{CPU: math.MaxUint32}},
		"below zero times":               {one.Times(-1), Resources{}},
		"more taken than there is":       {one.Sub(most), Resources{}},
		"three times":                    {Resources{1, 2, 3, 4}.Times(3), Resources{3, 6, 9, 12}},
		"taken and given back":           {Resources{5, 6, 7, 8}.Sub(one).Add(one), Resources{5, 6, 7, 8}},
		"a product over 64 bits, in RAM": {Resources{Memory: 1 << 40}.Times(1 << 30), Resources{Memory: math.MaxUint64}},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, c.got, c.want)
		}
	}
}

func TestFitsNamesTheFirstThatIsShort(t *testing.T) {
	free := Resources{10, 10, 10, 10}
	for want, r := range map[string]Resources{
		"": free, "cpu": {11, 11, 11, 11}, "memory": {10, 11, 11, 11}, "disk": {10, 10, 11, 11}, "gpu": {10, 10, 10, 11},
	} {
		if lacking, ok := r.Fits(free); lacking != want || ok != (want == "") {
			t.Errorf("%+v: got %q, %t; want %q", r, lacking, ok, want)
		}
	}
}
