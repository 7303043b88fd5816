package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// bareClient asks the apiserver without waiting or limits of its own.
type bareClient struct {
	server string
	http   *http.Client
}

func (l *live) bareClient() *bareClient {
	l.t.Helper()
	var kubeconfig struct {
		Users []struct {
			User struct {
				Certificate []byte `json:"client-certificate-data"`
				Key         []byte `json:"client-key-data"`
			} `json:"user"`
		} `json:"users"`
	}
	content, err := os.ReadFile(l.info.Kubeconfig)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := json.Unmarshal(content, &kubeconfig); err != nil {
		l.t.Fatal(err)
	}
	authority, err := os.ReadFile(l.info.CA)
	if err != nil {
		l.t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(kubeconfig.Users[0].User.Certificate, kubeconfig.Users[0].User.Key)
	if err != nil {
		l.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	return &bareClient{server: l.info.Server, http: &http.Client{
		Timeout: eventually,
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 16, TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}},
		},
	}}
}

type livePod struct {
	Metadata struct {
		UID               string  `json:"uid"`
		DeletionTimestamp *string `json:"deletionTimestamp"`
	} `json:"metadata"`
	Status struct {
		Phase string `json:"phase"`
	} `json:"status"`
}

// do returns the code of the answer and, where it is one, the Pod.
func (c *bareClient) do(method, path, body string) (int, livePod, error) {
	var pod livePod
	request, err := http.NewRequest(method, c.server+"/api/v1/namespaces/default/pods"+path, bytes.NewBufferString(body))
	if err != nil {
		return 0, pod, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "bare-client")
	response, err := c.http.Do(request)
	if err != nil {
		return 0, pod, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode >= http.StatusMultipleChoices {
		return response.StatusCode, pod, err
	}
	return response.StatusCode, pod, json.Unmarshal(content, &pod)
}

// create makes a Pod on a fake node, as soon as its name is free.
func (c *bareClient) create(name string) (string, error) {
	for end := time.Now().Add(eventually); time.Now().Before(end); {
		code, pod, err := c.do(http.MethodPost, "", podManifest(name, "app:v1", `"nodeName": "kwok-0",`))
		if err != nil {
			return "", err
		}
		if code == http.StatusCreated {
			return pod.Metadata.UID, nil
		}
		if code != http.StatusConflict {
			return "", fmt.Errorf("create %s: code %d", name, code)
		}
	}
	return "", fmt.Errorf("the earlier %s did not go", name)
}

// survives waits until a Pod runs, and some more.
func (c *bareClient) survives(name, uid string, more time.Duration) error {
	for end := time.Now().Add(eventually); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		code, pod, err := c.do(http.MethodGet, "/"+name, "")
		if err != nil {
			return err
		}
		if code != http.StatusOK || pod.Metadata.UID != uid || pod.Metadata.DeletionTimestamp != nil {
			return fmt.Errorf("%s with UID %s did not survive: code %d, now UID %s, deleted %v", name, uid, code, pod.Metadata.UID, pod.Metadata.DeletionTimestamp != nil)
		}
		if pod.Status.Phase == "Running" {
			if more == 0 {
				return nil
			}
			time.Sleep(more)
			more = 0
		}
	}
	return fmt.Errorf("%s does not run", name)
}

// recreate deletes a Pod and makes it anew under the same name, many times.
func (c *bareClient) recreate(name string, times int) error {
	uid, err := c.create(name)
	if err != nil {
		return err
	}
	for range times {
		if err := c.survives(name, uid, 0); err != nil {
			return err
		}
		code, _, err := c.do(http.MethodDelete, "/"+name, `{"preconditions": {"uid": "`+uid+`"}}`)
		if err != nil || code >= http.StatusMultipleChoices {
			return fmt.Errorf("delete %s: code %d, %v", name, code, err)
		}
		if uid, err = c.create(name); err != nil {
			return err
		}
	}
	return c.survives(name, uid, time.Second)
}

// checkRecreated has several Pods go and come at once.
func (l *live) checkRecreated() {
	const names, times = 8, 25
	client := l.bareClient()
	var running sync.WaitGroup
	for n := range names {
		running.Go(func() {
			if err := client.recreate(fmt.Sprintf("again-%d", n), times); err != nil {
				l.t.Error(err)
			}
		})
	}
	running.Wait()
	content, err := os.ReadFile(l.info.AuditLog)
	if err != nil {
		l.t.Fatal(err)
	}
	removed := 0
	for line := range strings.Lines(string(content)) {
		if strings.Contains(line, `"verb":"delete"`) && strings.Contains(line, `"userAgent":"kwok-deleter"`) && strings.Contains(line, `"code":200`) &&
			strings.Contains(line, `"name":"again-`) {
			removed++
		}
	}
	if removed > names*times {
		l.t.Errorf("%d Pods were removed, and %d were to be", removed, names*times)
	}
	l.t.Logf("%d of %d removals are in the audit log by now", removed, names*times)
}

// checkBurst has many Pods go at once.
func (l *live) checkBurst() {
	const pods = 600
	client := l.bareClient()
	var running sync.WaitGroup
	for n := range 8 {
		running.Go(func() {
			for m := n; m < pods; m += 8 {
				if _, err := client.create(fmt.Sprintf("burst-%d", m)); err != nil {
					l.t.Error(err)
				}
			}
		})
	}
	running.Wait()
	for n := range 8 {
		running.Go(func() {
			for m := n; m < pods; m += 8 {
				if _, _, err := client.do(http.MethodDelete, fmt.Sprintf("/burst-%d", m), ""); err != nil {
					l.t.Error(err)
				}
			}
		})
	}
	started := time.Now()
	running.Wait()
	asked := time.Since(started)
	for end := time.Now().Add(eventually); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		left := 0
		for m := pods - 1; m >= 0 && left == 0; m-- {
			if code, _, err := client.do(http.MethodGet, fmt.Sprintf("/burst-%d", m), ""); err != nil || code != http.StatusNotFound {
				left++
			}
		}
		if left == 0 {
			l.t.Logf("%d deletions were asked for in %s, and the Pods were gone after %s", pods, asked, time.Since(started))
			return
		}
	}
	l.t.Error("Pods are left")
}

func TestRecreated(t *testing.T) {
	needLive(t, "local")
	l := startLive(t, "--provider", "local", "--kwok-nodes", "1")
	defer l.end()
	t.Run("a Pod made anew under the same name survives", func(t *testing.T) {
		l.t = t
		l.checkRecreated()
	})
	t.Run("many Pods go at once", func(t *testing.T) {
		l.t = t
		l.checkBurst()
	})
	l.t = t
}
