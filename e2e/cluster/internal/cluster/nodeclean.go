package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const (
	cgroupRounds = 100
	cgroupPause  = 20 * time.Millisecond
)

// cgroupMounts are where the machine's cgroups are: several hierarchies of
// version 1, one of version 2, or both.
func cgroupMounts() []string {
	content, _ := os.ReadFile("/proc/self/mounts")
	var mounts []string
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) > 2 && (fields[2] == "cgroup" || fields[2] == "cgroup2") {
			mounts = append(mounts, fields[1])
		}
	}
	return mounts
}

// makeCgroup makes a cgroup for the kubelet's own in each hierarchy.
func makeCgroup(name string) error {
	for _, mount := range cgroupMounts() {
		dir := filepath.Join(mount, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		// Version 1 starts with no processors and no memory; nothing can be put
		// in then. Other hierarchies do not have these files.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			parent, err := os.ReadFile(filepath.Join(mount, file))
			if err != nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, file), parent, 0o644); err != nil {
				return err
			}
		}
		// Version 2 hands its controllers down where it is told to.
		controllers, err := os.ReadFile(filepath.Join(mount, "cgroup.controllers"))
		if err != nil {
			continue
		}
		for _, at := range []string{mount, dir} {
			for _, controller := range strings.Fields(string(controllers)) {
				os.WriteFile(filepath.Join(at, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
			}
		}
	}
	return nil
}

// removeCgroup ends what runs in the cgroups of that name, and removes them.
func removeCgroup(name string) error {
	var left []string
	for range cgroupRounds {
		left = left[:0]
		for _, mount := range cgroupMounts() {
			dir := filepath.Join(mount, name)
			if _, err := os.Stat(dir); err == nil {
				left = append(left, dir)
				emptyCgroup(dir)
			}
		}
		if len(left) == 0 {
			return nil
		}
		time.Sleep(cgroupPause)
	}
	return fmt.Errorf("cgroups are still there: %s", strings.Join(left, " "))
}

func emptyCgroup(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if entry.IsDir() {
			emptyCgroup(filepath.Join(dir, entry.Name()))
		}
	}
	processes, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	for _, field := range strings.Fields(string(processes)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	syscall.Rmdir(dir)
}

// cleanNode removes what a real node left outside of the cluster's folder.
func (r *Record) cleanNode() error {
	sockets := r.shimSockets()
	var failed error
	for _, cgroup := range r.Cgroups {
		failed = errors.Join(failed, removeCgroup(cgroup))
	}
	failed = errors.Join(failed, unmountBelow(r.RunDir, r.Dir))
	for _, bridge := range r.Bridges {
		failed = errors.Join(failed, removeBridge(bridge))
	}
	for _, socket := range sockets {
		os.Remove(socket)
	}
	r.removeLogLinks()
	return errors.Join(failed, os.RemoveAll(r.RunDir))
}

// shimSockets are in a folder that all containerds of the machine share.
func (r *Record) shimSockets() []string {
	var sockets []string
	files, _ := filepath.Glob(filepath.Join(r.RunDir, "*/containerd/io.containerd.runtime.v2.task/*/*/bootstrap.json"))
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		var bootstrap struct {
			Address string `json:"address"`
		}
		if json.Unmarshal(content, &bootstrap) == nil && strings.HasPrefix(bootstrap.Address, "unix://") {
			sockets = append(sockets, strings.TrimPrefix(bootstrap.Address, "unix://"))
		}
	}
	return sockets
}

// removeLogLinks removes the links that a kubelet makes in a folder of its own
// choice, where they point to this cluster's logs.
func (r *Record) removeLogLinks() {
	const dir = "/var/log/containers"
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		link := filepath.Join(dir, entry.Name())
		if target, err := os.Readlink(link); err == nil && r.Dir != "" && strings.HasPrefix(target, r.Dir+"/") {
			os.Remove(link)
		}
	}
}

// removeBridge takes the network bridge down and removes it.
func removeBridge(name string) error {
	if _, err := os.Stat(filepath.Join("/sys/class/net", name)); err != nil {
		return nil
	}
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(socket)
	// struct ifreq: the name, then flags, all zero: the interface goes down.
	var request [40]byte
	copy(request[:syscall.IFNAMSIZ-1], name)
	const deleteBridge = 0x89a1 // SIOCBRDELBR
	for _, operation := range []uintptr{syscall.SIOCSIFFLAGS, deleteBridge} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(socket), operation, uintptr(unsafe.Pointer(&request))); errno != 0 {
			return fmt.Errorf("remove the bridge %s: %w", bytes.TrimRight(request[:syscall.IFNAMSIZ], "\x00"), errno)
		}
	}
	return nil
}
