package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"billctl/engine"
	"billctl/internal/store"
)

// version returns the version of the module, "devel" for a build from a checkout.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

func newVersion(s *session) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "version",
		Short: "Say which versions this binary is and reads",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Schema  string `json:"schema"`
				Version string `json:"version"`
				Go      string `json:"go"`
				Ruleset int    `json:"ruleset"`
				Entries int    `json:"entry_format"`
				State   int    `json:"state_format"`
			}{
				"billctl.version.v1", version(), runtime.Version(), engine.Ruleset, engine.Format,
				store.StateVersion,
			}
			switch output {
			case "json":
				return json.NewEncoder(s.stdout).Encode(v)
			case "table":
				_, err := fmt.Fprintf(s.stdout, "billctl %s (%s), billing rules %d, state format %d\n",
					v.Version, v.Go, v.Ruleset, v.State)
				return err
			}
			return badOutput(output)
		},
	}
	outputFlag(c, &output)
	return c
}
