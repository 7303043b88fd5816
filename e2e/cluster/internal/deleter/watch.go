package deleter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Only the metadata of the Pods is asked for: that they have a node is in the
// selector, and nothing else of their spec and status matters.
const (
	podsPath     = "/api/v1/pods"
	onAnyNode    = "spec.nodeName!="
	acceptList   = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
	acceptObject = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
)

type podList struct {
	Metadata struct {
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Items []pod `json:"items"`
}

type event struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
}

// follow lists the Pods and then watches them. It returns when the list is out
// of date or a request failed.
func (d *Deleter) follow(ctx context.Context) error {
	version, err := d.list(ctx)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	for {
		if err := d.watch(ctx, &version); err != nil {
			return fmt.Errorf("watch: %w", err)
		}
	}
}

// list takes up what is there, and returns the version to watch from.
func (d *Deleter) list(ctx context.Context) (string, error) {
	limited, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	response, err := d.request(limited, http.MethodGet, podsPath, url.Values{"fieldSelector": {onAnyNode}}, acceptList, nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if err := failure(response); err != nil {
		return "", err
	}
	var list podList
	if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
		return "", err
	}
	there := make(map[string]bool, len(list.Items))
	for _, pod := range list.Items {
		there[pod.Metadata.UID] = true
	}
	for uid, ending := range d.ending {
		// One that was asked for and is still there is asked for again.
		if !there[uid] || ending.finished() {
			d.forget(uid)
		}
	}
	for _, pod := range list.Items {
		d.see(ctx, pod)
	}
	return list.Metadata.ResourceVersion, nil
}

// watch follows the Pods from a version on, which it keeps up to date. The end
// of a watch is no error when the version got further.
func (d *Deleter) watch(ctx context.Context, version *string) error {
	response, err := d.request(ctx, http.MethodGet, podsPath, url.Values{
		"fieldSelector": {onAnyNode}, "watch": {"true"}, "allowWatchBookmarks": {"true"}, "resourceVersion": {*version},
	}, acceptObject, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := failure(response); err != nil {
		return err
	}
	from := *version
	events := json.NewDecoder(response.Body)
	for {
		var event event
		if err := events.Decode(&event); err != nil {
			if errors.Is(err, io.EOF) && *version != from {
				return nil
			}
			return err
		}
		if event.Type == "ERROR" {
			return fmt.Errorf("%.300s", event.Object)
		}
		var pod pod
		if err := json.Unmarshal(event.Object, &pod); err != nil {
			return err
		}
		*version = pod.Metadata.ResourceVersion
		switch event.Type {
		case "ADDED", "MODIFIED":
			d.see(ctx, pod)
		case "DELETED":
			d.forget(pod.Metadata.UID)
		}
	}
}

// failure is the error that an answer of the apiserver is.
func failure(response *http.Response) error {
	if response.StatusCode < http.StatusMultipleChoices {
		return nil
	}
	content, _ := io.ReadAll(io.LimitReader(response.Body, 300))
	return fmt.Errorf("%s: %s", response.Status, content)
}
