package ocitest

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

const (
	maxAdded       = 25
	maxRules       = 120
	maxGroups      = 5
	maxDescription = 255
)

// groupRules serves what is below a group.
func (s *Server) groupRules(r *http.Request, id, rest string, q url.Values, body []byte) answer {
	g := s.world.nsg(id)
	if g == nil || slices.Contains(s.world.Forbidden, id) {
		return missing()
	}
	switch {
	case r.Method == http.MethodGet && rest == "securityRules":
		direction := q.Get("direction")
		return page(s, q, s.shown(g, q.Get("page") == ""), func(v Rule) (string, bool) { return v.ID, direction == "" || v.Direction == direction })
	case r.Method == http.MethodPost && rest == "actions/addSecurityRules":
		return s.addRules(g, body)
	case r.Method == http.MethodPost && rest == "actions/removeSecurityRules":
		return s.removeRules(g, body)
	}
	return refuse(404, "NotFound", "HTTP 404 Not Found")
}

func (s *Server) addRules(g *NSG, body []byte) answer {
	var in struct {
		SecurityRules []Rule `json:"securityRules"`
	}
	if a := decode(body, &in); a != nil {
		return *a
	}
	if n := len(in.SecurityRules); n < 1 || n > maxAdded {
		return refuse(400, "InvalidParameter", "securityRules size must be between 1 and %d", maxAdded)
	}
	for _, r := range in.SecurityRules {
		if why := invalid(r); why != "" {
			return refuse(400, "InvalidParameter", "%s", why)
		}
	}
	if len(g.Rules)+len(in.SecurityRules) > maxRules {
		return refuse(400, "LimitExceeded", "The network security group can have at most %d security rules.", maxRules)
	}
	for i := range in.SecurityRules {
		r := &in.SecurityRules[i]
		now := s.now().UTC()
		r.ID, r.TimeCreated = ruleID(), &now
		g.Rules = append(g.Rules, *r)
		s.delay(g.ID, *r, false)
	}
	return answer{status: 200, body: in}
}

func ruleID() string { return random(3) }

// invalid says what is wrong with a rule that is to be added, or "".
func invalid(r Rule) string {
	switch {
	case r.ID != "" || r.TimeCreated != nil:
		return "id and timeCreated are set by the server"
	case r.Direction != "INGRESS" && r.Direction != "EGRESS":
		return "direction must be INGRESS or EGRESS"
	case r.Protocol == "" || r.Protocol != "all" && strings.Trim(r.Protocol, "0123456789") != "":
		return "protocol must be all or a number"
	case len([]rune(r.Description)) > maxDescription:
		return "description size must be between 0 and 255"
	case r.TCPOptions != nil && r.Protocol != "6", r.UDPOptions != nil && r.Protocol != "17":
		return "the options are of another protocol"
	}
	for _, o := range []*Options{r.TCPOptions, r.UDPOptions} {
		if o == nil || o.DestinationPortRange == nil {
			continue
		}
		if p := o.DestinationPortRange; p.Min < 1 || p.Max > 65535 || p.Min > p.Max {
			return "destinationPortRange must be within 1 and 65535, and min not above max"
		}
	}
	end, kind := r.Source, r.SourceType
	if r.Direction == "EGRESS" {
		end, kind = r.Destination, r.DestinationType
	}
	if kind == "" || kind == "CIDR_BLOCK" {
		if p, err := netip.ParsePrefix(end); err != nil || p != p.Masked() {
			return "a CIDR block is malformed"
		}
	} else if kind != "SERVICE_CIDR_BLOCK" && !strings.HasPrefix(end, "ocid1.networksecuritygroup.") {
		return "a source is malformed"
	}
	return ""
}

func (s *Server) removeRules(g *NSG, body []byte) answer {
	var in struct {
		SecurityRuleIDs []string `json:"securityRuleIds"`
	}
	if a := decode(body, &in); a != nil {
		return *a
	}
	if n := len(in.SecurityRuleIDs); n < 1 || n > maxAdded {
		return refuse(400, "InvalidParameter", "securityRuleIds size must be between 1 and %d", maxAdded)
	}
	has := func(id string) bool { return slices.ContainsFunc(g.Rules, func(r Rule) bool { return r.ID == id }) }
	for _, id := range in.SecurityRuleIDs {
		if !has(id) && s.gone.Status >= 300 {
			return s.gone.answer()
		}
	}
	g.Rules = slices.DeleteFunc(g.Rules, func(r Rule) bool {
		if !slices.Contains(in.SecurityRuleIDs, r.ID) {
			return false
		}
		s.delay(g.ID, r, true)
		return true
	})
	return answer{status: 200}
}
