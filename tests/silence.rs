//! The plugin before an apiserver that takes connections and never answers.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_hand_over_ends_when_its_time_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("--server=http://{}", listener.local_addr().unwrap());
    for verb in [["adopt", "statefulset/web"], ["release", "web"]] {
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-asts"))
            .args(verb)
            .args([&server, "--kubeconfig=/dev/null", "--timeout=1s"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while child.try_wait().unwrap().is_none() {
            if started.elapsed() > Duration::from_secs(60) {
                child.kill().unwrap();
                panic!("{verb:?} waits for ever");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{verb:?}: {said}");
        assert!(said.contains("timed out waiting: the apiserver does not answer"), "{verb:?}: {said}");
    }
}
