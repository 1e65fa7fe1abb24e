package handoff

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

// need says what an absent, null or empty value means.
type need int

const (
	optional need = iota // absent, null and "" all mean: not known
	required             // it must have a value
	filled               // it may be absent, but it must not be there and empty
)

// rule is how a field of text is judged. accept returns its canonical form.
type rule struct {
	need   need
	wanted string
	accept func(string) (string, bool)
}

// Lengths are not in the expressions: one that counts to 255 takes a
// millisecond to compile, in each start of each program that has this package.
var (
	label     = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	ident     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/-]*$`)
	placement = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:._-]*$`)
	diskType  = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)
	element   = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)
	iqn       = regexp.MustCompile(`^(iqn|eui|naa)\.[A-Za-z0-9.:_-]+$`)
)

var nodeRules = map[string]rule{
	"name":                {required, "a lower-case DNS label: a-z, 0-9 and '-', at most 63", match(label, 63)},
	"hostname":            {optional, "a lower-case DNS name that is no address", hostname},
	"instance_id":         {required, "the id of an instance, if an OCID then ocid1.instance.…", id("instance")},
	"private_ip":          {filled, "a unicast address without zone, prefix or leading zeros", address(false)},
	"public_ip":           {optional, "a public unicast address without zone, prefix or leading zeros", address(true)},
	"region":              {optional, "a region such as eu-frankfurt-1", match(label, 63)},
	"availability_domain": {optional, "an availability domain such as Uocm:EU-FRANKFURT-1-AD-1", match(placement, 128)},
	"subnet_id":           {optional, "the id of a subnet, if an OCID then ocid1.subnet.…", id("subnet")},
	"ssh_host_key":        {optional, "one public host key such as \"ssh-ed25519 AAAA…\", without options or host names", hostKey},
}

var attachmentRules = map[string]rule{
	"attachment_type": {required, "a type of attachment such as iscsi or paravirtualized", match(diskType, 32)},
	"device":          {required, "a device such as /dev/oracleoci/oraclevdb", device},
	"volume_id":       {optional, "the id of a volume, if an OCID then ocid1.volume.… or ocid1.bootvolume.…", id("volume", "bootvolume")},
	"iqn":             {optional, "an iSCSI name such as iqn.2015-12.com.oracleiaas:…", match(iqn, 223)},
	"ipv4":            {optional, "an IPv4 address", ipv4},
}

func match(re *regexp.Regexp, most int) func(string) (string, bool) {
	return func(s string) (string, bool) { return s, len(s) <= most && re.MatchString(s) }
}

// device accepts the path of a device: one to eight elements below /dev.
func device(s string) (string, bool) {
	below, ok := strings.CutPrefix(s, "/dev/")
	parts := strings.Split(below, "/")
	for _, p := range parts {
		ok = ok && len(p) <= 64 && element.MatchString(p)
	}
	return s, ok && len(parts) <= 8
}

// hostname accepts labels with dots between them. A last label of digits only
// would make it an address to some resolvers ("10.1" is one).
func hostname(s string) (string, bool) {
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if len(l) > 63 || !label.MatchString(l) {
			return "", false
		}
	}
	last := labels[len(labels)-1]
	return s, len(s) <= 253 && (len(labels) == 1 || strings.Trim(last, "0123456789") != "")
}

// id accepts any identifier without blanks, but an OCID only if it is well
// formed and of the right kind: two mixed up are a common slip.
func id(kinds ...string) func(string) (string, bool) {
	return func(s string) (string, bool) {
		if strings.HasPrefix(strings.ToLower(s), "ocid1.") {
			kind, ok := ocidKind(s)
			return s, ok && len(s) <= 255 && slices.Contains(kinds, kind)
		}
		return s, len(s) <= 255 && ident.MatchString(s)
	}
}

// ocidKind returns the resource type of an OCID,
// ocid1.TYPE.REALM.[REGION][.FUTURE USE].UNIQUE, and whether it is well formed.
// Three of these a node are most of the work of a handoff, so it is no regexp.
func ocidKind(s string) (string, bool) {
	parts := strings.Split(s, ".")
	if len(parts) != 5 && len(parts) != 6 || parts[0] != "ocid1" {
		return "", false
	}
	for i, part := range parts {
		middle := i > 2 && i < len(parts)-1 // the region and what may follow it
		if part == "" && !middle {
			return "", false
		}
		for _, c := range []byte(part) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && (c != '-' || !middle) {
				return "", false
			}
		}
	}
	return parts[1], true
}

func address(public bool) func(string) (string, bool) {
	return func(s string) (string, bool) {
		a, err := netip.ParseAddr(s)
		ok := err == nil && a.Zone() == "" && !a.Is4In6() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast() &&
			!a.IsLinkLocalUnicast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255}) && (!public || !a.IsPrivate())
		if !ok {
			return "", false
		}
		return a.String(), true
	}
}

// ipv4 accepts link-local addresses too: OCI's iSCSI targets have them.
func ipv4(s string) (string, bool) {
	a, err := netip.ParseAddr(s)
	return s, err == nil && a.Is4() && !a.IsUnspecified() && !a.IsLoopback() && !a.IsMulticast()
}

// hostKey accepts the line of a .pub file, which may end as a file does, and
// drops its comment.
func hostKey(s string) (string, bool) {
	s = strings.TrimSuffix(s, "\n")
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(s))
	if err != nil || len(s) > maxHostKey || len(options) > 0 || len(rest) > 0 || strings.ContainsAny(s, "\r\n") {
		return "", false
	}
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA:
		return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(key)), "\n"), true
	}
	return "", false
}
