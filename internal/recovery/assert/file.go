package assert

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
)

// File is a regular file that is there, and what is known of it.
type File struct {
	Path string `yaml:"path"`
	// MinSize and MaxSize are in bytes; a MaxSize of 0 is none.
	MinSize int64 `yaml:"min_size"`
	MaxSize int64 `yaml:"max_size"`
	// SHA256 is the hash that it has, 64 hex digits.
	SHA256 string `yaml:"sha256"`
	// JSON and YAML say what its values must be, by their paths:
	// .server.listeners[0].port, or ."a.b" for a key with a dot.
	JSON map[string]Condition `yaml:"json"`
	YAML map[string]Condition `yaml:"yaml"`
}

var sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (f *File) validate(p *problems) {
	p.path("file.path", f.Path, true)
	p.floor("file.min_size", f.MinSize)
	p.floor("file.max_size", f.MaxSize)
	if f.MaxSize > 0 && f.MaxSize < f.MinSize {
		p.wrong("file.max_size, at least file.min_size", fmt.Sprintf("%d and %d", f.MaxSize, f.MinSize))
	}
	if f.SHA256 != "" && !sha256Form.MatchString(f.SHA256) {
		p.wrong("file.sha256, 64 lower-case hex digits", fmt.Sprintf("%.100q", f.SHA256))
	}
	if len(f.JSON) > 0 && len(f.YAML) > 0 {
		p.wrong("one of file.json and file.yaml", "both")
	}
	for kind, conditions := range map[string]map[string]Condition{"json": f.JSON, "yaml": f.YAML} {
		for _, at := range slices.Sorted(maps.Keys(conditions)) {
			field := fmt.Sprintf("file.%s.%.100q", kind, at)
			if _, err := parseValuePath(at); err != nil {
				p.wrong(field+", a path such as .server.ports[0]", err.Error())
			}
			conditions[at].validate(p, field)
		}
	}
}

func (f *File) judge(ctx context.Context, j *judge) {
	wanted := fmt.Sprintf("a file at %.300q", f.Path)
	file, info, err := j.tree.open(f.Path)
	if err != nil {
		j.missing(FilePresent, wanted, f.Path, err)
		return
	}
	defer file.Close()
	if info.Size() == 0 && f.SHA256 == "" {
		j.refuse(FilePresent, wanted+", with something in it", "a file of 0 bytes", "see the step that makes it; a file that is meant to be empty is asserted by its sha256")
		return
	}
	j.prove(FilePresent, wanted, fmt.Sprintf("%d bytes", info.Size()))
	if f.MinSize > 0 || f.MaxSize > 0 {
		wanted := fmt.Sprintf("at least %d bytes", f.MinSize)
		if f.MaxSize > 0 {
			wanted = fmt.Sprintf("%d to %d bytes", f.MinSize, f.MaxSize)
		}
		if got := fmt.Sprintf("%d bytes", info.Size()); info.Size() < f.MinSize || f.MaxSize > 0 && info.Size() > f.MaxSize {
			j.refuse(FileSize, wanted, got, "compare with the live file and with older snapshots")
		} else {
			j.prove(FileSize, wanted, got)
		}
	}
	if f.SHA256 != "" {
		h := sha256.New()
		if _, err := io.Copy(h, &untilDone{ctx, file}); err != nil {
			j.missing(FileSHA256, "sha256 "+f.SHA256, f.Path, err)
			return
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != f.SHA256 {
			j.refuse(FileSHA256, "sha256 "+f.SHA256, got, "compare with the live file and with older snapshots")
		} else {
			j.prove(FileSHA256, "sha256 "+f.SHA256, got)
		}
	}
	if len(f.JSON) > 0 {
		j.values(f.Path, "JSON", decodeJSON, f.JSON)
	}
	if len(f.YAML) > 0 {
		j.values(f.Path, "YAML", decodeYAML, f.YAML)
	}
}
