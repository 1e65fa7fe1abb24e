package main

import (
	"context"
	"encoding/json"
	"strconv"

	"edge-actions/internal/action"
	"edge-actions/internal/bootstrap"
)

func run(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	s := bootstrap.ReadSweep(ctx, in, a)
	if err := in.Err(); err != nil {
		return err
	}
	doors, checks, closed := s.Run(ctx)
	a.Report.Add(checks...)
	counts := map[string]int{}
	for _, d := range doors {
		counts[d.State]++
	}
	for _, state := range []string{"closed", "open", "foreign"} {
		a.SetOutput(state, strconv.Itoa(counts[state]))
	}
	if doors == nil {
		doors = []bootstrap.DoorState{}
	}
	encoded, err := json.Marshal(doors)
	if err != nil {
		return err
	}
	a.SetOutput("doors", string(encoded))
	switch {
	case closed:
		a.SetOutput("public_ssh", "closed")
	case len(s.Instances) > 0:
		a.SetOutput("public_ssh", "open")
	}
	return nil
}
