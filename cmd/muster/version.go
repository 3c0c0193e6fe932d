package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker for releases.
var version = ""

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  muster version -o json",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fromEnvironment(cmd.Flags(), os.Getenv); err != nil {
				return err
			}
			if err := checkFormat(a.global.output); err != nil {
				return err
			}
			v, revision := buildVersion()
			platform := runtime.GOOS + "/" + runtime.GOARCH
			return a.print(object{{"version", v}, {"revision", revision}, {"go", runtime.Version()}, {"platform", platform}}, func(w io.Writer) {
				fmt.Fprintf(w, "muster %s (%s, %s)\n", v, runtime.Version(), platform)
			})
		},
	}
}

// buildVersion gives what the linker was told, else what Go knows of the build.
func buildVersion() (v, revision string) {
	v = version
	info, ok := debug.ReadBuildInfo()
	if ok && v == "" {
		v = info.Main.Version
	}
	if v == "" || v == "(devel)" {
		v = "dev"
	}
	if ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	return v, revision
}
