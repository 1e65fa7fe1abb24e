package report

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"edge-actions/internal/evidence"
)

// Foreign is the state of a door that is none of ours: ingress-sweep judges it.
const Foreign = "foreign"

// sweep is the newest look of ingress-sweep from one job.
type sweep struct {
	time  time.Time
	seq   int64
	open  bool // not proven shut
	doors []Door
}

// boot is the newest bootstrap of a node.
type boot struct {
	time time.Time
	seq  int64
	open bool
	run  string
}

// door is an element of ingress-sweep's output doors.
type door struct {
	State, Where, Source, Node, Run, Opened, Expires string
}

func (b *Builder) sweep(e *evidence.Entry, at place) {
	s := &sweep{time: e.Time, seq: e.Seq, open: e.Outputs["public_ssh"] != "closed"}
	var doors []door
	if json.Unmarshal([]byte(e.Outputs["doors"]), &doors) == nil {
		for _, d := range doors {
			if d.State != "closed" {
				s.doors = append(s.doors, Door{State: d.State, Where: d.Where, Source: d.Source, Node: d.Node, Run: d.Run, Opened: d.Opened, Expires: d.Expires, By: "ingress-sweep"})
			}
		}
	}
	b.sweeps[at] = s
}

func (b *Builder) boot(e *evidence.Entry) {
	b.boots[Name{e.Repository, e.Report.Subject}] = &boot{time: e.Time, seq: e.Seq, open: e.Outputs["public_ssh"] == "open", run: e.Repository + "#" + e.RunID}
}

// doors are those that stood open when they were looked at last. A bootstrap
// leaves its own open until it is proven shut, by it or by a sweep after it.
func (b *Builder) doors() (doors []Door, looked time.Time) {
	var shut int64
	for _, s := range b.sweeps {
		if s.time.After(looked) && !b.future(s.time) {
			looked = s.time
		}
		if !s.open {
			shut = max(shut, s.seq)
		}
		for _, d := range s.doors {
			d.Seen = s.time
			if until, err := time.Parse(time.RFC3339, d.Expires); err == nil {
				d.Ended = until.Before(b.cfg.Now)
			}
			doors = append(doors, d)
		}
	}
	for node, s := range b.boots {
		if s.open && s.seq > shut {
			doors = append(doors, Door{State: "open", Node: node.Subject, Run: s.run, Seen: s.time, By: "nixos-bootstrap"})
		}
	}
	slices.SortFunc(doors, func(x, y Door) int {
		return cmp.Or(-cmp.Compare(x.State, y.State), cmp.Compare(x.Where, y.Where), cmp.Compare(x.Source, y.Source), cmp.Compare(x.Node, y.Node), cmp.Compare(x.Run, y.Run), x.Seen.Compare(y.Seen))
	})
	return doors, looked
}
