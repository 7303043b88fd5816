package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"asts.dev/e2e/cluster/internal/pki"
)

type object = map[string]any

// apiClient asks the apiserver, as the administrator.
type apiClient struct {
	server string
	tls    *tls.Config
	http   *http.Client
}

const requestLimit = 5 * time.Second

func newAPIClient(server string, ca []byte, admin pki.Pair) (*apiClient, error) {
	certificate, err := tls.X509KeyPair(admin.Certificate, admin.Key)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	config := &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{certificate}}
	return &apiClient{server: server, tls: config, http: &http.Client{
		Timeout: requestLimit,
		Transport: &http.Transport{
			DisableKeepAlives: true, // the server may be another one by the next request
			TLSClientConfig:   config,
		},
	}}, nil
}

func (c *apiClient) do(method, path string, body, answer any) error {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(encoded)
	}
	request, err := http.NewRequest(method, c.server+path, content)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "asts-cluster")
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content2, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s: %.300s", method, path, response.Status, content2)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(content2, answer)
}

// ready is nil when the apiserver says that it is.
func (c *apiClient) ready() error { return c.do(http.MethodGet, "/readyz", nil, nil) }

// namespaceReady is nil when Pods can be made in the default namespace.
func (c *apiClient) namespaceReady() error {
	if err := c.do(http.MethodGet, "/api/v1/namespaces/default/serviceaccounts/default", nil, nil); err != nil {
		return err
	}
	return c.do(http.MethodGet, "/api/v1/namespaces/default/configmaps/kube-root-ca.crt", nil, nil)
}

type nodeList struct {
	Items []struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Spec struct {
			Taints []struct {
				Key string `json:"key"`
			} `json:"taints"`
		} `json:"spec"`
		Status struct {
			Conditions []struct {
				Type   string `json:"type"`
				Status string `json:"status"`
			} `json:"conditions"`
		} `json:"status"`
	} `json:"items"`
}

// nodesReady is nil when the nodes are there, and Pods can be put on them.
func (c *apiClient) nodesReady(names []string) error {
	var list nodeList
	if err := c.do(http.MethodGet, "/api/v1/nodes", nil, &list); err != nil {
		return err
	}
	ready := map[string]bool{}
	for _, node := range list.Items {
		for _, condition := range node.Status.Conditions {
			if condition.Type == "Ready" && condition.Status == "True" && len(node.Spec.Taints) == 0 {
				ready[node.Metadata.Name] = true
			}
		}
	}
	for _, name := range names {
		if !ready[name] {
			return fmt.Errorf("node %s is not ready", name)
		}
	}
	return nil
}

const pollEvery = 50 * time.Millisecond

// poll asks until there is no error, for a limited time.
func poll(ctx context.Context, limit time.Duration, what string, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w", what, ctx.Err(), err)
		case <-time.After(pollEvery):
		}
	}
}

var probeClient = &http.Client{
	Timeout: requestLimit,
	Transport: &http.Transport{
		DisableKeepAlives: true,
		// What answers is our own child on loopback; its certificate may be
		// one that it made itself.
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	},
}

// healthy asks a health address.
func healthy(url string) error {
	response, err := probeClient.Get(url)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// accepts is nil when something listens on the socket.
func accepts(socket string) error {
	connection, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	return connection.Close()
}
