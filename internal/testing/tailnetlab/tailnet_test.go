package tailnetlab

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/tailnet"
	"edge-actions/internal/verdict"

	"tailscale.com/tailcfg"
)

const month = 30 * 24 * time.Hour

// verdicts is each check's id and verdict, in order.
func verdicts(s *tailnet.Status, margin time.Duration) string {
	var out []string
	for _, c := range s.Check(time.Now(), margin) {
		out = append(out, c.ID+" "+string(c.Verdict))
	}
	return strings.Join(out, ", ")
}

const (
	allProven  = "tailnet-state proven, tailnet-online proven, tailnet-key proven, tailnet-health proven"
	notRunning = "tailnet-state disproven, tailnet-online unproven, tailnet-key unproven, tailnet-health "
)

func TestRunningNodeIsProven(t *testing.T) {
	n := New(t)
	a := n.Join("edge-1")
	s, err := a.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := verdicts(s, month); got != allProven {
		t.Errorf("%s\n%+v", got, s.Check(time.Now(), month))
	}
	if s.Suffix != Suffix || !strings.HasPrefix(s.Version, "1.") || s.Self.DNSName != "edge-1."+Suffix+"." {
		t.Errorf("%+v, self %+v", s, s.Self)
	}
}

func TestPeerByEveryName(t *testing.T) {
	n := New(t)
	a, b := n.Join("edge-1"), n.Join("edge-2")
	s := a.Await("two nodes", func(s *tailnet.Status) bool { return len(s.Peers) == 1 })
	for name, want := range map[string]string{
		"edge-2": "edge-2", "edge-2.": "edge-2", "EDGE-2": "edge-2",
		"edge-2." + Suffix: "edge-2", "edge-2." + Suffix + ".": "edge-2",
		b.IP().String(): "edge-2", s.Peers[0].TailscaleIPs[1].String(): "edge-2",
		"edge-1": "edge-1", a.IP().String(): "edge-1",
	} {
		p, err := s.Peer(name)
		if err != nil || p.Name() != want+"."+Suffix {
			t.Errorf("%q: %+v, %v", name, p, err)
		}
	}
	if _, err := s.Peer("edge-22"); verdict.Reason(err) != tailnet.NoPeer || !strings.Contains(err.Error(), `"edge-2.`+Suffix+`" `+b.IP().String()) {
		t.Errorf("the near names are missing: %v", err)
	}
}

// Nobody keeps a node from calling itself what another is called.
func TestTwoNodesOfOneName(t *testing.T) {
	n := New(t)
	a := n.Join("edge-1")
	n.Join("twin")
	n.Join("twin")
	s := a.Await("three nodes", func(s *tailnet.Status) bool { return len(s.Peers) == 2 })
	_, err := s.Peer("twin")
	if verdict.Reason(err) != tailnet.NoPeer {
		t.Fatal(err)
	}
	for _, p := range s.Peers {
		if !strings.Contains(err.Error(), p.TailscaleIPs[0].String()) {
			t.Errorf("%s is not listed: %v", p.TailscaleIPs[0], err)
		}
		if got, err := s.Peer(p.TailscaleIPs[0].String()); got != p {
			t.Errorf("by its address: %+v, %v", got, err)
		}
	}
}

func TestPingAndConnect(t *testing.T) {
	n := New(t)
	a, b := n.Join("edge-1"), n.Join("edge-2")
	pong, err := a.Ping(t.Context(), "edge-2", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, direct := netip.ParseAddrPort(pong.Via); pong.Name != "edge-2."+Suffix || pong.IP != b.IP() || pong.Via != "DERP(test)" && direct != nil {
		t.Errorf("%+v", pong)
	}
	itself, err := a.Ping(t.Context(), "edge-1", time.Minute)
	if err != nil || itself.Via != "itself" || itself.IP != a.IP() {
		t.Errorf("%+v, %v", itself, err)
	}
	if _, err := a.Ping(t.Context(), "nobody", time.Minute); verdict.Reason(err) != tailnet.NoPeer {
		t.Errorf("%v", err)
	}

	const greeting = "nothing but a connection proves a port\n"
	port := greet(t, greeting)
	nc := a.Command("nc", b.IP().String(), port)
	stdin, err := nc.StdinPipe() // its end would end the connection
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := nc.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Start(); err != nil {
		t.Fatal(err)
	}
	got, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || got != greeting {
		t.Errorf("%q, %v", got, err)
	}
	stdin.Close()
	_, _ = io.Copy(io.Discard, stdout)
	if err := nc.Wait(); err != nil {
		t.Error(err)
	}
}

// greet listens on loopback, where a peer's connections end up, and greets.
func greet(t *testing.T, text string) (port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, text)
			c.Close()
		}
	}()
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Online is what the control plane says, and it has not noticed.
func TestKilledPeerStaysOnlineAndDoesNotAnswer(t *testing.T) {
	n := New(t)
	a, b := n.Join("edge-1"), n.Join("edge-2")
	if _, err := a.Ping(t.Context(), "edge-2", time.Minute); err != nil {
		t.Fatal(err)
	}
	b.Kill()
	_, err := a.Ping(t.Context(), "edge-2", 3*time.Second)
	if verdict.Reason(err) != tailnet.NoReply || verdict.ChecksOf(err)[0].Verdict != verdict.Unproven {
		t.Errorf("a dead peer: %v", err)
	}
	s, err := a.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p, err := s.Peer("edge-2"); err != nil || !p.Online {
		t.Errorf("the rig no longer shows what it is for: %+v, %v", p, err)
	}
}

// And the other way round: not online as far as anybody said, and it answers.
func TestPeerThatIsNotOnlineAnswers(t *testing.T) {
	n := New(t)
	n.Control.AllOnline = false
	a := n.Join("edge-1")
	n.Join("edge-2")
	s := a.Await("two nodes", func(s *tailnet.Status) bool { return len(s.Peers) == 1 })
	if s.Peers[0].Online {
		t.Errorf("the rig no longer shows what it is for: %+v", s.Peers[0])
	}
	if _, err := a.Ping(t.Context(), "edge-2", time.Minute); err != nil {
		t.Error(err)
	}
}

func TestNoDaemonHere(t *testing.T) {
	n := New(t)
	a := n.Join("edge-1")
	a.Kill()
	_, status := a.Status(t.Context())
	_, ping := a.Ping(t.Context(), "edge-1", time.Minute)
	for _, err := range []error{status, ping} {
		checks := verdict.ChecksOf(err)
		if len(checks) != 1 || checks[0].ID != tailnet.NoStatus || checks[0].Verdict != verdict.Unproven || !strings.Contains(checks[0].Hint, "start it") {
			t.Errorf("%+v", checks)
		}
	}
}

func TestLoggedOutNode(t *testing.T) {
	n := New(t)
	a := n.Join("edge-1")
	n.Join("edge-2")
	a.Run("logout")
	s := a.Await("the logout", func(s *tailnet.Status) bool { return s.BackendState == "NeedsLogin" })
	if got := verdicts(s, 0); !strings.HasPrefix(got, notRunning) && !strings.HasPrefix(got, strings.Replace(notRunning, "online unproven", "online disproven", 1)) {
		t.Errorf("%s", got)
	}
	if _, err := a.Ping(t.Context(), "edge-2", time.Minute); verdict.Reason(err) != tailnet.State {
		t.Errorf("a ping of a logged-out node: %v", err)
	}
}

func TestNodeThatIsDown(t *testing.T) {
	n := New(t)
	a := n.Join("edge-1")
	n.Join("edge-2")
	a.Await("two nodes", func(s *tailnet.Status) bool { return len(s.Peers) == 1 })
	a.Run("down")
	s := a.Await("the node to be down", func(s *tailnet.Status) bool { return s.BackendState == "Stopped" })
	if c := s.Check(time.Now(), 0); verdict.Of(c) != verdict.Disproven || c[0].Verdict != verdict.Disproven {
		t.Errorf("%+v", c)
	}
	if p, err := s.Peer("edge-2"); verdict.Reason(err) != tailnet.State {
		t.Errorf("a peer from before: %+v, %v", p, err)
	}
}

func TestExpiredNode(t *testing.T) {
	n := New(t)
	a := n.Join("edge-1")
	n.Control.SetExpireAllNodes(true)
	s := a.Await("the key to expire", func(s *tailnet.Status) bool { return s.BackendState == "NeedsLogin" })
	c := s.Check(time.Now(), 0)
	if c[0].Verdict != verdict.Disproven || c[2].Verdict != verdict.Disproven || !strings.Contains(c[2].Got, "has expired, its date is 20") {
		t.Errorf("%+v", c)
	}
}

func TestKeyThatExpiresSoon(t *testing.T) {
	n := New(t)
	a := n.Join("edge-1")
	node := n.Control.AllNodes()[0]
	node.KeyExpiry = time.Now().Add(10 * 24 * time.Hour)
	n.Control.UpdateNode(node)
	s := a.Await("an expiry", func(s *tailnet.Status) bool { return s.Self.KeyExpiry != nil })
	if got := verdicts(s, month); got != strings.Replace(allProven, "key proven", "key disproven", 1) {
		t.Errorf("with a month to go: %s", got)
	}
	if got := verdicts(s, time.Hour); got != allProven {
		t.Errorf("with an hour to go: %s", got)
	}
}

// What a node complains about can come from the control plane, as any text.
func TestNodeThatComplains(t *testing.T) {
	n := New(t)
	a := n.Join("edge-1")
	const complaint = "the moon is full\n::set-env name=PATH::/tmp\x1b[2J"
	if !n.Control.AddRawMapResponse(n.Control.AllNodes()[0].Key, &tailcfg.MapResponse{Health: []string{complaint}}) {
		t.Fatal("the node did not listen")
	}
	s := a.Await("a complaint", func(s *tailnet.Status) bool { return len(s.Health) > 0 })
	if got := verdicts(s, month); got != strings.Replace(allProven, "health proven", "health disproven", 1) {
		t.Error(got)
	}
	if c := s.Check(time.Now(), month)[3]; !strings.Contains(c.Got, strings.Trim(strconv.Quote(complaint), `"`)) {
		t.Errorf("%q", c.Got)
	}
}
