package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"
)

// reply answers a line that the supervisor was given.
type reply struct {
	Command string         `json:"command"`
	Role    string         `json:"role,omitempty"`
	OK      bool           `json:"ok"`
	Error   string         `json:"error,omitempty"`
	PID     int            `json:"pid,omitempty"`
	PIDs    map[string]int `json:"pids,omitempty"`
	Seconds float64        `json:"seconds"`
}

// obey carries out the commands of input, one a line, until its end.
func (i *instance) obey(ctx context.Context, input io.Reader, output io.Writer) error {
	lines := bufio.NewScanner(input)
	answers := json.NewEncoder(output)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		started := time.Now()
		answer := reply{Command: words[0], OK: true}
		if err := i.command(ctx, words, &answer); err != nil {
			answer.OK, answer.Error = false, err.Error()
		}
		answer.Seconds = time.Since(started).Seconds()
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (i *instance) command(ctx context.Context, words []string, answer *reply) error {
	if words[0] == "status" && len(words) == 1 {
		answer.PIDs = i.info().PIDs
		return nil
	}
	if len(words) != 2 {
		return fmt.Errorf("not a command and a role: %q", strings.Join(words, " "))
	}
	answer.Role = words[1]
	role, err := i.find(words[1])
	if err != nil {
		return err
	}
	switch words[0] {
	case "stop":
		role.stop()
	case "kill":
		role.kill()
	case "start":
		err = i.start(ctx, role)
	case "pause":
		err = role.pause(ctx)
	case "resume":
		err = role.signal(syscall.SIGCONT)
	default:
		err = fmt.Errorf("unknown command %q", words[0])
	}
	if role.process != nil && !role.process.Ended() {
		answer.PID = role.process.PID
	}
	return err
}
