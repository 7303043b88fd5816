package proc

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Identity names a process for good: ids are used again, but not with the same
// time of start.
type Identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// stat is what is read of /proc/PID/stat.
type stat struct {
	parent int
	state  string
	start  uint64
}

func readStat(pid int) (stat, bool) {
	content, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, false
	}
	// The program's name is in parentheses and may hold anything.
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
	const parentField, startField = 1, 19
	if len(fields) <= startField {
		return stat{}, false
	}
	parent, _ := strconv.Atoi(fields[parentField])
	start, _ := strconv.ParseUint(fields[startField], 10, 64)
	return stat{parent: parent, state: fields[0], start: start}, true
}

// Identify returns the identity of a running process.
func Identify(pid int) Identity {
	found, _ := readStat(pid)
	return Identity{PID: pid, Start: found.start}
}

// Alive says whether that very process still runs.
func (i Identity) Alive() bool {
	if i.PID <= 0 {
		return false
	}
	found, ok := readStat(i.PID)
	return ok && found.start == i.Start && found.state != "Z"
}

// Stopped says whether that very process was stopped by a signal, and may be
// woken again.
func (i Identity) Stopped() bool {
	found, ok := readStat(i.PID)
	return ok && found.start == i.Start && (found.state == "T" || found.state == "t")
}

// Signal sends a signal to that very process.
func (i Identity) Signal(signal syscall.Signal) {
	if i.Alive() {
		syscall.Kill(i.PID, signal)
	}
}

func allPIDs() []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// descendants are all processes below this one.
func descendants() []int {
	children := map[int][]int{}
	for _, pid := range allPIDs() {
		if found, ok := readStat(pid); ok && found.state != "Z" {
			children[found.parent] = append(children[found.parent], pid)
		}
	}
	var below []int
	next := []int{os.Getpid()}
	for len(next) > 0 {
		pid := next[0]
		next = append(next[1:], children[pid]...)
		below = append(below, children[pid]...)
	}
	return below
}

// marked are the processes whose environment holds the given setting.
func marked(setting string) []int {
	var pids []int
	for _, pid := range allPIDs() {
		if pid == os.Getpid() {
			continue
		}
		environment, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
		if err != nil {
			continue
		}
		for _, entry := range bytes.Split(environment, []byte{0}) {
			if string(entry) == setting {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

const (
	killRounds = 100
	killPause  = 20 * time.Millisecond
)

// KillDescendants ends everything below this process.
func KillDescendants() { killUntilNone(descendants) }

// KillMarked ends every process that was started with the given setting in its
// environment, and waits for them.
func KillMarked(setting string) {
	killUntilNone(func() []int { return marked(setting) })
}

func killUntilNone(find func() []int) {
	for range killRounds {
		pids := find()
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(killPause)
	}
}
