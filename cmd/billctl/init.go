package main

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

//go:embed starter
var starter embed.FS

func newInit(s *session) *cobra.Command {
	var sample bool
	c := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Make a commented configuration and catalog to start from",
		Long: `Writes billctl.yaml, catalog/ and usage/ into a directory (this one by default), commented,
with a meter, two plans and two accounts to change. It replaces nothing: a file that exists stops
it.`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			return s.init(dir, sample)
		},
	}
	c.Flags().BoolVar(&sample, "sample", true, "write usage/sample.ndjson with a few events of today")
	return c
}

func (s *session) init(dir string, sample bool) error {
	files := map[string][]byte{}
	var names []string
	err := fs.WalkDir(starter, "starter", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := starter.ReadFile(name)
		rel := strings.TrimPrefix(name, "starter/")
		// Subscriptions begin with this month: earlier ones would be billed at once.
		month := time.Now().UTC().Add(-time.Hour).Format("2006-01-02")[:8] + "01"
		data = bytes.ReplaceAll(data, []byte("from: 2026-01-01"), []byte("from: "+month))
		names, files[rel] = append(names, rel), data
		return err
	})
	if err != nil {
		return fmt.Errorf("read starter: %w", err)
	}
	if sample {
		names = append(names, "usage/sample.ndjson")
		files["usage/sample.ndjson"] = sampleEvents(time.Now().UTC())
	}
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			if err == nil {
				err = &exitError{
					code: exitFailed, text: filepath.Join(dir, name) + " exists",
					hint: "init replaces nothing: name another directory",
				}
			}
			return err
		}
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil {
			return fmt.Errorf("write file: %w", err)
		}
		if err := s.lines("wrote " + path); err != nil {
			return err
		}
	}
	next := []string{"", "next:"}
	if filepath.Clean(dir) != "." {
		next = append(next, "  cd "+dir)
	}
	return s.lines(append(next, "  billctl catalog check", "  billctl catalog apply",
		"  billctl run --until-eof", "  billctl query accounts")...)
}

// sampleEvents returns events of the last hour, so that they are in an open period.
func sampleEvents(now time.Time) []byte {
	var b strings.Builder
	for i := range 20 {
		fmt.Fprintf(&b, `{"specversion":"1.0","id":"sample-%d","source":"init",`+
			`"type":"llm.request","subject":"%s","time":"%s","data":{"model":"%s","output_tokens":%d}}`+"\n",
			i, []string{"acme-prod", "acme-dev", "globex"}[i%3],
			now.Add(time.Duration(i-60)*time.Minute).Format(time.RFC3339),
			[]string{"large", "small"}[i%2], 100+37*i)
	}
	return []byte(b.String())
}
