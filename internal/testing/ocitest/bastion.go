package ocitest

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

const minSession = 1800 // seconds

// sessions serves the sessions of bastions.
func (s *Server) sessions(r *http.Request, id, rest string, q url.Values, body []byte) answer {
	w := s.world
	switch {
	case rest != "":
	case r.Method == http.MethodPost && id == "":
		return s.createSession(r.Header.Get("opc-retry-token"), body)
	case r.Method == http.MethodGet && id == "":
		bastion := q.Get("bastionId")
		if a := one(w, w.Bastions, bastion, func(b Bastion) string { return b.ID }); a.status != 200 {
			return a
		}
		var out []Session
		for i := range w.Sessions {
			out = append(out, s.look(&w.Sessions[i]))
		}
		return page(s, q, out, func(v Session) (string, bool) { return v.ID, v.BastionID == bastion })
	case r.Method == http.MethodGet, r.Method == http.MethodDelete:
		i := slices.IndexFunc(w.Sessions, func(v Session) bool { return v.ID == id })
		if i < 0 || slices.Contains(w.Forbidden, id) {
			return missing()
		}
		if r.Method == http.MethodGet {
			return answer{status: 200, body: s.look(&w.Sessions[i])}
		}
		if w.Sessions[i].LifecycleState == "DELETED" {
			return refuse(409, "Conflict", "The session is already deleted.")
		}
		w.Sessions[i].LifecycleState = "DELETED"
		return answer{status: 202, header: map[string]string{"opc-work-request-id": OCID("bastionworkrequest", region, id)}}
	}
	return refuse(404, "NotFound", "HTTP 404 Not Found")
}

// look shows a session, which is ready after it was looked at some times.
func (s *Server) look(v *Session) Session {
	v.Looks++
	if v.LifecycleState == "CREATING" && v.Looks > s.readiness {
		v.LifecycleState = "ACTIVE"
	}
	out := *v
	out.Token, out.Looks = "", 0
	return out
}

func (s *Server) createSession(token string, body []byte) answer {
	var in struct {
		BastionID   string            `json:"bastionId"`
		Target      Target            `json:"targetResourceDetails"`
		KeyDetails  map[string]string `json:"keyDetails"`
		KeyType     string            `json:"keyType"`
		DisplayName string            `json:"displayName"`
		TTL         int               `json:"sessionTtlInSeconds"`
	}
	if a := decode(body, &in); a != nil {
		return *a
	}
	w := s.world
	if i := slices.IndexFunc(w.Sessions, func(v Session) bool { return token != "" && v.Token == token }); i >= 0 {
		return answer{status: 200, body: s.look(&w.Sessions[i])}
	}
	b := slices.IndexFunc(w.Bastions, func(b Bastion) bool { return b.ID == in.BastionID })
	if b < 0 || slices.Contains(w.Forbidden, in.BastionID) {
		return missing()
	}
	_, err := netip.ParseAddr(in.Target.PrivateIP)
	switch {
	case in.TTL < minSession || in.TTL > w.Bastions[b].MaxSessionTTLInSeconds:
		return refuse(400, "InvalidParameter", "sessionTtlInSeconds must be between %d and %d", minSession, w.Bastions[b].MaxSessionTTLInSeconds)
	case in.Target.SessionType != "PORT_FORWARDING", err != nil, in.Target.Port < 1 || in.Target.Port > 65535:
		return refuse(400, "InvalidParameter", "targetResourceDetails are not of a port forwarding session")
	case !strings.HasPrefix(in.KeyDetails["publicKeyContent"], "ssh-"):
		return refuse(400, "InvalidParameter", "publicKeyContent is no public key")
	}
	id := OCID("bastionsession", region, random(16))
	host := "host.bastion." + region + ".oci.oraclecloud.com"
	v := Session{
		ID: id, BastionID: in.BastionID, BastionName: w.Bastions[b].Name, DisplayName: in.DisplayName, LifecycleState: "CREATING", TimeCreated: s.now().UTC(),
		SessionTTLInSeconds: in.TTL, BastionUserName: id, KeyType: "PUB", KeyDetails: in.KeyDetails, Target: in.Target, Token: token,
		SSHMetadata: map[string]string{"command": fmt.Sprintf("ssh -i <privateKey> -N -L <localPort>:%s:%d -p 22 %s@%s", in.Target.PrivateIP, in.Target.Port, id, host)},
		HostKey:     "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDoubleOfABastionWhoseKeyIsNobodysAtAll00000",
	}
	w.Sessions = append(w.Sessions, v)
	v.Token = ""
	return answer{status: 200, body: v}
}

// expire ends the sessions whose time is over.
func (s *Server) expire() {
	for i := range s.world.Sessions {
		v := &s.world.Sessions[i]
		if s.now().After(v.TimeCreated.Add(time.Duration(v.SessionTTLInSeconds) * time.Second)) {
			v.LifecycleState = "DELETED"
		}
	}
}
