package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"asts.dev/e2e/cluster/internal/cluster"
	"asts.dev/e2e/cluster/internal/proc"
)

// The tests of this file start real clusters: ASTS_CLUSTER_LIVE names the
// providers to try, separated by commas.

func needLive(t *testing.T, provider string) {
	t.Helper()
	for name := range strings.SplitSeq(os.Getenv("ASTS_CLUSTER_LIVE"), ",") {
		if name == provider {
			return
		}
	}
	t.Skipf("ASTS_CLUSTER_LIVE does not name %s", provider)
}

type live struct {
	t       *testing.T
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Reader
	info    cluster.Info
}

func startLive(t *testing.T, args ...string) *live {
	t.Helper()
	l := &live{t: t, command: exec.Command("./asts-cluster", append([]string{"run"}, args...)...)}
	l.command.Stderr = os.Stderr
	var err error
	if l.input, err = l.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	output, err := l.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.command.Start(); err != nil {
		t.Fatal(err)
	}
	l.output = bufio.NewReader(output)
	l.read(&l.info)
	return l
}

// end closes the lifeline and checks that nothing is left.
func (l *live) end() {
	l.t.Helper()
	l.input.Close()
	if err := l.command.Wait(); err != nil {
		l.t.Errorf("the cluster ended with %v", err)
	}
	l.checkGone()
}

func (l *live) checkGone() {
	l.t.Helper()
	for role, pid := range l.info.PIDs {
		if proc.Identify(pid).Alive() {
			l.t.Errorf("%s still runs", role)
		}
	}
	if _, err := os.Stat(l.info.Dir); !errors.Is(err, os.ErrNotExist) {
		l.t.Errorf("the folder is still there: %v", err)
	}
}

func (l *live) read(answer any) {
	l.t.Helper()
	line, err := l.output.ReadBytes('\n')
	if err != nil {
		l.t.Fatal("no line: ", err)
	}
	if err := json.Unmarshal(line, answer); err != nil {
		l.t.Fatal(err)
	}
}

type answer struct {
	OK    bool
	Error string
	PID   int
}

func (l *live) tell(command string) answer {
	l.t.Helper()
	fmt.Fprintln(l.input, command)
	var a answer
	l.read(&a)
	return a
}

func (l *live) must(command string) answer {
	l.t.Helper()
	a := l.tell(command)
	if !a.OK {
		l.t.Fatalf("%s: %s", command, a.Error)
	}
	return a
}

func (l *live) kubectl(input string, args ...string) (string, error) {
	command := exec.Command(l.info.Kubectl[0], append(l.info.Kubectl[1:], args...)...)
	command.Env = append(os.Environ(), "KUBECONFIG="+l.info.Kubeconfig)
	command.Stdin = strings.NewReader(input)
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, output)
	}
	return strings.TrimSpace(string(output)), nil
}

func (l *live) do(input string, args ...string) string {
	l.t.Helper()
	output, err := l.kubectl(input, args...)
	if err != nil {
		l.t.Fatal(err)
	}
	return output
}

const eventually = 20 * time.Second

// see waits until a kubectl prints what is wanted.
func (l *live) see(want string, args ...string) {
	l.t.Helper()
	var got string
	var err error
	for end := time.Now().Add(eventually); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if got, err = l.kubectl("", args...); err == nil && got == want {
			return
		}
	}
	l.t.Fatalf("kubectl %s: got %q, %v, want %q", strings.Join(args, " "), got, err, want)
}

// podState is the phase, the readiness, and of the first container the count
// of restarts, the image and the reason to wait.
const podState = `jsonpath={.status.phase} {.status.conditions[?(@.type=="Ready")].status} {.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].image} {.status.containerStatuses[0].state.waiting.reason}`

func (l *live) seePod(name, want string) {
	l.t.Helper()
	l.see(want, "get", "pod", name, "-o", strings.ReplaceAll(podState, "%", ""))
}

func (l *live) containerID(pod string) string {
	return l.do("", "get", "pod", pod, "-o", "jsonpath={.status.containerStatuses[0].containerID}")
}

func podManifest(name, image, more string) string {
	return fmt.Sprintf(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": %q}, "spec": {
  %s "containers": [{"name": "c", "image": %q}]}}`, name, more, image)
}

func (l *live) create(name, image, more string) {
	l.t.Helper()
	l.do(podManifest(name, image, more), "create", "-f", "-")
}

func (l *live) setImage(pod, image string) {
	l.t.Helper()
	l.do("", "set", "image", "pod/"+pod, "c="+image)
}

func TestLocal(t *testing.T) {
	needLive(t, cluster.Local)
	l := startLive(t, "--provider", cluster.Local, "--kwok-nodes", "3", "--set-flag", "kube-controller-manager:kube-api-qps=500")
	defer l.end()

	t.Run("image changes", func(t *testing.T) {
		l.t = t
		l.create("image", "app:v1", "")
		l.seePod("image", "Running True 0 app:v1")
		first := l.containerID("image")
		l.setImage("image", "docker.io/library/app:v1")
		l.seePod("image", "Running True 1 docker.io/library/app:v1")
		if first == l.containerID("image") {
			t.Error("a new container has the old one's ID")
		}
		l.setImage("image", "app:broken")
		l.seePod("image", "Running False 1 docker.io/library/app:v1 ImagePullBackOff")
		l.setImage("image", "docker.io/library/app:v1")
		l.seePod("image", "Running True 2 docker.io/library/app:v1")
		l.setImage("image", "app:crash")
		l.seePod("image", "Running False 3 app:crash CrashLoopBackOff")
		l.setImage("image", "app:never-ready")
		l.seePod("image", "Running False 4 app:never-ready")
		l.setImage("image", "app:v2")
		l.seePod("image", "Running True 5 app:v2")
		changed := time.Now()
		l.setImage("image", "app:slow")
		l.see("8 app:v2", "get", "pod", "image", "-o", "jsonpath={.status.observedGeneration} {.status.containerStatuses[0].image}")
		l.seePod("image", "Running True 6 app:slow")
		if took := time.Since(changed); took < 4*time.Second {
			t.Errorf("the slow image came after %s", took)
		}
	})
	t.Run("images of new Pods", func(t *testing.T) {
		l.t = t
		l.create("new-broken", "app:broken", "")
		l.create("new-crash", "app:crash", "")
		l.create("new-slow", "app:slow", "")
		l.seePod("new-broken", "Pending False 0 app:broken ImagePullBackOff")
		l.seePod("new-crash", "Running False 1 app:crash CrashLoopBackOff")
		l.seePod("new-slow", "Pending False 0 app:slow ContainerCreating")
		l.seePod("new-slow", "Running True 0 app:slow")
		l.setImage("new-broken", "app:v1")
		l.seePod("new-broken", "Running True 0 app:v1")
	})
	t.Run("readiness gates", func(t *testing.T) {
		l.t = t
		l.create("gate", "app:v1", `"readinessGates": [{"conditionType": "Open"}],`)
		l.seePod("gate", "Running False 0 app:v1")
		set := func(status string) {
			l.do("", "patch", "pod", "gate", "--subresource=status", "--type=strategic",
				"-p", `{"status": {"conditions": [{"type": "Open", "status": "`+status+`"}]}}`)
		}
		set("True")
		l.seePod("gate", "Running True 0 app:v1")
		set("False")
		l.seePod("gate", "Running False 0 app:v1")
	})
	t.Run("annotations", func(t *testing.T) {
		l.t = t
		l.create("notes", "app:v1", "")
		l.seePod("notes", "Running True 0 app:v1")
		l.do("", "annotate", "pod", "notes", "kwok.asts.dev/ready=false")
		l.seePod("notes", "Running False 0 app:v1")
		l.do("", "annotate", "--overwrite", "pod", "notes", "kwok.asts.dev/ready=true")
		l.seePod("notes", "Running True 0 app:v1")
		l.do("", "annotate", "pod", "notes", "kwok.asts.dev/phase=Failed")
		l.seePod("notes", "Failed False 0 app:v1")
		l.do("", "annotate", "pod", "notes", "kwok.asts.dev/phase-")
		l.seePod("notes", "Running True 1 app:v1")
	})
	t.Run("init containers", func(t *testing.T) {
		l.t = t
		l.create("init", "app:v1", `"initContainers": [
			{"name": "once", "image": "app:broken"}, {"name": "sidecar", "image": "side:v1", "restartPolicy": "Always"}],`)
		l.seePod("init", "Pending False 0 app:v1 PodInitializing")
		l.do("", "set", "image", "pod/init", "once=app:v1")
		l.seePod("init", "Running True 0 app:v1")
		l.do("", "set", "image", "pod/init", "sidecar=side:v2")
		l.see("0 1", "get", "pod", "init", "-o", "jsonpath={.status.initContainerStatuses[*].restartCount}")
		l.seePod("init", "Running True 0 app:v1")
	})
	t.Run("resize", func(t *testing.T) {
		l.t = t
		l.do(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "resize"}, "spec": {"containers": [{"name": "c", "image": "app:v1",
			"resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}],
			"resources": {"requests": {"cpu": "100m", "memory": "10Mi"}}}]}}`, "create", "-f", "-")
		l.seePod("resize", "Running True 0 app:v1")
		resize := func(requests, restarts string) {
			l.do("", "patch", "pod", "resize", "--subresource=resize", "--type=strategic",
				"-p", `{"spec": {"containers": [{"name": "c", "resources": {"requests": `+requests+`}}]}}`)
			l.see(restarts+" "+strings.ReplaceAll(requests, " ", ""), "get", "pod", "resize", "-o",
				"jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].resources.requests}")
		}
		resize(`{"cpu": "150m", "memory": "10Mi"}`, "0")
		resize(`{"cpu": "150m", "memory": "20Mi"}`, "1")
	})
	t.Run("a command that does not exist", func(t *testing.T) {
		l.t = t
		l.do(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pull"}, "spec": {"restartPolicy": "Never", "nodeName": "kwok-0",
			"containers": [{"name": "c", "image": "app:v1", "command": ["/no-such-command"]}]}}`, "create", "-f", "-")
		l.seePod("pull", "Failed False 0 app:v1")
		l.see("StartError", "get", "pod", "pull", "-o", "jsonpath={.status.containerStatuses[0].state.terminated.reason}")
	})
	t.Run("deletion", func(t *testing.T) {
		l.t = t
		started := time.Now()
		l.do("", "delete", "pod", "notes")
		if took := time.Since(started); took > 3*time.Second {
			t.Errorf("a Pod was deleted after %s", took)
		}
		l.create("stays", "app:v1", "")
		l.seePod("stays", "Running True 0 app:v1")
		l.do("", "annotate", "pod", "stays", "kwok.asts.dev/terminating-seconds=5")
		started = time.Now()
		l.do("", "delete", "pod", "stays")
		if took := time.Since(started); took < 3*time.Second || took > 10*time.Second {
			t.Errorf("the Pod was deleted after %s", took)
		}
		l.create("held", "app:v1", "")
		l.seePod("held", "Running True 0 app:v1")
		l.do("", "patch", "pod", "held", "-p", `{"metadata": {"finalizers": ["asts.dev/held"]}}`)
		l.do("", "delete", "pod", "held", "--wait=false")
		l.see("0", "get", "pod", "held", "-o", "jsonpath={.metadata.deletionGracePeriodSeconds}")
		l.do("", "patch", "pod", "held", "-p", `{"metadata": {"finalizers": null}}`)
		l.see("", "get", "pod", "held", "--ignore-not-found")
	})
	t.Run("commands", func(t *testing.T) {
		l.t = t
		for _, role := range []string{cluster.Kwok, cluster.ControllerManager, cluster.Scheduler, cluster.Etcd, cluster.APIServer} {
			l.must("kill " + role)
			if l.tell("kill kubelet").OK {
				t.Error("killed a role that the cluster does not have")
			}
			l.info.PIDs[role] = l.must("start " + role).PID
		}
		l.must("stop kube-apiserver")
		if _, err := l.kubectl("", "get", "pods"); err == nil {
			t.Error("a stopped apiserver answers")
		}
		l.info.PIDs[cluster.APIServer] = l.must("start kube-apiserver").PID
		l.must("pause kwok")
		l.create("paused", "app:v1", "")
		time.Sleep(time.Second)
		l.see("Pending", "get", "pod", "paused", "-o", "jsonpath={.status.phase}")
		l.must("resume kwok")
		l.seePod("paused", "Running True 0 app:v1")
		for _, commands := range [][2]string{{"pause kwok", "resume kwok"}, {"kill kwok", "start kwok"}} {
			l.must(commands[0])
			l.do("", "delete", "pod", "paused", "--wait=false")
			time.Sleep(time.Second)
			l.do("", "get", "pod", "paused")
			if pid := l.must(commands[1]).PID; pid != 0 {
				l.info.PIDs[cluster.Kwok] = pid
			}
			l.see("", "get", "pod", "paused", "--ignore-not-found")
			l.create("paused", "app:v1", "")
			l.seePod("paused", "Running True 0 app:v1")
		}
	})
	t.Run("audit log", func(t *testing.T) {
		l.t = t
		content, err := os.ReadFile(l.info.AuditLog)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(content), `"userAgent":"kubectl`) || strings.Contains(string(content), "RequestReceived") {
			t.Error("the audit log does not hold what it should")
		}
	})
	l.t = t
}

func TestNode(t *testing.T) {
	needLive(t, cluster.Node)
	l := startLive(t, "--provider", cluster.Node)
	defer l.end()
	l.create("app", "asts-test:v1", "")
	l.seePod("app", "Running True 0 docker.io/library/asts-test:v1")
	first := l.containerID("app")
	if got := l.do("", "exec", "app", "--", "cat", "/version"); got != "v1" {
		t.Errorf("/version is %q", got)
	}
	if got := l.do("", "logs", "app"); !strings.Contains(got, "version v1 serves") {
		t.Errorf("the log is %q", got)
	}
	l.setImage("app", "asts-test:v2")
	l.seePod("app", "Running True 1 docker.io/library/asts-test:v2")
	if first == l.containerID("app") {
		t.Error("a new container has the old one's ID")
	}
	l.setImage("app", "127.0.0.1:1/none:v9")
	l.see("False", "get", "pod", "app", "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`)
	l.setImage("app", "asts-test:v1-same")
	l.see("v1", "exec", "app", "--", "cat", "/version")
	l.create("crash", "asts-test:broken", "")
	l.see("1", "get", "pod", "crash", "-o", "jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}")
	running := l.containerID("app")
	for _, role := range []string{cluster.Kubelet, cluster.Containerd} {
		l.must("kill " + role)
		l.info.PIDs[role] = l.must("start " + role).PID
	}
	l.see("v1", "exec", "app", "--", "cat", "/version")
	if running != l.containerID("app") {
		t.Error("the container did not outlive containerd and the kubelet")
	}
	l.do("", "delete", "pod", "app")
}

// A guard and a supervisor that are killed together leave everything: the
// next start, or the command clean, removes it.
func TestCleanNode(t *testing.T) {
	needLive(t, cluster.Node)
	l := startLive(t, "--provider", cluster.Node)
	l.create("app", "asts-test:v1", "")
	l.seePod("app", "Running True 0 docker.io/library/asts-test:v1")
	guard := l.command.Process.Pid
	supervisor := parent(t, l.info.PIDs[cluster.Etcd])
	syscall.Kill(guard, syscall.SIGSTOP)
	syscall.Kill(supervisor, syscall.SIGKILL)
	syscall.Kill(guard, syscall.SIGKILL)
	l.command.Wait()
	if output, err := exec.Command("./asts-cluster", "clean").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	l.checkGone()
	mounts, _ := os.ReadFile("/proc/self/mounts")
	if id := strings.Split(l.info.Dir, "-")[2]; strings.Contains(string(mounts), "asts-"+id) {
		t.Error("mounts are left")
	}
}

func parent(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if found, ok := strings.CutPrefix(line, "PPid:"); ok {
			parent, err := strconv.Atoi(strings.TrimSpace(found))
			if err != nil {
				t.Fatal(err)
			}
			return parent
		}
	}
	t.Fatal("no parent")
	return 0
}

func TestKilled(t *testing.T) {
	needLive(t, cluster.Local)
	l := startLive(t, "--provider", cluster.Local, "--kwok-nodes", "1")
	// The guard is the parent of the supervisor, which is the parent of etcd.
	l.command.Process.Kill()
	l.command.Wait()
	for end := time.Now().Add(eventually); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if _, err := os.Stat(l.info.Dir); errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	l.checkGone()
	l.input.Close()
}
