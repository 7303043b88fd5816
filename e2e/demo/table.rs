//! The Pods before and after, side by side.

use crate::live::Pods;

const ID_LENGTH: usize = 12;

/// Each Pod's identity on two lines.
pub fn before_and_after(before: &Pods, after: &Pods) -> String {
    let header = ["POD", "", "UID", "IP", "NODE", "CONTAINER", "IMAGE", "RESTARTS"].map(str::to_owned);
    let mut rows = vec![header];
    let row = |name: &str, when: &str, pods: &Pods| {
        let pod = pods.get(name).cloned().unwrap_or_default();
        let image = pod.status_image.rsplit('/').next().unwrap_or_default().to_owned();
        let restarts = pod.restarts.to_string();
        [name.to_owned(), when.to_owned(), pod.uid, pod.ip, pod.node, short(&pod.container_id), image, restarts]
    };
    for name in before.keys() {
        rows.push(row(name, "before", before));
        let mut second = row(name, "after", after);
        second[0].clear();
        rows.push(second);
    }
    aligned(&rows)
}

/// The first characters of the id itself, without the runtime's name.
fn short(container_id: &str) -> String {
    let id = container_id.rsplit('/').next().unwrap_or_default();
    id.chars().take(ID_LENGTH).collect()
}

/// Columns as wide as their widest cell.
pub fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> String {
    let mut widths = [0; COLUMNS];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
