package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"edge-actions/internal/testing/ocitest"
)

// settings are the command line.
type settings struct {
	world, listen, config, onChange string
	source                          netip.Addr
	nodes                           []node
}

type node struct{ name, public, private string }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = serve(ctx, s, stdout, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "ocid: %v\n", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (s settings, err error) {
	f := flag.NewFlagSet("ocid", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&s.world, "world", "", "`file` of the world; made with the -node machines if it is not there")
	f.StringVar(&s.listen, "listen", "127.0.0.1:0", "loopback `address`")
	f.StringVar(&s.config, "config", "", "`directory` for an OCI config file and its key, which is kept if it is there")
	f.StringVar(&s.onChange, "on-change", "", "`command` that is run with open or closed, the public address and the name of each machine whose port 22 changed, and of all at the start")
	f.Func("source", "`address` that the rules are looked at from", func(v string) (err error) {
		s.source, err = netip.ParseAddr(v)
		return err
	})
	f.Func("node", "`name=public[,private]` of a machine in a new world; repeatable", func(v string) error {
		name, addrs, ok := strings.Cut(v, "=")
		public, private, _ := strings.Cut(addrs, ",")
		if !ok || name == "" || public == "" {
			return errors.New("wanted name=public[,private]")
		}
		s.nodes = append(s.nodes, node{name, public, private})
		return nil
	})
	if err := f.Parse(args); err != nil {
		return s, err
	}
	switch {
	case f.NArg() > 0:
		return s, fmt.Errorf("unknown argument %q", f.Arg(0))
	case s.world == "" || s.config == "":
		return s, errors.New("-world and -config are needed")
	case s.onChange != "" && !s.source.IsValid():
		return s, errors.New("-on-change needs -source")
	}
	return s, nil
}

func serve(ctx context.Context, s settings, stdout, stderr io.Writer) error {
	world, err := ocitest.ReadWorld(s.world)
	if ocitest.Missing(err) {
		world, err = build(s.nodes), nil
	}
	if err != nil {
		return err
	}
	server, err := ocitest.StartAt(world, s.listen, func(server *ocitest.Server) error {
		server.ServeControl()
		if err := server.UseKey(filepath.Join(s.config, "key.pem")); err != nil && !ocitest.Missing(err) {
			return err
		}
		if err := server.Persist(s.world); err != nil {
			return err
		}
		if s.onChange != "" {
			server.OnChange(filter(s, stderr))
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer server.Close()
	path, err := server.WriteConfig(s.config)
	if err != nil {
		return err
	}
	// The last thing that is printed: whoever reads it may begin.
	fmt.Fprintf(stdout, "serving %s with %s\n", server.URL, path)
	<-ctx.Done()
	return nil
}

func build(nodes []node) *ocitest.World {
	w := ocitest.Standard()
	for _, n := range nodes {
		options := []ocitest.NodeOption{ocitest.WithPublicIP(n.public)}
		if n.private != "" {
			options = append(options, ocitest.WithPrivateIP(n.private))
		}
		w.AddNode(n.name, options...)
	}
	return w
}

// filter runs the command for what changed since it was last called.
func filter(s settings, stderr io.Writer) func(ocitest.Snapshot) {
	last := map[string]string{}
	return func(now ocitest.Snapshot) {
		for _, v := range now.VNICs {
			if v.PublicIP == "" {
				continue
			}
			state := "closed"
			if now.Allowed(v.ID, s.source, 22) {
				state = "open"
			}
			if last[v.ID] == state {
				continue
			}
			last[v.ID] = state
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			cmd := exec.CommandContext(ctx, s.onChange, state, v.PublicIP, now.NameOf(v.ID))
			cmd.Env = os.Environ()
			out, err := cmd.CombinedOutput()
			cancel()
			fmt.Fprintf(stderr, "ocid: port 22 of %s is %s\n", v.PublicIP, state)
			if err != nil {
				fmt.Fprintf(stderr, "ocid: %s: %v: %q\n", s.onChange, err, out)
			}
		}
	}
}
