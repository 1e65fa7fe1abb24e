package stack_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/pgtest"
	"edge-actions/internal/testing/s3test"
)

// far is a rig whose state is in a real backend that knows locks by itself.
type far struct {
	*rig
	kind    string // of the backend
	block   string // what is in it, nothing of it secret
	secrets []string
	pg      *pgtest.Server // if it is that
	s3      *s3test.Server
}

const (
	pgDatabase = "state"
	pgSchema   = "edge"
	s3Bucket   = "state"
	s3Key      = "edge/terraform.tfstate"
)

// newPG has its state in PostgreSQL. The one secret is in PG_CONN_STR.
func newPG(t *testing.T, hcl string) *far {
	t.Helper()
	r := &far{rig: newRig(t, ""), kind: "pg", block: "schema_name = \"" + pgSchema + "\"\n", pg: pgtest.New(t)}
	r.env["PG_CONN_STR"] = r.pg.Database(pgDatabase)
	r.secrets = []string{r.pg.Password}
	r.begin(hcl)
	return r
}

// newS3 has its state in S3, with a lock file beside it.
func newS3(t *testing.T, hcl string) *far {
	t.Helper()
	r := &far{rig: newRig(t, ""), kind: "s3", s3: s3test.New(t), block: `bucket = "` + s3Bucket + `"
key = "` + s3Key + `"
region = "home"
use_lockfile = true
use_path_style = true
skip_credentials_validation = true
skip_metadata_api_check = true
skip_region_validation = true
skip_requesting_account_id = true
`}
	r.s3.Bucket(s3Bucket)
	maps.Copy(r.env, map[string]string{"AWS_ENDPOINT_URL_S3": r.s3.URL, "AWS_ACCESS_KEY_ID": r.s3.AccessKey, "AWS_SECRET_ACCESS_KEY": r.s3.Secret})
	r.secrets = []string{r.s3.Secret}
	r.begin(hcl)
	return r
}

func (r *far) begin(hcl string) {
	r.t.Helper()
	delete(r.inputs, "backend_config")
	r.config(hcl)
}

// config puts the configuration into the checkout.
func (r *far) config(hcl string) {
	r.t.Helper()
	r.rig.config(hcl)
	path := filepath.Join(r.Workspace, "infra", "main.tf")
	data, err := os.ReadFile(path)
	if err != nil {
		r.t.Fatal(err)
	}
	block := "backend \"" + r.kind + "\" {\n" + r.block + "}"
	if err := os.WriteFile(path, []byte(strings.Replace(string(data), `backend "local" {}`, block, 1)), 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.tofu("fmt", path)
}

// beside is the real tool as somebody beside the actions would run it, on
// another machine: with a data directory of its own.
func (r *far) beside(args ...string) *exec.Cmd {
	r.t.Helper()
	data := filepath.Join(r.t.TempDir(), "tofu")
	init := r.tofuCmd("init", "-input=false")
	for _, cmd := range []*exec.Cmd{init, r.tofuCmd(args...)} {
		cmd.Env = append(cmd.Env, "TF_DATA_DIR="+data)
		for name, value := range r.env {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		if cmd.Args[1] != "init" {
			return cmd
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			r.t.Fatalf("tofu init: %v\n%s", err, out)
		}
	}
	return nil
}

// state is what the backend holds, by OpenTofu's own word.
func (r *far) state() string {
	r.t.Helper()
	out, err := r.beside("state", "pull").Output()
	if err != nil {
		r.t.Fatal(err)
	}
	return string(out)
}

// kept is where the archives off the machine are.
func (r *far) kept() []string { return r.archives(filepath.Join(r.off, stackName)) }

// backends are the real ones; what holds for one has to hold for each.
func backends(t *testing.T, test func(t *testing.T, fresh func(t *testing.T, hcl string) *far)) {
	for name, fresh := range map[string]func(*testing.T, string) *far{"pg": newPG, "s3": newS3} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, fresh)
		})
	}
}
