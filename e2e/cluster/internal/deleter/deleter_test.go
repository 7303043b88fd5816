package deleter

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// server plays an apiserver: lists and watches get what the test sends, one
// after the other, and deletions are handed to the test.
type server struct {
	lists, watches chan string
	deletions      chan deletion
	answers        chan int
}

type deletion struct {
	path, agent string
	at          time.Time
	body        struct {
		GracePeriodSeconds *int64
		Preconditions      struct{ UID string }
	}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	next := func(from chan string) {
		select {
		case text := <-from:
			io.WriteString(w, text)
		case <-r.Context().Done():
		}
	}
	switch {
	case r.Method == http.MethodDelete:
		got := deletion{path: r.URL.Path, agent: r.UserAgent(), at: time.Now()}
		json.NewDecoder(r.Body).Decode(&got.body)
		s.deletions <- got
		w.WriteHeader(<-s.answers)
	case r.URL.Query().Get("watch") != "":
		next(s.watches)
	default:
		next(s.lists)
	}
}

func (s *server) next(t *testing.T) deletion {
	t.Helper()
	select {
	case got := <-s.deletions:
		return got
	case <-time.After(10 * time.Second):
		t.Fatal("no deletion")
		return deletion{}
	}
}

func (s *server) none(t *testing.T) {
	t.Helper()
	select {
	case got := <-s.deletions:
		t.Fatalf("%s was deleted", got.path)
	case <-time.After(300 * time.Millisecond):
	}
}

func serve(t *testing.T, paused func() bool) *server {
	s := &server{
		lists: make(chan string, 10), watches: make(chan string, 10),
		deletions: make(chan deletion, 10), answers: make(chan int, 10),
	}
	listener := httptest.NewServer(s)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		New(Config{Server: listener.URL, Paused: paused, Log: t.Output()}).Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		close(s.answers)
		listener.Close()
	})
	return s
}

func never() bool { return false }

func podJSON(uid, more string) string {
	return fmt.Sprintf(`{"metadata": {"namespace": "n", "name": "p", "uid": %q, "resourceVersion": "7"%s}}`, uid, more)
}

// asked is a deletion asked for now, with the default period of grace.
func asked() string {
	return fmt.Sprintf(`, "deletionGracePeriodSeconds": 30, "deletionTimestamp": %q`, time.Now().Add(30*time.Second).UTC().Format(time.RFC3339))
}

func listOf(pods string) string {
	return `{"metadata": {"resourceVersion": "5"}, "items": [` + pods + `]}`
}

func TestRemovesThatVeryPodOnce(t *testing.T) {
	s := serve(t, never)
	s.answers <- http.StatusOK
	s.lists <- listOf(podJSON("stays", "") + "," + podJSON("old", asked()))
	got := s.next(t)
	if got.path != "/api/v1/namespaces/n/pods/p" || got.agent != "kwok-deleter" || got.body.Preconditions.UID != "old" ||
		got.body.GracePeriodSeconds == nil || *got.body.GracePeriodSeconds != 0 {
		t.Errorf("got %+v", got)
	}
	s.watches <- `{"type": "MODIFIED", "object": ` + podJSON("old", asked()) + `}{"type": "ADDED", "object": ` + podJSON("new", "") + `}`
	s.none(t)
}

func TestAsksAgainUntilTheAnswerIsFinal(t *testing.T) {
	for _, final := range []int{http.StatusOK, http.StatusNotFound, http.StatusConflict} {
		s := serve(t, never)
		s.answers <- http.StatusInternalServerError
		s.answers <- final
		s.lists <- listOf(podJSON("old", asked()))
		s.next(t)
		s.next(t)
		s.none(t)
	}
}

func TestListsAgainWhenTheWatchIsOutOfDate(t *testing.T) {
	s := serve(t, never)
	s.answers <- http.StatusOK
	s.lists <- listOf("")
	s.watches <- `{"type": "ERROR", "object": {"code": 410}}`
	s.lists <- listOf(podJSON("old", asked()))
	s.next(t)
}

func TestPodStaysAsItsAnnotationSays(t *testing.T) {
	s := serve(t, never)
	s.answers <- http.StatusOK
	s.answers <- http.StatusOK
	started := time.Now()
	noted := func(seconds string) string {
		return asked() + `, "annotations": {"kwok.asts.dev/terminating-seconds": "` + seconds + `"}`
	}
	s.lists <- listOf(podJSON("short", noted("2")) + "," + podJSON("changed", noted("3600")))
	// A deletionTimestamp holds whole seconds.
	if took := s.next(t).at.Sub(started); took < time.Second {
		t.Errorf("the Pod went after %s", took)
	}
	s.none(t)
	s.watches <- `{"type": "MODIFIED", "object": ` + podJSON("changed", asked()) + `}`
	if got := s.next(t); got.body.Preconditions.UID != "changed" {
		t.Errorf("got %+v", got)
	}
}

func TestLeavesWhatOnlyFinalizersHold(t *testing.T) {
	s := serve(t, never)
	s.lists <- listOf(podJSON("held", fmt.Sprintf(`, "finalizers": ["a/b"], "deletionGracePeriodSeconds": 0, "deletionTimestamp": %q`,
		time.Now().UTC().Format(time.RFC3339))))
	s.none(t)
}

func TestHoldsStillWhilePaused(t *testing.T) {
	var paused atomic.Bool
	paused.Store(true)
	s := serve(t, paused.Load)
	s.answers <- http.StatusOK
	s.lists <- listOf(podJSON("old", asked()))
	s.none(t)
	paused.Store(false)
	s.next(t)
}

func TestStay(t *testing.T) {
	for annotation, want := range map[string]time.Duration{
		"": 0, "5": 5 * time.Second, "0.5": 500 * time.Millisecond, "-3": 0, "soon": 0, "NaN": 0, "inf": longestStay, "1e300": longestStay} {
		if got := stay(annotation); got != want {
			t.Errorf("%q: %s, want %s", annotation, got, want)
		}
	}
}
