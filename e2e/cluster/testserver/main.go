// Command testserver is the program of the test images: a small HTTP server
// that tells what it was started with, and does what tests ask of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const versionFile = "/version"

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if name == "testserver" {
		name = "serve"
		if len(args) > 0 {
			name, args = args[0], args[1:]
		}
	}
	if err := run(name, args); err != nil {
		fmt.Fprintln(os.Stderr, "testserver:", err)
		os.Exit(1)
	}
}

func run(name string, args []string) error {
	switch name {
	case "serve":
		return serve()
	case "pause":
		waitForSignal()
		return nil
	case "true":
		return nil
	case "false":
		return errors.New("told to fail")
	case "cat":
		return cat(args)
	case "env":
		return printEnv(args)
	case "sleep":
		return sleep(args)
	default:
		return fmt.Errorf("unknown command %q", name)
	}
}

func waitForSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	<-signals
}

func cat(files []string) error {
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		os.Stdout.Write(content)
	}
	return nil
}

func printEnv(names []string) error {
	if len(names) == 0 {
		fmt.Println(strings.Join(os.Environ(), "\n"))
	}
	for _, name := range names {
		fmt.Println(os.Getenv(name))
	}
	return nil
}

func sleep(args []string) error {
	if len(args) != 1 {
		return errors.New("sleep needs a number of seconds")
	}
	seconds, err := strconv.ParseFloat(args[0], 64)
	if err != nil {
		return err
	}
	select {
	case <-time.After(time.Duration(seconds * float64(time.Second))):
	case <-signalled():
	}
	return nil
}

func signalled() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		waitForSignal()
		close(done)
	}()
	return done
}

// serve answers until SIGTERM, and for DRAIN_SECONDS after it.
func serve() error {
	drain, err := strconv.Atoi(envOr("DRAIN_SECONDS", "0"))
	if err != nil {
		return fmt.Errorf("DRAIN_SECONDS: %w", err)
	}
	server := &http.Server{Addr: ":" + envOr("PORT", "8080"), Handler: handler()}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	log.Printf("version %s serves on %s", version(), server.Addr)
	select {
	case err := <-failed:
		return err
	case <-signalled():
	}
	log.Printf("told to stop, serving for %d s more", drain)
	time.Sleep(time.Duration(drain) * time.Second)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return server.Close()
	}
	return nil
}

func handler() http.Handler {
	var notReady atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		host, _ := os.Hostname()
		fmt.Fprintln(w, version(), host)
	})
	mux.HandleFunc("/version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, version()) })
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("/env", func(w http.ResponseWriter, r *http.Request) {
		value, found := os.LookupEnv(r.URL.Query().Get("name"))
		if !found {
			http.Error(w, "not set", http.StatusNotFound)
			return
		}
		fmt.Fprintln(w, value)
	})
	mux.HandleFunc("/file", func(w http.ResponseWriter, r *http.Request) {
		file, err := os.Open(r.URL.Query().Get("path"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		defer file.Close()
		io.Copy(w, file)
	})
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if notReady.Load() {
			http.Error(w, "told not to be ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/ready", func(w http.ResponseWriter, r *http.Request) {
		set, err := strconv.ParseBool(r.URL.Query().Get("set"))
		if err != nil {
			http.Error(w, "set must be true or false", http.StatusBadRequest)
			return
		}
		notReady.Store(!set)
		fmt.Fprintln(w, "ready:", set)
	})
	return mux
}

func version() string {
	content, err := os.ReadFile(versionFile)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(content))
}

func envOr(name, fallback string) string {
	if value, found := os.LookupEnv(name); found {
		return value
	}
	return fallback
}
