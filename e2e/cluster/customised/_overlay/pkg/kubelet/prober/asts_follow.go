package prober

import (
	"context"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	podutil "k8s.io/kubernetes/pkg/api/v1/pod"
	kubecontainer "k8s.io/kubernetes/pkg/kubelet/container"
	"k8s.io/kubernetes/pkg/kubelet/prober/results"
)

// The probes that can change in a running Pod.
var astsProbeTypes = [...]probeType{readiness, liveness}

// astsOrder is what a worker is to do from its next turn on.
type astsOrder struct {
	pod       *v1.Pod
	container v1.Container
}

// astsOrders hands changed probes to running workers. A worker's own fields belong to its goroutine.
var astsOrders = struct {
	sync.Mutex
	// told is the probe that a worker was given last, where that is not the one it started with.
	told map[*worker]*v1.Probe
	next map[*worker]astsOrder
}{told: map[*worker]*v1.Probe{}, next: map[*worker]astsOrder{}}

func astsProbeOf(container *v1.Container, which probeType) *v1.Probe {
	if which == readiness {
		return container.ReadinessProbe
	}
	return container.LivenessProbe
}

// astsFollow brings the workers of a Pod in line with its spec: a changed probe is handed to the
// worker, which keeps its result until the new probe has another; the worker of a removed one ends;
// one for a probe that a running container was given begins with the container as ready as it was.
func (m *manager) astsFollow(ctx context.Context, pod *v1.Pod) {
	for _, container := range slices.Concat(pod.Spec.Containers, getRestartableInitContainers(pod)) {
		for _, which := range astsProbeTypes {
			key := probeKey{podUID: pod.UID, containerName: container.Name, probeType: which}
			m.workerLock.RLock()
			w, runs := m.workers[key]
			m.workerLock.RUnlock()
			if runs {
				w.astsTell(pod, container)
			} else if astsProbeOf(&container, which) != nil {
				m.astsStart(ctx, pod, container, key)
			}
		}
	}
	m.astsForgetEnded()
}

// astsTell leaves an order for the worker and wakes it, when the probe is another than it knows.
func (w *worker) astsTell(pod *v1.Pod, container v1.Container) {
	wanted := astsProbeOf(&container, w.probeType)
	astsOrders.Lock()
	known, told := astsOrders.told[w]
	if !told {
		known = w.spec // written by the worker only after it was told something
	}
	changed := !apiequality.Semantic.DeepEqual(known, wanted)
	if changed {
		astsOrders.told[w] = wanted
		astsOrders.next[w] = astsOrder{pod: pod, container: container}
	}
	astsOrders.Unlock()
	if !changed {
		return
	}
	select {
	case w.manualTriggerCh <- struct{}{}:
	default: // it is about to have a turn
	}
}

// astsTakeOrder is called by the worker at the beginning of a turn. It returns true when the worker
// is to end.
func (w *worker) astsTakeOrder() (ends bool) {
	astsOrders.Lock()
	order, found := astsOrders.next[w]
	delete(astsOrders.next, w)
	astsOrders.Unlock()
	if !found {
		return false
	}
	probe := astsProbeOf(&order.container, w.probeType)
	if probe == nil {
		w.astsEnd()
		return true
	}
	w.pod, w.container, w.spec = order.pod, order.container, probe
	w.resultRun = 0 // the new thresholds count the new probe's results
	return false
}

// astsEnd takes the worker of a removed probe out of the manager. Nothing is left for the clean-up
// at the worker's end, which could else remove what a worker that came after it has.
func (w *worker) astsEnd() {
	if w.probeType == readiness && !w.containerID.IsEmpty() {
		w.resultsManager.Set(w.containerID, results.Success, w.pod) // makes the status new at once
	}
	m := w.probeManager
	key := probeKey{podUID: w.pod.UID, containerName: w.container.Name, probeType: w.probeType}
	m.workerLock.Lock()
	if m.workers[key] == w {
		delete(m.workers, key)
		w.resultsManager.Remove(w.containerID)
	}
	m.workerLock.Unlock()
	w.containerID = kubecontainer.ContainerID{}
	w.container.Name = ""
}

// astsKeepPeriod gives the worker's ticker the period of the probe that it has now.
func (w *worker) astsKeepPeriod(ticker *time.Ticker, period *time.Duration) {
	if wanted := time.Duration(w.spec.PeriodSeconds) * time.Second; wanted != *period {
		*period = wanted
		ticker.Reset(wanted)
	}
}

// astsStart starts a worker for a probe that a container got while it ran. A container that does
// not run yet gets its workers as on any kubelet.
func (m *manager) astsStart(ctx context.Context, pod *v1.Pod, container v1.Container, key probeKey) {
	running, ready, id := m.astsState(ctx, pod.UID, container.Name)
	if !running {
		return
	}
	w := newWorker(m, key.probeType, pod, container)
	if key.probeType == readiness && ready {
		w.containerID = id
		m.readinessManager.Set(id, results.Success, pod)
	}
	w.astsSkipFirstPause(pod, container)
	m.workerLock.Lock()
	_, there := m.workers[key]
	if !there {
		m.workers[key] = w
	}
	m.workerLock.Unlock()
	if !there {
		go w.run(context.WithoutCancel(ctx))
	}
}

// astsSkipFirstPause has a new worker begin with a short period and take up its own at its first
// turn. Soon after the kubelet's start a worker sleeps for a part of its period first, and could not
// be told anything meanwhile.
func (w *worker) astsSkipFirstPause(pod *v1.Pod, container v1.Container) {
	astsOrders.Lock()
	defer astsOrders.Unlock()
	astsOrders.told[w] = w.spec
	astsOrders.next[w] = astsOrder{pod: pod, container: container}
	w.spec = w.spec.DeepCopy()
	w.spec.PeriodSeconds = 1
}

// astsState says of a container whether it runs and has started, whether it is ready, and its ID.
func (m *manager) astsState(ctx context.Context, pod types.UID, name string) (bool, bool, kubecontainer.ContainerID) {
	none := kubecontainer.ContainerID{}
	status, found := m.statusManager.GetPodStatus(pod)
	if !found {
		return false, false, none
	}
	container, found := podutil.GetContainerStatus(slices.Concat(status.ContainerStatuses, status.InitContainerStatuses), name)
	if !found || container.State.Running == nil || container.Started == nil || !*container.Started {
		return false, false, none
	}
	return true, container.Ready, kubecontainer.ParseContainerID(klog.FromContext(ctx), container.ContainerID)
}

// astsForgetEnded drops what was told to workers that have ended.
func (m *manager) astsForgetEnded() {
	m.workerLock.RLock()
	defer m.workerLock.RUnlock()
	astsOrders.Lock()
	defer astsOrders.Unlock()
	if len(astsOrders.told) == 0 {
		return
	}
	alive := make(map[*worker]bool, len(m.workers))
	for _, w := range m.workers {
		alive[w] = true
	}
	for w := range astsOrders.told {
		if w.probeManager == m && !alive[w] {
			delete(astsOrders.told, w)
			delete(astsOrders.next, w)
		}
	}
}
