package double

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Version is what `colmena --version` says after the name.
const Version = "0.5.0-pre"

// globalArgs may stand before and after the subcommand.
type globalArgs struct {
	config, color    string
	nix              nixOptions
	version, help    bool
	legacy, outdated bool
}

type applyArgs struct {
	goal                           string
	on                             *filter
	evalNodeLimit                  string
	evalLimit, parallel            int
	keepResult, noKeys, reboot     bool
	noSubstitute, noGzip           bool
	buildOnTarget, noBuildOnTarget bool
	forceReplace                   bool
	evaluator                      string
	verbose                        bool // the progress is plain anyway
}

type evalArgs struct {
	expression, file string
	given            bool
	instantiate      bool
}

// subcommands are the real one's; of the goals only these two are.
var subcommands = [...]string{"apply", "apply-local", "build", "eval", "introspect", "upload-keys", "exec", "repl", "nix-info"}

// usage is how clap ends: exit code 2.
func (p *Program) usage(err error) error {
	fmt.Fprintf(p.Stderr, "error: %v\n\nUsage: colmena [OPTIONS] <COMMAND>\n\nFor more information, try '--help'.\n", err)
	return exit(2)
}

func (p *Program) colmena(args []string) error {
	g := globalArgs{nix: nixOptions{options: map[string]string{}}}
	a := applyArgs{evalNodeLimit: "auto", parallel: 10, evaluator: "chunked"}
	var e evalArgs
	command := ""
	err := parse(args, func(name string) *flag {
		if f := lookup(g.flags(), name); f != nil {
			return f
		}
		switch command {
		case "apply", "build", "upload-keys":
			return lookup(a.flags(), name)
		case "eval", "introspect":
			return lookup(e.flags(), name)
		}
		return nil
	}, func(word string) error {
		switch {
		case command == "":
			if !slices.Contains(subcommands[:], word) {
				return fmt.Errorf("unrecognized subcommand '%s'", word)
			}
			command = word
			if slices.Contains([]string{"apply-local", "exec", "repl", "nix-info"}, word) {
				return p.leftOut("colmena %s", word)
			}
		case command == "apply" && a.goal == "":
			return a.setGoal(word)
		case (command == "eval" || command == "introspect") && e.file == "":
			e.file = word
		default:
			return fmt.Errorf("unexpected argument '%s' found", word)
		}
		return nil
	})
	var code exit
	var bad *badGlob
	switch {
	case g.version:
		fmt.Fprintln(p.Stdout, "Colmena "+Version)
		return nil
	case g.help:
		fmt.Fprintln(p.Stdout, "Usage: colmena [OPTIONS] <COMMAND>")
		return nil
	case errors.As(err, &code):
		return err
	case errors.As(err, &bad):
		return p.panicked("src/nix/node_filter.rs:77", err.Error())
	case err == nil && command == "":
		err = errors.New("'colmena' requires a subcommand but one was not provided")
	case err == nil && e.given && e.file != "":
		err = errors.New("the argument '-E <EXPRESSION>' cannot be used with '[FILE]'")
	}
	if err != nil {
		return p.usage(err)
	}
	rustLog, _ := p.getenv("RUST_LOG")
	log := newLogger(p.Stderr, rustLog)
	h, err := p.open(g.config, log, g.nix)
	if err != nil {
		return err
	}
	switch command {
	case "eval", "introspect":
		err = h.introspect(e)
	default:
		if command != "apply" {
			a.goal = command
		} else if a.goal == "" && a.reboot {
			a.goal = "boot"
		} else if a.goal == "" {
			a.goal = "switch"
		}
		if a.evaluator == "streaming" {
			return p.leftOut("the streaming evaluator")
		}
		err = h.apply(a)
	}
	if err == nil || errors.As(err, &code) {
		return err
	}
	log.errorf("-----")
	log.errorf("Operation failed with error: %v", err)
	var child *childFailure
	if errors.As(err, &child) {
		fmt.Fprintln(p.Stderr, "Hint: Backtrace available - Use `RUST_BACKTRACE=1` environment variable to display a backtrace")
	}
	return exit(1)
}

func (g *globalArgs) flags() []flag {
	return []flag{
		text("-f", &g.config), text("--config", &g.config),
		toggle("--show-trace", &g.nix.showTrace), toggle("--impure", &g.nix.impure),
		{name: "--nix-option", values: 2, set: func(v []string) error { g.nix.options[v[0]] = v[1]; return nil }},
		choice("--color", &g.color, "auto", "always", "never"),
		toggle("--legacy-flake-eval", &g.legacy), toggle("--experimental-flake-eval", &g.outdated),
		toggle("--version", &g.version), toggle("-V", &g.version), toggle("--help", &g.help), toggle("-h", &g.help),
	}
}

func (a *applyArgs) flags() []flag {
	number := func(name string) flag {
		return flag{name: name, values: 1, set: func(v []string) (err error) {
			if a.parallel, err = strconv.Atoi(v[0]); err != nil || a.parallel < 0 {
				err = fmt.Errorf("invalid value '%s' for '--parallel <LIMIT>': invalid digit found in string", v[0])
			}
			return err
		}}
	}
	return []flag{
		{name: "--on", values: 1, set: func(v []string) (err error) {
			var bad *badGlob
			if a.on, err = parseFilter(v[0]); err != nil && !errors.As(err, &bad) {
				err = fmt.Errorf("invalid value '%s' for '--on <NODES>': %w", v[0], err)
			}
			return err
		}},
		{name: "--eval-node-limit", values: 1, set: func(v []string) error {
			a.evalNodeLimit = v[0]
			n, err := strconv.Atoi(v[0])
			if a.evalLimit = n; v[0] != "auto" && (err != nil || n < 0) {
				return fmt.Errorf("invalid value '%s' for '--eval-node-limit <LIMIT>': The value must be a valid number or `auto`", v[0])
			}
			return nil
		}},
		number("-p"), number("--parallel"), toggle("--keep-result", &a.keepResult), toggle("-v", &a.verbose), toggle("--verbose", &a.verbose),
		toggle("--no-keys", &a.noKeys), toggle("--reboot", &a.reboot),
		toggle("--no-substitute", &a.noSubstitute), toggle("--no-substitutes", &a.noSubstitute), toggle("--no-gzip", &a.noGzip),
		toggle("--build-on-target", &a.buildOnTarget), toggle("--no-build-on-target", &a.noBuildOnTarget),
		toggle("--force-replace-unknown-profiles", &a.forceReplace), choice("--evaluator", &a.evaluator, "chunked", "streaming"),
	}
}

func (a *applyArgs) setGoal(word string) error {
	var names []string
	for _, g := range goals {
		names = append(names, g.name)
	}
	if !slices.Contains(names, word) {
		return fmt.Errorf("invalid value '%s' for '[GOAL]'\n  [possible values: %s]", word, strings.Join(names, ", "))
	}
	a.goal = word
	return nil
}

func (e *evalArgs) flags() []flag {
	return []flag{
		{name: "-E", values: 1, set: func(v []string) error { e.expression, e.given = v[0], true; return nil }},
		toggle("--instantiate", &e.instantiate),
	}
}

// introspect calls a function with { nodes, pkgs, lib } and prints its value
// as JSON, or the derivation that it is.
func (h *hive) introspect(e evalArgs) error {
	switch {
	case e.file != "":
		file := e.file
		if !filepath.IsAbs(file) {
			dir, err := h.p.cwd()
			if err != nil {
				return err
			}
			file = filepath.Join(dir, file)
		}
		if _, err := filepath.EvalSymlinks(file); err != nil {
			return h.p.panicked("src/command/eval.rs:44", "Could not generate absolute path to expression file.: Os { code: 2, kind: NotFound, message: \"No such file or directory\" }")
		}
		e.expression = "import " + file
	case !e.given:
		h.log.errorf("Provide either an expression (-E) or a .nix file containing an expression.")
		return exit(1)
	}
	if !e.instantiate {
		var out string
		if err := h.eval("toJSON (hive.introspect ("+e.expression+"))", nil, &out); err != nil {
			return err
		}
		fmt.Fprintln(h.p.Stdout, out)
		return nil
	}
	if h.flake {
		return h.p.panicked("src/nix/hive/mod.rs:506", "Instantiation is not supported with DirectFlakeEval")
	}
	flags, err := h.flags(false)
	if err != nil {
		return err
	}
	out, err := h.p.output(h.p.command("nix-instantiate", append(h.instantiate("hive.introspect ("+e.expression+")"), flags...)))
	fmt.Fprint(h.p.Stdout, out)
	return err
}
