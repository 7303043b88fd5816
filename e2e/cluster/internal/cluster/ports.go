package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Ports below those that the kernel gives to outgoing connections.
const (
	firstPort = 20000
	lastPort  = 32000
	portTries = 1000
)

// portPool hands out loopback ports, and subnets for Pods, that stay ours, also
// while nothing uses them: each is held by a locked file.
type portPool struct {
	dir  string
	held []*os.File
}

func newPortPool() (*portPool, error) {
	dir := filepath.Join(os.TempDir(), "asts-ports-"+strconv.Itoa(os.Getuid()))
	return &portPool{dir: dir}, os.MkdirAll(dir, 0o700)
}

func (p *portPool) take() (int, error) {
	for range portTries {
		port := firstPort + rand.IntN(lastPort-firstPort)
		held, err := p.hold(strconv.Itoa(port))
		if err != nil {
			return 0, err
		}
		if held && isFree(port) {
			return port, nil
		}
	}
	return 0, errors.New("no free port found")
}

// hold keeps a name from other clusters until this program ends; it is false
// when another one has it.
func (p *portPool) hold(name string) (bool, error) {
	file, err := os.OpenFile(filepath.Join(p.dir, name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	if syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return false, file.Close()
	}
	p.held = append(p.held, file)
	return true, nil
}

func isFree(port int) bool {
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return listener.Close() == nil
}
