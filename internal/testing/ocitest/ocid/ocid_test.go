package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"edge-actions/internal/oci"
	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/verdict"
)

// The test's own binary is the command when it is told so.
func TestMain(m *testing.M) {
	if os.Getenv("OCID_TEST_CHILD") != "" {
		main()
	}
	os.Exit(m.Run())
}

// daemon is a running command.
type daemon struct {
	cmd *exec.Cmd
	url string
}

func start(t *testing.T, args ...string) *daemon {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "OCID_TEST_CHILD=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		cmd.Wait()
		t.Fatalf("no address: %v: %s", err, stderr.String())
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return &daemon{cmd, strings.Fields(line)[1]}
}

func (d *daemon) client(t *testing.T, config string) *oci.Client {
	t.Helper()
	c, err := oci.New(t.Context(), oci.Options{Credentials: oci.Credentials{Auth: oci.ConfigFile, ConfigFile: filepath.Join(config, "config")}, Endpoint: d.url, Pause: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (d *daemon) control(t *testing.T, path, body string) (int, string) {
	t.Helper()
	method := http.MethodGet
	if body != "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(t.Context(), method, d.url+"/_control/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(data))
}

func TestTheWorldOutlivesTheServer(t *testing.T) {
	dir := t.TempDir()
	world, log := filepath.Join(dir, "world.json"), filepath.Join(dir, "log")
	script := filepath.Join(dir, "filter")
	if err := os.WriteFile(script, []byte(fmt.Sprintf("#!/bin/sh\necho \"$@\" >>%s\n", log)), 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{"-world", world, "-config", dir, "-source", "198.51.100.7", "-on-change", script, "-node", "node-1=192.0.2.1,10.0.0.7", "-node", "node-2=192.0.2.2"}
	d := start(t, args...)
	c := d.client(t, dir)
	w, err := ocitest.ReadWorld(world)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.AddRule(t.Context(), w.NSGs[0].ID, oci.Rule{Description: "a door", Protocol: "6", Source: "198.51.100.7/32", Ports: &oci.Ports{Min: 22, Max: 22}})
	if err != nil {
		t.Fatal(err)
	}
	// The packet filter is set by the time that the rule is answered.
	said := func() string {
		data, _ := os.ReadFile(log)
		return string(data)
	}
	if diff := cmp.Diff("closed 192.0.2.1 node-1\nclosed 192.0.2.2 node-2\nopen 192.0.2.1 node-1\n", said()); diff != "" {
		t.Error(diff)
	}
	d.cmd.Process.Kill()
	d.cmd.Wait()
	os.Remove(log)
	// Another process, with the same key: the old config file still works.
	config, err := os.ReadFile(filepath.Join(dir, "config"))
	if err != nil {
		t.Fatal(err)
	}
	d = start(t, args...)
	if now, _ := os.ReadFile(filepath.Join(dir, "config")); !bytes.Equal(now, config) {
		t.Errorf("another config:\n%s", cmp.Diff(string(config), string(now)))
	}
	c = d.client(t, dir)
	rules, err := c.IngressRules(t.Context(), w.NSGs[0].ID)
	if err != nil || len(rules) != 1 || rules[0].ID != r.ID || !rules[0].Created.Equal(r.Created) {
		t.Errorf("%+v, %v", rules, err)
	}
	if v, err := c.VNIC(t.Context(), w.VNICs[0].ID); err != nil || v.PrivateIP != "10.0.0.7" || v.PublicIP != "192.0.2.1" {
		t.Errorf("%+v, %v", v, err)
	}
	if err := c.RemoveRules(t.Context(), w.NSGs[0].ID, r.ID); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff("open 192.0.2.1 node-1\nclosed 192.0.2.2 node-2\nclosed 192.0.2.1 node-1\n", said()); diff != "" {
		t.Error(diff)
	}
	d.cmd.Process.Signal(syscall.SIGTERM)
	if err := d.cmd.Wait(); err != nil {
		t.Errorf("it did not end well: %v", err)
	}
}

func TestControl(t *testing.T) {
	dir := t.TempDir()
	d := start(t, "-world", filepath.Join(dir, "world.json"), "-config", dir, "-node", "node-1=192.0.2.1")
	c := d.client(t, dir)
	w, err := ocitest.ReadWorld(filepath.Join(dir, "world.json"))
	if err != nil {
		t.Fatal(err)
	}
	instance, group := w.Instances[0].ID, w.NSGs[0].ID
	post := func(path, body string) string {
		t.Helper()
		status, out := d.control(t, path, body)
		if status != 200 {
			t.Errorf("%s %s: %d %s", path, body, status, out)
		}
		return out
	}
	post("fault", `{"kind":"fail","method":"GET","path":"/instances/","times":-1,"status":403,"code":"NotAllowed"}`)
	if _, err := c.Instance(t.Context(), instance); !verdict.Has(err, oci.Forbidden) {
		t.Errorf("fault: %v", err)
	}
	post("heal", "{}")
	post("clock", `{"offset":"2h"}`)
	if _, err := c.Instance(t.Context(), instance); err != nil {
		t.Errorf("healed, two hours off: %v", err)
	}
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(post("rule", fmt.Sprintf(`{"nsg":%q,"rule":{"protocol":"all","source":"0.0.0.0/0"}}`, group))), &made); err != nil || made.ID == "" {
		t.Errorf("%+v, %v", made, err)
	}
	if rules, err := c.IngressRules(t.Context(), group); err != nil || len(rules) != 1 || rules[0].ID != made.ID {
		t.Errorf("%+v, %v", rules, err)
	}
	for source, want := range map[string]string{"198.51.100.7": "true", "2001:db8::1": "false"} {
		if _, out := d.control(t, "allowed?vnic="+w.VNICs[0].ID+"&source="+source, ""); out != want {
			t.Errorf("allowed from %s: %s", source, out)
		}
	}
	post("eventual", `{"lists":2}`)
	if err := c.RemoveRules(t.Context(), group, made.ID); err != nil {
		t.Error(err)
	}
	for i, want := range []int{1, 0} {
		if rules, err := c.IngressRules(t.Context(), group); err != nil || len(rules) != want {
			t.Errorf("list %d: %+v, %v", i, rules, err)
		}
	}
	post("forbid", fmt.Sprintf(`{"id":%q}`, instance))
	if _, err := c.Instance(t.Context(), instance); !verdict.Has(err, oci.MissingOrForbidden) {
		t.Errorf("forbidden: %v", err)
	}
	var log []ocitest.Request
	if _, out := d.control(t, "requests", ""); json.Unmarshal([]byte(out), &log) != nil || len(log) != c.Calls() {
		t.Errorf("%d calls, log %s", c.Calls(), out)
	}
	if _, out := d.control(t, "world", ""); !strings.Contains(out, instance) {
		t.Errorf("%s", out)
	}
	for path, body := range map[string]string{"fault": `{"sort":"x"}`, "clock": `{"offset":"soon"}`, "rule": `{"nsg":"none"}`, "heal": "{"} {
		if status, _ := d.control(t, path, body); status != 400 {
			t.Errorf("%s %s: %d", path, body, status)
		}
	}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	world := filepath.Join(dir, "world.json")
	if err := os.WriteFile(world, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := []string{"-config", dir, "-world"}
	for want, args := range map[string][]string{
		"are needed":         {},
		"needs -source":      append(good, filepath.Join(dir, "new"), "-on-change", "true"),
		"unknown argument":   append(good, filepath.Join(dir, "new"), "x"),
		"name=public":        append(good, filepath.Join(dir, "new"), "-node", "x"),
		"reading ":           append(good, world),
		"no loopback":        append(good, filepath.Join(dir, "new"), "-listen", "0.0.0.0:0"),
		"invalid value":      append(good, filepath.Join(dir, "new"), "-source", "here"),
		"no such file or di": append(good, filepath.Join(dir, "none", "new")),
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), args, io.Discard, &stderr); code != 1 || !strings.Contains(stderr.String(), want) {
			t.Errorf("%q: %d, %s", args, code, stderr.String())
		}
	}
	if code := run(t.Context(), []string{"-h"}, io.Discard, io.Discard); code != 0 {
		t.Errorf("-h: %d", code)
	}
}
