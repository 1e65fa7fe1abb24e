package stack_test

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/pgtest"
)

// mover is a stack that moves between a file on the runner and PostgreSQL.
type mover struct {
	*rig
	pg             *far
	home, database string // the file, as backend_config has it, and the connection string
}

func newMover(t *testing.T) *mover {
	t.Helper()
	local := newRig(t, two)
	local.applied()
	pg := &far{rig: local, kind: "pg", block: "schema_name = \"" + pgSchema + "\"\n", pg: pgtest.New(t)}
	return &mover{rig: local, pg: pg, home: local.inputs["backend_config"], database: pg.pg.Database(pgDatabase)}
}

// away is the commit that has PostgreSQL as the backend, back the one that has
// the file.
func (m *mover) away(hcl string) {
	m.t.Helper()
	m.pg.config(hcl)
	delete(m.inputs, "backend_config")
	m.env["PG_CONN_STR"] = m.database
}

func (m *mover) back(hcl string) {
	m.t.Helper()
	m.rig.config(hcl)
	m.inputs["backend_config"] = m.home
	delete(m.env, "PG_CONN_STR")
}

// quiet is a plan in which the move has changed nothing.
func (m *mover) quiet(more ...map[string]string) map[string]string {
	m.t.Helper()
	res := m.plan(more...)
	m.wantGreen(res)
	if res.Outputs["changes"] != "false" {
		m.t.Errorf("the move has changed something:\n%s", res.Log)
	}
	return handOver(res)
}

// contents is a state without its serial and its blanks, and with another
// lineage if there is to be one.
func contents(t *testing.T, state, lin string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(withSerial(state, 0))); err != nil {
		t.Fatal(err)
	}
	return strings.Replace(b.String(), lineage(state), lin, 1)
}

// docs/remote-backend.md, step by step: the state of the last archive is restored
// into PostgreSQL, is changed there, and comes back. It is the same state all
// the way, nothing is planned because of it, and what belongs to the other place
// is refused.
func TestMoveToPostgreSQLAndBack(t *testing.T) {
	t.Parallel()
	m := newMover(t)
	stale := m.quiet()
	before, archive := m.readState(), filepath.Base(last(m.archives(filepath.Join(m.off, stackName))))
	m.away(two)
	// Nobody takes the empty database for the state.
	m.wantRed(m.plan(), "state-vanished")
	m.wantRed(m.restore(archive), "state-vanished")
	m.wantGreen(m.restore(archive, map[string]string{"accept_state": "vanished"}))
	moved := m.pg.state()
	if contents(t, moved, lineage(moved)) != contents(t, before, lineage(before)) || serial(t, moved) <= serial(t, before) {
		t.Errorf("another state, or no later one, came out:\n%s", moved)
	}
	m.wantRed(m.apply(stale), "plan-changed")
	m.wantGreen(m.apply(m.quiet()))
	uno := strings.Replace(two, `"one"`, `"uno"`, 1)
	m.away(uno)
	m.wantGreen(m.apply(m.mustPlan()))
	moved = m.pg.state()
	// The file is still there. A branch that has not moved finds it, and stops.
	m.back(two)
	m.wantRed(m.plan(), "state-serial")

	m.away(uno)
	stale = m.quiet()
	archive = filepath.Base(last(m.archives(filepath.Join(m.off, stackName))))
	m.back(uno)
	m.wantGreen(m.restore(archive))
	if got := m.readState(); contents(t, got, lineage(got)) != contents(t, moved, lineage(moved)) || serial(t, got) <= serial(t, moved) {
		t.Errorf("another state, or no later one, came back:\n%s", got)
	}
	m.wantRed(m.apply(stale), "plan-changed")
	m.wantGreen(m.apply(m.quiet()))
}

// With OpenTofu's own migration the contents are the same, and the state is
// another one: it begins a new lineage where there was none. One word of the
// operator's lets that through, once.
func TestMigratedState(t *testing.T) {
	t.Parallel()
	m := newMover(t)
	stale, before := m.quiet(), m.readState()
	data := filepath.Join(t.TempDir(), "tofu")
	// What the operator does by hand, in a checkout on the runner.
	hand := func(args ...string) {
		t.Helper()
		cmd := m.tofuCmd(args...)
		cmd.Env = append(cmd.Env, "TF_DATA_DIR="+data, "PG_CONN_STR="+m.database)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("tofu %q: %v\n%s", args, err, out)
		}
	}
	hand("init", "-input=false", "-backend-config="+m.home)
	m.away(two)
	hand("init", "-input=false", "-migrate-state", "-force-copy")
	moved := m.pg.state()
	if lineage(moved) == lineage(before) || contents(t, moved, "") != contents(t, before, "") {
		t.Errorf("the contents changed, or the lineage did not; then docs/remote-backend.md is wrong:\n%s", moved)
	}
	m.wantRed(m.plan(), "state-lineage")
	accepted := m.quiet(map[string]string{"accept_state": "lineage"})
	m.wantRed(m.apply(stale), "plan-changed")
	m.wantGreen(m.apply(accepted))
	m.quiet()
}

// From one database to another the state is byte for byte the same, and a plan
// from before would be applied to the old one.
func TestReceiptOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	r := newPG(t, two)
	r.applied()
	r.config(strings.Replace(two, `"one"`, `"uno"`, 1))
	planned := r.mustPlan()
	before := r.state()
	r.pg.Query(pgDatabase, "CREATE SCHEMA other; CREATE TABLE other.states AS TABLE edge.states")
	r.block = "schema_name = \"other\"\n"
	r.config(strings.Replace(two, `"one"`, `"uno"`, 1))
	res := r.apply(planned)
	r.wantRed(res, "plan-changed")
	if !strings.Contains(res.Log, "state in \"backend pg (settings ") {
		t.Errorf("the reason is another:\n%s", res.Log)
	}
	if got := r.pg.Query(pgDatabase, "SELECT data FROM edge.states"); strings.TrimSpace(got) != strings.TrimSpace(before) {
		t.Errorf("the old place was written:\n%s", got)
	}
}
