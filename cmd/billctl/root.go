package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newRoot(s *session) *cobra.Command {
	root := &cobra.Command{
		Use:   "billctl",
		Short: "Bill usage from a log, without a database",
		Long: `billctl reads a log of usage events and bills it: exact monthly subtotals that can be
asked at any moment, and at the end of a period complete invoices, handed over exactly once.
Everything it knows lies in one state directory, and a replay of its journal proves the bills.

Start in an empty directory:
  billctl demo                  a tour that ends by itself
  billctl init                  a commented configuration and catalog to start from`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          usageArgs(cobra.NoArgs),
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },

		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return emptyFlag(c) },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return misused(c, err.Error()) })
	flags := root.PersistentFlags()
	flags.StringVar(&s.configFile, "config", "", "configuration `file` (default billctl.yaml)")
	flags.StringVar(&s.stateDir, "state", "", "state `directory` (default: the configuration's)")
	root.AddCommand(
		newInit(s), newDemo(s), newCatalog(s), newAccounts(s), newCredits(s), newEvents(s), newRun(s),
		newQuery(s), newTUI(s),
		newReplay(s), newExplain(s), newState(s), newArchive(s), newExport(s), newRate(s),
		newWhatIf(s), newPrice(s), newVersion(s),
	)
	return root
}

// emptyFlag refuses a flag that is given with nothing in it, as a script does whose variable is not
// set: a digest that is not there must not be taken for a digest that nobody asked for.
func emptyFlag(c *cobra.Command) (err error) {
	c.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" && f.Name != "reason" && err == nil {
			err = misused(c, "--"+f.Name+" is given and empty")
		}
	})
	return err
}

// misused is a command line that the command does not take.
func misused(c *cobra.Command, text string) error {
	// What the flag library says of a number ends with what a Go function says of it.
	text, _, _ = strings.Cut(text, ": strconv.")
	return &exitError{code: exitUsage, text: text, hint: "see: " + c.CommandPath() + " --help"}
}

// usageArgs marks a wrong number of arguments as a fault of usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case check(c, args) == nil:
			return nil
		case !c.HasParent():
			return misused(c, fmt.Sprintf("there is no billctl %s", args[0]))
		case len(args) == 0:
			return misused(c, "an argument is missing: "+c.UseLine())
		}
		return misused(c, fmt.Sprintf("%q is an argument too many: %s", args[len(args)-1], c.UseLine()))
	}
}

// group returns a command that only holds others.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misused(c, "there is no "+c.CommandPath()+" "+args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(verbs...)
	return c
}
