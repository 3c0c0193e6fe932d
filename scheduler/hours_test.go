package scheduler

import (
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the days on which clocks change are the same everywhere
)

func mustHours(t *testing.T, texts ...string) Hours {
	t.Helper()
	h, err := ParseHours(texts)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// clock reads a time as a clock on the wall shows it; of two, the first.
func clock(t *testing.T, zone, text string) time.Time {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	layout := "2006-01-02 15:04"
	if strings.Contains(text, "+") {
		layout += " -0700" // where a clock shows a time twice
	}
	m, err := time.ParseInLocation(layout, text, loc)
	if err != nil {
		t.Fatal(err)
	}
	return m.In(loc)
}

func TestHoursOpenAndClose(t *testing.T) {
	const berlin, never = "Europe/Berlin", ""
	for name, c := range map[string]struct {
		hours []string
		now   string
		open  bool
		until string
	}{
		"no hours are always":                      {nil, "2026-03-02 12:00", true, never},
		"a working day before the evening":         {[]string{"mon-fri 18:00-08:00"}, "2026-03-02 17:59", false, "2026-03-02 18:00"},
		"a working day in the evening":             {[]string{"mon-fri 18:00-08:00"}, "2026-03-02 18:00", true, "2026-03-03 08:00"},
		"Saturday morning belongs to Friday":       {[]string{"mon-fri 18:00-08:00"}, "2026-03-07 07:59", true, "2026-03-07 08:00"},
		"the end is not in it":                     {[]string{"mon-fri 18:00-08:00"}, "2026-03-07 08:00", false, "2026-03-09 18:00"},
		"Monday morning belongs to Sunday":         {[]string{"mon-fri 18:00-08:00"}, "2026-03-02 07:00", false, "2026-03-02 18:00"},
		"a weekend is one":                         {[]string{"sat,sun"}, "2026-03-07 00:00", true, "2026-03-09 00:00"},
		"a weekend ends":                           {[]string{"sat,sun"}, "2026-03-09 00:00", false, "2026-03-14 00:00"},
		"every night":                              {[]string{"22:00-06:00"}, "2026-03-02 05:00", true, "2026-03-02 06:00"},
		"a whole week never ends":                  {[]string{"mon-sun"}, "2026-03-02 05:00", true, never},
		"a week in two halves never ends":          {[]string{"00:00-12:00", "12:00-24:00"}, "2026-03-02 05:00", true, never},
		"two spans that meet are one":              {[]string{"18:00-24:00", "00:00-06:00"}, "2026-03-02 20:00", true, "2026-03-03 06:00"},
		"two spans that overlap are one":           {[]string{"18:00-23:00", "20:00-02:00"}, "2026-03-02 20:00", true, "2026-03-03 02:00"},
		"a span within another changes nothing":    {[]string{"10:00-20:00", "12:00-13:00"}, "2026-03-02 12:30", true, "2026-03-02 20:00"},
		"a range over the end of the week":         {[]string{"sat-mon 10:00-11:00"}, "2026-03-02 10:30", true, "2026-03-02 11:00"},
		"one day, the next week":                   {[]string{"mon 10:00-11:00"}, "2026-03-02 11:00", false, "2026-03-09 10:00"},
		"full names, capitals and spaces":          {[]string{" Monday-FRI  9:00-17:00 "}, "2026-03-02 10:30", true, "2026-03-02 17:00"},
		"a night in which clocks go forward":       {[]string{"22:00-06:00"}, "2026-03-28 23:00", true, "2026-03-29 06:00"},
		"a begin that is jumped over":              {[]string{"02:30-05:00"}, "2026-03-29 01:59", false, "2026-03-29 03:00"},
		"an end that is jumped over":               {[]string{"01:00-02:30"}, "2026-03-29 01:59", true, "2026-03-29 03:00"},
		"a span that is jumped over":               {[]string{"sun 02:10-02:50"}, "2026-03-29 01:59", false, "2026-04-05 02:10"},
		"an end that is shown twice is the first":  {[]string{"01:00-02:30"}, "2026-10-25 02:15 +0200", true, "2026-10-25 02:30 +0200"},
		"the hour that comes again opens nothing":  {[]string{"01:00-02:30"}, "2026-10-25 02:15 +0100", false, "2026-10-26 01:00"},
		"a begin that is shown twice is the first": {[]string{"02:30-05:00"}, "2026-10-25 02:15 +0100", true, "2026-10-25 05:00"},
	} {
		open, until := mustHours(t, c.hours...).Open(clock(t, berlin, c.now))
		want := time.Time{}
		if c.until != never {
			want = clock(t, berlin, c.until)
		}
		if open != c.open || !until.Equal(want) {
			t.Errorf("%s: open %t until %v, want %t until %v", name, open, until, c.open, want)
		}
	}
}

// Where clocks jump at midnight, a day begins when they have jumped.
func TestADayMayBeginAtOne(t *testing.T) {
	h := mustHours(t, "sun")
	open, until := h.Open(clock(t, "America/Santiago", "2026-09-05 23:59"))
	if want := clock(t, "America/Santiago", "2026-09-06 01:00"); open || !until.Equal(want) {
		t.Errorf("open %t until %v, want closed until %v", open, until, want)
	}
}

// Whatever Open says of the next change must be so: the state stays until then,
// and is another one from then on.
func TestHoursChangeWhenTheySay(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia"} {
		for _, texts := range [][]string{{"mon-fri 18:00-08:00"}, {"sat,sun", "22:00-06:00"}, {"02:15-02:45", "sun 01:30-03:30"}, {"23:59-00:01"}} {
			h := mustHours(t, texts...)
			now := clock(t, zone, "2026-01-01 00:00")
			for range 900 {
				open, until := h.Open(now)
				if !until.After(now) {
					t.Fatalf("%s %v at %v: until %v, want later", zone, texts, now, until)
				}
				middle := now.Add(until.Sub(now) / 2)
				before, _ := h.Open(until.Add(-time.Nanosecond))
				between, same := h.Open(middle)
				after, _ := h.Open(until)
				if before != open || between != open || after == open || !same.Equal(until) {
					t.Fatalf("%s %v at %v: open %t until %v, but then %t, %t, %t", zone, texts, now, open, until, between, before, after)
				}
				now = until
			}
		}
	}
}

func TestHoursSayWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "expected DAYS",
		"mon 10:00-11:00 utc":       "expected DAYS",
		"mon 18-08":                 `"18-08" is not a span of time`,
		"10:00":                     `"10:00" is not a span of time`,
		"mon fri":                   `"fri" is not a span of time`,
		"mon-":                      `"" is not a day`,
		"mon,,tue":                  `"" is not a day`,
		"mno":                       `"mno" is not a day; there are mon`,
		"mon-fri-sun":               `"fri-sun" is not a day`,
		"25:00-26:00":               `"25:00" is not a time`,
		"10:60-11:00":               `"10:60" is not a time`,
		"10:5-11:00":                `"10:5" is not a time`,
		"010:00-11:00":              `"010:00" is not a time`,
		"10:00-11:00-12:00":         `"11:00-12:00" is not a time`,
		"+1:00-11:00":               `"+1:00" is not a time`,
		"10:00-24:01":               `"24:01" is not a time`,
		"24:00-06:00":               "cannot begin at 24:00",
		"10:00-10:00":               "same minute",
		strings.Repeat("mon,", 100): "at most 80",
	} {
		_, err := ParseHours([]string{"sat", text})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "hours ") {
			t.Errorf("%.40q: got %v, want %q", text, err, want)
		}
	}
	if _, err := ParseHours(make([]string, maxSpans+1)); err == nil || !strings.Contains(err.Error(), "at most 32") {
		t.Errorf("33 spans: got %v", err)
	}
}

func FuzzParseHours(f *testing.F) {
	for _, s := range []string{"mon-fri 18:00-08:00", "sat,sun", "22:00-06:00", "fri-mon 0:00-24:00", "x", "10:00-10:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h, err := ParseHours([]string{text})
		if err != nil {
			return
		}
		again, err := ParseHours(h.Texts())
		if err != nil || !slices.Equal(again.Texts(), h.Texts()) || again.spans[0] != h.spans[0] {
			t.Fatalf("%q became %q: %v", text, h.Texts(), err)
		}
		now := time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC)
		if _, until := h.Open(now); !until.IsZero() && !until.After(now) {
			t.Fatalf("%q changes at %v, before now", text, until)
		}
	})
}
