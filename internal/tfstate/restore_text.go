package tfstate

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// maxListed is how many archives the JSON of a list has, the newest: a runner
// loses an output that is too long.
const maxListed = 1000

// Table renders a list for a log, one line an archive.
func Table(list []Listed) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "verdict\tname\tage\tserial\tlineage\tresources\treason\twhere")
	for _, l := range list {
		where := l.Where
		if l.Same == "no" {
			where += ", not the same bytes"
		}
		reason := l.Reason
		if len(l.Accepted) > 0 {
			reason += " (accepted: " + strings.Join(l.Accepted, ", ") + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", l.Verdict, l.Name, ago(time.Duration(l.AgeSeconds)*time.Second), l.Serial,
			orDash(fmt.Sprintf("%.8s", l.Lineage)), l.size(), orDash(reason), where)
	}
	w.Flush()
	return b.String()
}

func (l Listed) size() string {
	switch {
	case l.Encrypted:
		return "encrypted"
	case l.Resources < 0:
		return "-"
	}
	return fmt.Sprintf("%d (%d instances)", l.Resources, l.Instances)
}

func ago(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	case d >= time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dm", int(d.Minutes()))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// ListJSON renders a list as JSON, one line an archive: a runner loses an
// output with a line of 64 KiB, and all after it.
func ListJSON(list []Listed) (string, error) {
	var b strings.Builder
	for i, l := range list[:min(len(list), maxListed)] {
		data, err := json.Marshal(l)
		if err != nil {
			return "", err
		}
		b.WriteString(map[bool]string{true: "[\n", false: ",\n"}[i == 0])
		b.Write(data)
	}
	return b.String() + "\n]", nil
}
