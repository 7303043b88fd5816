// Package customise turns a vendored copy of k8s.io/kubernetes into the customised form: Go files of
// our own join its packages, and one-line calls to them are put into its functions.
//
// What each change does is said in customised/README.md.
package customise

// Version of k8s.io/kubernetes that the edits were made for and tried with.
const Version = "v1.37.2"

// Module is what is customised.
const Module = "k8s.io/kubernetes"

// Edit is one line put into a function.
type Edit struct {
	File     string // below the module
	Receiver string // the type of a method's receiver, without *
	Function string
	Place    Place
	// Line is the statement to put in; with WrapReturn an expression in which RETURNED stands for
	// what was returned.
	Line string
	// Uses are names that must be declared in the function for the line to mean what it should.
	Uses []string
}

// Place is where in the function.
type Place int

const (
	// AtStart is before the first statement.
	AtStart Place = iota
	// BeforeLastIf is before the last if statement of the function's own block.
	BeforeLastIf
	// BeforeLastReturn is before the return statement that ends the function.
	BeforeLastReturn
	// WrapReturn puts an expression around what the last statement returns.
	WrapReturn
	// InLoop is before the first statement of the function's only loop.
	InLoop
)

// returned stands in a WrapReturn line for the expression that was returned.
const returned = "RETURNED"

const (
	prober  = "pkg/kubelet/prober/"
	volumes = "pkg/kubelet/volumemanager/"
)

// Edits are all edits.
var Edits = []Edit{
	// The apiserver.
	{
		File: "pkg/apis/core/validation/validation.go", Function: "ValidatePodUpdate", Place: BeforeLastIf,
		Line: "astsKeepMutable(&mungedPodSpec, &oldPod.Spec)", Uses: []string{"mungedPodSpec", "oldPod"},
	},
	{
		File: "plugin/pkg/auth/authorizer/node/graph_populator.go", Receiver: "graphPopulator", Function: "updatePod", Place: AtStart,
		Line: "oldObj = astsUnlessChanged(oldObj, obj)", Uses: []string{"oldObj", "obj"},
	},
	// The kubelet: containers.
	{
		File: "pkg/kubelet/container/helpers.go", Function: "pickFieldsToHash", Place: WrapReturn,
		Line: "astsWithMutable(RETURNED, container)", Uses: []string{"container"},
	},
	{
		File: "pkg/kubelet/kuberuntime/helpers.go", Function: "GetBackoffKey", Place: WrapReturn,
		Line: "astsBackoffKey(RETURNED, container)", Uses: []string{"container"},
	},
	{
		File: "pkg/kubelet/kubelet_pods.go", Receiver: "Kubelet", Function: "convertToAPIContainerStatuses", Place: AtStart,
		Line: "previousStatus = kl.astsFreshMounts(ctx, pod, podStatus, previousStatus, containers)",
		Uses: []string{"kl", "ctx", "pod", "podStatus", "previousStatus", "containers"},
	},
	// The kubelet: probes.
	{
		File: prober + "prober_manager.go", Receiver: "manager", Function: "AddPod", Place: AtStart,
		Line: "m.astsFollow(ctx, pod)", Uses: []string{"m", "ctx", "pod"},
	},
	{
		File: prober + "worker.go", Receiver: "worker", Function: "doProbe", Place: AtStart,
		Line: "if w.astsTakeOrder() { return false }", Uses: []string{"w"},
	},
	{
		File: prober + "worker.go", Receiver: "worker", Function: "run", Place: InLoop,
		Line: "w.astsKeepPeriod(probeTicker, &probeTickerPeriod)", Uses: []string{"w", "probeTicker", "probeTickerPeriod"},
	},
	// The kubelet: volumes.
	{
		File: volumes + "cache/desired_state_of_world.go", Receiver: "desiredStateOfWorld", Function: "AddPodToVolume", Place: BeforeLastReturn,
		Line: "dsw.astsDropReplaced(podName, volumeName, outerVolumeSpecName)",
		Uses: []string{"dsw", "podName", "volumeName", "outerVolumeSpecName"},
	},
	{
		File: volumes + "volume_manager.go", Receiver: "volumeManager", Function: "WaitForAttachAndMount", Place: WrapReturn,
		Line: "vm.astsAwaitSwap(ctx, pod, RETURNED)", Uses: []string{"vm", "ctx", "pod"},
	},
}
