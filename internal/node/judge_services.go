package node

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"edge-actions/internal/verdict"
)

func systemState(f *Facts, e Expect) verdict.Check {
	q := question{id: SystemState, wanted: "a system that is running"}
	switch state := need(&q, f.State); state {
	case "running":
		return q.answer(true, state, "")
	case "degraded":
		failed := need(&q, f.Failed)
		if failedUnits(f, e).Verdict == verdict.Proven && len(failed) > 0 {
			return q.answer(true, "degraded, by units that failed before: "+list(failed), "")
		}
		return q.answer(false, "degraded", "see the check "+FailedUnits)
	case "initializing", "starting":
		return q.answer(false, state, "wait for the boot to end; systemctl list-jobs says what it waits for")
	case "stopping":
		return q.answer(false, state, "it is going down: wait for it to come back")
	case "maintenance":
		return q.answer(false, state, "it is in rescue mode: look at its console")
	default: // offline, unknown, and what is not known here
		q.ask(false, "systemctl says "+quote(state))
		return q.unproven("see systemctl is-system-running on the node")
	}
}

func failedUnits(f *Facts, e Expect) verdict.Check {
	q := question{id: FailedUnits, wanted: "no failed unit"}
	if len(e.FailedBefore) > 0 {
		q.wanted = "no failed unit but " + list(e.FailedBefore)
	}
	failed := need(&q, f.Failed)
	var fresh []string
	for _, unit := range failed {
		if !slices.Contains(e.FailedBefore, unit) {
			fresh = append(fresh, unit)
		}
	}
	switch {
	case len(fresh) == 0 && len(failed) == 0:
		return q.answer(true, "none failed", "")
	case len(fresh) == 0:
		return q.answer(true, list(failed), "")
	}
	got := []string{list(fresh)}
	for _, unit := range fresh {
		if journal := f.Journals[unit]; journal != "" {
			got = append(got, quote(unit)+" says "+quoteEnd(journal))
		}
	}
	return q.answer(false, strings.Join(got, "; "), "mend them (systemctl status UNIT), then systemctl reset-failed")
}

// quoteEnd is quote for a text whose end matters most.
func quoteEnd(s string) string {
	const most = 1500
	if s = strings.TrimSpace(s); len(s) > most {
		s = s[len(s)-most:]
	}
	return fmt.Sprintf("%q", s)
}

func units(f *Facts, e Expect) verdict.Check {
	q := question{id: Units, wanted: "active units: " + list(e.Units)}
	known := need(&q, f.Units)
	if len(e.Units) == 0 {
		q.errs = append(q.errs, errEmpty("unit"))
	}
	var wrong []string
	for _, name := range e.Units {
		i := slices.IndexFunc(known, func(u Unit) bool { return slices.Contains(u.Names, name) })
		switch {
		case i < 0:
			q.ask(false, "systemctl says nothing of "+quote(name))
		case known[i].Load == "not-found":
			wrong = append(wrong, name+" is not there")
		case known[i].Active != "active":
			wrong = append(wrong, fmt.Sprintf("%s is %s (%s)", name, quote(known[i].Active), quote(known[i].State)))
		}
	}
	if len(wrong) > 0 {
		return q.answer(false, strings.Join(wrong, ", "), "see systemctl status and journalctl -u of them on the node")
	}
	return q.answer(true, "all of them are active", "")
}

// onTailnet picks one of the tailnet's checks, by the node's own clock.
func onTailnet(id string) func(*Facts, Expect) verdict.Check {
	return func(f *Facts, e Expect) verdict.Check {
		q := question{id: id, wanted: "a node that is on the tailnet"}
		status, now := need(&q, f.Tailscale), need(&q, f.Now)
		if len(q.errs) == 0 {
			for _, c := range status.Check(now, e.KeyMargin) {
				if c.ID == id {
					return c
				}
			}
			q.ask(false, "it was not judged")
		}
		return q.unproven("see tailscale status on the node")
	}
}

func ports(f *Facts, e Expect) verdict.Check {
	q := question{id: Ports, wanted: "an answer on port " + numbers(e.Ports)}
	open := need(&q, f.Ports)
	if len(e.Ports) == 0 {
		q.errs = append(q.errs, errEmpty("port"))
	}
	var closed []int
	for _, port := range e.Ports {
		// One that was tried until the time was up is not in the list.
		if !open[port] {
			closed = append(closed, port)
		}
	}
	return q.answer(len(closed) == 0, cond(len(closed) == 0, "all answer", "none on port "+numbers(closed)), "see that the service listens (ss -tln) and on which address")
}

func numbers(ports []int) string {
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(ports), " ", ", "), "[]")
}

func cond(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

const secretsDir = "/run/secrets"

func secrets(f *Facts, e Expect) verdict.Check {
	q := question{id: Secrets, wanted: "secrets in " + secretsDir + " that not everybody can read"}
	if len(e.Secrets) > 0 {
		q.wanted += ", among them " + list(e.Secrets)
	}
	found := map[string]bool{}
	var wrong []string
	for _, file := range need(&q, f.Files) {
		name, inside := strings.CutPrefix(file.Path, secretsDir+"/")
		switch {
		case !inside || file.Type == "d":
		case file.Type == "f" && file.Mode&0o006 == 0:
			found[name] = true
		case file.Type == "f":
			wrong = append(wrong, fmt.Sprintf("%s has mode %04o", quote(name), file.Mode))
			found[name] = true
		default:
			wrong = append(wrong, fmt.Sprintf("%s is no file (%s)", quote(name), quote(file.Type)))
		}
	}
	for _, name := range e.Secrets {
		if !found[path.Clean(name)] {
			wrong = append(wrong, quote(name)+" is missing")
		}
	}
	switch {
	case len(wrong) > 0:
		if len(wrong) > maxNames {
			wrong = append(wrong[:maxNames], fmt.Sprintf("and %d more", len(wrong)-maxNames))
		}
		return q.answer(false, strings.Join(wrong, ", "), "see the sops.secrets of the node's configuration, and journalctl -b -g sops on the node")
	case len(found) == 0:
		return q.answer(false, "none", "see that the age key is in place and that sops-nix ran (journalctl -b -g sops on the node)")
	}
	return q.answer(true, fmt.Sprintf("%d secrets", len(found)), "")
}

// ageFile is where sops-nix looks by its own documentation, in a directory that
// is for nothing else.
const ageFile = "/var/lib/sops-nix/key.txt"

func ageKey(f *Facts, e Expect) verdict.Check {
	file := cmp.Or(e.AgeKeyFile, ageFile)
	dir, shared := path.Dir(file), uint32(0o022)
	q := question{id: AgeKey, wanted: file + " of root alone, mode 0600, in a directory that only root can change"}
	if file == ageFile {
		q.wanted, shared = file+" of root alone, mode 0600 in a directory of mode 0700", 0o077
	}
	files := need(&q, f.Files)
	var wrong []string
	for _, part := range []struct {
		path, kind string
		closed     uint32 // the bits that must not be set
	}{{dir, "d", shared}, {file, "f", 0o177}} {
		i := slices.IndexFunc(files, func(file File) bool { return file.Path == part.path })
		if i < 0 {
			wrong = append(wrong, part.path+" is not there")
			continue
		}
		switch file := files[i]; {
		case file.Type != part.kind:
			wrong = append(wrong, fmt.Sprintf("%s is of the type %s", part.path, quote(file.Type)))
		case file.UID != 0 || file.GID != 0:
			wrong = append(wrong, fmt.Sprintf("%s belongs to %d:%d", part.path, file.UID, file.GID))
		case file.Mode&part.closed != 0:
			wrong = append(wrong, fmt.Sprintf("%s has mode %04o", part.path, file.Mode))
		case part.kind == "f" && file.Size == 0:
			wrong = append(wrong, part.path+" is empty")
		}
	}
	return q.answer(len(wrong) == 0, cond(len(wrong) == 0, "root alone", strings.Join(wrong, ", ")), "put the key in place again, for root alone; without it no secret is decrypted at the next boot")
}

func rootLoginConfig(f *Facts, _ Expect) verdict.Check {
	q := question{id: RootLoginConfig, wanted: "an sshd that lets nobody in as root"}
	settings := need(&q, f.SSHD)
	var also []string
	for _, key := range []string{"passwordauthentication", "kbdinteractiveauthentication", "permitemptypasswords"} {
		if value := settings[key]; value != "" && value != "no" {
			also = append(also, key+" "+quote(value))
		}
	}
	got := "permitrootlogin " + quote(settings["permitrootlogin"])
	if len(also) > 0 {
		got += "; besides " + strings.Join(also, ", ")
	}
	return q.answer(settings["permitrootlogin"] == "no", got, `set services.openssh.settings.PermitRootLogin = "no"`)
}
