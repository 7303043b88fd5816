package cluster

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"asts.dev/e2e/cluster/internal/proc"
)

func testPool(t *testing.T, dir string) *portPool {
	t.Helper()
	pool := &portPool{dir: dir}
	t.Cleanup(func() {
		for _, file := range pool.held {
			file.Close()
		}
	})
	return pool
}

func TestPoolsShareNothing(t *testing.T) {
	dir := t.TempDir()
	first, second := testPool(t, dir), testPool(t, dir)
	if held, err := first.hold("name"); !held || err != nil {
		t.Fatalf("a free name: %t, %v", held, err)
	}
	if held, err := second.hold("name"); held || err != nil {
		t.Fatalf("a name that another pool holds: %t, %v", held, err)
	}
	a, err := first.takeSubnet()
	if err != nil {
		t.Fatal(err)
	}
	b, err := second.takeSubnet()
	if err != nil {
		t.Fatal(err)
	}
	if a == b {
		t.Errorf("two pools took the subnet %s", a)
	}
	port, err := first.take()
	if err != nil || !isFree(port) {
		t.Errorf("port %d: %v", port, err)
	}
}

func TestOverlaps(t *testing.T) {
	_, subnet, _ := net.ParseCIDR("10.200.3.0/24")
	for address, want := range map[string]bool{"10.200.3.7/32": true, "10.0.0.1/8": true, "10.200.4.1/24": false, "192.168.0.1/16": false} {
		ip, network, _ := net.ParseCIDR(address)
		network.IP = ip
		if got := overlaps(subnet, []net.Addr{network}); got != want {
			t.Errorf("%s: %t, want %t", address, got, want)
		}
	}
}

func TestFlags(t *testing.T) {
	var options Options
	for _, wrong := range []string{"", "etcd", "etcd:", "nobody:a=b"} {
		if options.AddFlag(wrong) == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
	if err := options.AddFlag("kube-apiserver:feature-gates=A=true,B=false"); err != nil {
		t.Fatal(err)
	}
	if got, want := options.Flags[APIServer], []string{"--feature-gates=A=true,B=false"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPrepareDirTakesOnlyWhatIsOurs(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "foreign")
	if err := os.WriteFile(foreign, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := prepareDir(Options{Dir: dir}, "id"); err == nil {
		t.Error("a folder with foreign files was taken")
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, temporary, err := prepareDir(Options{Dir: dir}, "id"); err != nil || temporary {
		t.Errorf("an ended cluster's folder: %v, temporary %t", err, temporary)
	}
	if _, err := os.Stat(foreign); err == nil {
		t.Error("the earlier cluster's files are still there")
	}
}

func TestCleanAbandonedLeavesTheLiving(t *testing.T) {
	cache := t.TempDir()
	living, dead := filepath.Join(cache, "living"), filepath.Join(cache, "dead")
	for id, dir := range map[string]string{"living": living, "dead": dead} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		record := &Record{ID: id, Dir: dir, RemoveDir: true, file: recordFile(cache, id)}
		if id == "living" {
			record.Supervisors = []proc.Identity{proc.Identify(os.Getpid())}
		}
		if err := record.save(); err != nil {
			t.Fatal(err)
		}
	}
	if err := CleanAbandoned(cache, os.Stderr); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(living); err != nil {
		t.Error("removed the folder of a cluster that runs")
	}
	if _, err := os.Stat(dead); err == nil {
		t.Error("left the folder of a cluster that does not run")
	}
}
