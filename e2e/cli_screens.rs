//! The plugin's main views, typed into a shell in a pseudo-terminal on a real cluster. `make screens` draws what is then
//! on the screen into `docs/screens`; else it is compared with what was drawn there, but for what differs each time.

use std::fmt::Write;
use std::path::Path;

use serde_json::json;
use vt100::{Cell, Color};

use crate::cli_run::{Screen, programs};
use crate::harness::manifest::rolling_update;
use crate::harness::{Context, Result, Space, image, set};
use crate::{ensure, ensure_eq, test_list};

test_list![what_the_documents_show_is_on_the_screen];

/// Where the drawings are kept, if they are to be.
const FOLDER_VARIABLE: &str = "ASTS_SCREENS";
const SIZE: (u16, u16) = (80, 24);

async fn what_the_documents_show_is_on_the_screen(space: Space) -> Result {
    let shop = space.suite.space("shop").await?;
    let quick = json!({"maxUnavailable": 2, "inPlaceUpdateStrategy": {"gracePeriodSeconds": 2}});
    let five = json!({"replicas": 5, "podManagementPolicy": "Parallel"});
    shop.create_settled(set("web", crate::harness::manifest::with(five, rolling_update(quick)))).await?;
    let config = kubeconfig(&shop)?;
    let open = |size| Screen::shell(&shop, size, &config);

    let mut shell = open(SIZE)?;
    let change =
        format!("kubectl asts plan web --set image=app={} -p '{{\"spec\": {{\"replicas\": 6}}}}'", image("v2-slow"));
    shell.type_line(&change).await?;
    let plan = shell.stands("the plan", |text| text.contains("Waves") && text.ends_with("\n$")).await?;
    ensure!(plan.contents().contains("in place"), "{}", plan.contents());
    keep("plan", &plan, Steady::All)?;

    let mut live = open(SIZE)?;
    live.type_line("kubectl asts get web -w").await?;
    live.stands("the tree", |text| text.contains("web-0") && text.contains("q quits")).await?;
    let mut status = open(SIZE)?;
    shop.set_image("web", "v2-slow").await?;
    status.type_line("kubectl asts rollout status web").await?;
    let half = |text: &str| (1..5).any(|done| text.contains(&format!("{done}/5 updated, ")));
    let moving = |text: &str| half(text) && text.lines().filter(|line| line.starts_with("  web-")).count() == 2;
    keep("rollout-status", &status.stands("half a rollout", moving).await?, Steady::Lines(2))?;
    let changing = |text: &str| text.contains("being replaced, ") && text.contains("rebuilding for ");
    keep("get-watch", &live.stands("half a rollout", changing).await?, Steady::Lines(2))?;
    status.stands("the end", |text| text.contains("successfully rolled out")).await?;
    live.stands("the end", |text| text.contains("5/5 updated") && text.matches("in place").count() == 5).await?;
    live.press("q")?;

    let mut shell = open(SIZE)?;
    shell.type_line("kubectl asts diff web").await?;
    let diff = shell.stands("the difference", |text| text.contains("+++ ") && text.ends_with("\n$")).await?;
    ensure!(diff.contents().contains("asts-test:v2-slow"), "{}", diff.contents());
    keep("diff", &diff, Steady::All)
}

/// The administrator's, with the space as its namespace: commands are typed as users type them.
fn kubeconfig(space: &Space) -> Result<std::path::PathBuf> {
    let file = programs(space)?.join("config");
    std::fs::write(&file, space.kubectl(&["config", "view", "--raw", "--flatten"], None)?)?;
    let path = file.display().to_string();
    let namespace = format!("--namespace={}", space.namespace);
    space.kubectl(&["config", "set-context", "--current", "--kubeconfig", &path, &namespace], None)?;
    Ok(file)
}

/// What of a drawing is the same in every run.
#[derive(Clone, Copy)]
enum Steady {
    All,
    /// The first lines: the others depend on the moment.
    Lines(usize),
}

/// Writes a drawing, where drawings are asked for; else compares it with the one of the documents.
fn keep(name: &str, screen: &vt100::Screen, steady: Steady) -> Result {
    let drawing = drawn(screen)?;
    let file = |folder: &Path| folder.join(format!("{name}.svg"));
    if let Some(folder) = std::env::var_os(FOLDER_VARIABLE) {
        std::fs::create_dir_all(&folder)?;
        std::fs::write(file(Path::new(&folder)), drawing)?;
        return Ok(());
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/screens");
    let committed = std::fs::read_to_string(file(&folder))?;
    let [committed, now] = [&committed, &drawing].map(|svg| match steady {
        Steady::All => texts(svg),
        Steady::Lines(count) => texts(svg).into_iter().take(count).collect(),
    });
    ensure_eq!(now, committed, "docs/screens/{name}.svg is stale: run make screens");
    Ok(())
}

/// The lines of a drawing with their looks; times, numbers and hashes are all the same.
fn texts(svg: &str) -> Vec<String> {
    let mut lines: Vec<(String, String)> = Vec::new();
    for text in svg.lines().filter_map(|line| line.strip_prefix("<text ")?.strip_suffix("</text>")) {
        let Some((attributes, text)) = text.split_once('>') else { continue };
        let height = attributes.split("y=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let look = attributes.split("textLength=").nth(1).and_then(|rest| rest.split_once(' ')).map_or("", |it| it.1);
        let piece = format!("{} {look} ", steady(text));
        match lines.last_mut() {
            Some((same, line)) if same == height => line.push_str(&piece),
            _ => lines.push((height.to_owned(), piece)),
        }
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

fn steady(text: &str) -> String {
    let is_hash =
        |part: &str| part.len() == 10 && part.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit());
    let word = |word: &str| {
        let parts = word.split('-').map(|part| if is_hash(part) { "<hash>" } else { part });
        let mut steady = String::new();
        for letter in parts.collect::<Vec<_>>().join("-").chars() {
            match letter {
                '0'..='9' if steady.ends_with('0') => {}
                '0'..='9' => steady.push('0'),
                // Of a bar.
                '#' => steady.push('.'),
                other => steady.push(other),
            }
        }
        steady
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Of one letter, in pixels.
const WIDTH: f32 = 8.4;
const HEIGHT: f32 = 17.0;
const MARGIN: f32 = 12.0;

/// How a letter looks.
#[derive(Clone, PartialEq, Default)]
struct Look {
    colour: String,
    style: String,
}

/// The screen as SVG: its lines down to the last that is not empty, each as pieces of one look.
fn drawn(screen: &vt100::Screen) -> Result<String> {
    let (_, columns) = screen.size();
    let lines: Vec<Vec<(u16, String, Look)>> = (0..screen.size().0.get()).map(|row| pieces(screen, row)).collect();
    let count = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    let width = f32::from(columns.get()) * WIDTH + 2.0 * MARGIN;
    let height = f32::from(u16::try_from(count)?) * HEIGHT + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#1e1e1e\"/>\n\
         <g font-family=\"ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace\" font-size=\"14\" fill=\"#d4d4d4\" xml:space=\"preserve\">\n"
    );
    for (row, line) in lines.iter().enumerate().take(count) {
        let y = MARGIN + (f32::from(u16::try_from(row)?) + 0.8) * HEIGHT;
        for (column, text, look) in line {
            let x = MARGIN + f32::from(*column) * WIDTH;
            let length = f32::from(u16::try_from(text.chars().count())?) * WIDTH;
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let Look { colour, style } = look;
            // The length keeps columns in line whatever the font.
            writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\"{colour}{style}>{text}</text>")
                .context("a text")?;
        }
    }
    svg += "</g>\n</svg>\n";
    Ok(svg)
}

/// The words of a line with where they begin, parted where the look changes or blanks are many.
fn pieces(screen: &vt100::Screen, row: u16) -> Vec<(u16, String, Look)> {
    let mut pieces: Vec<(u16, String, Look)> = Vec::new();
    let mut blanks = 2;
    for column in 0..screen.size().1.get() {
        let Some(cell) = screen.cell(row, column) else { continue };
        let text = cell.contents();
        if text.trim().is_empty() {
            blanks += 1;
            continue;
        }
        let look = look(cell);
        match pieces.last_mut() {
            Some((_, before, same)) if blanks < 2 && *same == look => {
                before.extend(std::iter::repeat_n(' ', blanks));
                before.push_str(text);
            }
            _ => pieces.push((column, text.to_owned(), look)),
        }
        blanks = 0;
    }
    pieces
}

fn look(cell: &Cell) -> Look {
    let colour = match cell.fgcolor() {
        Color::Idx(1) => " fill=\"#f48771\"",
        Color::Idx(2) => " fill=\"#89d185\"",
        Color::Idx(3) => " fill=\"#e5c07b\"",
        Color::Idx(4) => " fill=\"#75beff\"",
        Color::Idx(6) => " fill=\"#56b6c2\"",
        _ => "",
    };
    let mut style = String::new();
    style += if cell.bold() { " font-weight=\"bold\"" } else { "" };
    style += if cell.dim() { " opacity=\"0.6\"" } else { "" };
    Look { colour: colour.to_owned(), style }
}
