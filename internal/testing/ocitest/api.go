package ocitest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	corePath    = "/20160918/"
	bastionPath = "/20210331/"
)

// effect does what a genuine request asks for.
func (s *Server) effect(r *http.Request, body []byte) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	path, core := strings.CutPrefix(r.URL.Path, corePath)
	if !core {
		var ok bool
		if path, ok = strings.CutPrefix(r.URL.Path, bastionPath); !ok {
			return refuse(404, "NotFound", "HTTP 404 Not Found")
		}
	}
	parts := strings.Split(path, "/")
	kind, id, rest := parts[0], "", ""
	if len(parts) > 1 {
		id = parts[1]
	}
	if len(parts) > 2 {
		rest = strings.Join(parts[2:], "/")
	}
	q := r.URL.Query()
	switch {
	case !core && kind == "sessions":
		return s.sessions(r, id, rest, q, body)
	case core && kind == "networkSecurityGroups" && rest != "":
		return s.groupRules(r, id, rest, q, body)
	case core && r.Method == http.MethodGet && rest == "" && id != "":
		return s.get(kind, id)
	case core && r.Method == http.MethodGet && rest == "":
		return s.list(kind, q)
	}
	return refuse(404, "NotFound", "HTTP 404 Not Found")
}

func (s *Server) get(kind, id string) answer {
	w := s.world
	switch kind {
	case "instances":
		return one(w, w.Instances, id, func(v Instance) string { return v.ID })
	case "vnics":
		return one(w, w.VNICs, id, func(v VNIC) string { return v.ID })
	case "subnets":
		return one(w, w.Subnets, id, func(v Subnet) string { return v.ID })
	case "securityLists":
		return one(w, w.SecurityLists, id, func(v SecurityList) string { return v.ID })
	case "networkSecurityGroups":
		return one(w, w.NSGs, id, func(v NSG) string { return v.ID })
	}
	return refuse(404, "NotFound", "HTTP 404 Not Found")
}

func one[T any](w *World, all []T, id string, idOf func(T) string) answer {
	i := slices.IndexFunc(all, func(v T) bool { return idOf(v) == id })
	if i < 0 || slices.Contains(w.Forbidden, id) {
		return missing()
	}
	return answer{status: 200, body: all[i]}
}

func (s *Server) list(kind string, q url.Values) answer {
	w := s.world
	compartment, instance := q.Get("compartmentId"), q.Get("instanceId")
	if kind != "privateIps" && (!slices.Contains(w.Compartments, compartment) || slices.Contains(w.Forbidden, compartment)) {
		if compartment == "" {
			return refuse(400, "MissingParameter", "compartmentId is required")
		}
		return missing()
	}
	if instance != "" && !slices.ContainsFunc(w.Instances, func(i Instance) bool { return i.ID == instance }) {
		return missing()
	}
	switch kind {
	case "instances":
		return page(s, q, w.Instances, func(v Instance) (string, bool) { return v.ID, v.CompartmentID == compartment })
	case "vnicAttachments":
		return page(s, q, w.VNICAttachments, func(v VNICAttachment) (string, bool) {
			return v.ID, v.CompartmentID == compartment && (instance == "" || v.InstanceID == instance)
		})
	case "volumeAttachments":
		return page(s, q, w.VolumeAttachments, func(v VolumeAttachment) (string, bool) {
			return v.ID, v.CompartmentID == compartment && (instance == "" || v.InstanceID == instance)
		})
	case "networkSecurityGroups":
		return page(s, q, w.NSGs, func(v NSG) (string, bool) { return v.ID, v.CompartmentID == compartment })
	case "privateIps":
		subnet := q.Get("subnetId")
		if a := one(w, w.Subnets, subnet, func(v Subnet) string { return v.ID }); a.status != 200 {
			return a
		}
		return page(s, q, w.PrivateIPs, func(v PrivateIP) (string, bool) { return v.ID, v.SubnetID == subnet })
	case "publicIps":
		scope, ad := q.Get("scope"), q.Get("availabilityDomain")
		if scope != "REGION" && (scope != "AVAILABILITY_DOMAIN" || ad == "") {
			return refuse(400, "InvalidParameter", "scope and availabilityDomain do not fit")
		}
		return page(s, q, w.PublicIPs, func(v PublicIP) (string, bool) {
			return v.ID, v.CompartmentID == compartment && v.Scope == scope && v.AvailabilityDomain == ad
		})
	}
	return refuse(404, "NotFound", "HTTP 404 Not Found")
}

// page is the part of a list that a request asks for. Its token is the number
// of items before it.
func page[T any](s *Server, q url.Values, all []T, keep func(T) (id string, ok bool)) answer {
	items := []T{} // a list without items is []
	for _, v := range all {
		if id, ok := keep(v); ok && !slices.Contains(s.world.Forbidden, id) {
			items = append(items, v)
		}
	}
	start := 0
	if token := q.Get("page"); token != "" {
		raw, err := base64.RawURLEncoding.DecodeString(token)
		n, numErr := strconv.Atoi(strings.TrimPrefix(string(raw), "from:"))
		if err != nil || numErr != nil || n < 0 {
			return refuse(400, "InvalidParameter", "page is not a token of this list")
		}
		start = min(n, len(items))
	}
	end := min(start+min(number(q.Get("limit"), s.pageSize), s.pageSize), len(items))
	a := answer{status: 200, body: items[start:end]}
	if end < len(items) {
		a.header = map[string]string{"opc-next-page": token(end)}
	}
	return a
}

func token(items int) string {
	return base64.RawURLEncoding.EncodeToString([]byte("from:" + strconv.Itoa(items)))
}

// decode reads a body strictly: a field that the API does not know is an error
// of the one who sent it.
func decode(body []byte, into any) *answer {
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		a := refuse(400, "CannotParseRequest", "Incorrectly formatted request: %v", err)
		return &a
	}
	return nil
}
