package deleter

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"

	"asts.dev/e2e/cluster/internal/stages"
)

// pod is what the deleter looks at.
type pod struct {
	Metadata struct {
		Namespace                  string            `json:"namespace"`
		Name                       string            `json:"name"`
		UID                        string            `json:"uid"`
		ResourceVersion            string            `json:"resourceVersion"`
		Annotations                map[string]string `json:"annotations"`
		Finalizers                 []string          `json:"finalizers"`
		DeletionTimestamp          *time.Time        `json:"deletionTimestamp"`
		DeletionGracePeriodSeconds int64             `json:"deletionGracePeriodSeconds"`
	} `json:"metadata"`
}

// longestStay keeps a number of an annotation within what a Duration holds.
const longestStay = 365 * 24 * time.Hour

// due is when the Pod is to go, and false for one that is not to be removed:
// nobody asked for it, or everything was and only its finalizers hold it.
func (p *pod) due() (time.Time, bool) {
	meta := &p.Metadata
	if meta.DeletionTimestamp == nil {
		return time.Time{}, false
	}
	if meta.DeletionGracePeriodSeconds == 0 && len(meta.Finalizers) > 0 {
		return time.Time{}, false
	}
	asked := meta.DeletionTimestamp.Add(-time.Duration(meta.DeletionGracePeriodSeconds) * time.Second)
	return asked.Add(stay(meta.Annotations[stages.TerminatingAnnotation])), true
}

// stay is how long a Pod stays after it was asked to go: at once, unless its
// annotation gives a number of seconds.
func stay(annotation string) time.Duration {
	seconds, err := strconv.ParseFloat(annotation, 64)
	if err != nil || math.IsNaN(seconds) || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, longestStay.Seconds()) * float64(time.Second))
}

// ending is a Pod that is being removed.
type ending struct {
	path string
	body []byte
	// due gets the time to go, the newest one only.
	due chan time.Time
	// gone is closed when the Pod is gone.
	gone chan struct{}
	// asked is closed when the apiserver took the request.
	asked chan struct{}
}

func (e *ending) finished() bool {
	select {
	case <-e.asked:
		return true
	default:
		return false
	}
}

// see takes up a Pod. Only the goroutine that follows the Pods calls it.
func (d *Deleter) see(ctx context.Context, pod pod) {
	due, wanted := pod.due()
	if !wanted {
		return
	}
	one := d.ending[pod.Metadata.UID]
	if one == nil {
		body, err := json.Marshal(map[string]any{
			"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
			"preconditions": map[string]string{"uid": pod.Metadata.UID},
		})
		if err != nil {
			d.logf("delete %s/%s: %s", pod.Metadata.Namespace, pod.Metadata.Name, err)
			return
		}
		one = &ending{
			path: fmt.Sprintf("/api/v1/namespaces/%s/pods/%s", pod.Metadata.Namespace, pod.Metadata.Name),
			body: body, due: make(chan time.Time, 1), gone: make(chan struct{}), asked: make(chan struct{}),
		}
		d.ending[pod.Metadata.UID] = one
		go d.end(ctx, one)
	}
	select {
	case <-one.due:
	default:
	}
	one.due <- due
}

// forget drops a Pod that is gone. A request under way goes on: to cancel it
// would cost its connection.
func (d *Deleter) forget(uid string) {
	if one := d.ending[uid]; one != nil {
		close(one.gone)
		delete(d.ending, uid)
	}
}

// end waits until a Pod is due and removes it.
func (d *Deleter) end(ctx context.Context, one *ending) {
	timer := time.NewTimer(0)
	timer.Stop()
	defer timer.Stop()
	for waiting := true; waiting; {
		select {
		case <-ctx.Done():
			return
		case <-one.gone:
			return
		case due := <-one.due:
			timer.Reset(time.Until(due))
		case <-timer.C:
			waiting = false
		}
	}
	for told := false; ; told = true {
		select {
		case <-ctx.Done():
			return
		case <-one.gone:
			return
		case d.slots <- struct{}{}:
		}
		err := d.remove(ctx, one)
		if err != nil {
			if !told && ctx.Err() == nil {
				d.logf("DELETE %s: %s", one.path, err)
			}
			// With the slot held, so that an apiserver that is away is not
			// asked by all at once.
			sleep(ctx, retryAfter)
		}
		<-d.slots
		if err == nil {
			close(one.asked)
			return
		}
	}
}

// remove asks for the end of that very Pod. That it is gone is no error, nor
// that its name is another Pod's by now.
func (d *Deleter) remove(ctx context.Context, one *ending) error {
	for d.Paused() {
		if !sleep(ctx, retryAfter) {
			return ctx.Err()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	response, err := d.request(ctx, http.MethodDelete, one.path, nil, acceptObject, bytes.NewReader(one.body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNotFound || response.StatusCode == http.StatusConflict {
		response.StatusCode = http.StatusOK
	}
	if err := failure(response); err != nil {
		return err
	}
	// A connection is used again when its answer was read to the end.
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
