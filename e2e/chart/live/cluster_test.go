package live

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// cluster is a real Kubernetes with nodes that are played (e2e/cluster).
type cluster struct {
	t    *testing.T
	info struct {
		Kubeconfig string
		Kubectl    []string
		Dir        string
	}
}

func start(t *testing.T) *cluster {
	t.Helper()
	command := exec.Command(root+"/e2e/cluster/asts-cluster", "run", "--provider", "local", "--kwok-nodes", "3")
	command.Stderr = os.Stderr
	// The cluster ends with this pipe.
	lifeline, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		lifeline.Close()
		if err := command.Wait(); err != nil {
			t.Errorf("the cluster ended with %v", err)
		}
	})
	c := &cluster{t: t}
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		t.Fatal("the cluster did not start: ", err)
	}
	if err := json.Unmarshal(line, &c.info); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) try(input string, args ...string) (string, error) {
	command := exec.Command(c.info.Kubectl[0], append(c.info.Kubectl[1:], args...)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.info.Kubeconfig, "HOME="+c.info.Dir)
	command.Stdin = strings.NewReader(input)
	command.Dir = root
	output, err := command.CombinedOutput()
	printed := strings.TrimSpace(string(output))
	if err != nil {
		return printed, fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, printed)
	}
	return printed, nil
}

// kubectl runs kubectl at the root of the repository and returns what it printed.
func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	return c.create("", args...)
}

// create runs kubectl with a manifest as its input.
func (c *cluster) create(manifest string, args ...string) string {
	c.t.Helper()
	printed, err := c.try(manifest, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return printed
}

// uid is empty where there is no such object.
func (c *cluster) uid(kind, name string) string {
	c.t.Helper()
	return c.kubectl("get", kind, name, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}")
}

// may says whether the manager's ServiceAccount has a right.
func (c *cluster) may(args ...string) bool {
	c.t.Helper()
	as := "--as=system:serviceaccount:" + namespace + ":asts-manager"
	printed, err := c.try("", append([]string{"auth", "can-i", as}, args...)...)
	answer := printed[strings.LastIndexByte(printed, '\n')+1:]
	if answer != "yes" && answer != "no" {
		c.t.Fatalf("no answer: %q, %v", printed, err)
	}
	return answer == "yes"
}

const patience = 30 * time.Second

func (c *cluster) eventually(what string, done func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if done() {
			return
		}
	}
	c.t.Fatalf("it was not seen that %s", what)
}
