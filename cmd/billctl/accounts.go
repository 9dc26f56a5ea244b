package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"billctl/formats"
)

func newAccounts(s *session) *cobra.Command {
	return group("accounts", "Import accounts and their subscriptions, and end subscriptions",
		newAccountsImport(s), newAccountsCancel(s))
}

func newAccountsImport(s *session) *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Journal the accounts of a CSV or JSONL file",
		Long: `Reads accounts with their subjects and subscriptions from a file (docs/formats/catalog.md,
"Accounts") and journals what is new in it. Plans must be in the catalog or the journal. Importing
the same file again changes nothing.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := s.load(); err != nil {
				return err
			}
			c, err := s.readAccounts(args[0])
			if err != nil {
				return err
			}
			return s.apply(c, filepath.Dir(args[0]), "file", &f)
		},
	}
	f.add(c)
	return c
}

// readAccounts reads one file of accounts against the catalog of the configuration.
func (s *session) readAccounts(file string) (*formats.Catalog, error) {
	if ext := filepath.Ext(file); ext != ".csv" && ext != ".jsonl" {
		return nil, usageError(fmt.Sprintf("read accounts: %s is neither *.csv nor *.jsonl", file))
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read accounts: %w", err)
	}
	c, err := formats.ReadAccounts(os.DirFS(s.path(s.config.Catalog)), filepath.Base(file), data)
	return c, under(filepath.Dir(file), err)
}
