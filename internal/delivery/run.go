package delivery

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"edge-actions/internal/forge"
	"edge-actions/internal/verdict"
)

// run starts the workflow and follows it to its end, or goes on where an earlier
// run of ours was cut.
func (d *Delivery) run(ctx context.Context, r *Result, there *present) verdict.Check {
	wanted := fmt.Sprintf("a run of %s in %s that ends well", d.Workflow, d.Target)
	key := d.Target.String() + "/" + d.Workflow + "@" + d.Branch
	last, err := d.Journal.read(key)
	if err != nil {
		return verdict.CannotTell(Ran, wanted, err, "look at the file; without it the workflow is started again").Check
	}
	if last.SHA256 != there.sha256 { // of another handoff
		last = entry{SHA256: there.sha256}
	}
	if last.Done {
		r.RunID, r.RunURL = last.RunID, last.URL
		return verdict.Check{ID: Ran, Verdict: verdict.Proven, Wanted: wanted, Got: fmt.Sprintf("run %d did, for this handoff", last.RunID)}
	}
	if last.RunID == 0 && last.Asked {
		if last.RunID, err = d.asked(ctx, last.Before); err != nil {
			return about(Ran, wanted, err)
		}
	}
	if last.RunID > 0 {
		d.Logf("handoff: following run %d, which an earlier run started", last.RunID)
	} else if last.RunID, err = d.start(ctx, key, there); err != nil {
		return about(Ran, wanted, err)
	}
	r.RunID = last.RunID
	if err := d.Journal.write(key, entry{SHA256: there.sha256, RunID: r.RunID}); err != nil {
		return verdict.CannotTell(Ran, wanted, err, fmt.Sprintf("run %d goes on; correct the directory for deliveries", r.RunID)).Check
	}
	limited, cancel := context.WithTimeout(ctx, d.Wait)
	defer cancel()
	run, err := d.Target.WaitRun(limited, r.RunID, d.Poll)
	r.RunURL = run.URL
	if err != nil {
		if run.Done() || verdict.Has(err, forge.Missing) { // it ended, or is gone: the next delivery starts another
			err = errors.Join(err, d.Journal.write(key, entry{}))
		}
		return about(Ran, wanted, err)
	}
	if err := d.Journal.write(key, entry{SHA256: there.sha256, RunID: r.RunID, URL: r.RunURL, Done: true}); err != nil {
		return verdict.CannotTell(Ran, wanted, err, "it ended well; correct the directory for deliveries").Check
	}
	return verdict.Check{ID: Ran, Verdict: verdict.Proven, Wanted: wanted, Got: fmt.Sprintf("run %d", r.RunID)}
}

// start starts the workflow. That it is about to is written down first: a cut
// between the forge's doing and its answer leaves a run that nobody has heard of.
func (d *Delivery) start(ctx context.Context, key string, there *present) (int64, error) {
	before, err := d.Target.Dispatched(ctx, d.Workflow, d.Branch)
	switch {
	case err == nil:
		asked := entry{SHA256: there.sha256, Asked: true, Before: newest(before)}
		if err := d.Journal.write(key, asked); err != nil {
			return 0, verdict.CannotTell(Ran, "a record of what is started", err, "nothing was started; correct the directory for deliveries")
		}
	case !verdict.Has(err, forge.Missing): // a forge without a list of runs is taken as it is
		return 0, err
	}
	inputs := map[string]string{"handoff_sha256": there.sha256, "state_serial": strconv.FormatInt(there.serial, 10)}
	id, err := d.Target.Dispatch(ctx, d.Workflow, d.Branch, inputs)
	if err == nil {
		d.Logf("handoff: started run %d of %s in %s", id, d.Workflow, d.Target)
	}
	return id, err
}

// asked finds the run that an earlier delivery was about to start when it was
// cut: the only one since. It is 0 if there is none, and if several are there,
// since then nobody knows which; the workflow is then started again.
func (d *Delivery) asked(ctx context.Context, before int64) (int64, error) {
	runs, err := d.Target.Dispatched(ctx, d.Workflow, d.Branch)
	if err != nil {
		return 0, err
	}
	var since []int64
	for _, run := range runs {
		if run.ID > before {
			since = append(since, run.ID)
		}
	}
	switch len(since) {
	case 0:
		return 0, nil
	case 1:
		return since[0], nil
	}
	d.Logf("handoff: runs %v were started since, and which one is of this handoff can't be told", since)
	return 0, nil
}

func newest(runs []forge.Run) (id int64) {
	for _, run := range runs {
		id = max(id, run.ID)
	}
	return id
}
