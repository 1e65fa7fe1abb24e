package page

import (
	"os"
	"path/filepath"

	"edge-actions/internal/files"
	"edge-actions/internal/report"
)

// maxMarkdown is what a forge still shows of a file as Markdown.
const maxMarkdown = 512 << 10

// Written are the paths of the pages.
type Written struct{ HTML, Markdown, Badge string }

// Write writes the pages into dir, which is made if its parent is there. Each is
// written whole: whoever looks at one sees the one before or the new one.
func Write(dir string, p *report.Page) (Written, error) {
	w := Written{HTML: filepath.Join(dir, "recovery.html"), Markdown: filepath.Join(dir, "recovery.md"), Badge: filepath.Join(dir, "recovery.svg")}
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return w, err
	}
	html, err := HTML(p)
	if err != nil {
		return w, err
	}
	badge, err := Badge(p)
	if err != nil {
		return w, err
	}
	for path, data := range map[string][]byte{w.HTML: html, w.Markdown: []byte(Markdown(p, maxMarkdown)), w.Badge: badge} {
		if err := files.Write(path, data); err != nil {
			return w, err
		}
	}
	return w, nil
}
