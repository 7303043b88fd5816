// Package deleter ends Pods as a kubelet does. kwok could do it, but it removes
// a Pod by its name alone and now and then twice, which removes the Pod that a
// controller has made anew under that name.
package deleter

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	userAgent = "kwok-deleter"
	// requestsAtOnce is how many Pods are removed at the same time.
	requestsAtOnce = 16
	requestLimit   = 10 * time.Second
	// retryAfter is the pause after a request that failed.
	retryAfter = 100 * time.Millisecond
)

// Config says where the Pods are and what the deleter goes by.
type Config struct {
	// Server is the address of the apiserver, without a path.
	Server string
	// TLS holds the certificate of a client that may watch and delete Pods.
	TLS *tls.Config
	// Paused says whether no Pod may be removed for now.
	Paused func() bool
	// Log gets a line for each failure.
	Log io.Writer
}

// Deleter removes the Pods whose deletion was asked for.
type Deleter struct {
	Config
	http *http.Client
	// slots holds a token for each request under way.
	slots chan struct{}
	// ending are the Pods that are being removed, by UID.
	ending map[string]*ending
	logMu  sync.Mutex
}

// New makes a deleter with connections of its own.
func New(config Config) *Deleter {
	return &Deleter{
		Config: config,
		http: &http.Client{Transport: &http.Transport{
			TLSClientConfig:     config.TLS,
			MaxIdleConnsPerHost: requestsAtOnce + 1,
		}},
		slots:  make(chan struct{}, requestsAtOnce),
		ending: map[string]*ending{},
	}
}

// Run removes Pods until the context ends. It starts anew after any failure.
func (d *Deleter) Run(ctx context.Context) {
	defer d.http.CloseIdleConnections()
	var last string
	for ctx.Err() == nil {
		err := d.follow(ctx)
		// The same failure comes many times while the apiserver is away.
		if message := fmt.Sprint(err); message != last && ctx.Err() == nil {
			d.logf("follow the Pods: %s", message)
			last = message
		}
		sleep(ctx, retryAfter)
	}
}

func (d *Deleter) logf(format string, values ...any) {
	d.logMu.Lock()
	defer d.logMu.Unlock()
	fmt.Fprintf(d.Log, "%s "+format+"\n", append([]any{time.Now().UTC().Format(time.RFC3339Nano)}, values...)...)
}

// request asks the apiserver. The caller closes the answer's body.
func (d *Deleter) request(ctx context.Context, method, path string, query url.Values, accept string, body io.Reader) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, d.Server+path+"?"+query.Encode(), body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", userAgent)
	request.Header.Set("Accept", accept)
	request.Header.Set("Content-Type", "application/json")
	return d.http.Do(request)
}

// sleep says whether the context outlived the pause.
func sleep(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}
