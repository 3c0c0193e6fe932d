package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node"
)

func newInit(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Make this node's identity and config file",
		Long: `Init makes the home, the identity and config.yaml of a node, and prints the node's id.
The global flags that are given go into config.yaml. What is there already is kept.
Other commands do the same where it is still to be done; init is for looking at it
before.`,
		Example: "  muster init\n  muster init --network lab --bootstrap /dns4/boot.example.org/tcp/4170/p2p/12D3KooW…",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load(cmd)
			if err != nil {
				return err
			}
			id, err := a.mesh.init(cfg)
			if err != nil {
				return err
			}
			made, err := a.writeConfig(cmd, cfg)
			if err != nil {
				return err
			}
			return a.print(object{{"id", id}, {"home", cfg.Home}, {"config", configPath(cfg.Home)}, {"config_made", made}}, func(w io.Writer) {
				fmt.Fprintln(w, id)
				fmt.Fprintf(a.err, "home %s\n", cfg.Home)
			})
		},
	}
}

// writeConfig writes the flags that were given into a new config file. Where
// there is one already it must say the same, or the flags would be lost.
func (a *app) writeConfig(cmd *cobra.Command, cfg node.Config) (made bool, err error) {
	path, body := configPath(cfg.Home), a.configBody(cmd)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		if len(body) > 0 {
			return false, fmt.Errorf("%s exists already and is kept; edit it to change what it says", path)
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	b := []byte("# What `muster` does in this home; docs/operating.md lists all keys.\n")
	if len(body) > 0 {
		given, err := yaml.Marshal(body)
		if err != nil {
			return false, errors.Join(err, f.Close())
		}
		b = append(b, given...)
	}
	_, err = f.Write(b)
	return true, errors.Join(err, f.Close())
}

// configBody gives the keys for the flags that were given.
func (a *app) configBody(cmd *cobra.Command) (body yaml.MapSlice) {
	g := a.global
	for _, s := range []struct {
		flag, key string
		value     any
	}{
		{"network", "network", g.network}, {"bootstrap", "bootstrap", g.bootstrap}, {"listen", "listen", g.listen},
		{"log-level", "log_level", g.logLevel}, {"no-mdns", "mdns", !g.noMDNS},
	} {
		if cmd.Flags().Changed(s.flag) {
			body = append(body, yaml.MapItem{Key: s.key, Value: s.value})
		}
	}
	return body
}
