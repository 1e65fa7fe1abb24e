package contracts

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// UnmarshalText reads a time with its unit: what Go reads ("26h", "90m"), or
// whole days ("8d").
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return fmt.Errorf("wanted a number of days such as 8d, found %.40q", s)
		}
		*d = Duration(time.Duration(n) * 24 * time.Hour)
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return fmt.Errorf("wanted a time with its unit such as 26h or 8d, found %.40q", s)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads a date.
func (d *Day) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.DateOnly, string(text))
	if err != nil {
		return fmt.Errorf("wanted a day such as 2027-01-31, found %.40q", text)
	}
	*d = Day(t)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d Day) String() string { return time.Time(d).Format(time.DateOnly) }

// ends is the first moment after the day.
func (d Day) ends() time.Time { return time.Time(d).Add(24 * time.Hour) }
