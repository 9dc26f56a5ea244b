// Package tidy keeps the rules of the house that no compiler checks: who may import whom, what the
// engine must not touch, sizes, names, and that documents speak of what exists. It has tests only.
//
// A rule looks at a tree of files and returns what breaks it. TestTidy applies all rules to this
// repository; TestRulesFail shows each of them a file that breaks it.
package tidy

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"
)

const module = "billctl"

// The sizes of what a person reads at once. A tab counts as one column.
const (
	maxColumns      = 100
	maxFileLines    = 600
	maxFuncLines    = 70
	maxTestFuncLine = 120
)

// may says what the packages of ours and of others are that a package may import, its tests aside.
// A package that is not here needs a decision record first (docs/decisions).
var may = map[string]struct{ ours, others []string }{
	"engine/decimal": {},
	"engine":         {ours: []string{"engine/decimal"}},
	"formats": {ours: []string{"engine", "engine/decimal"}, others: []string{
		"github.com/parquet-go/parquet-go", "github.com/goccy/go-yaml",
		"github.com/klauspost/compress", "github.com/apache/arrow/go/v17/arrow",
	}},
	"internal/store": {ours: []string{"engine", "engine/decimal"}, others: []string{
		"github.com/klauspost/compress", "github.com/gofrs/flock", "golang.org/x/sys/unix",
	}},
	"internal/live": {
		ours:   []string{"engine", "engine/decimal", "formats", "internal/store"},
		others: []string{"github.com/fsnotify/fsnotify"},
	},
	"internal/sink": {ours: []string{"internal/live"}, others: []string{"github.com/jackc/pgx/v5"}},
	"internal/api": {
		ours:   []string{"engine", "engine/decimal", "formats", "internal/live"},
		others: []string{"github.com/prometheus/client_golang"},
	},
	"tui": {ours: []string{"engine", "engine/decimal", "formats"}, others: []string{
		"github.com/charmbracelet/bubbletea", "github.com/charmbracelet/bubbles",
		"github.com/charmbracelet/lipgloss", "github.com/charmbracelet/x/ansi",
		"github.com/muesli/termenv", "github.com/NimbleMarkets/ntcharts",
	}},
	"tui/quiet": {others: []string{"github.com/charmbracelet/lipgloss"}},
	"fixtures":  {ours: []string{"engine", "engine/decimal", "formats", "internal/store"}},
	"cmd/billctl": {
		ours: []string{
			"engine", "engine/decimal", "formats", "internal/store", "internal/live",
			"internal/sink", "internal/api", "tui", "tui/quiet", "fixtures",
		},
		others: []string{
			"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/charmbracelet/x/ansi",
			"github.com/charmbracelet/x/term", "github.com/muesli/termenv",
		},
	},
}

// banned packages are in no binary and no test of ours: the Parquet code of Arrow drags thrift and
// grpc in and panics on foreign files.
var banned = []string{
	"github.com/apache/arrow/go/v17/parquet", "github.com/apache/thrift", "google.golang.org/grpc",
}

// clocks are where the time of day may be asked for.
var clocks = []string{"internal/live", "internal/api", "tui", "cmd/billctl"}

// handlers are the types that may be named so: what net/http calls a handler.
var handlers = []string{"internal/api.handler"}

// rule is one rule of the house.
type rule struct {
	name  string
	check func(*tree) []string
}

var rules = []rule{
	{"imports", checkImports},
	{"walls", checkWalls},
	{"globals", checkGlobals},
	{"clock", checkClock},
	{"sizes", checkSizes},
	{"names", checkNames},
	{"marks", checkMarks},
	{"package docs", checkPackageDocs},
	{"references", checkReferences},
}

func TestTidy(t *testing.T) {
	house := readTree(t, os.DirFS("."))
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			for _, v := range r.check(house) {
				t.Error(v)
			}
		})
	}
}

// TestBanned asks the go command for everything that any package or test here links.
func TestBanned(t *testing.T) {
	cmd := exec.Command("go", "list", "-deps", "-test", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("list dependencies: %v", err)
	}
	if !strings.Contains(string(out), module+"/engine\n") {
		t.Fatal("the list of dependencies lacks the engine")
	}
	for dep := range strings.Lines(string(out)) {
		if within(strings.Fields(dep)[0], banned) {
			t.Errorf("banned package is linked: %s", dep)
		}
	}
}

// tree is the files of a repository.
type tree struct {
	fsys  fs.FS
	fset  *token.FileSet
	files []*file
	texts []string // documents and build files, not Go
}

// file is a Go file.
type file struct {
	path, dir string
	test      bool
	text      string
	ast       *ast.File
}

// skipped directories hold nothing of ours that a rule is about.
var skipped = []string{".git", "bin", "testdata", "vendor"}

func readTree(t *testing.T, fsys fs.FS) *tree {
	t.Helper()
	out := &tree{fsys: fsys, fset: token.NewFileSet()}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains(skipped, d.Name()):
			return fs.SkipDir
		case d.IsDir():
			return nil
		case slices.Contains([]string{".md", ".yaml", ".yml"}, path.Ext(name)),
			d.Name() == "Makefile", name == ".ci/run":
			out.texts = append(out.texts, name)
			return nil
		case path.Ext(name) != ".go":
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(out.fset, name, text, parser.ParseComments)
		if err != nil {
			return err
		}
		if ast.IsGenerated(parsed) {
			return nil
		}
		out.files = append(out.files, &file{
			path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
			text: string(text), ast: parsed,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// at writes a violation with its place.
func (t *tree) at(pos token.Pos, format string, args ...any) string {
	p := t.fset.Position(pos)
	return fmt.Sprintf("%s:%d: %s", p.Filename, p.Line, fmt.Sprintf(format, args...))
}

// within reports whether a path is one of the list or below one.
func within(name string, list []string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		return name == p || strings.HasPrefix(name, p+"/")
	})
}

func importPath(spec *ast.ImportSpec) string {
	p, _ := strconv.Unquote(spec.Path.Value) // it was parsed
	return p
}

func checkImports(t *tree) (out []string) {
	for _, f := range t.files {
		table, known := may[f.dir]
		if !known && f.dir != "." {
			out = append(out, f.path+": package "+f.dir+" is not in the import table")
			continue
		}
		for _, spec := range f.ast.Imports {
			p := importPath(spec)
			first, _, _ := strings.Cut(p, "/")
			ours, isOurs := strings.CutPrefix(p, module+"/")
			switch {
			case within(p, banned):
				out = append(out, t.at(spec.Pos(), "banned import %s", p))
			case f.test:
			case isOurs && !slices.Contains(table.ours, ours):
				out = append(out, t.at(spec.Pos(), "%s must not import %s", f.dir, p))
			case !isOurs && strings.Contains(first, ".") && !within(p, table.others):
				out = append(out, t.at(spec.Pos(), "%s must not import %s", f.dir, p))
			}
		}
	}
	return out
}

func checkClock(t *tree) (out []string) {
	for _, f := range t.files {
		if f.test || slices.Contains(clocks, f.dir) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if pkg, ok := s.X.(*ast.Ident); ok && pkg.Name == "time" &&
					slices.Contains([]string{"Now", "Since", "Until"}, s.Sel.Name) {
					out = append(out, t.at(s.Pos(), "%s must not ask the clock", f.dir))
				}
			}
			return true
		})
	}
	return out
}

func checkSizes(t *tree) (out []string) {
	for _, f := range t.files {
		n := 0
		for line := range strings.Lines(f.text) {
			n++
			if w := utf8.RuneCountInString(strings.TrimRight(line, "\r\n")); w > maxColumns {
				out = append(out, fmt.Sprintf("%s:%d: line of %d columns", f.path, n, w))
			}
		}
		if n > maxFileLines {
			out = append(out, fmt.Sprintf("%s: file of %d lines", f.path, n))
		}
		limit := maxFuncLines
		if f.test {
			limit = maxTestFuncLine
		}
		for _, d := range f.ast.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := t.fset.Position(fn.End()).Line - t.fset.Position(fn.Pos()).Line + 1
			if lines > limit {
				out = append(out, t.at(fn.Pos(), "function %s of %d lines", fn.Name.Name, lines))
			}
		}
	}
	return out
}

func checkNames(t *tree) (out []string) {
	packages := []string{"util", "utils", "common", "helper", "helpers", "types", "models", "mock",
		"mocks"}
	suffixes := []string{"Manager", "Service", "Processor", "Handler"}
	for _, f := range t.files {
		if name := strings.TrimSuffix(f.ast.Name.Name, "_test"); slices.Contains(packages, name) {
			out = append(out, t.at(f.ast.Name.Pos(), "package %s says nothing", name))
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			s, ok := n.(*ast.TypeSpec)
			if !ok || slices.Contains(handlers, f.dir+"."+s.Name.Name) {
				return true
			}
			for _, suffix := range suffixes {
				if strings.HasSuffix(strings.ToLower(s.Name.Name), strings.ToLower(suffix)) {
					out = append(out, t.at(s.Pos(), "type %s says nothing", s.Name.Name))
				}
			}
			return true
		})
	}
	return out
}

// mark is a note to oneself; such a thing is done, or dropped, or in a document.
var mark = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`)

func checkMarks(t *tree) (out []string) {
	look := func(name, text string) {
		n := 0
		for line := range strings.Lines(text) {
			n++
			if m := mark.FindString(line); m != "" {
				out = append(out, fmt.Sprintf("%s:%d: %s", name, n, m))
			}
		}
	}
	for _, f := range t.files {
		look(f.path, f.text)
	}
	for _, name := range t.texts {
		look(name, t.read(name))
	}
	return out
}

func (t *tree) read(name string) string {
	text, err := fs.ReadFile(t.fsys, name)
	if err != nil {
		panic("BUG: " + err.Error()) // it was listed a moment ago
	}
	return string(text)
}

func checkPackageDocs(t *tree) (out []string) {
	docs := map[string]string{}
	var dirs []string
	for _, f := range t.files {
		if f.dir == "." || f.test {
			continue
		}
		if _, ok := docs[f.dir]; !ok {
			docs[f.dir] = ""
			dirs = append(dirs, f.dir)
		}
		switch {
		case path.Base(f.path) == "doc.go":
			docs[f.dir] = f.ast.Doc.Text()
		case f.ast.Doc != nil:
			out = append(out, f.path+": the package comment belongs in doc.go")
		}
	}
	for _, dir := range dirs {
		for _, words := range []string{"Owns", "Does not own"} {
			if !strings.Contains(docs[dir], words) {
				out = append(out, fmt.Sprintf("%s/doc.go does not say %q", dir, words))
			}
		}
	}
	return out
}

// What a document may point to.
var (
	quoted  = regexp.MustCompile("`([^`\n]+)`")
	inTree  = regexp.MustCompile(`^(?:cmd|engine|formats|internal|tui|fixtures|docs|\.ci)/[\w./*-]*$`)
	atRoot  = regexp.MustCompile(`^(?:[A-Z][A-Za-z]*|[\w-]+\.md|[\w-]+\.go|go\.mod|\.gitignore)$`)
	link    = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
	verb    = regexp.MustCompile(`^make ([a-z][a-z-]*)`)
	page    = regexp.MustCompile(`docs/[\w/-]+\.md`)
	section = regexp.MustCompile(`(docs/[\w/-]+\.md),\s+"([^"]+)"`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
)

// checkReferences finds files, sections and make verbs that do not exist: in backquotes and links
// of documents, and pages of docs that Go comments name.
func checkReferences(t *tree) (out []string) {
	for _, name := range t.texts {
		if path.Ext(name) == ".md" {
			out = append(out, t.checkDocument(name)...)
		}
	}
	for _, f := range t.files {
		for _, group := range f.ast.Comments {
			text := group.Text()
			for _, p := range page.FindAllString(text, -1) {
				if !t.exists(p) {
					out = append(out, t.at(group.Pos(), "there is no %s", p))
				}
			}
			for _, m := range section.FindAllStringSubmatch(text, -1) {
				if t.exists(m[1]) && !strings.Contains(t.read(m[1]), "# "+m[2]+"\n") {
					out = append(out, t.at(group.Pos(), "%s has no section %q", m[1], m[2]))
				}
			}
		}
	}
	return out
}

func (t *tree) checkDocument(name string) (out []string) {
	text := t.read(name)
	bad := func(what string) { out = append(out, name+": there is no "+what) }
	for _, m := range quoted.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		ref := strings.TrimSuffix(m[1], "/")
		switch {
		case inTree.MatchString(ref) && !t.exists(ref):
			bad(ref)
		case strings.HasSuffix(ref, ".md") && atRoot.MatchString(ref) &&
			!t.exists(ref) && !t.exists(path.Join(path.Dir(name), ref)):
			bad(ref)
		}
		if v := verb.FindStringSubmatch(ref); v != nil &&
			!strings.Contains("\n"+t.read("Makefile"), "\n"+v[1]+":") {
			bad(ref)
		}
	}
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(m[1], "://") && !t.exists(path.Join(path.Dir(name), m[1])) {
			bad(m[1])
		}
	}
	return out
}

// exists reports whether a file is there; a name with a star must match one at least.
func (t *tree) exists(name string) bool {
	found, err := fs.Glob(t.fsys, path.Clean(name))
	return err == nil && len(found) > 0
}

// TestRulesFail shows every rule a tree that breaks it.
func TestRulesFail(t *testing.T) {
	long := "package engine\n\nfunc f() {\n" + strings.Repeat("\tg()\n", maxFuncLines) + "}\n"
	for _, c := range []struct{ rule, path, text, want string }{
		{"imports", "engine/a.go", "package engine\nimport _ \"billctl/formats\"", "must not import"},
		{"imports", "formats/a.go", "package formats\nimport _ \"example.com/x\"", "must not import"},
		{"imports", "util/a.go", "package util", "import table"},
		{"imports", "formats/a_test.go",
			"package formats\nimport _ \"" + banned[0] + "/file\"", "banned"},
		{"walls", "engine/a.go", "package engine\nimport \"os\"\nvar _ = os.Args", "import os"},
		{"walls", "engine/a.go", "package engine\nimport \"sync\"\nvar _ sync.Mutex", "import sync"},
		{"walls", "engine/a.go", "package engine\nfunc f() { go f() }", "goroutine"},
		{"walls", "engine/a.go", "package engine\nfunc f() { var c chan int; _ = c }", "channel"},
		{"walls", "engine/a.go", "package engine\nfunc f() { x := 0.5; _ = x }", "float"},
		{"walls", "engine/a.go", "package engine\ntype p struct{ x []float32 }", "float"},
		{"walls", "engine/a.go",
			"package engine\nfunc f(m map[int]int) { for range m { f(m) } }", "order of a map"},
		{"walls", "engine/a.go", "package engine\nfunc f() { nothing() }", "undefined"},
		{"globals", "engine/a.go", "package engine\nvar n int\nfunc f() { n++ }", "n is written"},
		{"globals", "engine/a.go",
			"package engine\nvar n struct{ a []int }\nfunc f() { n.a[0] = 1 }", "n is written"},
		{"globals", "engine/a.go",
			"package engine\nvar n map[int]int\nfunc f() { delete(n, 1) }", "n is written"},
		{"globals", "engine/a.go", "package engine\nvar n int\nfunc f() *int { return &n }", "n is "},
		{"globals", "formats/a.go", "package formats\nimport \"billctl/engine\"\n" +
			"func f() { engine.Default.Grace = 1 }", "engine.Default is written"},
		{"clock", "formats/a.go",
			"package formats\nimport \"time\"\nvar _ = time.Now", "ask the clock"},
		{"sizes", "engine/a.go", long, "function f of 72 lines"},
		{"sizes", "engine/a.go", "package engine // " + strings.Repeat("é", 90), "108 columns"},
		{"sizes", "engine/a_test.go", "package engine\n" + strings.Repeat("\n", 600), "601 lines"},
		{"names", "engine/a.go", "package helpers", "helpers"},
		{"names", "engine/a.go", "package engine\ntype rowProcessor int", "rowProcessor"},
		{"marks", "engine/a.go", "package engine // TO" + "DO: this", "engine/a.go:1"},
		{"marks", "docs/a.md", "this is FIX" + "ME", "docs/a.md:1"},
		{"package docs", "engine/a.go", "// Package engine does.\npackage engine", "doc.go"},
		{"package docs", "engine/doc.go", "// Owns: it.\npackage engine", "Does not own"},
		{"references", "docs/a.md", "see `engine/none.go`", "engine/none.go"},
		{"references", "docs/a.md", "see [this](none.md#part)", "docs/none.md"},
		{"references", "docs/a.md", "run `make nothing`", "make nothing"},
		{"references", "engine/a.go",
			"package engine\n\n// F: see docs/none.md.\nfunc F() {}", "docs/none.md"},
		{"references", "engine/a.go",
			"package engine\n\n// F (docs/b.md,\n// \"None\").\nfunc F() {}", "no section \"None\""},
	} {
		t.Run(c.rule, func(t *testing.T) {
			planted := readTree(t, fstest.MapFS{
				c.path:     {Data: []byte(c.text)},
				"Makefile": {Data: []byte("check:\n")}, "docs/b.md": {Data: []byte("# B\n\n## One\n")},
			})
			at := slices.IndexFunc(rules, func(r rule) bool { return r.name == c.rule })
			got := strings.Join(rules[at].check(planted), "\n")
			want := strings.Replace(c.want, "docs/none.md", "none.md", 1)
			if !strings.Contains(got, want) {
				t.Errorf("%s in\n%s\ngives %q, want %q", c.rule, c.text, got, c.want)
			}
		})
	}
}
