package tfplan

// Counts are the numbers of a plan. Add and Destroy are those of OpenTofu's
// own line "Plan: 1 to add, …": a replacement counts in both, and in Replace
// too. Move and Import count beside the action, if there is one.
type Counts struct {
	Add     int `json:"add"`
	Change  int `json:"change"`
	Destroy int `json:"destroy"`
	Replace int `json:"replace"`
	Move    int `json:"move"`
	Import  int `json:"import"`
	Forget  int `json:"forget"`
	// Outputs counts the root outputs that change.
	Outputs int `json:"outputs"`
}

// Any reports whether applying the plan would change the state at all.
func (c Counts) Any() bool { return c != Counts{} }

// Counts counts what the plan does. Data sources that are read during apply
// are no change: OpenTofu does not count them either.
func (p *Plan) Counts() Counts {
	n := Counts{Outputs: len(p.Outputs)}
	for _, c := range p.Changes {
		switch c.Action {
		case Create:
			n.Add++
		case Update:
			n.Change++
		case Delete:
			n.Destroy++
		case Replace:
			n.Add++
			n.Destroy++
			n.Replace++
		case Forget:
			n.Forget++
		case ForgetReplace:
			n.Add++
			n.Forget++
		}
		if c.Previous != "" {
			n.Move++
		}
		if c.Imported {
			n.Import++
		}
	}
	return n
}

// Plus adds the numbers of another plan.
func (c Counts) Plus(o Counts) Counts {
	return Counts{
		Add: c.Add + o.Add, Change: c.Change + o.Change, Destroy: c.Destroy + o.Destroy, Replace: c.Replace + o.Replace,
		Move: c.Move + o.Move, Import: c.Import + o.Import, Forget: c.Forget + o.Forget, Outputs: c.Outputs + o.Outputs,
	}
}
