package browsertest

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"
)

// View is how a page is looked at.
type View struct {
	Width, Height int
	Dark          bool
	Print         bool
}

// Page is an open page.
type Page struct {
	b       *Browser
	session string

	mu       sync.Mutex
	requests []string
	said     []string
	loaded   chan struct{}
	once     sync.Once
}

// Open opens a file as a person would by a double click.
func (b *Browser) Open(path string, v View) *Page {
	b.t.Helper()
	p := &Page{b: b, loaded: make(chan struct{})}
	var target struct{ TargetID string }
	p.must(b.call("", "Target.createTarget", map[string]any{"url": "about:blank"}, &target))
	var attached struct{ SessionID string }
	p.must(b.call("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached))
	p.session = attached.SessionID
	b.mu.Lock()
	b.events[p.session] = p.event
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "Network", "Accessibility", "DOM"} {
		p.call(domain+".enable", nil, nil)
	}
	scheme, media := "light", ""
	if v.Dark {
		scheme = "dark"
	}
	if v.Print {
		media = "print"
	}
	p.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": v.Width, "height": v.Height, "deviceScaleFactor": 1, "mobile": v.Width < 600}, nil)
	p.call("Emulation.setEmulatedMedia", map[string]any{"media": media, "features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	p.call("Page.navigate", map[string]any{"url": (&url.URL{Scheme: "file", Path: path}).String()}, nil)
	select {
	case <-p.loaded:
	case <-time.After(answerWait):
		b.t.Fatal("the page is not loaded")
	}
	return p
}

func (p *Page) event(m message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.Method {
	case "Page.loadEventFired":
		p.once.Do(func() { close(p.loaded) })
	case "Network.requestWillBeSent":
		var e struct{ Request struct{ URL string } }
		if json.Unmarshal(m.Params, &e) == nil {
			p.requests = append(p.requests, e.Request.URL)
		}
	case "Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded":
		p.said = append(p.said, string(m.Params))
	}
}

// Requests are the addresses that were asked for, the page's own among them.
func (p *Page) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Said is what the browser's console has: refusals of the page's own policy
// are there too.
func (p *Page) Said() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.said)
}

// Eval asks the page, and reads the answer into into.
func (p *Page) Eval(expression string, into any) {
	p.b.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	p.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	if len(r.ExceptionDetails) > 0 {
		p.b.t.Fatalf("asking the page: %s", r.ExceptionDetails)
	}
	if err := json.Unmarshal(r.Result.Value, into); err != nil {
		p.b.t.Fatalf("asking the page: %v: %s", err, r.Result.Value)
	}
}

// Node is one thing that assistive software tells of.
type Node struct{ Role, Name string }

// Tree is what assistive software sees, in its order, without what it passes
// over.
func (p *Page) Tree() []Node {
	p.b.t.Helper()
	var tree struct {
		Nodes []struct {
			Ignored    bool
			Role, Name struct{ Value any }
		}
	}
	p.call("Accessibility.getFullAXTree", nil, &tree)
	var out []Node
	for _, n := range tree.Nodes {
		if n.Ignored {
			continue
		}
		role, _ := n.Role.Value.(string)
		name, _ := n.Name.Value.(string)
		out = append(out, Node{role, name})
	}
	return out
}

// Screenshot writes a picture of the whole page.
func (p *Page) Screenshot(path string) {
	p.b.t.Helper()
	var shot struct{ Data string }
	p.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	p.must(err)
}

func (p *Page) call(method string, params, into any) {
	p.b.t.Helper()
	p.must(p.b.call(p.session, method, params, into))
}

func (p *Page) must(err error) {
	p.b.t.Helper()
	if err != nil {
		p.b.t.Fatal(err)
	}
}
