// Command asts-cluster builds, starts and removes Kubernetes clusters for the
// tests of this project, on one machine and with no images to pull.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"asts.dev/e2e/cluster/internal/build"
	"asts.dev/e2e/cluster/internal/cluster"
)

const usage = `usage: asts-cluster COMMAND [FLAG ...]

  build [--provider P]       make all that a provider needs, and nothing else
  run --provider P           run a cluster until a signal or the end of the input
  up [--provider P] [--name NAME]    run a cluster in the background
  down [--name NAME]         end a cluster that up started
  list                       the clusters that up started
  clean                      remove what clusters left whose supervisor was killed

The providers are local (fake nodes of kwok), node (this machine is the node,
needs root) and kind. Each command tells its flags with -h.
`

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(exitUsage)
	}
	err := run(os.Args[1], os.Args[2:])
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
	case cluster.Silent(err):
		os.Exit(exitFailed)
	default:
		fmt.Fprintln(os.Stderr, "asts-cluster:", err)
		os.Exit(exitFailed)
	}
}

func run(command string, args []string) error {
	builder, err := build.FromEnvironment()
	if err != nil {
		return err
	}
	switch command {
	case "build":
		return runBuild(builder, args)
	case "run":
		options, _, err := parse(command, args)
		if err != nil {
			return err
		}
		return cluster.Run(builder, options)
	case "up":
		options, name, err := parse(command, args)
		if err != nil {
			return err
		}
		return cluster.Up(builder, options, name, args)
	case "down":
		flags := flag.NewFlagSet(command, flag.ContinueOnError)
		name := flags.String("name", defaultName, "the cluster's name")
		if err := flags.Parse(args); err != nil {
			return err
		}
		return cluster.Down(builder, *name)
	case "list":
		return cluster.List(builder, os.Stdout)
	case "clean":
		return cluster.CleanAbandoned(builder.Cache, os.Stderr)
	case "help", "-h", "--help":
		fmt.Print(usage)
		return nil
	default:
		return fmt.Errorf("unknown command %q\n%s", command, usage)
	}
}

const (
	defaultName      = "dev"
	defaultKwokNodes = 10
)

// parse reads the flags of run and up.
func parse(command string, args []string) (cluster.Options, string, error) {
	var options cluster.Options
	var name string
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.StringVar(&options.Provider, "provider", cluster.Local, "local, node or kind")
	flags.IntVar(&options.KwokNodes, "kwok-nodes", defaultKwokNodes, "fake `nodes` of the provider local")
	flags.BoolVar(&options.Customised, "customised", false, "run the customised apiserver and, with the provider node, kubelet")
	flags.BoolVar(&options.StockNode, "stock-node", false, "add a second node with a stock kubelet to a customised cluster of the provider node")
	flags.Func("set-flag", "add a flag to a role's, as `ROLE:FLAG=VALUE`; may be repeated", options.AddFlag)
	flags.Func("admission-disable", "switch off admission `plugins`, separated by commas", func(list string) error {
		options.WithoutAdmission = append(options.WithoutAdmission, strings.Split(list, ",")...)
		return nil
	})
	flags.StringVar(&name, "name", defaultName, "the cluster's name, for up")
	if command == "run" {
		flags.StringVar(&options.Dir, "dir", "", "the cluster's folder (a temporary one, removed at the end)")
		flags.BoolVar(&options.Keep, "keep", false, "keep a temporary folder at the end")
	} else {
		flags.StringVar(&options.Dir, "dir", "", "the cluster's folder")
	}
	if err := flags.Parse(args); err != nil {
		return options, name, err
	}
	if flags.NArg() > 0 {
		return options, name, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return options, name, options.Check()
}

func runBuild(builder *build.Builder, args []string) error {
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	provider := flags.String("provider", "", "local, node or kind (all)")
	customised := flags.Bool("customised", false, "also the customised apiserver and kubelet")
	if err := flags.Parse(args); err != nil {
		return err
	}
	providers := []string{cluster.Local, cluster.Node}
	if *provider != "" {
		providers = []string{*provider}
	}
	for _, name := range providers {
		if _, err := cluster.Build(builder, name, *customised); err != nil {
			return err
		}
	}
	return nil
}
