package handoff

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// nodeFields and attachmentFields are the fields that an output can fill, in
// the order of the document.
var (
	nodeFields = []string{"name", "hostname", "instance_id", "private_ip", "public_ip", "region", "availability_domain",
		"subnet_id", "volume_attachments", "tags", "ssh_host_key"}
	attachmentFields = []string{"attachment_type", "device", "volume_id", "iqn", "ipv4", "port", "is_read_only"}
)

// Bounds of what one node can have. OCI attaches at most 32 volumes and keeps
// 10 free-form and 64 defined tags, with keys of 100 characters (and as many
// for the namespace) and values of 256.
const (
	maxAttachments = 64
	maxTags        = 128
	maxTagKey      = 201
	maxTagValue    = 256
	maxHostKey     = 4096 // bytes; an RSA key of 16384 bits has 2,800
)

// node judges the values of one node. A wrong one is refused and left out.
func (b *builder) node(raw *rawNode) Node {
	if raw.values["name"] == nil && raw.key != "" {
		raw.values["name"] = raw.key
		if raw.places == nil {
			raw.places = map[string]string{}
		}
		raw.places["name"] = "the key of " + raw.at
	}
	text := func(field string) string {
		return b.text(raw.values, field, nodeRules[field], raw.place)
	}
	n := Node{
		Name: text("name"), Hostname: text("hostname"), InstanceID: text("instance_id"),
		PrivateIP: text("private_ip"), PublicIP: text("public_ip"),
		Region: text("region"), AvailabilityDomain: text("availability_domain"), SubnetID: text("subnet_id"),
		SSHHostKey:        text("ssh_host_key"),
		VolumeAttachments: b.attachments(raw.values["volume_attachments"], raw.place("volume_attachments")),
		Tags:              b.tags(raw.values["tags"], raw.place("tags")),
	}
	if unknown(raw.values["hostname"]) {
		n.Hostname = n.Name
	}
	if _, there := raw.values["private_ip"]; !there && unknown(raw.values["public_ip"]) {
		b.refuse("missing-value", "private_ip or public_ip of "+raw.at, "neither", "add the address to the output")
	}
	return n
}

// unknown reports whether a value says nothing.
func unknown(v any) bool { return v == nil || v == "" }

// text returns the canonical form of a field, or "" if it isn't known or was
// refused.
func (b *builder) text(values map[string]any, field string, r rule, place func(field string) string) string {
	v, there := values[field]
	switch {
	case unknown(v) && (r.need == required || there && r.need == filled):
		got := "nothing"
		if there {
			got = "an empty value"
		}
		hint := "add it to the output"
		if r.need == filled {
			hint = "refresh the stack: the provider fills it in only when its lookup succeeds; leave the field out for a node that has none"
		}
		b.refuse("missing-value", place(field)+": "+r.wanted, got, hint)
		return ""
	case unknown(v) || v == redacted{}:
		return ""
	}
	s, ok := v.(string)
	if !ok {
		b.refuse("malformed-value", place(field)+": "+r.wanted, kind(v), "correct it in the stack or in the mapping")
		return ""
	}
	if notYet(s) {
		b.refuse("missing-value", place(field)+": "+r.wanted, "a value that is known after apply", "apply the stack first")
		return ""
	}
	out, ok := r.accept(s)
	if !ok {
		b.refuse("malformed-value", place(field)+": "+r.wanted, quote(s), "correct it in the stack or in the mapping")
		return ""
	}
	return out
}

// notYet reports whether s is how OpenTofu writes a value that isn't known
// yet: in a plan for people, or in the legacy SDK's own encoding.
func notYet(s string) bool {
	return strings.Contains(s, "(known after apply)") || s == "74D93920-ED26-11E3-AC10-0800200C9A66"
}

// attachments judges a list or a map of volume attachments.
func (b *builder) attachments(v any, at string) []VolumeAttachment {
	out := []VolumeAttachment{} // in the document: [], not null
	switch c := v.(type) {
	case nil, redacted:
		return out
	case []any, map[string]any:
		eachOf(c, func(place string, e any) any {
			if a, ok := b.attachment(e, at+place); ok {
				out = append(out, a)
			}
			return nil
		})
	default:
		b.refuse("malformed-value", at+": a list or a map of volume attachments", kind(v), "correct it in the stack or in the mapping")
	}
	if len(out) > maxAttachments {
		b.refuse("malformed-value", fmt.Sprintf("%s: at most %d volume attachments", at, maxAttachments), fmt.Sprint(len(out)), "correct it in the stack or in the mapping")
	}
	devices, volumes := map[string]bool{}, map[string]bool{}
	for _, a := range out {
		if a.Device != "" && devices[a.Device] {
			b.refuse("duplicate", fmt.Sprintf("%s: the device %q once", at, a.Device), "it twice", "correct the output or the mapping")
		}
		if a.VolumeID != "" && volumes[a.VolumeID] {
			b.refuse("duplicate", fmt.Sprintf("%s: the volume_id %q once", at, a.VolumeID), "it twice", "correct the output or the mapping")
		}
		devices[a.Device], volumes[a.VolumeID] = true, true
	}
	slices.SortStableFunc(out, func(a, b VolumeAttachment) int { return strings.Compare(a.Device, b.Device) })
	return out
}

func (b *builder) attachment(v any, at string) (VolumeAttachment, bool) {
	if (v == redacted{}) {
		return VolumeAttachment{}, false
	}
	values, ok := v.(map[string]any)
	if !ok {
		b.refuse("malformed-value", at+": a volume attachment as an object", kind(v), "write it as an object with some of "+strings.Join(attachmentFields, ", "))
		return VolumeAttachment{}, false
	}
	b.known(values, attachmentFields, at)
	text := func(field string) string {
		return b.text(values, field, attachmentRules[field], func(field string) string { return at + "." + field })
	}
	a := VolumeAttachment{
		AttachmentType: text("attachment_type"), Device: text("device"), VolumeID: text("volume_id"),
		IQN: text("iqn"), IPv4: text("ipv4"),
	}
	switch port := values["port"].(type) {
	case nil, redacted:
	case json.Number:
		n, err := port.Int64()
		if err != nil || n < 1 || n > 65535 {
			b.refuse("malformed-value", at+".port: a whole number from 1 to 65535", quote(port.String()), "correct it in the stack or in the mapping")
			break
		}
		a.Port = n
	default:
		b.refuse("malformed-value", at+".port: a whole number from 1 to 65535", kind(port), "write it as a number")
	}
	switch ro := values["is_read_only"].(type) {
	case nil, redacted:
	case bool:
		a.IsReadOnly = &ro
	default:
		b.refuse("malformed-value", at+".is_read_only: true or false", kind(ro), "write it as a boolean")
	}
	target := 0
	for _, field := range []string{"iqn", "ipv4", "port"} {
		if !unknown(values[field]) {
			target++
		}
	}
	if target != 0 && target != 3 {
		b.refuse("missing-value", at+": iqn, ipv4 and port together", fmt.Sprintf("%d of them", target), "add the others: nobody can log in to the target with less")
	}
	return a, true
}

// tags judges a map of text to text.
func (b *builder) tags(v any, at string) map[string]string {
	out := map[string]string{} // in the document: {}, not null
	switch v := v.(type) {
	case nil, redacted:
	case map[string]any:
		if len(v) > maxTags {
			b.refuse("malformed-value", fmt.Sprintf("%s: at most %d tags", at, maxTags), fmt.Sprint(len(v)), "leave out those that nobody reads")
			break
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			place := at + step(key)
			if key == "" || !plain(key, maxTagKey) {
				b.refuse("malformed-value", fmt.Sprintf("%s: a key of 1 to %d printable characters, without \"${{\"", at, maxTagKey), quote(key), "correct the tag")
			}
			switch value := v[key].(type) {
			case redacted:
			case string:
				if !plain(value, maxTagValue) {
					b.refuse("malformed-value", fmt.Sprintf("%s: at most %d printable characters, without \"${{\"", place, maxTagValue), quote(value), "correct the tag")
				} else if notYet(value) {
					b.refuse("missing-value", place+": text", "a value that is known after apply", "apply the stack first")
				}
				out[key] = value
			default:
				b.refuse("malformed-value", place+": text", kind(value), "write it as text, with tostring() in the stack")
			}
		}
	default:
		b.refuse("malformed-value", at+": a map of text to text", kind(v), "correct it in the stack or in the mapping")
	}
	return out
}

// plain reports whether s is printable text of at most most characters that no
// runner would expand. U+FFFD is what invalid text was turned into on the way.
func plain(s string, most int) bool {
	return utf8.RuneCountInString(s) <= most && !strings.Contains(s, "${{") &&
		strings.IndexFunc(s, func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }) < 0
}
