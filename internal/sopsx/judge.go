package sopsx

import (
	"fmt"
	"slices"
	"strings"

	"edge-actions/internal/verdict"
)

// Want is what a file is held against.
type Want struct {
	// Names must be there, encrypted and not empty.
	Names []Name
	// Clear are those of them that may be there in clear.
	Clear []Name
	// Recipients must each be able to read the file alone.
	Recipients []string
}

// Judge holds the file against w without decrypting anything. What w does not
// ask for is no check.
func (f *File) Judge(w Want) []verdict.Check {
	checks := []verdict.Check{f.checkExposed()}
	if len(w.Names) > 0 {
		checks = append(checks, f.checkNames(w.Names), f.checkEmpty(w.Names))
		checks = append(checks, f.checkClear(w)...)
	}
	if len(w.Recipients) > 0 {
		checks = append(checks, f.checkRecipients(w.Recipients))
	}
	return slices.DeleteFunc(checks, func(c verdict.Check) bool { return c.ID == "" })
}

// refuseIf is a disproven check if anything was found, else a proven one.
func refuseIf(id, wanted string, found []string, proof, hint string) verdict.Check {
	if len(found) == 0 {
		return verdict.Check{ID: id, Verdict: verdict.Proven, Wanted: wanted, Got: proof}
	}
	return verdict.Refuse(id, wanted, strings.Join(found, "; "), hint).Check
}

// named are the asked-for names that are in one of the states.
func (f *File) named(names []Name, states ...State) []Name {
	var out []Name
	for _, n := range names {
		if i, ok := f.byName[n.key()]; ok && slices.Contains(states, f.entries[i].State) {
			out = append(out, n)
		}
	}
	return out
}

func list(what string, names []Name) []string {
	if len(names) == 0 {
		return nil
	}
	return []string{what + " " + quoted(names)}
}

// checkExposed is about the whole file: sops decrypts none of it otherwise.
func (f *File) checkExposed() verdict.Check {
	var exposed, stray []Name
	for _, e := range f.entries {
		switch e.State {
		case Exposed:
			exposed = append(exposed, e.Name)
		case Stray:
			stray = append(stray, e.Name)
		}
	}
	return refuseIf("sops-encrypted", "every value encrypted that the file's own rules encrypt, and no other",
		append(list("in clear:", exposed), list("encrypted against the rules:", stray)...), fmt.Sprintf("so in all %d", len(f.entries)),
		"encrypt it again with sops; what was in clear is in Git's history, so replace it")
}

func (f *File) checkNames(names []Name) verdict.Check {
	var missing []Name
	for _, n := range names {
		if _, ok := f.byName[n.key()]; !ok {
			missing = append(missing, n)
		}
	}
	return refuseIf("sops-names", fmt.Sprintf("%d names in the file", len(names)), list("missing:", missing), "all of them", f.hintNames(missing...))
}

// hintNames says what to do about missing names.
func (f *File) hintNames(missing ...Name) string {
	for _, n := range missing {
		for _, e := range f.entries {
			if e.Name.under(n) {
				return fmt.Sprintf("%q has several values: name one, such as %q", n, e.Name)
			}
		}
	}
	return "add them with sops, or correct the names; the file has " + quoted(f.Names())
}

func (f *File) checkEmpty(names []Name) verdict.Check {
	empty := f.named(names, Empty)
	if len(empty) == 0 {
		return verdict.Check{} // no question of its own when all is well
	}
	return refuseIf("sops-empty", "a value under each name", list("empty:", empty), "", "set them with sops; an empty value is no secret, and the MAC does not see it")
}

// checkClear is about names that the file's own rules leave in clear. They are
// waived if they are allowed, and never if the MAC leaves them out as well.
func (f *File) checkClear(w Want) []verdict.Check {
	var allowed, refused []Name
	for _, n := range f.named(w.Names, Clear) {
		if slices.ContainsFunc(w.Clear, n.Equal) && !f.meta.MACOnlyEncrypted {
			allowed = append(allowed, n)
		} else {
			refused = append(refused, n)
		}
	}
	hint := "encrypt them with sops, or list them in allow_unencrypted"
	if f.meta.MACOnlyEncrypted {
		hint = "encrypt them with sops: the file has mac_only_encrypted, so anybody can change what is in clear"
	}
	var checks []verdict.Check
	if len(refused) > 0 {
		checks = append(checks, refuseIf("sops-encrypted", "the named values encrypted", list("in clear by the file's own rules:", refused), "", hint))
	}
	if len(allowed) > 0 {
		c := refuseIf("sops-encrypted", "the named values encrypted", list("in clear by the file's own rules:", allowed), "", hint)
		c.Waived = "allow_unencrypted"
		checks = append(checks, c)
	}
	return checks
}

func (f *File) checkRecipients(recipients []string) verdict.Check {
	var found []string
	for _, r := range recipients {
		switch n := f.GroupsOf(r); {
		case n == 0:
			found = append(found, fmt.Sprintf("%q is none of them", r))
		case n < f.Needed():
			found = append(found, fmt.Sprintf("%q is in %d key groups, and it takes %d", r, n, f.Needed()))
		}
	}
	return refuseIf("sops-recipients", "a file that "+quoted(recipients)+" can read", suffix(found, "; the file is for "+f.readers()), "encrypted for them",
		"add the recipient to .sops.yaml and run sops updatekeys")
}

// suffix adds text to the last of a list, if there is one.
func suffix(words []string, text string) []string {
	if len(words) > 0 {
		words[len(words)-1] += text
	}
	return words
}
